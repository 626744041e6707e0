//! Which container an id is, whichever runtime runs it.
//!
//! Input: the id, and who placed the container's cgroup ([`Placer`]). Output: [`Found`]. Failure: [`RuntimeError`]; that
//! no runtime has such a container is none.
//!
//! What root's runtimes keep is believed only of cgroups that root made. An ordinary user, to whom a part of the tree was
//! delegated, can name a cgroup after anybody's container: there only what that user keeps counts, and for that user alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::containerd::answer::Answer;
use super::containerd::client::{self, AskError};
use super::containerd::{Containerd, ContainerdConfig};
use super::docker::{self, Docker, DockerConfig};
use super::error::RuntimeError;
use super::id::ContainerId;
use super::info::ContainerInfo;
use super::podman::{self, Podman, PodmanConfig};
use super::process;
use super::read::ReadError;
use super::user_storage::{self, UserStorageError};
use super::{containerd, info::Runtime};

/// What an operator may say about runtimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimesConfig {
    /// Docker.
    pub docker: DockerConfig,
    /// containerd.
    pub containerd: ContainerdConfig,
    /// Podman and CRI-O.
    pub podman: PodmanConfig,
}

/// Who made a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placer {
    /// Root: nobody else can make one there.
    Root,
    /// An ordinary user, to whom that part of the tree belongs.
    User(u32),
}

/// A container that a runtime has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the disk says about it; `None` if that itself has to be asked.
    pub info: Option<ContainerInfo>,
    /// What has to be asked to know its image; `None` if that is known, or if there is nobody to be asked.
    pub question: Option<Question>,
}

/// What has to be asked by somebody who may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Of a containerd.
    Containerd(containerd::Question),
    /// Of an ordinary user's storage: which container that is.
    UserStorage {
        /// The user.
        user: u32,
        /// The container.
        id: ContainerId,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// What was missing.
    Image(Answer),
    /// The container; `None` if the user has none of this id.
    Container(Option<Box<ContainerInfo>>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// From a containerd.
    #[error(transparent)]
    Containerd(#[from] AskError),
    /// From an ordinary user's storage.
    #[error(transparent)]
    UserStorage(#[from] UserStorageError),
}

/// Asks. Ends within some seconds, whatever those do who are asked.
pub async fn ask(question: &Question) -> Result<Answered, QuestionError> {
    match question {
        Question::Containerd(question) => Ok(Answered::Image(client::ask(question).await?)),
        Question::UserStorage { user, id } => {
            let found = user_storage::container(*user, *id).await?;
            Ok(Answered::Container(found.map(Box::new)))
        }
    }
}

/// The runtimes of this host.
#[derive(Debug)]
pub struct Runtimes {
    docker: Docker,
    containerd: Containerd,
    podman: Podman,
    problems: Vec<RuntimeError>,
}

// === impl Placer ===

impl Placer {
    /// Who made the cgroup in this directory: whoever its parent belongs to.
    pub fn of_cgroup(directory: &Path) -> Result<Self, ReadError> {
        let parent = directory.parent().unwrap_or(directory);
        let owner = std::fs::metadata(parent)
            .map_err(ReadError::of("stat", parent))?
            .uid();
        let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
        Ok(if is_ours { Self::Root } else { Self::User(owner) })
    }
}

// === impl Runtimes ===

impl Runtimes {
    /// Finds what runs, and where the runtimes keep what they know.
    #[must_use]
    pub fn discover(config: RuntimesConfig) -> Self {
        let mut runtimes = Self {
            docker: Docker::new(config.docker),
            containerd: Containerd::new(config.containerd),
            podman: Podman::new(config.podman),
            problems: Vec::new(),
        };
        runtimes.refresh();
        runtimes
    }

    /// Looks for runtimes again: one pass over `/proc`. What is known stays known as long as it can be read.
    pub fn refresh(&mut self) {
        self.problems.clear();
        let processes =
            process::runtimes(&[docker::DAEMON, containerd::shim::PROCESS, podman::conmon::PROCESS])
                .unwrap_or_else(|error| {
                    self.problems.push(error.into());
                    Vec::new()
                });
        self.docker.refresh(&processes);
        self.containerd.refresh(&processes);
        self.podman.refresh(&processes);
    }

    /// The container with this id; `None` if no known runtime has one (which a [`Runtimes::refresh`] may change).
    pub fn find(&self, id: &ContainerId, placer: Placer) -> Result<Option<Found>, RuntimeError> {
        if let Placer::User(user) = placer {
            let question = Some(Question::UserStorage { user, id: *id });
            return Ok(Some(Found { info: None, question }));
        }
        let of_docker = self.docker.find(id);
        if let Ok(Some(mut info)) = of_docker {
            info.isolation = self.containerd.isolation_of_docker(id);
            let question = self.containerd.question_of_docker(&info);
            return Ok(Some(Found {
                info: Some(info),
                question: question.map(Question::Containerd),
            }));
        }
        if let Some((info, question)) = self.containerd.find(id)? {
            return Ok(Some(Found {
                info: Some(info),
                question: Some(Question::Containerd(question)),
            }));
        }
        if let Some(info) = self.podman.find(id)? {
            return Ok(Some(Found {
                info: Some(info),
                question: None,
            }));
        }
        // Nobody else knows it, so that what stood against reading Docker's counts.
        of_docker.map(|_| None)
    }

    /// By runtime, where its containers are looked for; a runtime of which there is no trace is left out.
    pub fn directories(&self) -> impl Iterator<Item = (Runtime, Vec<&Path>)> {
        [
            (Runtime::Docker, self.docker.data_roots().collect::<Vec<_>>()),
            (Runtime::Containerd, self.containerd.directories().collect()),
            (Runtime::Podman, self.podman.storages().collect()),
        ]
        .into_iter()
        .filter(|(_, directories)| !directories.is_empty())
    }

    /// What the last [`Runtimes::refresh`] could not read.
    pub fn problems(&self) -> impl Iterator<Item = &RuntimeError> {
        self.problems
            .iter()
            .chain(self.docker.problems())
            .chain(self.containerd.problems())
            .chain(self.podman.problems())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_made_by_whom_its_parent_belongs_to() {
        let root = tempfile::tempdir().expect("directory");
        let (ours, theirs) = (root.path().join("ours/a"), root.path().join("theirs/a"));
        std::fs::create_dir_all(&ours).expect("directory");
        std::fs::create_dir_all(&theirs).expect("directory");
        assert_eq!(Placer::of_cgroup(&ours).expect("owner"), Placer::Root);
        let parent = theirs.parent().expect("a parent");
        match std::os::unix::fs::chown(parent, Some(1000), None) {
            Ok(()) => assert_eq!(Placer::of_cgroup(&theirs).expect("owner"), Placer::User(1000)),
            // Only root may.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        }
        assert!(
            Placer::of_cgroup(&root.path().join("gone/a"))
                .expect_err("none")
                .is_absent()
        );
    }
}
