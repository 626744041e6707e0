//! What did not come with the image is refused before anything of it runs, whichever of the files that an execution needs it
//! is; and without enforcement all of it runs and is told once.
//!
//! One container is tried in both modes. Where this kernel cannot refuse executions, the agent has to say exactly why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent::Options;
use tests::image::{FOREIGN_LOADER, INTERPRETED, INTERPRETER, LOADED, LOADER, ODD_SCRIPT, PAYLOAD};
use tests::runtime::Layout;
use tests::service::{Outcomes, Service};
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};
use tests::support;

/// Without this Docker's system call filter refuses the mount before anything is executed.
const UNCONFINED: &str = "--security-opt=seccomp=unconfined";

/// Starts of each kind that are refused one after the other.
const STARTS: u64 = 1_000;

/// What is tried, and what the alert has to say about it.
struct Case {
    name: &'static str,
    /// In which `WITNESS` stands for the path of the witness.
    argv: &'static [&'static str],
    kind: &'static str,
    layer: &'static str,
    /// The end of the path.
    path: &'static str,
    part: &'static str,
}

/// Files that an attacker puts in place first, with programs that were learned: what is copied, and where to.
const DROPPED: [(&str, &str); 4] = [
    (PAYLOAD, "/tmp/dropped"),
    (PAYLOAD, "/tmp/dropped-for-a-shell"),
    (PAYLOAD, INTERPRETER),
    (LOADER, FOREIGN_LOADER),
];

const SCRIPT: &str = "/tmp/dropped.sh";
/// A shell starts what it may not: it says so, and that is its status.
const SHELL: &str = "/tmp/dropped-for-a-shell WITNESS 2>/tmp/said; echo $? >/tmp/status";

const CASES: [Case; 9] = [
    Case {
        name: "a dropped program",
        argv: &["/tmp/dropped", "WITNESS"],
        kind: "exec.drift",
        layer: "upper",
        path: "/tmp/dropped",
        part: "program",
    },
    Case {
        name: "a dropped program, by a shell",
        argv: &["/bin/sh", "-c", SHELL],
        kind: "exec.drift",
        layer: "upper",
        path: "/tmp/dropped-for-a-shell",
        part: "program",
    },
    Case {
        name: "a dropped script with an interpreter of the image",
        argv: &[SCRIPT, "WITNESS"],
        kind: "exec.drift",
        layer: "upper",
        path: SCRIPT,
        part: "script",
    },
    Case {
        name: "a script of the image with a dropped interpreter",
        argv: &[ODD_SCRIPT],
        kind: "exec.drift",
        layer: "upper",
        path: INTERPRETER,
        part: "program",
    },
    Case {
        name: "a program of the image that names a dropped loader",
        argv: &[LOADED, "WITNESS"],
        kind: "exec.drift",
        layer: "upper",
        path: FOREIGN_LOADER,
        part: "loader",
    },
    Case {
        name: "a program in memory alone",
        argv: &["/usr/bin/memfd", PAYLOAD, "WITNESS"],
        kind: "exec.drift",
        layer: "anonymous",
        path: "",
        part: "program",
    },
    Case {
        name: "a program on a mount of its own",
        argv: &[
            "/usr/bin/detached",
            "--own-namespaces",
            PAYLOAD,
            "/bin/fetch",
            "WITNESS",
        ],
        kind: "exec.drift",
        layer: "foreign",
        path: "/bin/fetch",
        part: "program",
    },
    Case {
        name: "a program of the image that was written to",
        argv: &["/bin/report", "WITNESS"],
        kind: "exec.drift",
        layer: "upper",
        path: "/bin/report",
        part: "program",
    },
    Case {
        name: "a program of the image that was never seen",
        argv: &["/bin/rotate", "WITNESS"],
        kind: "exec.unknown",
        layer: "image",
        path: "/bin/rotate",
        part: "program",
    },
];

#[test]
fn what_is_enforced_is_refused_and_what_is_monitored_is_told_once() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("full"))?;
    if support::tier(&stage.agent, "exec")? != "deny" {
        return lite(&stage);
    }
    // Neither ran: the one for want of its loader, the other for want of its interpreter.
    for path in [LOADED, ODD_SCRIPT] {
        stage.agent.accept(IMAGE, path)?;
    }
    stage.agent.set_mode("monitor", IMAGE)?;
    let volume = stage.host_directory("witnesses")?;
    let options = [UNCONFINED, &format!("--volume={}:/data", volume.display())];
    let service = stage.service("full", &options)?;
    prepare(&service)?;
    monitored(&stage, &service)?;
    stage.agent.set_mode("enforce", IMAGE)?;
    enforced(&stage, &service)?;

    let denied = stage.agent.counter("denied")?;
    for argv in [["/tmp/dropped", "/data/{}"], [SCRIPT, "/data/{}"]] {
        let outcomes = service.start_many(STARTS, &argv)?;
        let expected = Outcomes {
            denied: STARTS,
            ..Outcomes::default()
        };
        assert_eq!(outcomes, expected, "{argv:?}; log:\n{}", stage.agent.log());
    }
    assert_eq!(std::fs::read_dir(&volume)?.count(), 0, "something ran");
    assert_eq!(stage.agent.counter("denied")? - denied, 2 * STARTS);
    assert!(service.start_many(20, &["/bin/fetch"])?.all_succeeded());
    Ok(())
}

