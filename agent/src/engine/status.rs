//! The engine's state, as the command line shows it.

use agent_common::ABI_VERSION;
use agent_common::domain::{Domain, Section};
use agent_common::file::Layer;
use agent_common::instance::Instance;

use super::Engine;
use super::container::{Resolution, Tracked};
use super::progress::domain_profile;
use super::proposals::rule_proposals;
use super::signed::unsigned_checks;
use crate::behaviour::{Behaviour, BehaviourParts, FilePattern, LEARNED_DOMAINS};
use crate::confine;
use crate::container::layout::CgroupLayout;
use crate::container::{Isolation, container_id_in, process};
use crate::control::view::{
    BehaviourState, BehaviourView, CgroupsView, Check, CheckedBy, ConfinementView, ContainerState,
    ContainerView, DoctorView, DomainModeView, FoldingView, FollowsView, HookView, LEARNING_MAX, ModeCounts,
    ModeSource, ModeView, PoliciesView, ProfileSummary, ProfileView, RuleSupportView, StatusView,
    TargetModeView,
};
use crate::kernel::hook::{Hook, HookKind};
use crate::kernel::support;
use crate::profile::mode::Scope;
use crate::profile::model::Profile;

impl Engine {
    pub(super) fn status(&self) -> StatusView {
        let domain_counters = self.counters_of_all();
        let mut counters = domain_counters.total();
        counters.undecodable = self.counters.undecodable;
        counters.duplicate = self.counters.duplicate;
        counters.unattributed = self.counters.unattributed;
        counters.waiting = self.waiting() as u64;
        let default_modes = self.default_modes();
        let (default_mode, _) = self.store.policies().mode_for("", None, &[], Domain::Exec);
        let tiers = self.tiers();
        let mut learning = self.learning();
        let learning_left_out = learning.len().saturating_sub(LEARNING_MAX) as u64;
        learning.truncate(LEARNING_MAX);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            node: self.config.node.clone(),
            pid: std::process::id(),
            uptime_s: Self::now().saturating_sub(self.started).as_secs(),
            default_mode,
            default_modes,
            modes: ModeCounts::of(&self.container_views(), &tiers),
            policies: PoliciesView {
                exec_into: self.config.policies.exec_into.as_str().to_owned(),
                unprofiled: self.config.policies.unprofiled.as_str().to_owned(),
                kill: self
                    .config
                    .policies
                    .kill
                    .iter()
                    .map(|domain| domain.as_str().to_owned())
                    .collect(),
                enforce_only_signed: self.config.trust.enforce_only_signed,
                trusted_keys: self
                    .config
                    .trust
                    .keys
                    .iter()
                    .map(|key| key.id().to_string())
                    .collect(),
            },
            tiers,
            cgroups: self.cgroups(),
            hooks: self.hooks(),
            counters,
            domain_counters: domain_counters.views(),
            profiles: self.store.profiles().count() as u64,
            learning,
            learning_left_out,
            containers: self
                .containers
                .values()
                .filter(|tracked| !tracked.is_removed())
                .count() as u64,
            store: self.store.path().display().to_string(),
            overwritten_bytes: self.overwritten_bytes,
            spool: self.spool.view(),
            sinks: self.spool.sink_views(),
            folding: self.folding(),
            alerts: self.feed.emitted(),
            readers: self.feed.readers(),
            confinement: confinement(),
            canary: self.canary_view(),
        }
    }

    fn folding(&self) -> FoldingView {
        let counters = self.fold.counters();
        FoldingView {
            open: self.fold.len() as u64,
            closed_early: counters.closed_early,
            kills_not_awaited: counters.kills_not_awaited,
            confirmations_forgotten: counters.early_forgotten,
        }
    }

    fn hooks(&self) -> Vec<HookView> {
        let view = |hook: Hook| {
            HookView {
            name: hook.name.to_owned(),
            target: match hook.kind {
                HookKind::RawTracepoint => format!("raw tracepoint {}", hook.name),
                HookKind::Tracepoint => format!("tracepoint {}", hook.name),
                HookKind::Probe => format!("kprobe of {}", hook.name),
                HookKind::Lsm => format!("LSM hook {}", hook.name),
            },
            attached: hook.attached,
            pinned: hook.pinned,
            detail: match hook.missed {
                _ if !hook.attached => Some(
                    "its pin is gone, and the kernel has detached it: start the agent again, and find out who removes pins"
                        .to_owned(),
                ),
                None => Some("this kernel does not tell whether it was skipped".to_owned()),
                Some(0) => None,
                Some(missed) => Some(format!(
                    "skipped {missed} times by the kernel: what happened then was not seen"
                )),
            },
        }
        };
        let hooks = self.kernel.hooks().into_iter().map(view);
        hooks
            .chain(self.answering_hook())
            .chain(self.holding_hook())
            .collect()
    }

    fn cgroups(&self) -> CgroupsView {
        CgroupsView {
            layout: match &self.layout.layout {
                CgroupLayout::V1 { .. } => "v1",
                // Beside v2 there are hierarchies with controllers.
                CgroupLayout::V2 { .. }
                    if process::memberships(std::process::id()).is_ok_and(|all| all.len() > 1) =>
                {
                    "hybrid"
                }
                CgroupLayout::V2 { .. } => "v2",
            }
            .to_owned(),
            hierarchy: self.layout.layout.mount().display().to_string(),
            reason: self.layout.reason.to_string(),
        }
    }

    pub(super) fn container_views(&self) -> Vec<ContainerView> {
        let mut views: Vec<_> = self
            .containers
            .values()
            .filter(|tracked| !tracked.is_removed())
            .map(|tracked| self.container(tracked))
            .collect();
        views.sort_by(|left, right| (&left.name, &left.id).cmp(&(&right.name, &right.id)));
        views
    }

    fn container(&self, tracked: &Tracked) -> ContainerView {
        let instance = self.maps.instance(tracked.slot).unwrap_or_default();
        let domain_counters = self.counters_of(tracked);
        let mut counters = domain_counters.total();
        counters.waiting = tracked.waiting.len() as u64;
        let (known, info) = (tracked.known(), tracked.info());
        let rules = known.and_then(|known| self.publisher.state(known.profile));
        let (state, state_reason) = match &tracked.resolution {
            Resolution::Known(_) => (ContainerState::Resolved, None),
            Resolution::Pending(search) => (ContainerState::Pending, Some(search.reason.clone())),
            Resolution::Unresolved(search) => (ContainerState::Unresolved, Some(search.reason.clone())),
            Resolution::Provisional(_, search) => (ContainerState::Provisional, Some(search.reason.clone())),
            Resolution::NotObservable(_, isolation) => {
                (ContainerState::NotObservable, Some(not_observable(*isolation)))
            }
        };
        let drift_reason = drift_reason(tracked, &instance);
        ContainerView {
            id: tracked
                .id
                .as_ref()
                .map_or_else(|| tracked.name.clone(), |id| id.as_str().into()),
            name: info.map(|info| info.name.clone()),
            runtime: info.map(|info| info.runtime.as_str().to_owned()),
            pod: info
                .and_then(|info| info.pod.as_ref())
                .map(|pod| pod.name.clone()),
            namespace: info
                .and_then(|info| info.pod.as_ref())
                .map(|pod| pod.namespace.clone()),
            nested: self.nested_containers(tracked),
            image: info.and_then(|info| info.image.reference.clone()),
            digest: info.and_then(|info| info.image.proven_digest().cloned()),
            role: known.map(|known| known.key.role.as_text().clone()),
            state,
            state_reason,
            modes: Domain::ALL
                .iter()
                .map(|&domain| {
                    let (mode, source) = tracked.modes[domain as usize];
                    DomainModeView { domain, mode, source }
                })
                .collect(),
            tiers: self.tiers(),
            init_pid: info.and_then(|info| info.init_pid),
            cgroup: tracked.cgroup,
            generation: rules.map(|(generation, _)| generation),
            rules: rules.map_or(0, |(_, rules)| rules as u64),
            counters,
            domain_counters: domain_counters.views(),
            answered: self.answering.is_answered(tracked.cgroup),
            drift_recognisable: drift_reason.is_none(),
            drift_reason,
        }
    }

    /// What holds where nothing else is set.
    fn default_modes(&self) -> Vec<DomainModeView> {
        let policies = self.store.policies();
        let default = |&domain: &Domain| DomainModeView {
            domain,
            mode: policies.mode_for("", None, &[], domain).0,
            source: ModeSource::Default,
        };
        Domain::ALL.iter().map(default).collect()
    }

    /// How many containers a container runs itself.
    fn nested_containers(&self, tracked: &Tracked) -> u64 {
        let Some(path) = &tracked.path else { return 0 };
        let listing = self.layout.layout.nested(path).map(|listing| listing.found);
        let below = listing.into_iter().flatten();
        below
            .filter(|cgroup| {
                let name = cgroup.path.rsplit(|byte| *byte == b'/').next();
                name.and_then(container_id_in).is_some()
            })
            .count() as u64
    }

    pub(super) fn modes(&self) -> ModeView {
        let mut view = ModeView {
            default: self.default_modes(),
            images: Vec::new(),
            containers: Vec::new(),
        };
        let policies = self.store.policies();
        for (scope, domain, mode) in policies.modes() {
            match scope {
                Scope::Default => {}
                Scope::Reference(reference) => {
                    view.images.push(TargetModeView {
                        id: reference.as_str().into(),
                        name: None,
                        domain,
                        mode,
                    });
                }
                Scope::Image(digest) => {
                    let name = self
                        .store
                        .image(digest)
                        .and_then(|image| image.references.first());
                    let name = name.map(|name| name.as_str().into());
                    view.images.push(TargetModeView {
                        id: digest.as_str().into(),
                        name,
                        domain,
                        mode,
                    });
                }
                Scope::Container(id) => {
                    let name = self.containers.values().filter_map(Tracked::known);
                    let name = name
                        .filter(|known| known.info.id.as_str() == id)
                        .map(|known| known.info.name.clone())
                        .next();
                    view.containers.push(TargetModeView {
                        id: id.as_str().into(),
                        name,
                        domain,
                        mode,
                    });
                }
            }
        }
        view
    }

    pub(super) fn profile_summaries(&self) -> Vec<ProfileSummary> {
        self.store
            .profiles()
            .map(|profile| self.profile_summary(profile))
            .collect()
    }

    pub(super) fn profile_summary(&self, profile: &Profile) -> ProfileSummary {
        let image = self.store.image(&profile.key.digest);
        let own = Scope::Image(profile.key.digest.clone());
        let mode = self
            .store
            .policies()
            .modes()
            .filter(|(scope, domain, _)| **scope == own && domain.is_none_or(|domain| domain == Domain::Exec))
            .map(|(_, domain, mode)| (domain, mode))
            .max_by_key(|(domain, _)| domain.is_some())
            .map(|(_, mode)| mode);
        let domains: Vec<_> = LEARNED_DOMAINS
            .iter()
            .map(|domain| domain_profile(profile, *domain, &self.config.learned))
            .collect();
        ProfileSummary {
            digest: profile.key.digest.clone(),
            references: image
                .into_iter()
                .flat_map(|image| &image.references)
                .map(|text| text.as_str().into())
                .collect(),
            role: profile.key.role.as_text().clone(),
            generation: self
                .publisher
                .state(profile.id)
                .map_or(0, |(generation, _)| generation),
            provisional: self.store.provisional_of(&profile.key.digest).is_some(),
            approved: profile.approved,
            scripts: profile.scripts,
            mode,
            rules: domains.iter().map(|domain| domain.rules).sum(),
            proposals: domains.iter().map(|domain| domain.proposals).sum(),
            instances: profile.counts.exec.instances,
            windows: profile.counts.exec.windows,
            windows_lost: profile.counts.exec.lost_windows,
            coverage: profile.coverage(Domain::Exec),
            domains,
            signature: self.signature_view(profile),
            follows: image
                .and_then(|image| image.descends_from.clone())
                .map(|digest| FollowsView {
                    digest,
                    inherited: profile.inherited() as u64,
                    learns_changes: profile.learns_changes(),
                }),
            changed: None,
        }
    }

    pub(super) fn profile_view(&self, profile: &Profile) -> ProfileView {
        let supported = |section, behaviour: &Behaviour, state, windows| BehaviourView {
            support: support(profile, section, behaviour),
            ..behaviour_view(section, behaviour, state, windows)
        };
        let main = profile.main.iter().map(|(behaviour, evidence)| {
            let state = if evidence.inherited {
                BehaviourState::Inherited
            } else {
                BehaviourState::Learned
            };
            supported(Section::Main, &behaviour, state, evidence.windows)
        });
        let exec_in = profile.exec_in.iter().map(|(behaviour, entry)| {
            let state = if entry.evidence.inherited {
                BehaviourState::Inherited
            } else if entry.accepted {
                BehaviourState::Accepted
            } else {
                BehaviourState::Proposed
            };
            supported(Section::ExecIn, &behaviour, state, entry.evidence.windows)
        });
        let drift = profile
            .drift
            .iter()
            .map(|((layer, path), accepted)| BehaviourView {
                section: None,
                parts: BehaviourParts::of_program(*layer, path.clone()),
                sha256: accepted.sha256.iter().map(ToString::to_string).collect(),
                state: BehaviourState::Accepted,
                windows: 0,
                note: (!accepted.note.is_empty()).then(|| accepted.note.clone()),
                support: None,
            });
        ProfileView {
            summary: self.profile_summary(profile),
            behaviours: main.chain(exec_in).chain(drift).collect(),
            rule_proposals: rule_proposals(profile),
        }
    }

    pub(super) fn doctor(&self) -> DoctorView {
        let mut checks = support::machine_checks();
        checks.push(support::layout_check(&self.layout));
        checks.extend(support::runtime_checks(&self.runtimes));
        checks.extend(
            self.containers
                .values()
                .filter(|tracked| !tracked.is_removed())
                .filter_map(|tracked| {
                    let instance = self.maps.instance(tracked.slot).ok()?;
                    let reason = match &tracked.resolution {
                        Resolution::Unresolved(search) => format!("image unknown: {}", search.reason),
                        Resolution::Provisional(_, search) => {
                            format!("image unknown, provisional profile of its own: {}", search.reason)
                        }
                        Resolution::NotObservable(_, isolation) => not_observable(*isolation),
                        _ => drift_reason(tracked, &instance)?,
                    };
                    Some(support::container_check(
                        tracked.id.as_ref().map_or("", |id| id.short()),
                        reason,
                    ))
                }),
        );
        let followed = self.containers.values().filter(|tracked| !tracked.is_removed());
        checks.extend(followed.filter_map(|tracked| {
            let id = tracked.id.as_ref().map_or("", |id| id.short());
            Some(support::container_check(id, tracked.not_followed.clone()?))
        }));
        let present = self.containers.values().filter(|tracked| !tracked.is_removed());
        checks.extend(present.flat_map(waiting_checks));
        let present = self.containers.values().filter(|tracked| !tracked.is_removed());
        checks.extend(present.filter_map(unsigned_checks));
        checks.push(support::pin_check(self.kernel.pins(), &self.config.bpffs));
        checks.extend(self.answering_checks());
        checks.push(support::confinement_check(self.config.confine));
        checks.extend(self.canary_check());
        checks.push(support::memory_check());
        if let Ok(node) = self.maps.node() {
            checks.push(support::node_check(&node));
        }
        DoctorView {
            checked_by: CheckedBy::Agent,
            tiers: self.tiers(),
            checks,
        }
    }
}

