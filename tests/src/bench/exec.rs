//! Domain exec: what the start of a program costs.
//!
//! A load program starts a program without a C library by `vfork` and `execve` and waits for it, in one and the same container,
//! and another one does outside of every container. First the domain's kernel programs are detached and attached in turn, hundreds of times,
//! while the agent runs ([`super::hooks`]): what a start costs by that is told from what the rest of the machine does. Then rounds without the
//! agent (torn down) and with it alternate ([`super::alternate`]), which leaves nothing of it out, and is as unsteady as the machine is from one
//! second to the next; within a round with the agent the image's mode is `learn`, `monitor` and `enforce` in turn. The goals are about domain exec, so
//! the domains that can be switched off are; at last, with files and capabilities watched as they are by default, the same is measured once more.

use anyhow::Context as _;

use super::alternate::{Row, Samples, Situation};
use super::hooks::Hooks;
use super::load::{Cost, Load};
use super::programs;
use super::ratios::{Place, Ratios, Unit};
use super::report::Report;
use super::{Options, Progress, ground, program};
use crate::agent::Agent;
use crate::environment::Environment;
use crate::runtime::{Container, Docker, Layout};
use crate::{image, support};

/// How much is measured if nothing else is said: ten seconds a round.
pub const USUAL: Options = Options {
    rounds: 30,
    sample: 8_000,
};

/// The image that is measured.
const IMAGE: &str = "bench:1";
/// The load program, as a fixture and in the image.
const FIXTURE: &str = "spawn";
/// See [`FIXTURE`].
const LOAD: &str = "/usr/bin/spawn";
/// The program without a C library, in the image.
const PROGRAM: &str = "/usr/bin/nothing";
/// The most that the start of a program may cost in a container, in multiples of what it costs without the agent.
const GOAL_IN_CONTAINER: f64 = 1.03;
/// The same outside of every container.
const GOAL_OUTSIDE: f64 = 1.005;
/// The modes, in the order of the rows.
const MODES: [&str; 3] = ["learn", "monitor", "enforce"];
/// The domains that are watched by default and can be switched off.
const OTHERS: [&str; 2] = ["file", "cap"];
/// What is measured without the agent.
const BASES: [&str; 2] = ["torn down, in a container", "torn down, outside"];
/// Starts before a sample that are not measured.
const WARM_UP: u32 = 500;
/// The kernel programs of the domain, on the lite tier.
const HOOKS: [&str; 3] = ["sched_process_exec", "sched_process_fork", "sched_process_exit"];
/// How often they are attached and detached in turn, for each mode in the container.
const TURNS: u32 = 400;
/// The same outside, where the goal is a sixth as wide.
const TURNS_OUTSIDE: u32 = 2_000;
/// Starts in a turn, and those before them that are not measured.
const IN_TURN: u32 = 200;
/// The parts of a turn, of which the median counts.
const PARTS: u32 = 8;
/// See [`IN_TURN`].
const BEFORE_TURN: u32 = 40;

/// Measures.
pub(super) fn run(options: Options, progress: &Progress) -> anyhow::Result<Report> {
    progress.say("starting a Docker daemon of its own, building an image and learning it");
    let mut bench = Bench::prepare(options)?;
    let tier = bench.learn()?;
    progress.say("attaching and detaching the kernel programs in turn");
    let mut rows = bench.hooks_in_turn()?;
    let mut samples = Samples {
        without: vec![bench.without_agent()?],
        with: Vec::new(),
    };
    for round in 0..options.rounds {
        samples.with.push(bench.with_agent(round)?);
        samples.without.push(bench.without_agent()?);
        progress.say(&format!("round {} of {}", round + 1, options.rounds));
    }
    progress.say("once more, with the kernel's statistics of its programs");
    let places = bench.statistics()?;
    rows.extend(samples.rows(&BASES, &situations()));
    let ratios = Ratios {
        part: "exec",
        of: "start",
        unit: Unit::Us,
        tiers: vec![format!("exec `{tier}`")],
        options,
        rows,
        places,
    };
    ratios.report()
}

/// Each mode in the container, and the outside, with the agent started and torn down in turn.
fn situations() -> Vec<Situation> {
    let inside = MODES.map(|mode| Situation {
        name: format!("agent started and torn down, in a container, {mode}"),
        goal: Some(GOAL_IN_CONTAINER),
        base: 0,
    });
    let outside = Situation {
        name: "agent started and torn down, outside".to_owned(),
        goal: Some(GOAL_OUTSIDE),
        base: 1,
    };
    let with_others = [("in a container, monitor", 0), ("outside", 1)].map(|(name, base)| Situation {
        name: format!("agent started and torn down, {name}; files and capabilities watched, too"),
        goal: None,
        base,
    });
    inside.into_iter().chain([outside]).chain(with_others).collect()
}

/// The row of one situation and its noise.
fn in_turn(
    hooks: &mut Hooks,
    load: &mut Load,
    program: &str,
    situation: Situation,
    turns: u32,
) -> anyhow::Result<Vec<Row>> {
    let mut turn = || -> anyhow::Result<Vec<Cost>> {
        load.measure(BEFORE_TURN, program)?;
        Ok(vec![load.sample_in(PARTS, IN_TURN, program)?])
    };
    let mut samples = Samples {
        without: vec![turn()?],
        with: Vec::new(),
    };
    for _ in 0..turns {
        hooks.attach()?;
        samples.with.push(turn()?);
        hooks.detach()?;
        samples.without.push(turn()?);
    }
    let name = situation.name.clone();
    Ok(samples.rows(&[&name], &[situation]))
}

