//! A load program (a fixture), in a container or outside, and what it measures.
//!
//! Input: how often to do what. Output: the CPU time and the time that took. Failure: a load program that does not
//! start or ends, and what did not succeed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::statistics::Spread;
use crate::environment::Environment;
use crate::runtime::{Container, Docker};

/// Parts of a sample.
const BURSTS: u32 = 40;

/// A running load program.
#[derive(Debug)]
pub struct Load {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What one time took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of the load program and its children, ns.
    pub cpu_ns: f64,
    /// Time, ns.
    pub wall_ns: f64,
}

impl Load {
    /// In a new container of `image`, as its first process, which is the image's `program`. `options` are those of `docker run`.
    pub fn in_container(
        docker: &Docker,
        image: &str,
        program: &str,
        options: &[&str],
    ) -> anyhow::Result<(Self, Container)> {
        Self::in_named_container(docker, "bench", image, program, options)
    }

    /// As [`Self::in_container`], with a name for the container.
    pub fn in_named_container(
        docker: &Docker,
        name: &str,
        image: &str,
        program: &str,
        options: &[&str],
    ) -> anyhow::Result<(Self, Container)> {
        let entry = format!("--entrypoint={program}");
        let words = ["run", "-i", "--network=none", "--name", name, &entry];
        let load = Self::start(docker.command([&words, options, &[image]].concat()))?;
        let id = docker.text(["inspect", "--format", "{{.Id}}", name])?;
        let container = Container {
            id,
            name: name.to_owned(),
        };
        Ok((load, container))
    }

    /// Outside of every container: the fixture of that name.
    pub fn outside(fixture: &str) -> anyhow::Result<Self> {
        Self::start(Command::new(Environment::get().fixture(fixture)))
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut load = Self {
            requests: process.stdin.take().context("no standard input")?,
            answers: BufReader::new(process.stdout.take().context("no standard output")?),
            process,
        };
        let ready = load.answer()?;
        ensure!(ready == "ready\n", "the load program says {ready:?}");
        Ok(load)
    }

    /// Has `what` done so many times, as the load program understands it.
    pub fn measure(&mut self, times: u32, what: &str) -> anyhow::Result<Cost> {
        writeln!(self.requests, "{times}\t{what}").context("the load program has ended")?;
        let answer = self.answer()?;
        let total: Value = serde_json::from_str(&answer).unwrap_or_default();
        let each = |name: &str| -> anyhow::Result<f64> {
            let total = total[name]
                .as_f64()
                .with_context(|| format!("the load program, asked for {what}, says {answer}"))?;
            Ok(total / f64::from(times))
        };
        Ok(Cost {
            cpu_ns: each("cpu_ns")?,
            wall_ns: each("wall_ns")?,
        })
    }

    /// As [`Self::measure`], in [`BURSTS`] parts, of which the median counts.
    pub fn sample(&mut self, times: u32, what: &str) -> anyhow::Result<Cost> {
        self.sample_in(BURSTS, times, what)
    }

    /// As [`Self::measure`], in so many parts, of which the median counts: what the rest of the machine does for a moment, or another
    /// machine on the same processor, then is in some of them and not in the sample.
    pub fn sample_in(&mut self, bursts: u32, times: u32, what: &str) -> anyhow::Result<Cost> {
        let times = times.div_ceil(bursts);
        let bursts = (0..bursts).map(|_| self.measure(times, what));
        let bursts: Vec<Cost> = bursts.collect::<anyhow::Result<_>>()?;
        let median = |of: fn(&Cost) -> f64| -> anyhow::Result<f64> {
            let values: Vec<f64> = bursts.iter().map(of).collect();
            Ok(Spread::of(&values).context("nothing was measured")?.median)
        };
        Ok(Cost {
            cpu_ns: median(|cost| cost.cpu_ns)?,
            wall_ns: median(|cost| cost.wall_ns)?,
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