/// What the agent has given up.
fn confinement() -> ConfinementView {
    let state = confine::state();
    ConfinementView {
        text: state.to_string(),
        confined: state.is_confined(),
        capabilities: state.capabilities,
        no_new_privileges: state.no_new_privileges,
        filtered: state.filtered,
    }
}

pub(super) fn behaviour_view(
    section: Section,
    behaviour: &Behaviour,
    state: BehaviourState,
    windows: u64,
) -> BehaviourView {
    BehaviourView {
        section: Some(section),
        parts: BehaviourParts::from(behaviour),
        sha256: Vec::new(),
        state,
        windows,
        note: None,
        support: None,
    }
}

/// The domains of a container in which what was to be enforced is only reported.
fn waiting_checks(tracked: &Tracked) -> impl Iterator<Item = Check> {
    let id = tracked.id.as_ref().map_or("", |id| id.short());
    let mut sources = tracked.modes.iter().map(|(_, source)| source);
    let is_changed = sources.any(|source| *source == ModeSource::Changed);
    let changed = is_changed.then(|| {
        let reason = "its image has changed since the one before: `enforce` only refuses drift until `driftlock profile approve`";
        support::container_check(id, reason.to_owned())
    });
    unlearned_checks(tracked).chain(changed)
}

/// Those of which nothing was learned.
fn unlearned_checks(tracked: &Tracked) -> impl Iterator<Item = Check> {
    let id = tracked.id.as_ref().map_or("", |id| id.short());
    let unlearned = Domain::ALL
        .iter()
        .filter(|domain| tracked.modes[**domain as usize].1 == ModeSource::Unlearned);
    unlearned.map(move |domain| {
        let reason = format!(
            "nothing was learned of domain {domain}, so that `enforce` only reports there: `driftlock mode set learn --domain \
             {domain}` begins"
        );
        support::container_check(id, reason)
    })
}

