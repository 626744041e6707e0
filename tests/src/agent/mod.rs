//! The agent under test: `driftlock run` with everything of its own, and the command line that talks to it.
//!
//! State, socket, configuration and BPF file system lie in the runtime's run directory, so that any number of agents
//! live beside each other and beside one that the machine already has. Alerts are collected from its standard output
//! as they come (`alerts`); its log goes to a file that is shown when something fails. `ask` is the command line.

mod alerts;
mod ask;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub use self::ask::Reply;

use self::alerts::Alerts;
use crate::environment::{Environment, patience};
use crate::runtime::{Runtime, tail};

/// How long the agent may take until it answers, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is particular about an agent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name of its directory below the runtime's: the same name finds the same state again.
    pub name: String,
    /// Policies that differ from the default, by name.
    pub policies: Vec<(&'static str, &'static str)>,
    /// Further lines of its configuration.
    pub config: String,
    /// Further arguments of `driftlock run`.
    pub arguments: Vec<&'static str>,
    /// Further variables of its environment.
    pub variables: Vec<(&'static str, String)>,
}

/// A running agent. Dropping it kills it; its state stays until the runtime's directory goes.
#[derive(Debug)]
pub struct Agent {
    directory: PathBuf,
    process: Child,
    alerts: Arc<Alerts>,
    namespace: NamespaceWords,
    /// Another agent will take over what is pinned.
    keep_pinned: bool,
}

/// The words before a program's name that run it beside the runtime.
type NamespaceWords = Vec<std::ffi::OsString>;

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
    /// Starts an agent beside the runtime and waits until it answers.
    pub fn start(runtime: &dyn Runtime, options: &Options) -> anyhow::Result<Self> {
        let mut agent = Self::spawn(runtime, options)?;
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Starts an agent beside the runtime.
    pub fn spawn(runtime: &dyn Runtime, options: &Options) -> anyhow::Result<Self> {
        let directory = runtime
            .place()
            .directory()
            .join(format!("agent-{}", options.name));
        std::fs::create_dir_all(directory.join("state"))?;
        let bpffs = runtime.place().directory().join("bpf");
        if !bpffs.exists() {
            std::fs::create_dir(&bpffs)?;
            let mounted = runtime
                .place()
                .beside("mount")
                .args(["-t", "bpf", "bpf"])
                .arg(&bpffs)
                .status()?;
            ensure!(mounted.success(), "cannot mount a BPF file system");
        }
        std::fs::write(directory.join("config.yaml"), configuration(runtime, options))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))?;
        let template = runtime.place().beside(&Environment::get().driftlock);
        let mut words: NamespaceWords = vec![template.get_program().to_owned()];
        words.extend(template.get_args().map(std::ffi::OsStr::to_owned));
        let mut process = command(&words, &directory)
            .arg("run")
            .args(&options.arguments)
            .envs(options.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start driftlock")?;
        let output = process.stdout.take().context("no standard output")?;
        let alerts = Alerts::collect(output);
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
        let deadline = Instant::now() + patience(PATIENCE);
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

    /// The process that answers before executions for this agent; `None` if there is none.
    #[must_use]
    pub fn answering_process(&self) -> Option<u32> {
        self.own_process(b"answer-execs")
    }

    /// The process of this agent's canary; `None` if there is none.
    #[must_use]
    pub fn canary_process(&self) -> Option<u32> {
        self.own_process(b"canary")
    }

    /// A process that this agent has started with this command.
    fn own_process(&self, command: &[u8]) -> Option<u32> {
        let own = format!("/proc/{}/task", self.pid());
        let threads = std::fs::read_dir(own).ok()?.flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|children| {
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse().ok())
                    .collect::<Vec<u32>>()
            })
            .find(|child| {
                std::fs::read(format!("/proc/{child}/cmdline"))
                    .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == command))
            })
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

    /// Where the agent pins what outlives it.
    #[must_use]
    pub fn pinned(&self) -> PathBuf {
        pinned(&self.directory)
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

    /// Has the agent read its configuration again, which is made from other options.
    pub fn reload(&self, runtime: &dyn Runtime, options: &Options) -> anyhow::Result<()> {
        let file = self.directory.join("config.yaml");
        std::fs::write(file, configuration(runtime, options))?;
        Ok(kill_process(self.id()?, Signal::HUP)?)
    }

    /// Ends the agent as an operator does and waits until it has ended. What it pinned stays.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.keep_pinned = true;
        kill_process(self.id()?, Signal::TERM)?;
        let deadline = Instant::now() + patience(PATIENCE);
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
    pub fn restart(&mut self, runtime: &dyn Runtime, options: &Options) -> anyhow::Result<()> {
        self.terminate()?;
        *self = Self::start(runtime, options)?;
        Ok(())
    }

    /// Ends the agent without a chance to do anything. What it pinned stays.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.keep_pinned = true;
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// What is pinned stays when this value is dropped.
    pub fn keep_pinned(&mut self) {
        self.keep_pinned = true;
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

fn configuration(runtime: &dyn Runtime, options: &Options) -> String {
    let mut text = format!(
        "node: {}\n{}log:\n  level: info\n",
        options.name,
        runtime.configuration()
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
    command
        .args(&words[1..])
        .env("DRIFTLOCK_STATE_DIR", directory.join("state"))
        .env("DRIFTLOCK_SOCKET", directory.join("socket"))
        .env("DRIFTLOCK_CONFIG", directory.join("config.yaml"))
        .env("DRIFTLOCK_BPFFS", pinned(directory));
    command
}

/// Where the agent of this directory pins what outlives it: on the BPF file system beside it.
fn pinned(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default();
    directory.with_file_name("bpf").join(name)
}
