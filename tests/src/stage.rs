//! A container runtime, an agent and an image that is learned: where most tests begin.
//!
//! Input: which runtime on which cgroup layout, and what is particular about the agent. Output: [`Stage`]. Failure: whatever of it does not
//! start, with the agent's log.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::agent::{Agent, Options};

use crate::image::{self, DYNAMIC, PAYLOAD, SCRIPT};
use crate::runtime::{Kind, Layout, Runtime};
use crate::service::{Service, Stop};

/// The image of most tests.
pub const IMAGE: &str = "registry.example/app:1";

/// What a container of [`IMAGE`] does while it is learned. Each succeeds and does nothing that lasts.
const LEARNED_STARTS: &[&[&str]] = &[
    &["/bin/fetch"],
    &["/bin/report"],
    &[SCRIPT],
    &["/bin/cp", "/etc/passwd", "/tmp/passwd"],
    &["/bin/chmod", "755", "/tmp/passwd"],
    &["/usr/bin/memfd"],
    &["/usr/bin/detached"],
    &["/usr/bin/userns_overlay"],
    &["/usr/bin/repeat"],
    &["/usr/bin/from_thread"],
    &["/usr/bin/mapper"],
    &["/usr/bin/abuse"],
    &["/usr/bin/act"],
    &[DYNAMIC],
];

/// What the profile's main section holds after that.
pub const LEARNED: &[&str] = &[
    "/bin/service",
    "/bin/fetch",
    "/bin/report",
    "/bin/busybox sh",
    "/bin/busybox cp",
    "/bin/busybox chmod",
    "/usr/bin/memfd",
    "/usr/bin/detached",
    "/usr/bin/userns_overlay",
    "/usr/bin/repeat",
    "/usr/bin/from_thread",
    "/usr/bin/mapper",
    "/usr/bin/abuse",
    "/usr/bin/act",
    DYNAMIC,
];

/// How long an alert may take to come: a kill's waits for its confirmation.
pub const ALERT_PATIENCE: Duration = Duration::from_secs(10);

/// Which container runtime, on which cgroup layout. A layout alone means Docker, a kind alone the machine's own layout.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// The runtime.
    pub kind: Kind,
    /// The layout.
    pub layout: Layout,
}

/// A container runtime and an agent beside it. The agent goes first.
#[derive(Debug)]
pub struct Stage {
    /// The agent.
    pub agent: Agent,
    /// The container runtime.
    pub runtime: Box<dyn Runtime>,
    /// The image's config digest.
    pub digest: String,
    /// What this kernel does about what is enforced.
    pub stop: Stop,
    /// What is done about drift in containers' root filesystems.
    pub stop_at_root: Stop,
}

impl Stage {
    /// Starts a container runtime with [`IMAGE`] and an agent in its default mode.
    pub fn start(ground: impl Into<Ground>, options: &Options) -> anyhow::Result<Self> {
        let ground = ground.into();
        let runtime = ground.kind.start(ground.layout)?;
        let digest = image::build(runtime.as_ref(), IMAGE, "one")?;
        let agent = Agent::start(runtime.as_ref(), options)?;
        Self::of(agent, runtime, digest)
    }

    /// Of a container runtime that has [`IMAGE`], and an agent beside it.
    pub fn of(agent: Agent, runtime: Box<dyn Runtime>, digest: String) -> anyhow::Result<Self> {
        let stop = Stop::of(&agent)?;
        let stop_at_root = if agent.answering_process().is_some() {
            Stop::NotPermitted
        } else {
            stop
        };
        Ok(Self {
            agent,
            runtime,
            digest,
            stop,
            stop_at_root,
        })
    }

    /// As [`Stage::start`], and [`IMAGE`] has been learned. Its mode is still `learn`.
    pub fn learned(ground: impl Into<Ground>, options: &Options) -> anyhow::Result<Self> {
        let stage = Self::start(ground, options)?;
        stage.learn()?;
        Ok(stage)
    }

    /// As [`Stage::enforcing_on`], with Docker on the machine's own layout.
    pub fn enforcing(options: &Options) -> anyhow::Result<Self> {
        Self::enforcing_on(Kind::Docker, options)
    }

    /// As [`Stage::learned`], and [`IMAGE`] is in mode `enforce`.
    pub fn enforcing_on(ground: impl Into<Ground>, options: &Options) -> anyhow::Result<Self> {
        let stage = Self::learned(ground, options)?;
        stage.agent.set_mode("enforce", IMAGE)?;
        Ok(stage)
    }

    /// Has a container of [`IMAGE`] do what it does, and waits until the profile holds it.
    pub fn learn(&self) -> anyhow::Result<()> {
        let service = self.runtime.service("learning", IMAGE, &[], &["/bin/fetch"])?;
        for argv in LEARNED_STARTS {
            let outcome = service.start(argv)?;
            ensure!(outcome.all_succeeded(), "{argv:?} while learning: {outcome:?}");
        }
        let mut learned = LEARNED.to_vec();
        // Where scripts are denied they are seen.
        learned.extend((self.stop == Stop::Denied).then_some(SCRIPT));
        self.agent.wait_until_learned(IMAGE, &learned)?;
        self.runtime.remove(&service.detach())
    }

    /// Starts a container of [`IMAGE`] and waits until the agent knows it.
    pub fn service(&self, name: &str, options: &[&str]) -> anyhow::Result<Service> {
        let service = self.runtime.service(name, IMAGE, options, &[])?;
        self.agent.wait_until_resolved(&service.container.id)?;
        if self.stop_at_root == Stop::NotPermitted {
            self.agent.wait_until_answered(&service.container.id)?;
        }
        Ok(service)
    }

    /// Has a container put the payload at a path, executable, with programs that were learned.
    pub fn drop_payload(service: &Service, path: &str) -> anyhow::Result<()> {
        for argv in [["/bin/cp", PAYLOAD, path], ["/bin/chmod", "755", path]] {
            let outcome = service.start(&argv)?;
            ensure!(
                outcome.all_succeeded(),
                "{argv:?}, which is allowed, did not succeed: {outcome:?}"
            );
        }
        Ok(())
    }

    /// The first alert from `mark` on about a container.
    ///
    /// # Panics
    /// None comes.
    #[must_use]
    pub fn expect_alert(&self, mark: usize, service: &Service) -> Value {
        self.agent
            .wait_for_alert(mark, ALERT_PATIENCE, |alert| {
                is_about(alert, &service.container.id)
            })
            .unwrap_or_else(|| {
                panic!(
                    "no alert about {}; log:\n{}",
                    service.container.name,
                    self.agent.log()
                )
            })
    }

    /// A new directory on the host, for a volume.
    pub fn host_directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.runtime.place().directory().join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

impl From<Layout> for Ground {
    fn from(layout: Layout) -> Self {
        Self {
            kind: Kind::Docker,
            layout,
        }
    }
}

impl From<Kind> for Ground {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            layout: Layout::Hybrid,
        }
    }
}

/// Whether an alert is about this container.
#[must_use]
pub fn is_about(alert: &Value, container: &str) -> bool {
    alert["container"]["id"] == container
}