/// What supports a rule for several paths; `None` for any other behaviour.
fn support(profile: &Profile, section: Section, behaviour: &Behaviour) -> Option<RuleSupportView> {
    let Behaviour::File(rule) = behaviour else {
        return None;
    };
    matches!(rule.pattern, FilePattern::Pattern(_)).then(|| {
        let (paths, windows) = profile.support(section, rule);
        RuleSupportView { paths, windows }
    })
}

/// Why a container is not observable.
fn not_observable(isolation: Isolation) -> String {
    format!(
        "not observable: it runs in {}, so its processes are none of this kernel's",
        isolation.as_str()
    )
}

/// Storage drivers, by their names in each runtime, whose root filesystems are overlays.
const OVERLAYS: &[&str] = &["overlay2", "overlayfs", "overlay", "stargz", "soci", "nydus"];

/// Why drift cannot be told in a container; `None` if it can.
fn drift_reason(tracked: &Tracked, instance: &Instance) -> Option<String> {
    if instance.first_exec == 0 {
        return Some("it has not executed anything yet".to_owned());
    }
    let driver = tracked.known().map(|known| known.info.storage.driver.as_str())?;
    (!OVERLAYS.contains(&driver)).then(|| {
        format!(
            "its root filesystem ({driver}) has no layers: every file is `{}`",
            Layer::Unknown
        )
    })
}
