//! A real case: compiling a C program with hundreds of headers, in a container.
//!
//! A load program starts the compiler in one and the same container; each compilation opens some four hundred files, most of them of
//! the image. All of it was learned before, and approved. Rounds without the agent (torn down) and with it alternate
//! ([`super::alternate`]); within a round with the agent the image's mode is `monitor` and `enforce` in turn. At the end the container
//! compiles on for a while, and what the agent itself takes meanwhile is measured.

use std::time::{Duration, Instant};

use serde_json::json;

use super::alternate::{Samples, Situation};
use super::footprint::{Footprint, Taken, mib};
use super::load::{Cost, Load};
use super::programs;
use super::ratios::{Place, Ratios, Unit};
use super::report::{Grid, Report, verdict};
use super::{Options, Progress, compiler, ground};
use crate::agent::Agent;
use crate::environment::Environment;
use crate::image;
use crate::runtime::{Container, Docker, Layout};

/// How much is measured if nothing else is said: about six seconds a round.
pub const USUAL: Options = Options {
    rounds: 30,
    sample: 12,
};

/// The image that is measured.
const IMAGE: &str = "bench-compile:1";
/// The load program, as a fixture and in the image.
const FIXTURE: &str = "spawn";
/// See [`FIXTURE`].
const LOAD: &str = "/usr/bin/spawn";
/// The modes, in the order of the rows.
const MODES: [&str; 2] = ["monitor", "enforce"];
/// What is measured without the agent.
const BASES: [&str; 1] = ["compiling"];
/// Compilations before a sample that are not measured.
const WARM_UP: u32 = 1;
/// How long the agent itself is measured.
const WATCHED: Duration = Duration::from_secs(30);

/// The most that a compilation may cost, in multiples of what it costs without the agent.
const GOAL: f64 = 1.03;
/// The most that the agent may take meanwhile, as a share of one processor.
const GOAL_CPU_SHARE: f64 = 0.005;

/// Measures.
pub(super) fn run(options: Options, progress: &Progress) -> anyhow::Result<Report> {
    progress.say("starting a Docker daemon of its own, building an image with a compiler and learning it");
    let mut bench = Bench::prepare(options)?;
    let tiers = bench.learn()?;
    let mut samples = Samples {
        without: vec![bench.without_agent()?],
        with: Vec::new(),
    };
    for round in 0..options.rounds {
        samples.with.push(bench.with_agent(round)?);
        samples.without.push(bench.without_agent()?);
        progress.say(&format!("round {} of {}", round + 1, options.rounds));
    }
    progress.say("what the agent itself takes");
    let (footprint, taken) = bench.watch()?;
    progress.say("once more, with the kernel's statistics of its programs");
    let places = bench.statistics()?;
    let ratios = Ratios {
        part: "compile",
        of: "compilation",
        unit: Unit::Ms,
        tiers,
        options,
        rows: samples.rows(&BASES, &situations()),
        places,
    };
    let mut report = ratios.report()?;
    report.tables.insert(1, agent_grid(&footprint, &taken));
    report.numbers.insert(
        "agent".to_owned(),
        json!({"footprint": footprint.to_json(), "taken": taken.to_json()}),
    );
    Ok(report)
}

fn situations() -> Vec<Situation> {
    let situation = |mode| Situation {
        name: format!("compiling, {mode}"),
        goal: Some(GOAL),
        base: 0,
    };
    MODES.map(situation).into()
}

/// What the agent took, for people.
fn agent_grid(footprint: &Footprint, taken: &Taken) -> Grid {
    let goal = format!("below {:.1} %", GOAL_CPU_SHARE * 100.0);
    let mut grid = Grid::new(&["the agent, while the container compiles", "", "goal"]);
    for (name, value, goal) in [
        (
            "processor",
            taken.processor(),
            verdict(&goal, taken.cpu_share < GOAL_CPU_SHARE),
        ),
        ("memory", footprint.memory(), String::new()),
        (
            "memory of the process that answers before executions",
            mib(footprint.answering_bytes),
            String::new(),
        ),
        (
            "the kernel's memory for maps",
            mib(footprint.map_bytes),
            String::new(),
        ),
        (
            "records",
            format!("{}, of them {} lost", taken.generated, taken.lost),
            verdict("0", taken.generated == 0),
        ),
    ] {
        grid.lines.push(vec![name.to_owned(), value, goal]);
    }
    grid
}

