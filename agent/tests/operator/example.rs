//! Views as an agent with a few containers would give them.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::{FileOperation, Layer};
use driftlock::behaviour::BehaviourParts;
use driftlock::canary::attempt::CanaryResult;
use driftlock::control::view::*;
use driftlock::image::ImageDigest;
use driftlock::kernel::tier::Exec;
use driftlock::profile::completeness::{Amount, Completeness, Condition, Expected, Subject};
use driftlock::sink::SinkView;
use driftlock::spool::SpoolView;
use driftlock::text::ByteText;

pub fn digest() -> ImageDigest {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
        .parse()
        .expect("a digest")
}

pub fn tiers() -> Vec<TierView> {
    vec![
        TierView {
            domain: Domain::Exec,
            can: Tier::Kill,
            reason: "raw tracepoint sched_process_exec; BPF LSM is not active".to_owned(),
        },
        TierView {
            domain: Domain::File,
            can: Tier::None,
            reason: "not built yet".to_owned(),
        },
    ]
}

pub fn counters() -> CountersView {
    CountersView {
        generated: 1000,
        submitted: 990,
        lost_ring: 3,
        lost_quota: 7,
        undecodable: 0,
        duplicate: 0,
        unattributed: 1,
        waiting: 2,
        kills: 5,
        kills_confirmed: 5,
        kills_failed: 0,
        denied: 4,
        unchecked: 0,
        untracked_tasks: 0,
    }
}

pub fn status() -> StatusView {
    StatusView {
        version: "0.1.0".to_owned(),
        abi: 1,
        node: "worker-1".to_owned(),
        pid: 4242,
        uptime_s: 7260,
        default_mode: Mode::Learn,
        default_modes: Domain::ALL
            .iter()
            .map(|&domain| DomainModeView {
                domain,
                mode: Mode::Learn,
                source: ModeSource::Default,
            })
            .collect(),
        modes: ModeCounts::of(&containers(), &tiers()),
        policies: PoliciesView {
            exec_into: "alert".to_owned(),
            unprofiled: "alert-drift".to_owned(),
            kill: vec!["file".to_owned()],
            enforce_only_signed: false,
            trusted_keys: Vec::new(),
        },
        tiers: tiers(),
        cgroups: CgroupsView {
            layout: "hybrid".to_owned(),
            hierarchy: "/sys/fs/cgroup/unified".to_owned(),
            reason: "containers are placed in the v2 hierarchy".to_owned(),
        },
        hooks: vec![
            HookView {
                name: "exec".to_owned(),
                target: "sched_process_exec".to_owned(),
                attached: true,
                pinned: true,
                detail: None,
            },
            HookView {
                name: "fork".to_owned(),
                target: "sched_process_fork".to_owned(),
                attached: false,
                pinned: false,
                detail: Some("the tracepoint is missing".to_owned()),
            },
        ],
        counters: counters(),
        domain_counters: vec![DomainCountersView::new(Domain::Exec, &counters())],
        profiles: 1,
        learning: vec![LearningView {
            digest: digest(),
            reference: Some("registry.example/shop:1".into()),
            role: "/bin/shop".into(),
            containers: 2,
            domains: summary().domains,
        }],
        learning_left_out: 3,
        containers: 3,
        store: "/var/lib/driftlock/profiles.redb".to_owned(),
        overwritten_bytes: 0,
        spool: SpoolView {
            alerts: 7,
            bytes: 9_100,
            max_bytes: 256 << 20,
            at_limit: "drop-oldest".to_owned(),
            ..SpoolView::default()
        },
        sinks: vec![
            SinkView {
                name: "stdout".to_owned(),
                kind: "stdout".to_owned(),
                delivered: 12,
                ..SinkView::default()
            },
            SinkView {
                name: "soc".to_owned(),
                kind: "webhook".to_owned(),
                backlog: 7,
                delivered: 5,
                failures: 3,
                failing_since: Some("2026-03-01T12:00:00Z".parse().expect("a date")),
                error: Some("cannot connect to soc.example:443: connection refused".to_owned()),
                ..SinkView::default()
            },
        ],
        folding: FoldingView {
            open: 4,
            ..FoldingView::default()
        },
        alerts: 12,
        readers: 1,
        confinement: ConfinementView {
            confined: true,
            capabilities: vec!["DAC_READ_SEARCH".to_owned(), "BPF".to_owned()],
            no_new_privileges: true,
            filtered: true,
            text: "DAC_READ_SEARCH, BPF; no new privileges; system calls filtered".to_owned(),
        },
        canary: canary(),
    }
}

