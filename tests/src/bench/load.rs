//! The load program (fixture `spawn`), in a container or outside, and what it measures.
//!
//! Input: how often to start which program. Output: the CPU time and the time that took. Failure: a load program that does not
//! start or ends, and a start that did not succeed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::environment::Environment;
use crate::runtime::{Container, Docker};

/// Where the load program lies in the image.
pub const LOAD: &str = "/usr/bin/spawn";

/// A running load program.
#[derive(Debug)]
pub struct Load {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    program: String,
}

/// What one start took, in the mean of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of the load program and its children, ns.
    pub cpu_ns: f64,
    /// Time, ns.
    pub wall_ns: f64,
}

impl Load {
    /// In a new container, as its first process; it starts `program` of the image.
    pub fn in_container(
        docker: &Docker,
        image: &str,
        name: &str,
        program: &str,
    ) -> anyhow::Result<(Self, Container)> {
        let entry = format!("--entrypoint={LOAD}");
        let command = docker.command(["run", "-i", "--network=none", "--name", name, &entry, image]);
        let load = Self::start(command, program)?;
        let id = docker.text(["inspect", "--format", "{{.Id}}", name])?;
        let container = Container {
            id,
            name: name.to_owned(),
        };
        Ok((load, container))
    }

    /// Outside of every container; it starts the file `program` of the host.
    pub fn outside(program: &str) -> anyhow::Result<Self> {
        Self::start(Command::new(Environment::get().fixture("spawn")), program)
    }

    fn start(mut command: Command, program: &str) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut load = Self {
            requests: process.stdin.take().context("no standard input")?,
            answers: BufReader::new(process.stdout.take().context("no standard output")?),
            process,
            program: program.to_owned(),
        };
        let ready = load.answer()?;
        ensure!(ready == "ready\n", "the load program says {ready:?}");
        Ok(load)
    }

    /// Has the program started so many times.
    pub fn measure(&mut self, times: u32) -> anyhow::Result<Cost> {
        writeln!(self.requests, "{times}\t{}", self.program).context("the load program has ended")?;
        let answer = self.answer()?;
        let total: Value = serde_json::from_str(&answer).unwrap_or_default();
        let each = |name: &str| -> anyhow::Result<f64> {
            let total = total[name]
                .as_f64()
                .with_context(|| format!("the load program says {answer}"))?;
            Ok(total / f64::from(times))
        };
        Ok(Cost {
            cpu_ns: each("cpu_ns")?,
            wall_ns: each("wall_ns")?,
        })
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
