//! Docker, through what it keeps on disk. Its socket is not needed, so the agent has no way to command it.
//!
//! Input: the data directories of every `dockerd` on the host ([`daemon`]), and in each the descriptions of containers
//! and images ([`metadata`]). Output: [`ContainerInfo`]. Failure: [`RuntimeError`]; [`RuntimeError::is_retryable`] tells
//! what may be gone at the next try.
//!
//! dockerd writes each file beside its place and renames it, so that a reader sees the old or the new content. A
//! container's description is complete before its cgroup is made; that it runs, and as which process, is added a
//! moment after its start.

pub mod daemon;
pub mod metadata;

use std::path::{Path, PathBuf};

use super::data_root::DataRoot;
use super::error::RuntimeError;
use super::id::ContainerId;
use super::info::ContainerInfo;
use super::process::RuntimeProcess;

/// What an operator may say about Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// Data directories to look into, whether or not a daemon uses them now.
    pub data_roots: Vec<PathBuf>,
    /// Also look into those of the running daemons, and into the default one.
    pub find_daemons: bool,
}

/// The name of Docker's daemon as a process.
pub const DAEMON: &str = "dockerd";

/// Docker's containers on this host.
#[derive(Debug)]
pub struct Docker {
    config: DockerConfig,
    roots: Vec<DataRoot>,
    problems: Vec<RuntimeError>,
}

/// The containers that run, and what could not be read on the way.
#[derive(Debug, Default)]
pub struct Running {
    /// The containers.
    pub containers: Vec<ContainerInfo>,
    /// Containers or directories that could not be read.
    pub errors: Vec<RuntimeError>,
}

// === impl DockerConfig ===

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            data_roots: Vec::new(),
            find_daemons: true,
        }
    }
}

// === impl Docker ===

impl Docker {
    /// Docker with the data directories that are configured; [`Docker::refresh`] finds those of running daemons.
    #[must_use]
    pub fn new(config: DockerConfig) -> Self {
        Self {
            config,
            roots: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Looks for data directories again, given the runtimes' processes that run. What cannot be read is among
    /// [`Docker::problems`]. A data directory stays known when its daemon has ended, as long as the directory can be
    /// read (containers may outlive their daemon).
    pub fn refresh(&mut self, processes: &[RuntimeProcess]) {
        let (roots, problems) = daemon::find(&self.config, &self.roots, processes);
        self.roots = roots;
        self.problems = problems;
    }

    /// The data directories that are looked into, as this process sees them.
    pub fn data_roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.directory.as_path())
    }

    /// What the last [`Docker::refresh`] could not read.
    #[must_use]
    pub fn problems(&self) -> &[RuntimeError] {
        &self.problems
    }

    /// The container with this id; `None` if no known daemon has one (which a [`Docker::refresh`] may change). If
    /// several have, as with a copied data directory, the one that runs.
    pub fn find(&self, id: &ContainerId) -> Result<Option<ContainerInfo>, RuntimeError> {
        let mut found: Option<ContainerInfo> = None;
        let mut failed = None;
        for root in &self.roots {
            match metadata::container(root, id) {
                Ok(Some(info)) if found.is_none() || info.running => {
                    let running = info.running;
                    found = Some(info);
                    if running {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (found, failed) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// All containers that run.
    #[must_use]
    pub fn running(&self) -> Running {
        let mut running = Running::default();
        for root in &self.roots {
            match metadata::container_ids(root) {
                Ok(ids) => {
                    for id in ids {
                        match metadata::container(root, &id) {
                            Ok(Some(info)) if info.running => running.containers.push(info),
                            Ok(_) => {}
                            Err(error) => running.errors.push(error),
                        }
                    }
                }
                Err(error) if error.is_absent() => {}
                Err(error) => running.errors.push(error.into()),
            }
        }
        running
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
