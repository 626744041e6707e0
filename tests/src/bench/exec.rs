//! Domain exec: what the start of a program costs.
//!
//! A load program starts a program without a C library by `vfork` and `execve` and waits for it, in one and the same container,
//! and another one does outside of every container. Rounds without the agent (torn down) and with it alternate; within a round
//! with the agent the image's mode is `learn`, `monitor` and `enforce` in turn. Each sample with the agent is compared to the
//! mean of the samples before and after it without; so a machine that becomes slower or faster cancels out. Samples without
//! the agent, compared in the same way among themselves, say what the machine's noise is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::load::{Cost, LOAD, Load};
use super::program;
use super::programs::{self, Runs};
use super::report::{Place, Report, Row};
use super::statistics::Spread;
use crate::agent::{Agent, Options as AgentOptions};
use crate::environment::Environment;
use crate::runtime::{Container, Docker, Layout};
use crate::service::Stop;
use crate::{image, support};

/// The image that is measured.
const IMAGE: &str = "bench:1";
/// The program without a C library, in the image.
const PROGRAM: &str = "/usr/bin/nothing";
/// The most that the start of a program may cost in a container, in multiples of what it costs without the agent.
const GOAL_IN_CONTAINER: f64 = 1.03;
/// The same outside of every container.
const GOAL_OUTSIDE: f64 = 1.005;
/// The modes, in the order of the rows.
const MODES: [&str; 3] = ["learn", "monitor", "enforce"];
/// Starts before a sample that are not measured.
const WARM_UP: u32 = 500;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds without and with the agent.
    pub rounds: u32,
    /// Starts in a sample.
    pub starts: u32,
}

/// The samples of one round, or of one half of it.
#[derive(Clone, Debug, Default)]
struct Samples {
    /// In the container: one for each of [`MODES`], or one alone.
    inside: Vec<Cost>,
    outside: Option<Cost>,
}

/// Measures. Says on standard error how far it is.
pub fn run(options: Options) -> anyhow::Result<Report> {
    let started = Instant::now();
    let say = |what: &str| eprintln!("[{:5.1} s] {what}", started.elapsed().as_secs_f64());
    Environment::read()?;
    ensure!(
        options.rounds > 0 && options.starts > 0,
        "nothing to measure: rounds and starts are at least 1"
    );
    say("starting a Docker daemon of its own, building an image and learning it");
    let mut bench = Bench::prepare(options)?;
    let tier = bench.learn()?;
    let mut without = vec![bench.without_agent()?];
    let mut with = Vec::new();
    for round in 0..options.rounds {
        with.push(bench.with_agent(round)?);
        without.push(bench.without_agent()?);
        say(&format!("round {} of {}", round + 1, options.rounds));
    }
    say("once more, with the kernel's statistics of its programs");
    let places = bench.statistics()?;
    Ok(Report {
        tier,
        rounds: options.rounds,
        starts: options.starts,
        rows: rows(&without, &with),
        places,
        ..Report::of_this_machine()?
    })
}

/// Everything that is measured.
#[derive(Debug)]
struct Bench {
    options: Options,
    // Dropped in this order: the load programs, then the daemon.
    outside: Load,
    inside: Load,
    container: Container,
    docker: Docker,
}

impl Bench {
    fn prepare(options: Options) -> anyhow::Result<Self> {
        let docker = Docker::start(Layout::Hybrid)?;
        let outside = docker.directory().join("nothing");
        install(&outside)?;
        image::build_with(&docker, IMAGE, "bench", |root| {
            install(&root.join(&PROGRAM[1..]))?;
            let load = root.join(&LOAD[1..]);
            std::fs::copy(Environment::get().fixture("spawn"), load)?;
            Ok(())
        })?;
        let (inside, container) = Load::in_container(&docker, IMAGE, "bench", PROGRAM)?;
        Ok(Self {
            options,
            outside: Load::outside(outside.to_str().context("the run directory's name")?)?,
            inside,
            container,
            docker,
        })
    }

    /// Has the image learned, so that the profile holds all it does. Returns what this kernel can do.
    fn learn(&mut self) -> anyhow::Result<String> {
        let mut agent = self.agent()?;
        self.inside.measure(WARM_UP)?;
        agent.wait_until_learned(IMAGE, &[PROGRAM])?;
        let tier = support::tier(&agent, "exec")?;
        agent.stop()?;
        Ok(tier)
    }

    /// Starts an agent and waits until it has everything in hand that concerns the container.
    fn agent(&self) -> anyhow::Result<Agent> {
        let agent = Agent::start(&self.docker, &AgentOptions::named("bench"))?;
        agent.wait_until_resolved(&self.container.id)?;
        if Stop::of(&agent)? == Stop::Killed && agent.answering_process().is_some() {
            agent.wait_until_answered(&self.container.id)?;
        }
        Ok(agent)
    }

    fn without_agent(&mut self) -> anyhow::Result<Samples> {
        Ok(Samples {
            inside: vec![sample(&mut self.inside, self.options.starts)?],
            outside: Some(sample(&mut self.outside, self.options.starts)?),
        })
    }

    /// Each mode and the outside, beginning with another one in each round.
    fn with_agent(&mut self, round: u32) -> anyhow::Result<Samples> {
        let mut agent = self.agent()?;
        let mut inside = [None; MODES.len()];
        let mut samples = Samples::default();
        for turn in 0..=MODES.len() {
            let place = (turn + round as usize) % (MODES.len() + 1);
            if let Some(mode) = MODES.get(place) {
                agent.set_mode(mode, IMAGE)?;
                inside[place] = Some(sample(&mut self.inside, self.options.starts)?);
            } else {
                samples.outside = Some(sample(&mut self.outside, self.options.starts)?);
            }
        }
        samples.inside = inside.into_iter().flatten().collect();
        self.check(&agent)?;
        agent.stop()?;
        Ok(samples)
    }