/// Everything that is measured.
#[derive(Debug)]
struct Bench {
    options: Options,
    /// The program outside.
    outside_program: String,
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
        program::install_nothing(&outside)?;
        image::build_with(&docker, IMAGE, "bench", |root| {
            program::install_nothing(&root.join(&PROGRAM[1..]))?;
            std::fs::copy(Environment::get().fixture(FIXTURE), root.join(&LOAD[1..]))?;
            Ok(())
        })?;
        let (inside, container) = Load::in_container(&docker, IMAGE, LOAD, &[])?;
        Ok(Self {
            options,
            outside_program: outside.to_str().context("the run directory's name")?.to_owned(),
            outside: Load::outside(FIXTURE)?,
            inside,
            container,
            docker,
        })
    }

    /// Has the image learned, so that the profile holds all it does. Returns what this kernel can do.
    fn learn(&mut self) -> anyhow::Result<String> {
        let mut agent = self.agent()?;
        ground::learn(&agent, || self.inside.measure(WARM_UP, PROGRAM).map(drop))?;
        agent.wait_until_learned(IMAGE, &[PROGRAM])?;
        let tier = support::tier(&agent, "exec")?;
        agent.stop()?;
        Ok(tier)
    }

    fn agent(&self) -> anyhow::Result<Agent> {
        ground::agent(&self.docker, &self.container)
    }

    /// Each mode in the container, and the outside, with the domain's kernel programs attached and detached in turn.
    fn hooks_in_turn(&mut self) -> anyhow::Result<Vec<Row>> {
        let mut agent = self.agent()?;
        ground::watch(&agent, &OTHERS, "off")?;
        let mut hooks = Hooks::take_over(&agent.pinned(), &HOOKS)?;
        let mut rows = Vec::new();
        for mode in MODES {
            agent.set_mode(mode, IMAGE)?;
            let situation = Situation {
                name: format!("in a container, {mode}"),
                goal: Some(GOAL_IN_CONTAINER),
                base: 0,
            };
            rows.extend(in_turn(&mut hooks, &mut self.inside, PROGRAM, situation, TURNS)?);
        }
        let program = &self.outside_program;
        let situation = Situation {
            name: "outside".to_owned(),
            goal: Some(GOAL_OUTSIDE),
            base: 0,
        };
        rows.extend(in_turn(
            &mut hooks,
            &mut self.outside,
            program,
            situation,
            TURNS_OUTSIDE,
        )?);
        ground::check(&agent, &self.container)?;
        drop(hooks);
        agent.stop()?;
        Ok(rows)
    }

    fn sample_inside(&mut self) -> anyhow::Result<Cost> {
        self.inside.measure(WARM_UP, PROGRAM)?;
        self.inside.sample(self.options.sample, PROGRAM)
    }

    fn sample_outside(&mut self) -> anyhow::Result<Cost> {
        self.outside.measure(WARM_UP, &self.outside_program)?;
        self.outside.sample(self.options.sample, &self.outside_program)
    }

    fn without_agent(&mut self) -> anyhow::Result<Vec<Cost>> {
        ground::settle();
        Ok(vec![self.sample_inside()?, self.sample_outside()?])
    }

    /// Each mode and the outside, beginning with another one in each round.
    fn with_agent(&mut self, round: u32) -> anyhow::Result<Vec<Cost>> {
        let mut agent = self.agent()?;
        ground::watch(&agent, &OTHERS, "off")?;
        ground::settle();
        let mut samples = [None; MODES.len() + 1];
        for turn in 0..samples.len() {
            let place = (turn + round as usize) % samples.len();
            samples[place] = Some(if let Some(mode) = MODES.get(place) {
                agent.set_mode(mode, IMAGE)?;
                self.sample_inside()?
            } else {
                self.sample_outside()?
            });
        }
        agent.set_mode("monitor", IMAGE)?;
        ground::watch(&agent, &OTHERS, "learn")?;
        let with_others = [self.sample_inside()?, self.sample_outside()?];
        ground::check(&agent, &self.container)?;
        agent.stop()?;
        Ok(samples.into_iter().flatten().chain(with_others).collect())
    }

    /// How long each kernel program runs, for starts in the container and outside.
    fn statistics(&mut self) -> anyhow::Result<Vec<Place>> {
        let mut agent = self.agent()?;
        agent.set_mode("enforce", IMAGE)?;
        let pinned = agent.pinned();
        let kept = programs::keep_statistics()?;
        let times = self.options.sample;
        let mut places = Vec::new();
        for (name, load, program) in [
            ("in the container", &mut self.inside, PROGRAM),
            ("outside", &mut self.outside, &self.outside_program),
        ] {
            let runs = programs::during(&pinned, || load.measure(times, program).map(drop))?;
            places.push(Place {
                name: name.to_owned(),
                times,
                runs,
            });
        }
        drop(kept);
        agent.stop()?;
        Ok(places)
    }
}