/// The agent says why, to everybody who asks.
fn lite(stage: &Stage) -> anyhow::Result<()> {
    let reason = support::reason(&stage.agent, "exec")?;
    let doctor = stage.agent.json(&["doctor"])?;
    assert_eq!(support::field(&doctor, "exec", "reason")?, reason);
    let refused = "no full tier: ";
    let why = reason.split(refused).nth(1).unwrap_or_default();
    assert!(
        ["Operation not permitted", "`bpf` is not in its list of LSMs"]
            .iter()
            .any(|known| why.contains(known)),
        "not a reason that is known: {reason}"
    );
    support::not_on_this_kernel("executions that are refused", why);
    Ok(())
}

/// Puts in place what will be tried, by means that the profile holds.
fn prepare(service: &Service) -> anyhow::Result<()> {
    for (from, to) in DROPPED {
        for argv in [["/bin/cp", from, to], ["/bin/chmod", "755", to]] {
            let outcome = service.start(&argv)?;
            assert!(outcome.all_succeeded(), "{argv:?}: {outcome:?}");
        }
    }
    let script = format!("echo '#!/bin/sh' >{SCRIPT}; echo 'echo ran >$1' >>{SCRIPT}; echo x >>/bin/report");
    assert!(service.start(&["/bin/sh", "-c", &script])?.all_succeeded());
    assert!(service.start(&["/bin/chmod", "755", SCRIPT])?.all_succeeded());
    Ok(())
}

fn monitored(stage: &Stage, service: &Service) -> anyhow::Result<()> {
    let mark = stage.agent.mark();
    for (number, case) in CASES.iter().enumerate() {
        let (outcome, witness) = case.start(stage, service, &format!("/tmp/monitored-{number}"))?;
        assert!(
            outcome.all_succeeded() && witness,
            "{}: {outcome:?}, witness: {witness}; log:\n{}",
            case.name,
            stage.agent.log()
        );
    }
    check_alerts(stage, service, mark, "none");
    Ok(())
}

fn enforced(stage: &Stage, service: &Service) -> anyhow::Result<()> {
    // From the shell's redirection on, which is not an execution.
    service.start(&["/bin/sh", "-c", &format!(": >{INTERPRETED}")])?;
    let mark = stage.agent.mark();
    for (number, case) in CASES.iter().enumerate() {
        let (outcome, witness) = case.start(stage, service, &format!("/tmp/enforced-{number}"))?;
        let is_shell = case.argv.contains(&SHELL);
        assert!(
            (outcome.all_denied() || is_shell) && !witness,
            "{}: {outcome:?}, witness: {witness}; log:\n{}",
            case.name,
            stage.agent.log()
        );
    }
    let said = |path: &str| stage.runtime.read(&service.container, path);
    assert_eq!(said("/tmp/status")?.as_deref(), Some("126\n"));
    let words = said("/tmp/said")?.unwrap_or_default();
    assert!(words.contains("Permission denied"), "{words}");
    check_alerts(stage, service, mark, "denied");
    Ok(())
}

impl Case {
    /// Makes the attempt; says how it ended, and whether a witness was left.
    fn start(&self, stage: &Stage, service: &Service, witness: &str) -> anyhow::Result<(Outcomes, bool)> {
        let argv: Vec<String> = self
            .argv
            .iter()
            .map(|word| word.replace("WITNESS", witness))
            .collect();
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let outcome = service.start(&words)?;
        let witness = if self.path == INTERPRETER {
            INTERPRETED
        } else {
            witness
        };
        let left = stage.runtime.read(&service.container, witness)?;
        Ok((outcome, left.is_some_and(|text| !text.is_empty())))
    }

    fn is_told_by(&self, alert: &Value) -> bool {
        let behaviour = &alert["behaviour"];
        let path = behaviour["path"].as_str().unwrap_or_default();
        alert["kind"] == self.kind
            && behaviour["layer"] == self.layer
            && behaviour["part"] == self.part
            && path.ends_with(self.path)
    }
}

/// Each case was told once, and nothing else was.
fn check_alerts(stage: &Stage, service: &Service, mark: usize, action: &str) {
    let told = || -> Vec<Value> {
        let alerts = stage.agent.alerts().into_iter().skip(mark);
        alerts
            .filter(|alert| is_about(alert, &service.container.id))
            .collect()
    };
    let deadline = Instant::now() + ALERT_PATIENCE * 2;
    while told().len() < CASES.len() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    // What comes late is one too many.
    std::thread::sleep(Duration::from_secs(2));
    let alerts = told();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in &alerts {
        let case = CASES.iter().find(|case| case.is_told_by(alert));
        let name = case.map_or("unexpected", |case| case.name);
        *counts.entry(name).or_default() += 1;
        assert_eq!(alert["action"]["taken"], action, "{name}: {alert:#}");
        assert_eq!(
            alert["action"]["confirmed"],
            action == "denied",
            "{name}: {alert:#}"
        );
        assert_eq!(alert["count"], 1, "{name}: {alert:#}");
        assert_eq!(alert["process"]["state"], "main", "{name}: {alert:#}");
    }
    let once: BTreeMap<&str, usize> = CASES.iter().map(|case| (case.name, 1)).collect();
    assert_eq!(counts, once, "{alerts:#?}\nlog:\n{}", stage.agent.log());
}
