//! What is known about a container, whichever runtime runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::id::ContainerId;
use super::pod::Pod;
use crate::image::ImageDigest;
use crate::text::ByteText;

/// Which runtime's metadata a container was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, for Kubernetes (CRI) or by itself.
    Containerd,
    /// Podman.
    Podman,
    /// CRI-O.
    CriO,
}

/// What stands between a container and the host's kernel, so that its processes are none of the host's and cannot be
/// watched from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// gVisor: a kernel in user space.
    GVisor,
    /// Kata Containers: a virtual machine.
    Kata,
    /// Firecracker: a virtual machine.
    Firecracker,
}

/// Which image a container was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageIdentity {
    /// Digest of the image's config: the identity that profiles belong to. `None` while only the runtime's socket could
    /// tell it.
    pub digest: Option<ImageDigest>,
    /// The manifest or index by which the runtime names the image, where it does so instead.
    pub target: Option<ImageDigest>,
    /// The user id of the ordinary user in whose files all this stands; `None` for root. What such files say proves
    /// nothing to anybody else: the digest counts for that user alone, and no names are given.
    pub claimed_by: Option<u32>,
    /// The image as it was named when the container was made; `None` if it was named by its digest or id.
    pub reference: Option<ByteText>,
    /// The names and tags that the image has now, sorted.
    pub references: Vec<ByteText>,
    /// The manifest digests (`name@sha256:...`) under which the image was pulled or pushed, sorted.
    pub manifests: Vec<ByteText>,
}

/// Where the layers of a container's root filesystem are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// What to put before a path as the runtime sees it, so that this process sees the same file: `/`, or the root of
    /// the runtime's mount namespace (`/proc/PID/root`).
    pub prefix: PathBuf,
    /// The runtime's data directory, as the runtime sees it.
    pub data_root: PathBuf,
    /// Name of the storage driver.
    pub driver: String,
}

/// A container as its runtime describes it. Names, labels and arguments are a user's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// The container.
    pub id: ContainerId,
    /// Who runs it.
    pub runtime: Runtime,
    /// Its name.
    pub name: ByteText,
    /// Its image.
    pub image: ImageIdentity,
    /// Its labels.
    pub labels: BTreeMap<ByteText, ByteText>,
    /// The program that it was told to run, as it was written (entrypoint and command resolved): its role.
    pub role: ByteText,
    /// The arguments of that program, without the program itself.
    pub args: Vec<ByteText>,
    /// Its first process, by the id on the host; `None` while it does not run. This is what the runtime wrote last: after
    /// a crash of the host the number may be any process's by now, so look where that process stands before using it.
    pub init_pid: Option<u32>,
    /// The runtime takes it for running. It says so a moment after the first process has started.
    pub running: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// Where its layers are.
    pub storage: Storage,
    /// The Kubernetes pod that it belongs to.
    pub pod: Option<Pod>,
    /// It holds its pod's namespaces and runs nothing of the user's (the pause container).
    pub is_sandbox: bool,
    /// What hides its processes from the host's kernel.
    pub isolation: Option<Isolation>,
}

// === impl Runtime ===

impl Runtime {
    /// The name in alerts and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::CriO => "cri-o",
        }
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

// === impl ImageIdentity ===

impl ImageIdentity {
    /// The digest of the image's config, if it is known to more than one user.
    #[must_use]
    pub fn proven_digest(&self) -> Option<&ImageDigest> {
        self.digest.as_ref().filter(|_| self.claimed_by.is_none())
    }
}

// === impl Isolation ===

impl Isolation {
    /// The name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GVisor => "gVisor",
            Self::Kata => "Kata Containers",
            Self::Firecracker => "Firecracker",
        }
    }
}
