//! Domains file and cap: what single system calls cost.
//!
//! A load program opens a file and closes it: one file of the image, one of a volume, and many files of the image in turn. It also
//! asks for its process id, which concerns no domain: what the agent costs there is the price of being attached at all. It does so in
//! one and the same container, and another one outside of every container. Rounds without the agent (torn down) and with it
//! alternate ([`super::alternate`]); within a round with the agent the image's mode is `monitor` and `enforce` in turn. All of it
//! was learned before: no sample makes a record.

use std::path::Path;

use anyhow::{Context as _, ensure};

use super::alternate::{Samples, Situation};
use super::load::{Cost, Load};
use super::programs;
use super::ratios::{Place, Ratios, Unit};
use super::report::Report;
use super::{Options, Progress, ground};
use crate::agent::Agent;
use crate::environment::Environment;
use crate::image;
use crate::runtime::{Container, Docker, Layout};

/// How much is measured if nothing else is said: about eight seconds a round.
pub const USUAL: Options = Options {
    rounds: 40,
    sample: 100_000,
};

/// The image that is measured.
const IMAGE: &str = "bench-calls:1";
/// The load program, as a fixture and in the image.
const FIXTURE: &str = "calls";
/// See [`FIXTURE`].
const LOAD: &str = "/usr/bin/calls";
/// The modes, in the order of the rows.
const MODES: [&str; 2] = ["monitor", "enforce"];
/// What else may be watched than what is by default: in words, and the modes by domain. Measured by what concerns no domain.
const WATCHED: [(&str, &[(&str, &str)]); 2] = [
    (
        "files and capabilities off",
        &[("file", "off"), ("cap", "off"), ("syscall", "off")],
    ),
    (
        "system calls watched, too",
        &[("file", "learn"), ("cap", "learn"), ("syscall", "monitor")],
    ),
];
/// Files that are opened in turn.
const FILES: u32 = 256;
/// Times before a sample that are not measured.
const WARM_UP: u32 = 2_000;
/// How often the kernel programs are timed in a place, of which the median counts: an emulated machine is interrupted at any moment.
const TIMED: usize = 5;
/// How many times as often `getpid` is called as a file is opened: it takes that much less time.
const GETPID_TIMES: u32 = 10;
/// The file of the image that is opened.
const FILE: &str = "/usr/share/one";
/// What concerns no domain, and only costs what it costs to be attached.
const GETPID: &str = "getpid";
/// The directory of the image with those that are opened in turn.
const DIRECTORY: &str = "/usr/share/many";
/// Where the volume is.
const VOLUME: &str = "/volume";
/// The magic number of ext2, ext3 and ext4 (`statfs(2)`).
const EXT4: i64 = 0xef53;

/// Something that is done again and again.
#[derive(Clone, Debug)]
struct Call {
    /// What, in the report's words.
    name: String,
    /// In the load program's words.
    request: String,
    /// The most that it may cost, in multiples of what it costs without the agent.
    goal: Option<f64>,
    /// How many times as often as the sample says.
    factor: u32,
}

/// Measures.
pub(super) fn run(options: Options, progress: &Progress) -> anyhow::Result<Report> {
    progress.say("starting a Docker daemon of its own, building an image and learning it");
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
    progress.say("once more, with the kernel's statistics of its programs");
    let places = bench.statistics()?;
    let bases = bench.bases();
    let names: Vec<&str> = bases.iter().map(String::as_str).collect();
    let ratios = Ratios {
        part: "calls",
        of: "call",
        unit: Unit::Ns,
        tiers,
        options,
        rows: samples.rows(&names, &bench.situations()),
        places,
    };
    ratios.report()
}

/// What one tier costs, for each call in each place.
#[derive(Debug)]
pub struct OnTier {
    /// The kernel programs' runs.
    pub places: Vec<Place>,
    /// What the calls themselves take longer than without the agent: the programs, and what they are attached to.
    pub longer_ns: Vec<f64>,
}

/// The kernel programs, for so many times of each call: what `examine` says of the agent that is measured, and what its tier costs. If that is
/// the full tier, then the lite tier, too, for the same load on the same machine.
///
/// # Errors
/// As the measurement's.
pub fn tiers<T>(
    times: u32,
    examine: impl FnOnce(&Agent) -> anyhow::Result<T>,
) -> anyhow::Result<(T, OnTier, Option<OnTier>)> {
    let mut bench = Bench::prepare(Options {
        rounds: 0,
        sample: times,
    })?;
    let without = bench.without_agent()?;
    let mut agent = bench.agent()?;
    let found = examine(&agent)?;
    let tier = bench.on_tier(&agent, &without)?;
    agent.stop()?;
    let is_full = tier
        .places
        .iter()
        .any(|place| place.runs.contains_key("file_open"));
    let mut lite = None;
    if is_full {
        let variables = vec![("DRIFTLOCK_TEST_NO_LSM", "1".to_owned())];
        let mut agent = ground::agent_with(&bench.docker, &bench.container, variables)?;
        lite = Some(bench.on_tier(&agent, &without)?);
        agent.stop()?;
    }
    Ok((found, tier, lite))
}

