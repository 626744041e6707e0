//! Podman and CRI-O, which keep their containers and images alike: through what they keep on disk.
//!
//! Input: the `conmon` processes that run ([`conmon`]), and the storages that they name ([`storage`]). Output:
//! [`ContainerInfo`]. Failure: [`RuntimeError`].
//!
//! The storage holds a container's description before its cgroup is made.

pub mod conmon;
pub mod storage;

use std::path::{Path, PathBuf};

use super::data_root::{DataRoot, MAX_DATA_ROOTS, below};
use super::error::RuntimeError;
use super::id::ContainerId;
use super::info::ContainerInfo;
use super::process::RuntimeProcess;
use super::read;
use conmon::Conmon;

/// Where root's storage is unless somebody says otherwise.
const DEFAULT_STORAGE: &str = "/var/lib/containers/storage";
/// Most bytes read of a file with a process's id.
const PID_FILE_BYTES: u64 = 64;

/// What an operator may say about Podman and CRI-O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodmanConfig {
    /// Storages to look into.
    pub storages: Vec<PathBuf>,
    /// Also look into those of running containers, and into the default one.
    pub find: bool,
}

/// Podman's and CRI-O's containers on this host.
#[derive(Debug)]
pub struct Podman {
    config: PodmanConfig,
    storages: Vec<DataRoot>,
    /// Of containers that run: which, and where the first process's id stands, as this process sees it.
    pid_files: Vec<(String, PathBuf)>,
    problems: Vec<RuntimeError>,
}

// === impl PodmanConfig ===

impl Default for PodmanConfig {
    fn default() -> Self {
        Self {
            storages: Vec::new(),
            find: true,
        }
    }
}

// === impl Podman ===

impl Podman {
    /// Podman with what is configured; [`Podman::refresh`] finds what runs.
    #[must_use]
    pub fn new(config: PodmanConfig) -> Self {
        Self {
            config,
            storages: Vec::new(),
            pid_files: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Looks for storages, given the runtimes' processes that run. A storage stays known as long as it can be read.
    pub fn refresh(&mut self, processes: &[RuntimeProcess]) {
        let known = std::mem::take(&mut self.storages);
        self.problems.clear();
        self.pid_files.clear();
        for storage in self.config.storages.clone() {
            self.add(DataRoot::in_own_namespace(&storage));
        }
        if !self.config.find {
            return;
        }
        for process in processes.iter().filter(|process| process.name == conmon::PROCESS) {
            let Some(conmon) = Conmon::parse(&process.arguments) else {
                continue;
            };
            let root = DataRoot::of_process(process.process, conmon.storage);
            if let Some(path) = conmon.pid_file {
                self.pid_files.push((conmon.id, below(&root.prefix, &path)));
            }
            self.add(root);
        }
        let default = DataRoot::in_own_namespace(Path::new(DEFAULT_STORAGE));
        for root in std::iter::once(default).chain(known) {
            if root.via.is_none_or(|process| process.is_alive()) && storage::is_storage(&root) {
                self.add(root);
            }
        }
    }

    fn add(&mut self, root: DataRoot) {
        if self.storages.iter().any(|one| one.directory == root.directory) {
            return;
        }
        if self.storages.len() == MAX_DATA_ROOTS {
            self.problems.push(RuntimeError::TooManyDataRoots {
                most: MAX_DATA_ROOTS,
                path: root.directory,
            });
        } else {
            self.storages.push(root);
        }
    }

    /// The storages that are looked into, as this process sees them.
    pub fn storages(&self) -> impl Iterator<Item = &Path> {
        self.storages.iter().map(|root| root.directory.as_path())
    }

    /// What the last [`Podman::refresh`] could not read.
    #[must_use]
    pub fn problems(&self) -> &[RuntimeError] {
        &self.problems
    }

    /// The container with this id; `None` if no known storage has one (which a [`Podman::refresh`] may change).
    pub fn find(&self, id: &ContainerId) -> Result<Option<ContainerInfo>, RuntimeError> {
        let mut failed = None;
        for root in &self.storages {
            match storage::container(root, id) {
                Ok(Some(mut info)) => {
                    info.init_pid = self.init_pid(id);
                    info.running = info.init_pid.is_some();
                    return Ok(Some(info));
                }
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The first process, which the runtime writes down when the container is made.
    fn init_pid(&self, id: &ContainerId) -> Option<u32> {
        let (_, path) = self.pid_files.iter().find(|(of, _)| of == id.as_str())?;
        let content = read::read_bounded(path, PID_FILE_BYTES).ok()?;
        let pid = std::str::from_utf8(&content).ok()?.trim().parse().ok()?;
        (pid > 0).then_some(pid)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
