//! Code that did not come with the image and is mapped executable: told in monitor, refused in enforce, whoever maps it and
//! however. What compilers at run time do is neither.
//!
//! One container is tried in both modes. Where this kernel does not see mappings, the agent has to say so, and why.

use std::time::Duration;

use serde_json::Value;
use tests::agent::Options;
use tests::image::{DYNAMIC, LOADER, PLUGIN};
use tests::runtime::Layout;
use tests::service::Service;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};
use tests::support;

/// A way to have code mapped, and what the alert has to say about it.
struct Case {
    name: &'static str,
    /// In which `@` stands for the path of the witness, which is left if the code was mapped.
    argv: &'static [&'static str],
    layer: &'static str,
    /// The end of the path.
    path: &'static str,
    protected: bool,
}

const CASES: [Case; 6] = [
    Case {
        name: "a dropped program that is given to the loader",
        argv: &[LOADER, "/tmp/program", "@"],
        layer: "upper",
        path: "/tmp/program",
        protected: false,
    },
    Case {
        name: "a dropped library that is preloaded",
        argv: &[
            "/bin/sh",
            "-c",
            "LD_PRELOAD=/tmp/preloaded.so PRELOAD_WITNESS=@ exec /usr/bin/dynamic",
        ],
        layer: "upper",
        path: "/tmp/preloaded.so",
        protected: false,
    },
    Case {
        name: "a library of the image that was replaced",
        argv: &[
            "/bin/sh",
            "-c",
            "LD_PRELOAD=/usr/lib/plugin.so PRELOAD_WITNESS=@ exec /usr/bin/dynamic",
        ],
        layer: "upper",
        path: PLUGIN,
        protected: false,
    },
    Case {
        name: "a library that a program maps itself",
        argv: &["/usr/bin/mapper", "library", "/tmp/mapped.so", "@"],
        layer: "upper",
        path: "/tmp/mapped.so",
        protected: false,
    },
    Case {
        name: "a file that is mapped and then made executable",
        argv: &["/usr/bin/mapper", "protected", "/tmp/protected.so", "@"],
        layer: "upper",
        path: "/tmp/protected.so",
        protected: true,
    },
    Case {
        name: "a library in memory alone",
        argv: &["/usr/bin/mapper", "memory", PLUGIN, "@"],
        layer: "anonymous",
        path: "",
        protected: false,
    },
];

/// How long to wait for what must not come.
const QUIET: Duration = Duration::from_secs(2);

const COMPILE: &[&str] = &["/usr/bin/mapper", "compile", "/tmp", "/tmp/compiled"];

#[test]
fn code_that_did_not_come_with_the_image_is_told_or_refused() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("library"))?;
    if support::tier(&stage.agent, "library")? != "deny" {
        return unseen(&stage);
    }
    stage.agent.accept(IMAGE, LOADER)?;
    stage.agent.set_mode("monitor", IMAGE)?;
    let service = stage.service("library", &[])?;
    let mark = stage.agent.mark();
    assert!(service.start(COMPILE)?.all_succeeded());
    assert!(service.start(&[LOADER, DYNAMIC])?.all_succeeded());
    metadata_alone(&stage, &service, mark)?;

    for (from, to) in [
        (DYNAMIC, "/tmp/program"),
        (PLUGIN, "/tmp/preloaded.so"),
        (PLUGIN, "/tmp/mapped.so"),
        (PLUGIN, "/tmp/protected.so"),
    ] {
        assert!(service.start(&["/bin/cp", from, to])?.all_succeeded());
    }
    let replace = format!("echo x >>{PLUGIN}");
    assert!(service.start(&["/bin/sh", "-c", &replace])?.all_succeeded());
    for (number, case) in CASES.iter().enumerate() {
        case.check(&stage, &service, &format!("/tmp/monitored-{number}"), "none")?;
    }

    stage.agent.set_mode("enforce", IMAGE)?;
    let mark = stage.agent.mark();
    assert!(service.start(COMPILE)?.all_succeeded());
    assert!(service.start(&[LOADER, DYNAMIC])?.all_succeeded());
    assert_eq!(told(&stage, &service, mark, QUIET), None);
    let denied = stage.agent.counter("denied")?;
    for (number, case) in CASES.iter().enumerate() {
        case.check(&stage, &service, &format!("/tmp/enforced-{number}"), "denied")?;
    }
    assert!(stage.agent.counter("denied")? - denied >= CASES.len() as u64);
    accepted(&stage, &service)
}