fn canary() -> CanaryView {
    CanaryView {
        interval_s: 60,
        caught: 121,
        failed: 1,
        caught_ago_s: 14,
        last: Some(CanaryTryView {
            result: CanaryResult::Caught,
            program: Some(Exec::Killed),
            from_hook_us: Some(412),
            from_start_us: Some(3_021),
            reason: None,
            ago_s: 14,
        }),
        ..CanaryView::default()
    }
}

pub fn containers() -> Vec<ContainerView> {
    let shop = ContainerView {
        id: ByteText::from("4f2d8c1a9b7e4f2d8c1a9b7e4f2d8c1a9b7e4f2d8c1a9b7e4f2d8c1a9b7e4f2d"),
        name: Some("shop".into()),
        runtime: Some("docker".to_owned()),
        pod: None,
        namespace: None,
        nested: 0,
        image: Some("registry.example/shop:1".into()),
        digest: Some(digest()),
        role: Some("/bin/shop".into()),
        state: ContainerState::Resolved,
        state_reason: None,
        modes: vec![
            DomainModeView {
                domain: Domain::Exec,
                mode: Mode::Enforce,
                source: ModeSource::Image,
            },
            // Not watched on this node: not shown.
            DomainModeView {
                domain: Domain::File,
                mode: Mode::Learn,
                source: ModeSource::Default,
            },
        ],
        tiers: tiers(),
        init_pid: Some(4300),
        cgroup: 77,
        generation: Some(3),
        rules: 12,
        counters: CountersView {
            kills: 5,
            kills_confirmed: 5,
            ..CountersView::default()
        },
        domain_counters: Vec::new(),
        answered: true,
        drift_recognisable: true,
        drift_reason: None,
    };
    let hostile = ContainerView {
        name: Some((&b"evil\x1b[2J\n\xff"[..]).into()),
        image: None,
        id: ByteText::from("a".repeat(64).as_str()),
        drift_recognisable: false,
        drift_reason: Some("the root filesystem is btrfs, which has no layers".to_owned()),
        modes: vec![DomainModeView {
            domain: Domain::Exec,
            mode: Mode::Learn,
            source: ModeSource::Default,
        }],
        counters: counters(),
        domain_counters: vec![DomainCountersView::new(Domain::Exec, &counters())],
        ..shop.clone()
    };
    let lost = ContainerView {
        id: ByteText::from(format!("docker-{}.scope", "b".repeat(64)).as_str()),
        name: None,
        runtime: None,
        image: None,
        digest: None,
        role: None,
        state: ContainerState::Unresolved,
        state_reason: Some("no Docker data directory holds it".to_owned()),
        modes: vec![],
        tiers: vec![],
        ..shop.clone()
    };
    vec![shop, hostile, lost]
}

pub fn modes() -> ModeView {
    ModeView {
        default: vec![DomainModeView {
            domain: Domain::Exec,
            mode: Mode::Learn,
            source: ModeSource::Default,
        }],
        images: vec![TargetModeView {
            id: digest().as_str().into(),
            name: Some("shop:1".into()),
            domain: None,
            mode: Mode::Enforce,
        }],
        containers: vec![TargetModeView {
            id: "4f2d8c1a9b7e".into(),
            name: None,
            domain: Some(Domain::Exec),
            mode: Mode::Monitor,
        }],
    }
}

pub fn summary() -> ProfileSummary {
    ProfileSummary {
        digest: digest(),
        references: vec!["shop:1".into(), "registry.example/shop:1".into()],
        role: "/bin/shop".into(),
        generation: 3,
        provisional: false,
        approved: true,
        scripts: true,
        mode: Some(Mode::Enforce),
        rules: 2,
        proposals: 1,
        instances: 1,
        windows: 40,
        windows_lost: 2,
        coverage: Some(0.987),
        domains: vec![
            DomainProfileView {
                domain: Domain::Exec,
                rules: 2,
                proposals: 1,
                instances: 1,
                windows: 40,
                windows_lost: 2,
                coverage: Some(0.987),
                completeness: completeness(),
            },
            DomainProfileView {
                domain: Domain::File,
                rules: 1,
                proposals: 0,
                instances: 1,
                windows: 42,
                windows_lost: 0,
                coverage: Some(0.9),
                completeness: Completeness {
                    complete: true,
                    ..completeness()
                },
            },
        ],
        signature: Some(SignatureView {
            key: "8D4452D47062F8C6".to_owned(),
            trusted: true,
            problem: None,
            comment: "reviewed by ops".into(),
            changed: vec!["file".to_owned()],
        }),
        follows: None,
        changed: Some("2026-03-01T12:00:00Z".parse().expect("a date")),
    }
}

