//! Docker, through what it keeps on disk. Its socket is not needed, so the agent has no way to command it.
//!
//! Input: the data directories of every `dockerd` on the host ([`daemon`]), and in each the descriptions of containers
//! and images ([`metadata`]). Output: [`ContainerInfo`]. Failure: [`DockerError`]; [`DockerError::is_retryable`] tells
//! what may be gone at the next try.
//!
//! dockerd writes each file beside its place and renames it, so that a reader sees the old or the new content. A
//! container's description is complete before its cgroup is made; that it runs, and as which process, is added a
//! moment after its start.

pub mod daemon;
pub mod metadata;

use std::path::{Path, PathBuf};

use daemon::{DataRoot, MAX_DATA_ROOTS};

use super::id::ContainerId;
use super::info::ContainerInfo;
use super::read::{ReadError, show};

/// What an operator may say about Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// Data directories to look into, whether or not a daemon uses them now.
    pub data_roots: Vec<PathBuf>,
    /// Also look into those of the running daemons, and into the default one.
    pub find_daemons: bool,
}

/// Docker's containers on this host.
#[derive(Debug)]
pub struct Docker {
    config: DockerConfig,
    roots: Vec<DataRoot>,
    problems: Vec<DockerError>,
}

/// The containers that run, and what could not be read on the way.
#[derive(Debug, Default)]
pub struct Running {
    /// The containers.
    pub containers: Vec<ContainerInfo>,
    /// Containers or directories that could not be read.
    pub errors: Vec<DockerError>,
}

/// Why a container, or a daemon's data directory, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// A file or directory could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file ends early or is damaged: it may be being written.
    #[error("`{}` is no complete JSON document: {source}", show(path))]
    Incomplete {
        /// Which file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The file is a JSON document of another form.
    #[error("`{}` is not as Docker writes it: {problem}", show(path))]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody other than root can write the file, so that it proves nothing.
    #[error("`{}` is not trusted: owned by uid {owner} with mode {mode:o}", show(path))]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Images are kept by containerd, which names them by their manifest. Their config digest is not on record.
    #[error(
        "`{}` uses the image store of containerd (driver `{driver}`), which is not supported",
        show(path)
    )]
    ImageStore {
        /// Which container's description.
        path: PathBuf,
        /// The storage driver.
        driver: String,
    },
    /// The daemon through whose root the file was read has ended meanwhile.
    #[error(
        "the dockerd with process id {pid} ended while `{}` was being read",
        show(path)
    )]
    DaemonEnded {
        /// Which file.
        path: PathBuf,
        /// Whose root it was read through.
        pid: u32,
    },
    /// There are more data directories than are looked at.
    #[error(
        "there are more than {MAX_DATA_ROOTS} data directories; `{}` is left out",
        show(path)
    )]
    TooManyDataRoots {
        /// The one that is left out.
        path: PathBuf,
    },
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

// === impl DockerError ===

impl DockerError {
    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::DaemonEnded { .. })
    }
}

// === impl Docker ===

impl Docker {
    /// Finds the daemons' data directories. What cannot be read is among [`Docker::problems`].
    #[must_use]
    pub fn discover(config: &DockerConfig) -> Self {
        let mut docker = Self {
            config: config.clone(),
            roots: Vec::new(),
            problems: Vec::new(),
        };
        docker.refresh();
        docker
    }

    /// Looks for daemons again: one pass over `/proc`. A data directory stays known when its daemon has ended, as
    /// long as the directory can be read (containers may outlive their daemon).
    pub fn refresh(&mut self) {
        let (roots, problems) = daemon::find(&self.config, &self.roots);
        self.roots = roots;
        self.problems = problems;
    }

    /// The data directories that are looked into, as this process sees them.
    pub fn data_roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.directory.as_path())
    }

    /// What the last [`Docker::refresh`] could not read.
    #[must_use]
    pub fn problems(&self) -> &[DockerError] {
        &self.problems
    }

    /// The container with this id; `None` if no known daemon has one (which a [`Docker::refresh`] may change). If
    /// several have, as with a copied data directory, the one that runs.
    pub fn find(&self, id: &ContainerId) -> Result<Option<ContainerInfo>, DockerError> {
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
