//! Real servers as Debian packages them, as images, each with a load of its own.
//!
//! Input: a container runtime. Output: [`Server`]: what its image holds, how a container of it is started, and two loads that differ; and
//! [`Installed`]: an image of it, with the files that it was made of, out of which the benchmark programs run. They run outside of containers, in
//! the network of the server's container, so that nothing of theirs is the server's behaviour. Failure: packages that cannot be had, a server that
//! does not answer, a benchmark that counts an error.

mod nginx;
mod postgresql;
mod redis;
pub mod review;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

pub use self::nginx::Nginx;
pub use self::postgresql::Postgresql;
pub use self::redis::Redis;

use crate::environment::patience;
use crate::runtime::{Container, Docker, Runtime as _};

/// How long a server may take until it answers, and to end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Which of a server's loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// What its profile is learned from.
    Learned,
    /// Other clients, other requests, other sizes.
    Other,
}

/// A rule for several files that a reviewer gives.
#[derive(Clone, Copy, Debug)]
pub struct Reviewed {
    /// Where the files are.
    pub layer: &'static str,
    /// The rule.
    pub pattern: &'static str,
    /// What is done with them.
    pub operations: &'static [&'static str],
}

/// A server.
pub trait Server: std::fmt::Debug + Sync {
    /// Its name: of the image, and of the profile document.
    fn name(&self) -> &'static str;

    /// The Debian packages that bring it.
    fn packages(&self) -> &'static [&'static str];

    /// Lays out what is particular about its image beside what the packages hold.
    fn fill(&self, root: &Path) -> anyhow::Result<()>;

    /// How its containers are started, in words of `docker run`.
    fn options(&self) -> &'static [&'static str];

    /// The arguments of its entrypoint.
    fn arguments(&self) -> &'static [&'static str];

    /// Fails while it does not answer.
    fn greet(&self, client: &Client<'_>) -> anyhow::Result<()>;

    /// Loads it for about so long; each round of it differs. Returns how many requests were answered.
    fn load(&self, client: &Client<'_>, load: Load, round: u32, duration: Duration) -> anyhow::Result<u64>;

    /// What a reviewer adds to the rules that are proposed, because only somebody who knows the server can say it.
    fn reviewed(&self) -> &'static [Reviewed] {
        &[]
    }

    /// The signal that has it read its configuration again, if it has one and goes on as it was.
    fn reload(&self) -> Option<&'static str> {
        None
    }
}

/// An image of a server.
#[derive(Debug)]
pub struct Installed<'server> {
    /// Which.
    pub server: &'server dyn Server,
    /// The image's name.
    pub image: String,
    /// The files that the image was made of.
    root: TempDir,
}

/// A client of a running server.
#[derive(Clone, Copy, Debug)]
pub struct Client<'server> {
    /// The directory that holds the server's packages.
    root: &'server Path,
    /// The first process of the server's container.
    pub process: u32,
}

