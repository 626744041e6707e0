//! What an attacker in a container may try, what has to come of it, and what really came of it.
//!
//! The demonstration shows these as a table, `tests/exec_drift.rs` asserts them. What came of an attempt is taken from
//! its effect in the container: a witness that the program leaves, and how its parent saw it end. The alert is compared
//! on top of that, and never stands in for the effect.

use anyhow::Context as _;
use serde_json::Value;

use crate::agent::Agent;
use crate::image::PAYLOAD;
use crate::runtime::{Container, Runtime};
use crate::service::{Outcomes, Service, Stop};
use crate::stage::{ALERT_PATIENCE, Stage, is_about};

/// Where the attempts are made: a container of a learned image in mode `enforce`, with a volume that holds
/// `/data/tool`, a program that did not come with the image.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The container runtime.
    pub runtime: &'a dyn Runtime,
    /// The agent.
    pub agent: &'a Agent,
    /// The container.
    pub service: &'a Service,
    /// What this kernel does about what is enforced.
    pub stop: Stop,
    /// What is done about drift in the container's root filesystem.
    pub stop_at_root: Stop,
}

/// An attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// What is tried, for people.
    pub name: &'static str,
    /// What has to come of it.
    pub expected: Expected,
    /// Makes the attempt; the program, if it runs, leaves a witness at the path.
    make: fn(&Scene<'_>, &str) -> anyhow::Result<Ending>,
}

/// What has to come of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The program is killed or refused before it does anything, and an alert of this kind and layer says so.
    Stopped {
        /// The alert's kind.
        kind: &'static str,
        /// The layer of the program.
        layer: &'static str,
    },
    /// The program runs, and an alert of this kind says so.
    Reported {
        /// The alert's kind.
        kind: &'static str,
    },
    /// The program runs and nobody hears of it.
    Untouched,
}

/// How the attempted program ended, as its parent saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, successfully.
    Succeeded,
    /// In this way.
    Stopped(Stop),
    /// In another way.
    Other,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Result {
    /// What was tried.
    pub attempt: Attempt,
    /// What this kernel does about what is enforced.
    pub stop: Stop,
    /// How the program ended.
    pub ending: Ending,
    /// The program left its witness.
    pub ran: bool,
    /// The alert about it, if one came.
    pub alert: Option<Value>,
}

/// The attempts that do not depend on a policy.
pub const ATTEMPTS: &[Attempt] = &[
    Attempt {
        name: "a program dropped in /tmp",
        expected: Expected::Stopped {
            kind: "exec.drift",
            layer: "upper",
        },
        make: |scene, witness| {
            Stage::drop_payload(scene.service, "/tmp/dropped")?;
            scene.start(&["/tmp/dropped", witness])
        },
    },
    Attempt {
        name: "a program in memory alone (memfd)",
        expected: Expected::Stopped {
            kind: "exec.drift",
            layer: "anonymous",
        },
        make: |scene, witness| scene.start(&["/usr/bin/memfd", PAYLOAD, witness]),
    },
    Attempt {
        name: "an image program that never ran while learning",
        expected: Expected::Stopped {
            kind: "exec.unknown",
            layer: "image",
        },
        make: |scene, witness| scene.start(&["/bin/rotate", witness]),
    },
    Attempt {
        name: "a busybox applet that never ran while learning",
        expected: Expected::Stopped {
            kind: "exec.unknown",
            layer: "image",
        },
        make: |scene, witness| scene.start(&["/bin/touch", witness]),
    },
    Attempt {
        name: "an image program whose content was changed",
        expected: Expected::Stopped {
            kind: "exec.drift",
            layer: "upper",
        },
        make: |scene, witness| {
            scene.prepare(&["/bin/cp", PAYLOAD, "/bin/report"])?;
            scene.start(&["/bin/report", witness])
        },
    },
    Attempt {
        name: "a program from a volume",
        expected: Expected::Stopped {
            kind: "exec.drift",
            layer: "volume",
        },
        make: |scene, witness| scene.start(&["/data/tool", witness]),
    },
    Attempt {
        name: "a dropped program, by docker exec",
        expected: Expected::Stopped {
            kind: "exec.drift",
            layer: "upper",
        },
        make: |scene, witness| {
            Stage::drop_payload(scene.service, "/tmp/dropped_too")?;
            scene.exec(&["/tmp/dropped_too", witness])
        },
    },
];

/// `docker exec` of a shell where `exec_into` is `alert`.
pub const SHELL_ALERT: Attempt = Attempt {
    name: "docker exec of a shell, exec_into: alert",
    expected: Expected::Reported { kind: "exec.into" },
    make: shell,
};

/// `docker exec` of a shell where `exec_into` is `deny`.
pub const SHELL_DENY: Attempt = Attempt {
    name: "docker exec of a shell, exec_into: deny",
    expected: Expected::Stopped {
        kind: "exec.into",
        layer: "image",
    },
    make: shell,
};

/// An exec probe that was accepted: `/bin/fetch` for what enters from outside.
pub const ACCEPTED_PROBE: Attempt = Attempt {
    name: "an exec probe that was accepted",
    expected: Expected::Untouched,
    make: |scene, witness| scene.exec(&["/bin/fetch", witness]),
};

/// A program that the profile holds.
pub const CONFORMING: Attempt = Attempt {
    name: "a program that was learned",
    expected: Expected::Untouched,
    make: |scene, witness| scene.start(&["/bin/fetch", witness]),
};