fn completeness() -> Completeness {
    let condition = |subject, is, needed, met| Condition {
        subject,
        is: Some(is),
        needed,
        met,
    };
    let count = Amount::Count;
    Completeness {
        complete: false,
        conditions: vec![
            condition(
                Subject::Coverage,
                Amount::Share(0.987),
                Amount::Share(0.99),
                false,
            ),
            condition(Subject::Instances, count(1), count(3), false),
            condition(Subject::Windows, count(40), count(10), true),
            condition(Subject::Starts, count(1), count(1), true),
            condition(Subject::Ends, count(0), count(1), false),
            condition(Subject::LostWindows, count(2), count(0), false),
        ],
        expected: Some(Expected {
            windows: 40,
            coverage: 0.992,
            windows_until_target: Some(25),
        }),
    }
}

pub fn behaviour(section: Section, path: &str, state: BehaviourState) -> BehaviourView {
    BehaviourView {
        section: Some(section),
        parts: BehaviourParts::of_program(Layer::Image, path.into()),
        sha256: vec![],
        state,
        windows: 40,
        note: None,
        support: None,
    }
}

pub fn profile() -> ProfileView {
    let drift = BehaviourView {
        section: None,
        parts: BehaviourParts::of_program(Layer::Volume, "/sbin/docker-init".into()),
        sha256: vec!["ab".repeat(32)],
        windows: 0,
        note: Some("the runtime's init".to_owned()),
        ..behaviour(Section::Main, "/sbin/docker-init", BehaviourState::Accepted)
    };
    let applet = BehaviourView {
        parts: BehaviourParts {
            applet: Some("sh".into()),
            ..BehaviourParts::of_program(Layer::Image, "/bin/busybox".into())
        },
        ..behaviour(Section::ExecIn, "/bin/busybox", BehaviourState::Proposed)
    };
    let config = BehaviourView {
        parts: BehaviourParts {
            layer: Some(Layer::Volume),
            path: Some("/etc/shop.conf".into()),
            operation: Some(FileOperation::Read),
            ..BehaviourParts::of(Domain::File)
        },
        ..behaviour(Section::Main, "", BehaviourState::Learned)
    };
    let job = BehaviourView {
        parts: BehaviourParts {
            layer: Some(Layer::Upper),
            pattern: Some("/tmp/job-{random}".parse().expect("a rule")),
            operation: Some(FileOperation::Create),
            ..BehaviourParts::of(Domain::File)
        },
        support: Some(RuleSupportView {
            paths: 12,
            windows: 30,
        }),
        ..behaviour(Section::Main, "", BehaviourState::Accepted)
    };
    let port = BehaviourView {
        parts: BehaviourParts {
            capability: Some("CAP_NET_BIND_SERVICE".parse().expect("a capability")),
            namespace: Some(UserNamespace::Initial),
            outcome: Some(CapOutcome::Granted),
            ..BehaviourParts::of(Domain::Cap)
        },
        ..behaviour(Section::Main, "", BehaviourState::Learned)
    };
    ProfileView {
        summary: summary(),
        behaviours: vec![
            behaviour(Section::Main, "/bin/shop", BehaviourState::Learned),
            config,
            job,
            port,
            applet,
            drift,
        ],
        rule_proposals: vec![RuleProposalView {
            parts: BehaviourParts {
                layer: Some(Layer::Upper),
                pattern: Some("/var/log/shop-{date}.log".parse().expect("a rule")),
                operation: Some(FileOperation::Create),
                ..BehaviourParts::of(Domain::File)
            },
            paths: 9,
            windows: 8,
            covered: 0.2,
            allows: vec!["{date}: a date".to_owned()],
        }],
    }
}

pub fn accepted() -> AcceptView {
    AcceptView {
        digest: digest(),
        roles: vec!["/bin/shop".into()],
        behaviours: vec![behaviour(
            Section::ExecIn,
            "/bin/health",
            BehaviourState::Accepted,
        )],
        already: false,
    }
}

pub fn doctor(result: CheckResult) -> DoctorView {
    DoctorView {
        checked_by: CheckedBy::Agent,
        tiers: tiers(),
        checks: vec![
            Check {
                name: "BTF".to_owned(),
                result: CheckResult::Ok,
                detail: "/sys/kernel/btf/vmlinux".to_owned(),
                hint: None,
            },
            Check {
                name: "BPF LSM".to_owned(),
                result,
                detail: "bpf is not in the list of active security modules".to_owned(),
                hint: Some("boot with lsm=...,bpf".to_owned()),
            },
        ],
    }
}

pub const DOCUMENT: &str = "apiVersion: driftlock/v1\nkind: ImageProfile\n";

/// An alert as a line of the stream; `number` is one digit of its id, `path` what was executed.
pub fn alert(number: u8, path: &str) -> String {
    include_str!("alert.json")
        .trim_end()
        .replace("NUMBER", &number.to_string())
        .replace("/tmp/dropped", path)
}