/// Everything that is measured.
#[derive(Debug)]
struct Bench {
    options: Options,
    inside_calls: Vec<Call>,
    outside_calls: Vec<Call>,
    // Dropped in this order: the load programs, then the daemon.
    outside: Load,
    inside: Load,
    container: Container,
    docker: Docker,
}

impl Bench {
    fn prepare(options: Options) -> anyhow::Result<Self> {
        let docker = Docker::start(Layout::Hybrid)?;
        let volume = docker.directory().join("volume");
        std::fs::create_dir(&volume)?;
        let outside = volume.join("one");
        std::fs::write(&outside, "one")?;
        image::build_with(&docker, IMAGE, "bench", |root| {
            std::fs::copy(Environment::get().fixture(FIXTURE), root.join(&LOAD[1..]))?;
            std::fs::write(root.join(&FILE[1..]), "one")?;
            fill(&root.join(&DIRECTORY[1..]))
        })?;
        let mount = format!("--volume={}:{VOLUME}", volume.display());
        let (inside, container) = Load::in_container(&docker, IMAGE, LOAD, &[&mount])?;
        let filesystem = filesystem(&volume)?;
        let outside = outside.to_str().context("the run directory's name")?;
        Ok(Self {
            options,
            inside_calls: inside_calls(&filesystem),
            outside_calls: outside_calls(&filesystem, outside),
            outside: Load::outside(FIXTURE)?,
            inside,
            container,
            docker,
        })
    }

    /// Has the image learned, so that the profile holds all it does. Returns what this kernel can do.
    fn learn(&mut self) -> anyhow::Result<Vec<String>> {
        let mut agent = self.agent()?;
        ground::watch(&agent, &["syscall"], "learn")?;
        self.teach(&agent)?;
        ground::watch(&agent, &["syscall"], "off")?;
        let tiers = ground::tiers(&agent)?;
        agent.stop()?;
        Ok(tiers)
    }

    fn teach(&mut self, agent: &Agent) -> anyhow::Result<()> {
        ground::learn(agent, || {
            let mut calls = self.inside_calls.iter();
            calls.try_for_each(|call| self.inside.measure(WARM_UP, &call.request).map(drop))
        })
    }

    fn agent(&self) -> anyhow::Result<Agent> {
        ground::agent(&self.docker, &self.container)
    }

    /// What is measured without the agent.
    fn bases(&self) -> Vec<String> {
        let inside = self.inside_calls.iter();
        let outside = self.outside_calls.iter();
        inside
            .map(|call| format!("{}, in a container", call.name))
            .chain(outside.map(|call| format!("{}, outside", call.name)))
            .collect()
    }

    /// Each call in each mode, then those outside.
    fn situations(&self) -> Vec<Situation> {
        let bases = self.bases();
        let mut situations = Vec::new();
        for mode in MODES {
            for (base, call) in self.inside_calls.iter().enumerate() {
                situations.push(Situation {
                    name: format!("{}, {mode}", bases[base]),
                    goal: call.goal,
                    base,
                });
            }
        }
        for (place, call) in self.outside_calls.iter().enumerate() {
            let base = self.inside_calls.len() + place;
            situations.push(Situation {
                name: bases[base].clone(),
                goal: call.goal,
                base,
            });
        }
        for (what, _) in WATCHED {
            for (base, name) in bases
                .iter()
                .enumerate()
                .filter(|(_, name)| name.starts_with(GETPID))
            {
                situations.push(Situation {
                    name: format!("{name}; {what}"),
                    goal: None,
                    base,
                });
            }
        }
        situations
    }

    /// `getpid`, in the container and outside, by what is watched.
    fn watched(&mut self, agent: &Agent) -> anyhow::Result<Vec<Cost>> {
        let mut samples = Vec::new();
        for (_, modes) in WATCHED {
            for (domain, mode) in modes {
                ground::watch(agent, &[*domain], mode)?;
            }
            let getpid = |calls: &[Call]| -> Vec<Call> {
                let mut calls = calls.to_vec();
                calls.retain(|call| call.name.starts_with(GETPID));
                calls
            };
            samples.extend(sample(
                &mut self.inside,
                &getpid(&self.inside_calls),
                self.options.sample,
            )?);
            samples.extend(sample(
                &mut self.outside,
                &getpid(&self.outside_calls),
                self.options.sample,
            )?);
        }
        ground::watch(agent, &["syscall"], "off")?;
        Ok(samples)
    }

    fn without_agent(&mut self) -> anyhow::Result<Vec<Cost>> {
        let mut samples = self.sample_inside()?;
        samples.extend(self.sample_outside()?);
        Ok(samples)
    }

