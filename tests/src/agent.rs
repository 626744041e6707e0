//! The agent under test: `driftlock run` with everything of its own, and the command line that talks to it.
//!
//! State, socket, configuration and BPF file system lie in the daemon's run directory, so that any number of agents
//! live beside each other and beside one that the machine already has. Alerts are collected from its standard output
//! as they come; its log goes to a file that is shown when something fails.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::docker::{Docker, tail};
use crate::environment::Environment;

/// How long the agent may take until it answers, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is particular about an agent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name of its directory below the daemon's: the same name finds the same state again.
    pub name: String,
    /// Policies that differ from the default, by name.
    pub policies: Vec<(&'static str, &'static str)>,
    /// Further lines of its configuration.
    pub config: String,
    /// Further variables of its environment.
    pub variables: Vec<(&'static str, String)>,
}

/// A running agent. Dropping it kills it; its state stays until the daemon's directory goes.
#[derive(Debug)]
pub struct Agent {
    directory: PathBuf,
    process: Child,
    alerts: Arc<Alerts>,
    namespace: NamespaceWords,
    /// Another agent will take over what is pinned.
    keep_pinned: bool,
}

/// The words before a program's name that run it beside the daemon.
type NamespaceWords = Vec<std::ffi::OsString>;

/// The alerts that came so far.
#[derive(Debug, Default)]
struct Alerts {
    list: Mutex<Vec<Value>>,
    came: Condvar,
}

/// What came of a command line.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The exit code; -1 if it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Options {
    /// An agent with a state of its own under this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

impl Agent {
    /// Starts an agent beside the daemon and waits until it answers.
    pub fn start(docker: &Docker, options: &Options) -> anyhow::Result<Self> {
        let mut agent = Self::spawn(docker, options)?;
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Starts an agent beside the daemon.
    pub fn spawn(docker: &Docker, options: &Options) -> anyhow::Result<Self> {
        let directory = docker.directory().join(format!("agent-{}", options.name));
        std::fs::create_dir_all(directory.join("state"))?;
        let bpffs = docker.directory().join("bpf");
        if !bpffs.exists() {
            std::fs::create_dir(&bpffs)?;
            let mounted = docker
                .beside("mount")
                .args(["-t", "bpf", "bpf"])
                .arg(&bpffs)
                .status()?;
            ensure!(mounted.success(), "cannot mount a BPF file system");
        }
        std::fs::write(directory.join("config.yaml"), configuration(docker, options))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))?;
        let template = docker.beside(&Environment::get().driftlock);
        let mut words: NamespaceWords = vec![template.get_program().to_owned()];
        words.extend(template.get_args().map(std::ffi::OsStr::to_owned));
        let mut process = command(&words, &directory)
            .arg("run")
            .envs(options.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start driftlock")?;
        let alerts = Arc::new(Alerts::default());
        let output = process.stdout.take().context("no standard output")?;
        let collector = Arc::clone(&alerts);
        let stray = directory.join("stray");
        std::thread::spawn(move || collect(output, &collector, &stray));
        Ok(Self {
            directory,
            process,
            alerts,
            namespace: words,
            keep_pinned: false,
        })
    }