/// A redirection is the shell's own work: no other program is needed for the witness.
fn shell(scene: &Scene<'_>, witness: &str) -> anyhow::Result<Ending> {
    scene.exec(&["/bin/sh", "-c", &format!("echo shell > {witness}")])
}

impl Attempt {
    /// Makes the attempt and finds out what came of it.
    pub fn make(self, scene: &Scene<'_>) -> anyhow::Result<Result> {
        let witness = format!(
            "/tmp/witness-{}",
            self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        );
        let mark = scene.agent.mark();
        let ending = (self.make)(scene, &witness).with_context(|| format!("cannot try {}", self.name))?;
        let ran = scene.runtime.read(scene.container(), &witness)?.is_some();
        // An alert without an action is not held back: what has not come by then does not come.
        let patience = if self.expected == Expected::Untouched {
            std::time::Duration::from_secs(2)
        } else {
            ALERT_PATIENCE
        };
        let id = &scene.container().id;
        let alert = scene.agent.wait_for_alert(mark, patience, |alert| {
            is_about(alert, id) && alert["repeats_of"].is_null()
        });
        Ok(Result {
            attempt: self,
            stop: match self.expected {
                Expected::Stopped { layer: "upper", .. } => scene.stop_at_root,
                _ => scene.stop,
            },
            ending,
            ran,
            alert,
        })
    }
}

impl Result {
    /// What is wrong; nothing if all is as it has to be.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (ran, ending) = match self.attempt.expected {
            Expected::Stopped { .. } => (false, Ending::Stopped(self.stop)),
            Expected::Reported { .. } | Expected::Untouched => (true, Ending::Succeeded),
        };
        if self.ran != ran {
            faults.push(if self.ran { "it ran" } else { "it did not run" }.to_owned());
        }
        if self.ending != ending {
            faults.push(format!("it ended otherwise: {:?}", self.ending));
        }
        let field = |path: &str| {
            self.alert
                .as_ref()
                .and_then(|alert| alert.pointer(path))
                .cloned()
                .unwrap_or_default()
        };
        let mut check = |path: &str, wanted: Value| {
            let found = field(path);
            if found != wanted {
                faults.push(format!("the alert's {path} is {found}, not {wanted}"));
            }
        };
        match (self.attempt.expected, &self.alert) {
            (Expected::Untouched, None) => {}
            (Expected::Untouched, Some(alert)) => {
                faults.push(format!("there was an alert: {}", alert["kind"]));
            }
            (_, None) => faults.push("there was no alert".to_owned()),
            (Expected::Stopped { kind, layer }, Some(_)) => {
                check("/kind", kind.into());
                check("/behaviour/layer", layer.into());
                check("/action/taken", self.stop.as_str().into());
                check("/action/confirmed", true.into());
            }
            (Expected::Reported { kind }, Some(_)) => {
                check("/kind", kind.into());
                check("/action/taken", "none".into());
            }
        }
        faults
    }
}

impl<'a> Scene<'a> {
    /// A container on a stage.
    #[must_use]
    pub fn new(stage: &'a Stage, service: &'a Service) -> Self {
        Self {
            runtime: stage.runtime.as_ref(),
            agent: &stage.agent,
            service,
            stop: stage.stop,
            stop_at_root: stage.stop_at_root,
        }
    }

    fn container(&self) -> &Container {
        &self.service.container
    }

    /// Does what the attacker needs first, with programs that are allowed.
    fn prepare(&self, argv: &[&str]) -> anyhow::Result<()> {
        let outcome = self.service.start(argv)?;
        anyhow::ensure!(
            outcome.all_succeeded(),
            "{argv:?}, which is allowed, did not succeed: {outcome:?}"
        );
        Ok(())
    }

    /// By the container's own first process.
    fn start(&self, argv: &[&str]) -> anyhow::Result<Ending> {
        Ok(Ending::of(&self.service.start(argv)?))
    }

    /// From outside.
    fn exec(&self, argv: &[&str]) -> anyhow::Result<Ending> {
        let output = self.runtime.exec(self.container(), argv)?;
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        // What a runtime says of a program that it may not execute, for which Docker has no exit code of its own.
        let said = String::from_utf8_lossy(&said);
        if said.contains("operation not permitted") {
            return Ok(Ending::Stopped(Stop::NotPermitted));
        }
        if said.contains("permission denied") {
            return Ok(Ending::Stopped(Stop::Denied));
        }
        Ok(match output.status.code() {
            Some(0) => Ending::Succeeded,
            // What a shell says of a child that was ended by signal 9: 128 + 9.
            Some(137) => Ending::Stopped(Stop::Killed),
            // What a shell says of a program that it may not execute, and Docker of one that the runtime may not.
            Some(126) => Ending::Stopped(Stop::Denied),
            _ => {
                eprintln!("exec {argv:?} ended with {}: {said}", output.status);
                Ending::Other
            }
        })
    }
}

impl Ending {
    fn of(outcomes: &Outcomes) -> Self {
        if outcomes.all_succeeded() {
            Self::Succeeded
        } else if outcomes.all_killed() {
            Self::Stopped(Stop::Killed)
        } else if outcomes.all_denied() {
            Self::Stopped(Stop::Denied)
        } else if outcomes.all_not_permitted() {
            Self::Stopped(Stop::NotPermitted)
        } else {
            Self::Other
        }
    }
}
