//! containerd, for Kubernetes (CRI) and by itself: from the bundles that its shims run containers from, and what only
//! its socket can tell.
//!
//! Input: the shims that run ([`shim`]), and below their task directory `NAMESPACE/ID/config.json` ([`bundle`]). Output:
//! [`Found`](super::runtimes::Found): the container without its image, and the [`Question`] that containerd has to be asked for that
//! ([`client`]). Failure: [`RuntimeError`].
//!
//! A bundle is complete before its container's cgroup is made. Containers of Docker's in a containerd are Docker's.

pub mod answer;
pub mod bundle;
pub mod client;
pub mod image;
pub mod messages;
pub mod shim;

use std::path::{Path, PathBuf};

use super::data_root::{DataRoot, MAX_DATA_ROOTS};
use super::error::RuntimeError;
use super::id::ContainerId;
use super::info::{ContainerInfo, ImageIdentity, Isolation, Runtime, Storage};
use super::process::{self, RuntimeProcess};
use super::read;
use crate::text::ByteText;
use shim::Shim;

/// The directory, in containerd's state directory, that holds the bundles (containerd 1.2 to 2).
const TASK_DIRECTORY: &str = "io.containerd.runtime.v2.task";
/// containerd's state directory unless it is told otherwise, and those of common distributions of Kubernetes.
const DEFAULT_STATES: &[&str] = &["/run/containerd", "/run/k3s/containerd"];
/// The namespaces in which Docker keeps its containers.
const DOCKERS: &[&str] = &["moby", "plugins.moby"];
/// The namespace of containerd's CRI.
const KUBERNETES: &str = "k8s.io";
/// Most namespaces that are looked into. Those beyond are left out.
const NAMESPACES_MAX: usize = 64;
/// Most bytes read of a bundle's `config.json`: environment and arguments are in it, which the kernel bounds at 6 MiB.
const CONFIG_BYTES: u64 = 8 * 1024 * 1024;
/// Most bytes read of the small files beside it.
const SMALL_FILE_BYTES: u64 = 4096;
/// The name under which runc waits, in a container that was made and not started.
const WAITING_FOR_START: &[u8] = b"runc:[2:INIT]\n";

/// What an operator may say about containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerdConfig {
    /// State directories to look into. Their socket is `containerd.sock` in them unless a shim says otherwise.
    pub states: Vec<PathBuf>,
    /// Also look into those of running shims, and into the default ones.
    pub find: bool,
}

/// What a containerd has to be asked to know a container's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its socket, as this process sees it.
    pub socket: PathBuf,
    /// The namespace.
    pub namespace: String,
    /// About what.
    pub about: About,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A container of CRI's, in a pod.
    PodContainer {
        /// The container.
        id: String,
        /// Its pod's own container.
        sandbox: String,
    },
    /// A pod's own container.
    PodSandbox {
        /// The container.
        id: String,
    },
    /// A container that a client of containerd made.
    Container {
        /// Its id.
        id: String,
    },
    /// An image, by its manifest or index.
    Content {
        /// The digest of that.
        digest: String,
    },
}

/// containerd's containers on this host.
#[derive(Debug)]
pub struct Containerd {
    config: ContainerdConfig,
    shims: Vec<Shim>,
    tasks: Vec<DataRoot>,
    problems: Vec<RuntimeError>,
}

// === impl Containerd ===

