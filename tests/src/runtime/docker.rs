//! A Docker daemon of the tests' own.
//!
//! It has its own data, its own containerd and its own socket below its place, no network and no firewall rules.
//! Containers are placed where Docker places them by default. Options are all that `docker run` knows.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Container, Kind, Layout, Place, Runtime, tail, text_of};
use crate::environment::patience;
use crate::service::Service;

/// A running daemon. Dropping it removes its containers and all that belongs to it.
#[derive(Debug)]
pub struct Docker {
    place: Place,
    daemon: Child,
}

impl Docker {
    /// Starts a daemon with a containerd of its own and waits until it answers.
    pub fn start(layout: Layout) -> anyhow::Result<Self> {
        Self::start_with(layout, &[])
    }

    /// Starts a daemon with further arguments and waits until it answers.
    pub fn start_with(layout: Layout, arguments: &[&str]) -> anyhow::Result<Self> {
        let place = Place::create(layout, &["docker"])?;
        let directory = place.directory();
        let log = File::create(directory.join("dockerd.log"))?;
        let mut command = place.within("dockerd");
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
            .args((layout == Layout::Systemd).then_some("--exec-opt=native.cgroupdriver=systemd"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = command
            .spawn()
            .context("cannot start dockerd (is docker.io installed?)")?;
        let mut docker = Self { place, daemon };
        let deadline = Instant::now() + patience(Duration::from_mins(1));
        while docker.command(["version"]).output()?.status.code() != Some(0) {
            let ended = docker.daemon.try_wait()?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "dockerd does not answer; its log ends with:\n{}",
                tail(&docker.directory().join("dockerd.log"))
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(docker)
    }

    /// Where all of it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.place.directory()
    }

    /// Docker's data directory, in which it keeps images and containers.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// A `docker` command line that talks to this daemon.
    #[must_use]
    pub fn command<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Command {
        let mut command = Command::new("docker");
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_HOST")
            .env("DOCKER_CONFIG", self.directory())
            .arg("-H")
            .arg(format!(
                "unix://{}",
                self.directory().join("docker.sock").display()
            ))
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
        text_of(self.command(arguments))
    }
}

impl Runtime for Docker {
    fn kind(&self) -> Kind {
        Kind::Docker
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn configuration(&self) -> String {
        format!(
            "runtimes:\n  docker:\n    data_roots: [{}]\n",
            self.data_root().display()
        )
    }

    fn import(&self, root: &Path, name: &str) -> anyhow::Result<String> {
        let mut archive = Command::new("tar")
            .args(["--numeric-owner", "--owner=0", "--group=0", "-c", "-C"])
            .arg(root)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run tar")?;
        let output = self
            .command(["import", "--change", r#"ENTRYPOINT ["/bin/service"]"#, "-", name])
            .stdin(archive.stdout.take().context("no standard output")?)
            .output()?;
        ensure!(archive.wait()?.success(), "tar failed");
        ensure!(
            output.status.success(),
            "docker import failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.text(["image", "inspect", "--format", "{{.Id}}", name])
    }

    fn run(
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

    fn service(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Service> {
        let words = [
            &["run", "-i", "--network=none", "--name", name],
            options,
            &[image],
            arguments,
        ]
        .concat();
        let mut service = Service::of_client(self.command(words), name)?;
        service.container.id = self.text(["inspect", "--format", "{{.Id}}", name])?;
        Ok(service)
    }

    fn exec(&self, container: &Container, argv: &[&str]) -> anyhow::Result<Output> {
        self.output([&["exec", container.id.as_str()], argv].concat())
    }

    fn exec_detached(&self, container: &Container, argv: &[&str]) -> anyhow::Result<()> {
        self.text([&["exec", "-d", container.id.as_str()], argv].concat())
            .map(drop)
    }

    fn restart(&self, container: &Container) -> anyhow::Result<Container> {
        self.text(["restart", "--time=5", &container.id])?;
        Ok(container.clone())
    }

    fn remove(&self, container: &Container) -> anyhow::Result<()> {
        self.text(["rm", "-f", &container.id]).map(drop)
    }

    fn process(&self, container: &Container) -> anyhow::Result<u32> {
        let text = self.text(["inspect", "--format", "{{.State.Pid}}", &container.id])?;
        match text.parse() {
            Ok(0) | Err(_) => anyhow::bail!("{} does not run: process {text}", container.name),
            Ok(process) => Ok(process),
        }
    }

    fn copy(&self, file: &Path, container: &Container, path: &str) -> anyhow::Result<()> {
        let target = format!("{}:{path}", container.id);
        self.text([OsStr::new("cp"), file.as_os_str(), OsStr::new(&target)])
            .map(drop)
    }

    /// By Docker's own command, which reads a container that has ended, too.
    fn read(&self, container: &Container, path: &str) -> anyhow::Result<Option<String>> {
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
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Ok(containers) = self.text(["ps", "-aq"]) {
            let ids: Vec<&str> = containers.lines().collect();
            if !ids.is_empty() {
                let _ = self.text([&["rm", "-f"], ids.as_slice()].concat());
            }
        }
        end(&mut self.daemon);
        self.place.remove();
    }
}

/// Tells a daemon to end, and ends it if it does not.
pub(super) fn end(daemon: &mut Child) {
    if let Ok(id) = i32::try_from(daemon.id()) {
        let _ = Pid::from_raw(id).map(|id| kill_process(id, Signal::TERM));
    }
    let deadline = Instant::now() + patience(Duration::from_secs(15));
    while matches!(daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
}