    /// Nothing of what is measured is a deviation: else it would be another thing that is measured.
    fn check(&self, agent: &Agent) -> anyhow::Result<()> {
        let alert = agent.wait_for_alert(0, Duration::ZERO, |alert| {
            alert["container"]["id"] == self.container.id.as_str()
        });
        ensure!(
            alert.is_none(),
            "what is measured does not conform: {:#}",
            alert.unwrap_or_default()
        );
        Ok(())
    }

    /// How long each kernel program runs, for starts in the container and outside.
    fn statistics(&mut self) -> anyhow::Result<Vec<Place>> {
        let mut agent = self.agent()?;
        agent.set_mode("enforce", IMAGE)?;
        let pinned = agent.pinned();
        let kept = programs::keep_statistics()?;
        let mut places = Vec::new();
        for (name, load) in [
            ("in the container", &mut self.inside),
            ("outside", &mut self.outside),
        ] {
            let before = programs::runs(&pinned)?;
            load.measure(self.options.starts)?;
            let runs: Runs = programs::between(&before, &programs::runs(&pinned)?);
            places.push(Place { name, runs });
        }
        drop(kept);
        agent.stop()?;
        Ok(places)
    }
}

/// Puts the program that is started where it is to lie.
fn install(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, program::nothing())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn sample(load: &mut Load, starts: u32) -> anyhow::Result<Cost> {
    load.measure(WARM_UP)?;
    load.measure(starts)
}

/// The rows of the report: one for each mode, one for the outside, and the noise of both places.
fn rows(without: &[Samples], with: &[Samples]) -> Vec<Row> {
    let inside: Vec<Cost> = without
        .iter()
        .filter_map(|round| round.inside.first().copied())
        .collect();
    let outside: Vec<Cost> = without.iter().filter_map(|round| round.outside).collect();
    let mut rows = Vec::new();
    for (place, mode) in MODES.iter().enumerate() {
        let with: Vec<Cost> = with
            .iter()
            .filter_map(|round| round.inside.get(place).copied())
            .collect();
        rows.extend(row(
            &format!("in a container, {mode}"),
            Some(GOAL_IN_CONTAINER),
            &inside,
            &with,
        ));
    }
    let with_outside: Vec<Cost> = with.iter().filter_map(|round| round.outside).collect();
    rows.extend(row("outside", Some(GOAL_OUTSIDE), &outside, &with_outside));
    rows.extend(noise("noise in a container", &inside));
    rows.extend(noise("noise outside", &outside));
    rows
}

/// Each sample against the mean of the samples before and after it. `around` holds one more than `samples`.
fn row(name: &str, goal: Option<f64>, around: &[Cost], samples: &[Cost]) -> Option<Row> {
    let ratios = |of: fn(&Cost) -> f64| {
        let neighbours = around
            .windows(2)
            .map(|pair| f64::midpoint(of(&pair[0]), of(&pair[1])));
        let ratios: Vec<f64> = samples
            .iter()
            .zip(neighbours)
            .map(|(sample, base)| of(sample) / base)
            .collect();
        Spread::of(&ratios)
    };
    let cpu = |costs: &[Cost]| -> Vec<f64> { costs.iter().map(|cost| cost.cpu_ns).collect() };
    Some(Row {
        name: name.to_owned(),
        goal,
        cpu: ratios(|cost| cost.cpu_ns)?,
        wall: ratios(|cost| cost.wall_ns)?,
        without_ns: Spread::of(&cpu(around))?.median,
        with_ns: Spread::of(&cpu(samples))?.median,
    })
}

/// Samples without the agent among themselves: each but the first and last against the mean of its neighbours.
fn noise(name: &str, samples: &[Cost]) -> Option<Row> {
    let (even, odd): (Vec<_>, Vec<_>) = samples.iter().enumerate().partition(|(place, _)| place % 2 == 0);
    let costs =
        |list: Vec<(usize, &Cost)>| -> Vec<Cost> { list.into_iter().map(|(_, cost)| *cost).collect() };
    row(name, None, &costs(even), &costs(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu_ns: f64) -> Cost {
        Cost {
            cpu_ns,
            wall_ns: 2.0 * cpu_ns,
        }
    }

    #[test]
    fn a_machine_that_becomes_slower_cancels_out() {
        let without = [cost(100.0), cost(120.0), cost(140.0)];
        let with = [cost(121.0), cost(143.0)];
        let row = row("x", None, &without, &with).expect("a row");
        assert!((row.cpu.median - 1.1).abs() < 1e-9, "{row:?}");
        assert!((row.wall.greatest - 1.1).abs() < 1e-9, "{row:?}");
        let noise = noise("y", &without).expect("a row");
        assert!((noise.cpu.median - 1.0).abs() < 1e-9, "{noise:?}");
        assert_eq!(noise.cpu.count, 1);
    }

    #[test]
    fn one_round_has_no_noise_to_tell() {
        let samples = |inside: usize| Samples {
            inside: vec![cost(100.0); inside],
            outside: Some(cost(50.0)),
        };
        let rows = rows(&[samples(1), samples(1)], &[samples(3)]);
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "in a container, learn",
                "in a container, monitor",
                "in a container, enforce",
                "outside"
            ]
        );
    }
}