/// Everything that is measured.
#[derive(Debug)]
struct Bench {
    options: Options,
    // Dropped in this order: the load program, then the daemon.
    load: Load,
    container: Container,
    docker: Docker,
}

impl Bench {
    fn prepare(options: Options) -> anyhow::Result<Self> {
        let docker = Docker::start(Layout::Hybrid)?;
        image::build_with(&docker, IMAGE, "bench", |root| {
            std::fs::copy(Environment::get().fixture(FIXTURE), root.join(&LOAD[1..]))?;
            compiler::install(root)
        })?;
        let (load, container) = Load::in_container(&docker, IMAGE, LOAD, &[])?;
        Ok(Self {
            options,
            load,
            container,
            docker,
        })
    }

    /// Has the image learned and approves it. Returns what this kernel can do.
    fn learn(&mut self) -> anyhow::Result<Vec<String>> {
        let mut agent = self.agent()?;
        self.load.measure(WARM_UP, compiler::COMPILE)?;
        agent.wait_until_learned(IMAGE, &["/usr/bin/gcc"])?;
        // What a reviewer does where names are drawn: most of them have a form of their own, but not each.
        let below = format!("{}/**", compiler::WRITTEN);
        for operation in ["create", "write", "read"] {
            let words = ["profile", "accept", IMAGE, &below, "--pattern", "--upper"];
            agent.done(&[&words[..], &["--operation", operation]].concat())?;
        }
        ground::learn(&agent, || {
            self.load.measure(WARM_UP + 1, compiler::COMPILE).map(drop)
        })?;
        agent.done(&["profile", "approve", IMAGE])?;
        let tiers = ground::tiers(&agent)?;
        agent.stop()?;
        Ok(tiers)
    }

    fn agent(&self) -> anyhow::Result<Agent> {
        ground::agent(&self.docker, &self.container)
    }

    fn sample(&mut self) -> anyhow::Result<Cost> {
        self.load.measure(WARM_UP, compiler::COMPILE)?;
        self.load.measure(self.options.sample, compiler::COMPILE)
    }

    fn without_agent(&mut self) -> anyhow::Result<Vec<Cost>> {
        Ok(vec![self.sample()?])
    }

    /// Each mode, beginning with the other one in each round.
    fn with_agent(&mut self, round: u32) -> anyhow::Result<Vec<Cost>> {
        let mut agent = self.agent()?;
        let mut samples = [None; MODES.len()];
        for turn in 0..MODES.len() {
            let place = (turn + round as usize) % MODES.len();
            agent.set_mode(MODES[place], IMAGE)?;
            samples[place] = Some(self.sample()?);
        }
        ground::check(&agent, &self.container)?;
        agent.stop()?;
        Ok(samples.into_iter().flatten().collect())
    }

    /// What the agent takes while the container compiles.
    fn watch(&mut self) -> anyhow::Result<(Footprint, Taken)> {
        let mut agent = self.agent()?;
        agent.set_mode("enforce", IMAGE)?;
        self.load.measure(WARM_UP, compiler::COMPILE)?;
        let before = Footprint::of(&agent)?;
        let started = Instant::now();
        while started.elapsed() < WATCHED {
            self.load.measure(WARM_UP, compiler::COMPILE)?;
        }
        let after = Footprint::of(&agent)?;
        ground::check(&agent, &self.container)?;
        agent.stop()?;
        Ok((after, after.since(&before)))
    }

    /// How long each kernel program runs.
    fn statistics(&mut self) -> anyhow::Result<Vec<Place>> {
        let mut agent = self.agent()?;
        agent.set_mode("enforce", IMAGE)?;
        let kept = programs::keep_statistics()?;
        let times = self.options.sample;
        let runs = programs::during(&agent.pinned(), || {
            self.load.measure(times, compiler::COMPILE).map(drop)
        })?;
        drop(kept);
        agent.stop()?;
        Ok(vec![Place {
            name: "compiling".to_owned(),
            times,
            runs,
        }])
    }
}
