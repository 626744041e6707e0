//! A Docker daemon of the tests' own, on any of the three cgroup layouts.
//!
//! It has its own data, its own containerd and its own socket below a run directory ([`crate::cleanup`]), no network
//! and no firewall rules. Containers are placed where Docker places them by default. For the layouts that this
//! machine does not have, a mount namespace of its own shows the daemon, and the agent beside it, another
//! `/sys/fs/cgroup`; the machine's own stays as it is.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cleanup;
use crate::environment::patience;

/// What `/sys/fs/cgroup` looks like to the daemon and the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 controllers with version 2 beside them, as systemd calls it. What the build machine has.
    Hybrid,
    /// Version 2 alone.
    PureV2,
    /// Version 1 alone.
    V1,
}

impl Layout {
    /// What makes the layout out of the machine's, in a mount namespace of its own.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Hybrid => None,
            Self::PureV2 => Some("umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"),
            Self::V1 => Some("umount /sys/fs/cgroup/unified"),
        }
    }
}

/// A running daemon. Dropping it removes its containers and all that belongs to it.
#[derive(Debug)]
pub struct Docker {
    directory: PathBuf,
    daemon: Child,
    namespace: Option<Namespace>,
    /// Parents of containers' cgroups that were not there before.
    parents: Vec<PathBuf>,
}

/// A mount namespace, held by a process that waits for the end of its input.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its full id.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Docker {
    /// Starts a daemon and waits until it answers.
    pub fn start(layout: Layout) -> anyhow::Result<Self> {
        let directory = cleanup::run_directory()?;
        let namespace = layout.script().map(Namespace::create).transpose()?;
        let parents = cleanup::hierarchies()
            .iter()
            .map(|hierarchy| hierarchy.join("docker"))
            .filter(|parent| !parent.exists())
            .collect();
        let log = File::create(directory.join("dockerd.log"))?;
        let mut command = in_namespace(namespace.as_ref(), "dockerd");
        command
            .args(["--iptables=false", "--bridge=none", "--storage-driver=overlay2"])
            .arg("--data-root")
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(directory.join("exec"))
            .arg("--pidfile")
            .arg(directory.join("dockerd.pid"))
            .arg("-H")
            .arg(format!("unix://{}", directory.join("docker.sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = command
            .spawn()
            .context("cannot start dockerd (is docker.io installed?)")?;
        let mut docker = Self {
            directory,
            daemon,
            namespace,
            parents,
        };
        let deadline = Instant::now() + patience(Duration::from_mins(1));
        while docker.command(["version"]).output()?.status.code() != Some(0) {
            let ended = docker.daemon.try_wait()?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "dockerd does not answer; its log ends with:\n{}",
                tail(&docker.directory.join("dockerd.log"))
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(docker)
    }

    /// Where all of it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Docker's data directory, in which it keeps images and containers.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Docker's state directory, in which the bundles of running containers lie.
    #[must_use]
    pub fn exec_root(&self) -> PathBuf {
        self.directory.join("exec")
    }

    /// A command that runs where the daemon runs: in its mount namespace.
    #[must_use]
    pub fn beside(&self, program: impl AsRef<OsStr>) -> Command {
        in_namespace(self.namespace.as_ref(), program)
    }

    /// A `docker` command line that talks to this daemon.
    #[must_use]
    pub fn command<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Command {
        let mut command = Command::new("docker");
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_HOST")
            .env("DOCKER_CONFIG", &self.directory)
            .arg("-H")
            .arg(format!("unix://{}", self.directory.join("docker.sock").display()))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs `docker` and gives what came of it, success or not.
    pub fn output<Argument: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> anyhow::Result<Output> {
        self.command(arguments).output().context("cannot run docker")
    }

    /// Runs `docker` and gives what it printed, without the last line break.
    ///
    /// # Errors
    /// It did not succeed; the message holds what it said.
    pub fn text<Argument: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> anyhow::Result<String> {
        let mut command = self.command(arguments);
        let output = command.output().context("cannot run docker")?;
        ensure!(
            output.status.success(),
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Makes a container of `image` and starts it in the background: `docker run -d OPTIONS --name NAME IMAGE ARGUMENTS`.
    pub fn run(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Container> {
        let id = self.text(
            [
                &["run", "-d", "--network=none", "--name", name],
                options,
                &[image],
                arguments,
            ]
            .concat(),
        )?;
        Ok(Container {
            id,
            name: name.to_owned(),
        })
    }

    /// Runs a program in a running container, from outside.
    pub fn exec(&self, container: &Container, argv: &[&str]) -> anyhow::Result<Output> {
        self.output([&["exec", container.id.as_str()], argv].concat())
    }

    /// Removes a container, running or not.
    pub fn remove(&self, container: &Container) -> anyhow::Result<()> {
        self.text(["rm", "-f", &container.id]).map(drop)
    }

    /// Puts a file into a container, at or below a path.
    pub fn copy(&self, file: &Path, container: &Container, path: &str) -> anyhow::Result<()> {
        let target = format!("{}:{path}", container.id);
        self.text([OsStr::new("cp"), file.as_os_str(), OsStr::new(&target)])
            .map(drop)
    }

    /// The content of a file in a container, or `None` if there is no such file. Nothing is executed in it.
    pub fn read(&self, container: &Container, path: &str) -> anyhow::Result<Option<String>> {
        let mut copy = self
            .command(["cp", "--follow-link", &format!("{}:{path}", container.id), "-"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let archive = copy.stdout.take().context("no standard output")?;
        let content = Command::new("tar")
            .args(["-xO"])
            .stdin(archive)
            .stderr(Stdio::null())
            .output()?;
        Ok(copy
            .wait()?
            .success()
            .then(|| String::from_utf8_lossy(&content.stdout).into_owned()))
    }

    /// Docker's own description of a container or an image.
    pub fn inspect(&self, name: &str) -> anyhow::Result<Value> {
        let text = self.text(["inspect", name])?;
        let list: Value = serde_json::from_str(&text)?;
        list.get(0)
            .cloned()
            .with_context(|| format!("docker inspect {name} is empty"))
    }

    /// The config digest of an image, `sha256:...`.
    pub fn image_digest(&self, image: &str) -> anyhow::Result<String> {
        self.text(["image", "inspect", "--format", "{{.Id}}", image])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Ok(containers) = self.text(["ps", "-aq"]) {
            let ids: Vec<&str> = containers.lines().collect();
            if !ids.is_empty() {
                let _ = self.text([&["rm", "-f"], ids.as_slice()].concat());
            }
        }
        if let Ok(daemon) = i32::try_from(self.daemon.id()) {
            let _ = Pid::from_raw(daemon).map(|daemon| kill_process(daemon, Signal::TERM));
        }
        let deadline = Instant::now() + patience(Duration::from_secs(15));
        while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        cleanup::remove(&self.directory);
        for parent in &self.parents {
            // Fails while another daemon has containers there.
            let _ = std::fs::remove_dir(parent);
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

fn in_namespace(namespace: Option<&Namespace>, program: impl AsRef<OsStr>) -> Command {
    match namespace {
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

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