impl<'server> Installed<'server> {
    /// Makes the image `registry.example/NAME:debian`.
    pub fn build(docker: &Docker, server: &'server dyn Server) -> anyhow::Result<Self> {
        let root = tempfile::Builder::new()
            .prefix(server.name())
            .tempdir_in(docker.directory())?;
        // mmdebstrap wants to make the directory itself.
        let files = root.path().join("root");
        unpack(&files, server.packages())?;
        for directory in ["proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir_all(files.join(directory))?;
        }
        fs::set_permissions(files.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        if !files.join("var/run").exists() {
            symlink("/run", files.join("var/run"))?;
        }
        server
            .fill(&files)
            .with_context(|| format!("cannot lay out the image of {}", server.name()))?;
        let image = format!("registry.example/{}:debian", server.name());
        docker.import(&files, &image)?;
        Ok(Self { server, image, root })
    }

    /// Starts a container of it, with these options besides its own, and waits until it answers.
    pub fn start(&self, docker: &Docker, name: &str, options: &[&str]) -> anyhow::Result<Container> {
        let options = [self.server.options(), options].concat();
        let container = docker.run(name, &self.image, &options, self.server.arguments())?;
        self.wait_until_ready(docker, &container)?;
        Ok(container)
    }

    /// Ends a container as an operator does, starts it again and waits until it answers.
    pub fn restart(&self, docker: &Docker, container: &Container) -> anyhow::Result<()> {
        let seconds = format!("--time={}", PATIENCE.as_secs());
        docker.text(["restart", &seconds, &container.id])?;
        self.wait_until_ready(docker, container)
    }

    /// Loads a container's server, and has it read its configuration again if it can. Returns how many requests were answered.
    pub fn load(
        &self,
        docker: &Docker,
        container: &Container,
        load: Load,
        round: u32,
        duration: Duration,
    ) -> anyhow::Result<u64> {
        let said = || logs(docker, container);
        let half = |client: &Client<'_>| {
            self.server
                .load(client, load, round, duration / 2)
                .with_context(said)
        };
        let mut answered = half(&self.client(docker, container)?)?;
        if let Some(signal) = self.server.reload() {
            docker.text(["kill", "--signal", signal, &container.id])?;
            // Whoever is connected while it does so may lose the connection.
            std::thread::sleep(Duration::from_secs(2));
            self.wait_until_ready(docker, container)?;
        }
        answered += half(&self.client(docker, container)?)?;
        Ok(answered)
    }

    fn client(&self, docker: &Docker, container: &Container) -> anyhow::Result<Client<'_>> {
        let process = docker
            .process(container)
            .with_context(|| logs(docker, container))?;
        Ok(Client {
            root: self.root.path(),
            process,
        })
    }

    fn wait_until_ready(&self, docker: &Docker, container: &Container) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            let answer = self
                .client(docker, container)
                .and_then(|client| self.server.greet(&client));
            let Err(error) = answer else { return Ok(()) };
            ensure!(
                Instant::now() < deadline,
                "{} does not answer: {error:#}\n{}",
                self.server.name(),
                logs(docker, container)
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Client<'_> {
    /// Runs a program of the server's packages in the network of its container, and gives what it printed.
    ///
    /// # Errors
    /// It did not succeed; the message holds what it said.
    pub fn run(&self, argv: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.process))
            .arg("chroot")
            .arg(self.root.join("root"))
            .args(argv)
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin:/usr/sbin"),
                ("LC_ALL", "C.UTF-8"),
                ("TZ", "UTC"),
            ])
            .stdin(std::process::Stdio::null())
            .output()
            .context("cannot run nsenter")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "{argv:?}: {}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// A file of the server's packages.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join("root").join(path)
    }
}

/// What a container's server wrote.
fn logs(docker: &Docker, container: &Container) -> String {
    let output = docker.output(["logs", "--tail=40", &container.id]);
    output.map_or_else(
        |error| error.to_string(),
        |output| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!(
                "{} wrote:\n{}{}",
                container.name,
                text(&output.stdout),
                text(&output.stderr)
            )
        },
    )
}

/// Unpacks Debian packages and what they depend on, of the machine's own release, into a directory that is not there yet.
pub(crate) fn unpack(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("the machine's release has no name")?;
    let output = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=extract"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
        .arg(suite.trim_matches('"'))
        .arg(root)
        .output()
        .context("cannot run mmdebstrap")?;
    ensure!(
        output.status.success(),
        "mmdebstrap failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Writes a user database of root and one other user, and the script that the image starts with.
fn user_and_script(root: &Path, user: &str, script: &str) -> anyhow::Result<()> {
    for (path, text) in [
        (
            "etc/passwd",
            format!(
                "root:x:0:0:root:/root:/bin/sh\n{user}:x:100:100:{user}:/var/lib/{user}:/usr/sbin/nologin\n"
            ),
        ),
        ("etc/group", format!("root:x:0:\n{user}:x:100:\n")),
        ("usr/bin/start", script.to_owned()),
    ] {
        fs::write(root.join(path), text)?;
    }
    fs::set_permissions(root.join("usr/bin/start"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}