    /// Waits until the agent answers.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.cli(&["status", "--json"])?.code == 0 {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the agent ended: {status}; its log:\n{}", self.log());
            }
            ensure!(
                Instant::now() < deadline,
                "the agent does not answer; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The agent's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The agent's log, its last lines.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.directory.join("log"))
    }

    /// The directory of the agent's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A `driftlock` command line that talks to this agent.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.namespace, &self.directory);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a `driftlock` command and gives what came of it, success or not.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<Reply> {
        let output = self.command(arguments).output().context("cannot run driftlock")?;
        Ok(Reply {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a `driftlock` command that must succeed and gives what it printed.
    pub fn done(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let reply = self.cli(arguments)?;
        ensure!(
            reply.code == 0,
            "driftlock {arguments:?}: exit code {}\n{}{}\nlog:\n{}",
            reply.code,
            reply.stdout,
            reply.stderr,
            self.log()
        );
        Ok(reply.stdout)
    }

    /// Runs a reading command with `--json`.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.done(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("driftlock {arguments:?} --json printed {text}"))
    }

    /// Sets the mode of an image.
    pub fn set_mode(&self, mode: &str, image: &str) -> anyhow::Result<()> {
        self.done(&["mode", "set", mode, "--image", image]).map(drop)
    }

    /// Accepts a program of the image for what enters its containers from outside.
    pub fn accept_probe(&self, image: &str, path: &str) -> anyhow::Result<()> {
        self.done(&["profile", "accept", image, path, "--exec-in"])
            .map(drop)
    }

    /// Accepts one applet of a multi-call program of the image, for its containers' own processes.
    pub fn accept_applet(&self, image: &str, path: &str, applet: &str) -> anyhow::Result<()> {
        self.done(&["profile", "accept", image, path, "--applet", applet])
            .map(drop)
    }

    /// Accepts a program that did not come with the image, for its containers' own processes.
    pub fn accept_drift(&self, image: &str, layer: &str, path: &str, sha256: &str) -> anyhow::Result<()> {
        self.done(&[
            "profile", "accept", image, path, "--layer", layer, "--sha256", sha256,
        ])
        .map(drop)
    }

    /// Waits until the image's profile holds these behaviours as rules; a multi-call program's is written
    /// `PATH APPLET`. Returns how the kernel and the profile stand then.
    pub fn wait_until_learned(&self, image: &str, behaviours: &[&str]) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let held = self.rules(image, "main").unwrap_or_default();
            let missing: Vec<_> = behaviours
                .iter()
                .filter(|wanted| !held.iter().any(|held| held == *wanted))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the profile of {image} does not hold {missing:?} but {held:?}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The behaviours that a profile's section has as rules, each as `PATH` or `PATH APPLET`.
    pub fn rules(&self, image: &str, section: &str) -> anyhow::Result<Vec<String>> {
        self.behaviours(image, |behaviour| {
            behaviour["section"] == section && behaviour["state"] != "proposed"
        })
    }

    /// The behaviours of a profile for which `chosen` holds, each as `PATH` or `PATH APPLET`.
    pub fn behaviours(&self, image: &str, chosen: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<String>> {
        let profile = self.json(&["profile", "show", image])?;
        let behaviours = profile["behaviours"]
            .as_array()
            .context("no list of behaviours")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(behaviours
            .iter()
            .filter(|behaviour| chosen(behaviour))
            .map(|behaviour| match behaviour["applet"].as_str() {
                None => text(&behaviour["path"]),
                Some(applet) => format!("{} {applet}", text(&behaviour["path"])),
            })
            .collect())
    }

    /// Waits until the agent knows which image a container is of, and gives its description.
    pub fn wait_until_resolved(&self, container: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let containers = self.json(&["containers"])?;
            let found = containers
                .as_array()
                .context("no list of containers")?
                .iter()
                .find(|entry| entry["id"] == container && entry["state"] == "resolved");
            if let Some(found) = found {
                return Ok(found.clone());
            }
            ensure!(
                Instant::now() < deadline,
                "container {container} is not resolved: {containers:#}\nlog:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One of the counters of all containers together, from `status --json`.
    pub fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.json(&["status"])?;
        status["counters"][name]
            .as_u64()
            .with_context(|| format!("status has no counter {name}: {status:#}"))
    }

    /// The alerts so far.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.alerts
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many alerts there are so far: where to look from, for [`Agent::wait_for_alert`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.alerts
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The first alert from `mark` on for which `wanted` holds, as soon as there is one; `None` if none comes in time.
    pub fn wait_for_alert(
        &self,
        mark: usize,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let deadline = Instant::now() + patience;
        let mut list = self.alerts.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(alert) = list.iter().skip(mark).find(|alert| wanted(alert)) {
                return Some(alert.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            list = self
                .alerts
                .came
                .wait_timeout(list, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Halts the agent: it does nothing until it [goes on](Agent::go_on). The kernel programs do.
    pub fn halt(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.id()?, Signal::STOP)?)
    }

    /// Ends a halt.
    pub fn go_on(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.id()?, Signal::CONT)?)
    }

    /// Ends the agent as an operator does, waits until it has ended, and removes what it pinned. Its state stays.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate()?;
        self.done(&["teardown"]).map(drop)
    }

    /// Ends the agent as an operator does and waits until it has ended. What it pinned stays.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.keep_pinned = true;
        kill_process(self.id()?, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(
                    status.success(),
                    "the agent ended with {status}; log:\n{}",
                    self.log()
                );
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the agent does not end; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the agent and starts another one, on the same state if `options` has the same name.
    pub fn restart(&mut self, docker: &Docker, options: &Options) -> anyhow::Result<()> {
        self.terminate()?;
        *self = Self::start(docker, options)?;
        Ok(())
    }

    /// Ends the agent without a chance to do anything. What it pinned stays.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.keep_pinned = true;
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    fn id(&self) -> anyhow::Result<Pid> {
        i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("not a process id")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log ends with:\n{}", self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.keep_pinned {
            let _ = self.command(&["teardown"]).output();
        }
    }
}

fn configuration(docker: &Docker, options: &Options) -> String {
    let mut text = format!(
        "node: test\ndocker:\n  data_roots: [{}]\nlog:\n  level: debug\n",
        docker.data_root().display()
    );
    if !options.policies.is_empty() {
        text.push_str("policies:\n");
        for (name, value) in &options.policies {
            text.extend(["  ", name, ": ", value, "\n"]);
        }
    }
    text.push_str(&options.config);
    text
}

fn command(words: &[std::ffi::OsString], directory: &Path) -> Command {
    let mut command = Command::new(&words[0]);
    let name = directory.file_name().unwrap_or_default();
    command
        .args(&words[1..])
        .env("DRIFTLOCK_STATE_DIR", directory.join("state"))
        .env("DRIFTLOCK_SOCKET", directory.join("socket"))
        .env("DRIFTLOCK_CONFIG", directory.join("config.yaml"))
        .env("DRIFTLOCK_BPFFS", directory.with_file_name("bpf").join(name));
    command
}

/// Puts the agent's lines into the list. A line that is no JSON is kept in the file `stray`: a test asks for it.
fn collect(output: impl std::io::Read, alerts: &Alerts, stray: &Path) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(alert) => {
                alerts
                    .list
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(alert);
                alerts.came.notify_all();
            }
            Err(error) => {
                eprintln!("the agent printed what is no JSON ({error}): {line}");
                let _ = std::fs::write(stray, line);
            }
        }
    }
}