impl Containerd {
    /// containerd with what is configured; [`Containerd::refresh`] finds what runs.
    #[must_use]
    pub fn new(config: ContainerdConfig) -> Self {
        Self {
            config,
            shims: Vec::new(),
            tasks: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Looks for shims and task directories, given the runtimes' processes that run. A task directory stays known as long
    /// as it can be read.
    pub fn refresh(&mut self, processes: &[RuntimeProcess]) {
        let known = std::mem::take(&mut self.tasks);
        self.problems.clear();
        self.shims.clear();
        for state in &self.config.states {
            let root = DataRoot::in_own_namespace(&state.join(TASK_DIRECTORY));
            add(&mut self.tasks, &mut self.problems, root);
        }
        if !self.config.find {
            return;
        }
        for process in processes.iter().filter(|process| process.name == shim::PROCESS) {
            match Shim::of_process(process) {
                Ok(Some(shim)) => {
                    add(&mut self.tasks, &mut self.problems, shim.tasks.clone());
                    self.shims.push(shim);
                }
                Ok(None) => {}
                // It ended meanwhile.
                Err(error) if error.is_absent() => {}
                Err(error) => self.problems.push(error.into()),
            }
        }
        let defaults = DEFAULT_STATES
            .iter()
            .map(|state| DataRoot::in_own_namespace(&Path::new(state).join(TASK_DIRECTORY)));
        for root in defaults.chain(known) {
            if root.via.is_none_or(|process| process.is_alive()) && root.directory.is_dir() {
                add(&mut self.tasks, &mut self.problems, root);
            }
        }
    }

    /// The task directories that are looked into, as this process sees them.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.tasks.iter().map(|root| root.directory.as_path())
    }

    /// What the last [`Containerd::refresh`] could not read.
    #[must_use]
    pub fn problems(&self) -> &[RuntimeError] {
        &self.problems
    }

    /// The container with this id, without its image, and the question that has to be asked for that; `None` if no known
    /// task directory has one.
    pub fn find(&self, id: &ContainerId) -> Result<Option<(ContainerInfo, Question)>, RuntimeError> {
        let mut failed = None;
        for tasks in &self.tasks {
            for namespace in namespaces(tasks) {
                if DOCKERS.contains(&namespace.as_str()) {
                    continue;
                }
                match self.container(tasks, &namespace, id) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// What has to be asked to know the image of a container of Docker's, if its images are kept by containerd.
    #[must_use]
    pub fn question_of_docker(&self, info: &ContainerInfo) -> Option<Question> {
        let target = info.image.target.as_ref()?;
        let shim = self
            .shims
            .iter()
            .find(|shim| shim.id == info.id.as_str() && DOCKERS.contains(&shim.namespace.as_str()))?;
        Some(Question {
            socket: shim.socket.clone()?,
            namespace: shim.namespace.clone(),
            about: About::Content {
                digest: target.as_str().to_owned(),
            },
        })
    }

    /// What isolates a container of Docker's.
    #[must_use]
    pub fn isolation_of_docker(&self, id: &ContainerId) -> Option<Isolation> {
        self.tasks.iter().find_map(|tasks| {
            let bundle = |namespace: &&str| tasks.directory.join(namespace).join(id.as_str());
            DOCKERS
                .iter()
                .find_map(|namespace| isolation(tasks, &bundle(namespace).join("shim-binary-path")))
        })
    }

    fn container(
        &self,
        tasks: &DataRoot,
        namespace: &str,
        id: &ContainerId,
    ) -> Result<Option<(ContainerInfo, Question)>, RuntimeError> {
        let directory = tasks.directory.join(namespace).join(id.as_str());
        let path = directory.join("config.json");
        let content = match tasks.read(&path, CONFIG_BYTES) {
            Err(RuntimeError::Read(error)) if error.is_absent() => return Ok(None),
            result => result?,
        };
        let bundle = bundle::parse(&path, &content)?;
        let init_pid = init_pid(tasks, &directory.join("init.pid"));
        let about = match (&bundle.pod, bundle.is_sandbox, &bundle.sandbox) {
            (Some(_), true, _) => About::PodSandbox { id: id.to_string() },
            (Some(_), false, Some(sandbox)) if namespace == KUBERNETES => About::PodContainer {
                id: id.to_string(),
                sandbox: sandbox.clone(),
            },
            _ => About::Container { id: id.to_string() },
        };
        let question = Question {
            socket: self.socket(tasks, namespace, id, bundle.sandbox.as_deref()),
            namespace: namespace.to_owned(),
            about,
        };
        let info = ContainerInfo {
            id: *id,
            runtime: Runtime::Containerd,
            name: name(id, &bundle),
            image: ImageIdentity {
                reference: bundle.image.clone(),
                ..ImageIdentity::default()
            },
            labels: std::collections::BTreeMap::new(),
            role: bundle.role,
            args: bundle.args,
            init_pid,
            running: init_pid.is_some_and(has_started),
            created: None,
            started: None,
            storage: Storage {
                prefix: tasks.prefix.clone(),
                data_root: PathBuf::from("/"),
                driver: "overlayfs".to_owned(),
            },
            pod: bundle.pod,
            is_sandbox: bundle.is_sandbox,
            isolation: isolation(tasks, &directory.join("shim-binary-path")),
        };
        Ok(Some((info, question)))
    }

    /// The socket of the containerd that a container belongs to: what its shim was told, else what the others of the
    /// same task directory were, else the one that stands beside the task directory.
    fn socket(&self, tasks: &DataRoot, namespace: &str, id: &ContainerId, sandbox: Option<&str>) -> PathBuf {
        let its = |shim: &&Shim| {
            shim.namespace == namespace && (shim.id == id.as_str() || Some(shim.id.as_str()) == sandbox)
        };
        let of_same = || {
            self.shims
                .iter()
                .find(|shim| shim.tasks.directory == tasks.directory && shim.socket.is_some())
        };
        let told = self.shims.iter().find(its).or_else(of_same);
        told.and_then(|shim| shim.socket.clone()).unwrap_or_else(|| {
            let state = tasks.directory.parent().unwrap_or(Path::new("/"));
            state.join("containerd.sock")
        })
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            find: true,
        }
    }
}

fn add(tasks: &mut Vec<DataRoot>, problems: &mut Vec<RuntimeError>, root: DataRoot) {
    if tasks.iter().any(|one| one.directory == root.directory) {
        return;
    }
    if tasks.len() == MAX_DATA_ROOTS {
        problems.push(RuntimeError::TooManyDataRoots {
            most: MAX_DATA_ROOTS,
            path: root.directory,
        });
    } else {
        tasks.push(root);
    }
}

/// The namespaces that have a directory, sorted.
fn namespaces(tasks: &DataRoot) -> Vec<String> {
    let entries = std::fs::read_dir(&tasks.directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(NAMESPACES_MAX)
        .collect();
    names.sort_unstable();
    names
}

/// In a pod the container's name there, `POD` for the pod's own; elsewhere the id's first digits, as containerd gives no
/// other name.
fn name(id: &ContainerId, bundle: &bundle::Bundle) -> ByteText {
    match &bundle.pod {
        Some(pod) => pod.container.clone().unwrap_or_else(|| "POD".into()),
        None => id.short().into(),
    }
}

/// The first process, which the shim writes down when the container is made.
fn init_pid(tasks: &DataRoot, path: &Path) -> Option<u32> {
    let content = tasks.read(path, SMALL_FILE_BYTES).ok()?;
    let pid = std::str::from_utf8(&content).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Whether the container was started: before that its first process is runc, which waits.
fn has_started(pid: u32) -> bool {
    let path = PathBuf::from(format!("/proc/{pid}/comm"));
    read::read_bounded(&path, SMALL_FILE_BYTES).is_ok_and(|name| name != WAITING_FOR_START)
        && process::identify(pid).is_some()
}

fn isolation(tasks: &DataRoot, path: &Path) -> Option<Isolation> {
    let content = tasks.read(path, SMALL_FILE_BYTES).ok()?;
    shim::isolation(&content)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
