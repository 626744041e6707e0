//! Where a runtime runs: its run directory, and what `/sys/fs/cgroup` looks like to it.
//!
//! For the layouts that this machine does not have, a mount namespace of its own shows the runtime, and the agent beside
//! it, another `/sys/fs/cgroup`; the machine's own stays as it is.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::cleanup;

/// What `/sys/fs/cgroup` looks like to the runtime and the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 controllers with version 2 beside them, as systemd calls it. What the build machine has.
    Hybrid,
    /// Version 2 alone.
    PureV2,
    /// Version 1 alone.
    V1,
}

/// A run directory and, where the layout needs it, a mount namespace.
#[derive(Debug)]
pub struct Place {
    layout: Layout,
    directory: PathBuf,
    namespace: Option<Namespace>,
    /// Parents of containers' cgroups that were not there before.
    parents: Vec<PathBuf>,
}

/// A mount namespace, held by a process that waits for the end of its input.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hybrid, Self::PureV2, Self::V1];

    /// What makes the layout out of the machine's, in a mount namespace of its own.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Hybrid => None,
            Self::PureV2 => Some("umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"),
            Self::V1 => Some("umount /sys/fs/cgroup/unified"),
        }
    }
}

impl Place {
    /// A new one for a runtime that creates containers' cgroups below `parents`, names at the top of each hierarchy.
    pub fn create(layout: Layout, parents: &[&str]) -> anyhow::Result<Self> {
        Ok(Self {
            layout,
            directory: cleanup::run_directory()?,
            namespace: layout.script().map(Namespace::create).transpose()?,
            parents: cleanup::hierarchies()
                .iter()
                .flat_map(|hierarchy| parents.iter().map(move |parent| hierarchy.join(parent)))
                .filter(|parent| !parent.exists())
                .collect(),
        })
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where all of it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that runs where the runtime runs: in its mount namespace.
    #[must_use]
    pub fn beside(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                // It replaces itself by the program, which so keeps the process id that is known here.
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--mount=/proc/{}/ns/mnt", namespace.holder.id()))
                    .arg("--")
                    .arg(program);
                command
            }
        }
    }

    /// Ends and removes what is left of it. To be called when the runtime has ended.
    pub fn remove(&self) {
        cleanup::remove(&self.directory);
        for parent in &self.parents {
            cleanup::remove_empty(parent);
        }
    }
}

impl Namespace {
    fn create(script: &str) -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "mount --make-rprivate / && {script} && echo ready && exec cat"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no standard output")?).read_line(&mut line)?;
        ensure!(
            line == "ready\n",
            "the mount namespace could not be made: {script}"
        );
        Ok(Self { holder })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