/// The agent says that it sees no mappings, and why, to everybody who asks.
fn unseen(stage: &Stage) -> anyhow::Result<()> {
    let doctor = stage.agent.json(&["doctor"])?;
    assert_eq!(support::field(&doctor, "library", "can")?, "none");
    let reason = support::field(&doctor, "library", "reason")?;
    assert_eq!(support::reason(&stage.agent, "library")?, reason);
    assert!(reason.starts_with("needs BPF LSM"), "{reason}");
    support::not_on_this_kernel("code that is mapped executable", &reason);
    Ok(())
}

/// A library of the image is nothing to tell, and one whose mode was changed is told once, as just that.
fn metadata_alone(stage: &Stage, service: &Service, mark: usize) -> anyhow::Result<()> {
    let plugin = &CASES[2];
    assert!(plugin.start(stage, service, "/tmp/plugin")?);
    assert_eq!(told(stage, service, mark, QUIET), None);
    assert!(service.start(&["/bin/chmod", "711", PLUGIN])?.all_succeeded());
    assert!(plugin.start(stage, service, "/tmp/changed-mode")?);
    let alert = told(stage, service, mark, ALERT_PATIENCE).unwrap_or_default();
    assert_eq!(alert["behaviour"]["note"], "metadata_only", "{alert:#}");
    assert_eq!(alert["severity"], "low", "{alert:#}");
    let mark = stage.agent.mark();
    assert!(plugin.start(stage, service, "/tmp/changed-mode-again")?);
    assert_eq!(told(stage, service, mark, QUIET), None);
    Ok(())
}

/// What an operator accepted by path and content is mapped, until its content changes.
fn accepted(stage: &Stage, service: &Service) -> anyhow::Result<()> {
    let preloaded = &CASES[1];
    stage
        .agent
        .done(&["profile", "accept", IMAGE, "--layer", "upper", preloaded.path])?;
    let mut is_mapped = false;
    for number in 0..50 {
        is_mapped = preloaded.start(stage, service, &format!("/tmp/accepted-{number}"))?;
        if is_mapped {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(is_mapped, "accepted, and not mapped; log:\n{}", stage.agent.log());
    let change = format!("echo x >>{}", preloaded.path);
    assert!(service.start(&["/bin/sh", "-c", &change])?.all_succeeded());
    preloaded.check(stage, service, "/tmp/changed", "denied")
}

/// The first alert about the container from `mark` on.
fn told(stage: &Stage, service: &Service, mark: usize, patience: Duration) -> Option<Value> {
    stage.agent.wait_for_alert(mark, patience, |alert| {
        is_about(alert, &service.container.id) && alert["repeats_of"].is_null()
    })
}

impl Case {
    /// Makes the attempt; says whether the code was mapped.
    fn start(&self, stage: &Stage, service: &Service, witness: &str) -> anyhow::Result<bool> {
        let argv: Vec<String> = self.argv.iter().map(|word| word.replace('@', witness)).collect();
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        service.start(&words)?;
        Ok(stage.runtime.read(&service.container, witness)?.is_some())
    }

    /// Makes the attempt and compares what came of it with what has to: the action that the alert tells of.
    fn check(&self, stage: &Stage, service: &Service, witness: &str, action: &str) -> anyhow::Result<()> {
        let mark = stage.agent.mark();
        let mapped = self.start(stage, service, witness)?;
        assert_eq!(
            mapped,
            action == "none",
            "{}; log:\n{}",
            self.name,
            stage.agent.log()
        );
        let alert = told(stage, service, mark, ALERT_PATIENCE);
        let alert = alert.unwrap_or_else(|| panic!("{}: no alert; log:\n{}", self.name, stage.agent.log()));
        let behaviour = &alert["behaviour"];
        assert_eq!(alert["kind"], "library.drift", "{}: {alert:#}", self.name);
        assert_eq!(alert["domain"], "library", "{}: {alert:#}", self.name);
        assert_eq!(alert["action"]["taken"], action, "{}: {alert:#}", self.name);
        assert_eq!(behaviour["layer"], self.layer, "{}: {alert:#}", self.name);
        assert_eq!(behaviour["protected"], self.protected, "{}: {alert:#}", self.name);
        let path = behaviour["path"].as_str().unwrap_or_default();
        assert!(path.ends_with(self.path), "{}: {alert:#}", self.name);
        assert!(alert["process"]["exe"].is_string(), "{}: {alert:#}", self.name);
        Ok(())
    }
}