    /// Each mode and the outside, beginning with another one in each round.
    fn with_agent(&mut self, round: u32) -> anyhow::Result<Vec<Cost>> {
        let mut agent = self.agent()?;
        let mut samples = vec![Vec::new(); MODES.len() + 1];
        for turn in 0..samples.len() {
            let place = (turn + round as usize) % samples.len();
            samples[place] = if let Some(mode) = MODES.get(place) {
                agent.set_mode(mode, IMAGE)?;
                let before = ground::generated(&agent)?;
                let measured = self.sample_inside()?;
                let records = ground::generated(&agent)? - before;
                ensure!(records == 0, "what is measured made {records} records, {mode}");
                measured
            } else {
                self.sample_outside()?
            };
        }
        samples.push(self.watched(&agent)?);
        ground::check(&agent, &self.container)?;
        agent.stop()?;
        Ok(samples.concat())
    }

    fn sample_inside(&mut self) -> anyhow::Result<Vec<Cost>> {
        sample(&mut self.inside, &self.inside_calls, self.options.sample)
    }

    fn sample_outside(&mut self) -> anyhow::Result<Vec<Cost>> {
        sample(&mut self.outside, &self.outside_calls, self.options.sample)
    }

    /// How long each kernel program runs, for each of the calls.
    fn statistics(&mut self) -> anyhow::Result<Vec<Place>> {
        let mut agent = self.agent()?;
        let places = self.time_programs(&agent)?;
        agent.stop()?;
        Ok(places)
    }

    /// What this agent's tier costs, compared with what was measured `without` an agent.
    fn on_tier(&mut self, agent: &Agent, without: &[Cost]) -> anyhow::Result<OnTier> {
        self.teach(agent)?;
        agent.set_mode("enforce", IMAGE)?;
        let with = [self.sample_inside()?, self.sample_outside()?].concat();
        let pairs = with.iter().zip(without);
        Ok(OnTier {
            places: self.time_programs(agent)?,
            longer_ns: pairs
                .map(|(with, without)| with.wall_ns - without.wall_ns)
                .collect(),
        })
    }

    fn time_programs(&mut self, agent: &Agent) -> anyhow::Result<Vec<Place>> {
        let bases = self.bases();
        agent.set_mode("enforce", IMAGE)?;
        let pinned = agent.pinned();
        let kept = programs::keep_statistics()?;
        let inside = self.inside_calls.iter().map(|call| (true, call));
        let outside = self.outside_calls.iter().map(|call| (false, call));
        let mut places = Vec::new();
        for ((is_inside, call), name) in inside.chain(outside).zip(bases) {
            let load = if is_inside {
                &mut self.inside
            } else {
                &mut self.outside
            };
            let times = self.options.sample;
            load.measure(WARM_UP, &call.request)?;
            let mut rounds = Vec::new();
            for _ in 0..TIMED {
                let runs = programs::during(&pinned, || load.measure(times, &call.request).map(drop))?;
                let name = name.clone();
                rounds.push(Place { name, times, runs });
            }
            rounds.sort_by_key(Place::ns_each);
            places.push(rounds.swap_remove(TIMED / 2));
        }
        drop(kept);
        Ok(places)
    }
}

fn sample(load: &mut Load, calls: &[Call], times: u32) -> anyhow::Result<Vec<Cost>> {
    let mut samples = Vec::new();
    for call in calls {
        load.measure(WARM_UP, &call.request)?;
        samples.push(load.sample(times.saturating_mul(call.factor), &call.request)?);
    }
    Ok(samples)
}

/// What is done in the container, whose volume is on this filesystem.
fn inside_calls(filesystem: &str) -> Vec<Call> {
    vec![
        Call {
            name: "open and close, image".to_owned(),
            request: format!("open {FILE}"),
            goal: Some(1.20),
            factor: 1,
        },
        Call {
            name: format!("open and close, volume on {filesystem}"),
            request: format!("open {VOLUME}/one"),
            goal: Some(1.35),
            factor: 1,
        },
        Call {
            name: format!("open and close, {FILES} files of the image in turn"),
            request: format!("each {DIRECTORY}"),
            goal: None,
            factor: 1,
        },
        getpid(),
    ]
}

/// What is done outside of every container, with a file on this filesystem.
fn outside_calls(filesystem: &str, file: &str) -> Vec<Call> {
    vec![
        Call {
            name: format!("open and close, {filesystem}"),
            request: format!("open {file}"),
            goal: Some(1.22),
            factor: 1,
        },
        getpid(),
    ]
}

fn getpid() -> Call {
    Call {
        name: "getpid".to_owned(),
        request: "getpid".to_owned(),
        goal: Some(1.40),
        factor: GETPID_TIMES,
    }
}

/// Makes the directory with the files that are opened in turn.
fn fill(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(directory)?;
    for number in 0..FILES {
        std::fs::write(directory.join(format!("{number:03}")), format!("{number}\n"))?;
    }
    Ok(())
}

/// The name of the filesystem that a directory is on.
fn filesystem(directory: &Path) -> anyhow::Result<String> {
    let kind = rustix::fs::statfs(directory)?.f_type;
    Ok(if kind == EXT4 {
        "ext4".to_owned()
    } else {
        format!("a filesystem of type {kind:#x}")
    })
}
