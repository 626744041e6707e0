//! Container runtimes of the tests' own: Docker, containerd as Kubernetes uses it, and Podman.
//!
//! Input: which one, and on which cgroup layout. Output: [`Runtime`], which makes images, starts containers, enters and
//! removes them; all of it lies below a run directory ([`crate::cleanup`]). Failure: what the runtime said. No image is
//! pulled and no network is set up, on none of them.

mod archive;
mod containerd;
mod cri;
mod docker;
mod place;
mod podman;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, ensure};
use rustix::fs::{Mode, OFlags, ResolveFlags};

pub use self::containerd::{Containerd, POD_NAMESPACE};
pub use self::docker::Docker;
pub use self::place::{Layout, Place, tail, text_of};
pub use self::podman::{Podman, USER};

use crate::service::Service;

/// Names the kinds that there are, separated by commas; all of them if it is not set. A virtual machine has not each.
const RUNTIMES: &str = "DRIFTLOCK_RUNTIMES";

/// Which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// dockerd with a containerd of its own.
    Docker,
    /// containerd, by the interface that Kubernetes uses (CRI): each container is in a pod of its own.
    Containerd,
    /// Podman, as root.
    Podman,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its full id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A running container runtime. Dropping it removes its containers and all that belongs to it.
pub trait Runtime: std::fmt::Debug + Send + Sync {
    /// Which one it is.
    fn kind(&self) -> Kind;

    /// Where it runs, and where all of it lies.
    fn place(&self) -> &Place;

    /// What the agent's configuration has to say about it: lines of YAML.
    fn configuration(&self) -> String;

    /// Makes the image `name` of a root filesystem; its entrypoint is `/bin/service`. Returns its config digest,
    /// `sha256:...`.
    fn import(&self, root: &Path, name: &str) -> anyhow::Result<String>;

    /// Makes a container of `image` and starts it in the background. `options` are in the words of `docker run`; which of
    /// them another runtime knows, its module says.
    fn run(&self, name: &str, image: &str, options: &[&str], arguments: &[&str])
    -> anyhow::Result<Container>;

    /// As [`Runtime::run`], with the container's standard input and output in hand, and waits until `service` is ready.
    fn service(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Service>;

    /// Runs a program in a running container, from outside. What the runtime could not start ends with code 126 or above,
    /// and the reason is in what it said.
    fn exec(&self, container: &Container, argv: &[&str]) -> anyhow::Result<Output>;

    /// The same, without waiting for its end.
    fn exec_detached(&self, container: &Container, argv: &[&str]) -> anyhow::Result<()>;

    /// Ends a container's first process and starts the container again. With Kubernetes another container takes its place in the
    /// pod, with a root filesystem as the image has it.
    fn restart(&self, container: &Container) -> anyhow::Result<Container>;

    /// Removes a container, running or not.
    fn remove(&self, container: &Container) -> anyhow::Result<()>;

    /// The process id of a running container's first process.
    fn process(&self, container: &Container) -> anyhow::Result<u32>;

    /// Puts a file into a running container, as a file at a path.
    fn copy(&self, file: &Path, container: &Container, path: &str) -> anyhow::Result<()> {
        let source = File::open(file)?;
        let mode = Mode::from_raw_mode(std::os::unix::fs::PermissionsExt::mode(
            &source.metadata()?.permissions(),
        ));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut target = open_inside(self.process(container)?, path, flags, mode)?;
        std::io::copy(&mut &source, &mut target)?;
        Ok(())
    }

    /// The content of a file in a running container, or `None` if there is no such file. Nothing is executed in it.
    fn read(&self, container: &Container, path: &str) -> anyhow::Result<Option<String>> {
        let file = open_inside(self.process(container)?, path, OFlags::RDONLY, Mode::empty());
        match file {
            Ok(mut file) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content)?;
                Ok(Some(String::from_utf8_lossy(&content).into_owned()))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {path} in {}", container.name)),
        }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Containerd, Self::Podman];

    /// Starts it and waits until it answers.
    pub fn start(self, layout: Layout) -> anyhow::Result<Box<dyn Runtime>> {
        Ok(match self {
            Self::Docker => Box::new(Docker::start(layout)?),
            Self::Containerd => Box::new(Containerd::start(layout)?),
            Self::Podman => Box::new(Podman::start(layout)?),
        })
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        }
    }

    /// Whether it is to be tried: a virtual machine has not each of them.
    #[must_use]
    pub fn is_here(self) -> bool {
        std::env::var(RUNTIMES).map_or(true, |names| names.split(',').any(|name| name == self.as_str()))
    }

    /// Whether a container that is started again finds the files that it wrote before.
    #[must_use]
    pub fn keeps_files(self) -> bool {
        self != Self::Containerd
    }
}

/// Checks that a running container's cgroup is where its runtime and the cgroup layout have it.
///
/// # Errors
/// It is elsewhere; the message holds where.
pub fn expect_in_its_cgroup(runtime: &dyn Runtime, container: &Container) -> anyhow::Result<()> {
    let layout = runtime.place().layout();
    let process = runtime.process(container)?;
    let cgroups = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let parent = match (runtime.kind(), layout) {
        // Of the machine's own systemd, not of one in a cgroup of its own.
        (Kind::Docker, Layout::Systemd) if layout.is_the_machines() => "::/system.slice/docker-",
        (Kind::Docker, Layout::Systemd) => "/system.slice/docker-",
        (Kind::Containerd, Layout::Systemd) => ".slice/cri-containerd-",
        (Kind::Podman, Layout::Systemd) => "/machine.slice/libpod-",
        (Kind::Docker, _) => ":/docker/",
        (Kind::Containerd, _) => ":/kubepods/burstable/pod",
        (Kind::Podman, _) => ":/libpod_parent/libpod-",
    };
    let (in_v2, in_v1): (Vec<_>, Vec<_>) = cgroups
        .lines()
        .filter(|line| line.contains(parent) && line.contains(&container.id))
        .partition(|line| line.starts_with("0::"));
    let expected = match layout {
        Layout::Hybrid => (true, true),
        Layout::PureV2 | Layout::Systemd => (true, false),
        Layout::V1 => (false, true),
    };
    ensure!(
        (!in_v2.is_empty(), !in_v1.is_empty()) == expected,
        "{layout:?}: {cgroups}"
    );
    Ok(())
}

/// Opens a file as a process sees it, by its root and with symbolic links that lead nowhere else.
fn open_inside(process: u32, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<File> {
    let root = rustix::fs::open(
        format!("/proc/{process}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)?;
    Ok(File::from(file))
}

/// Makes of each function `fn NAME(kind: Kind) -> anyhow::Result<()>` a test for each runtime, named after both. Where a
/// runtime is not there at all, that is told.
#[macro_export]
macro_rules! on_every_runtime {
    ($($test:ident),+ $(,)?) => {
        $crate::on_every_runtime!(@one docker Docker $($test)+);
        $crate::on_every_runtime!(@one containerd Containerd $($test)+);
        $crate::on_every_runtime!(@one podman Podman $($test)+);
    };
    (@one $module:ident $kind:ident $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() -> anyhow::Result<()> {
                    let kind = $crate::runtime::Kind::$kind;
                    if kind.is_here() {
                        return super::$test(kind);
                    }
                    $crate::support::not_on_this_kernel(kind.as_str(), "the runtime is not there");
                    Ok(())
                }
            )+
        }
    };
}
