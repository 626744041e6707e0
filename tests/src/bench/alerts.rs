//! Alerts: how long they take from the kernel to a sink, and what a storm of them takes.
//!
//! Containers make files that their image's profile does not hold, each an alert of its own, at a steady rate: the time from the record in
//! the kernel to the line at the reader of the agent's standard output is measured, the spool's write to disk between them included. Before that
//! they write programs and execute each, whose content is hashed before its alert goes out. Then they make files as fast as they can; and then one of them does one and the same unknown thing as fast as it can. Failure: a load program that
//! does not do it; an alert that never comes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::footprint::{Footprint, Taken, mib};
use super::load::Load;
use super::program;
use super::report::{Grid, Machine, Report, verdict};
use super::{Options, Progress, ground};
use crate::agent::{Agent, Options as AgentOptions};
use crate::environment::Environment;
use crate::image;
use crate::runtime::{Container, Docker, Layout};

/// How much is measured if nothing else is said: so many seconds, and so many alerts in each.
pub const USUAL: Options = Options {
    rounds: 20,
    sample: 1_000,
};

/// The image that is measured.
const IMAGE: &str = "bench-alerts:1";
/// The load program, as a fixture and in the image.
const FIXTURE: &str = "calls";
/// See [`FIXTURE`].
const LOAD: &str = "/usr/bin/calls";
/// Where files are made.
const DIRECTORY: &str = "/var/new";
/// What is opened again and again in the storm of one behaviour.
const ONE: &str = "/etc/one";
/// Containers that make alerts: one alone may not send a thousand records a second.
const CONTAINERS: usize = 2;
/// Containers of the storm.
const STORM_CONTAINERS: usize = 10;
/// The steps of a second in which files are made.
const STEPS: u32 = 100;
/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(10);
/// How long repeats are counted before they are summed up, seconds.
const FOLD_WINDOW_S: u64 = 5;
/// How long the last alert may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest that 99 of 100 alerts may take.
const GOAL: Duration = Duration::from_millis(10);
/// The most memory that the agent may use in a storm, bytes: the 40 MiB that it may use on a full node, 8,192 alerts whose repeats are counted and
/// 4,096 that wait for the spool, of some 4 KiB each, and 8 MiB of alerts that the disk does not take.
const GOAL_MEMORY: u64 = 96 << 20;

/// A container that makes alerts.
struct Source {
    load: Load,
    container: Container,
}

/// Measures.
pub(super) fn run(options: Options, progress: &Progress) -> anyhow::Result<Report> {
    progress.say("starting a Docker daemon of its own and building an image");
    let docker = Docker::start(Layout::Hybrid)?;
    let fixture = Environment::get().fixture(FIXTURE);
    image::build_with(&docker, IMAGE, "bench-alerts", |root| {
        for directory in ["usr/bin", "var/new", "etc"] {
            std::fs::create_dir_all(root.join(directory))?;
        }
        std::fs::create_dir_all(root.join("usr/share"))?;
        std::fs::write(root.join("usr/share/nothing"), program::nothing())?;
        std::fs::write(root.join(&ONE[1..]), "one\n")?;
        std::fs::copy(&fixture, root.join(&LOAD[1..]))?;
        Ok(())
    })?;
    let agent = Agent::start(
        &docker,
        &AgentOptions {
            config: format!("limits: {{ fold_window_s: {FOLD_WINDOW_S} }}\n"),
            ..ground::options()
        },
    )?;
    let mut sources = (0..STORM_CONTAINERS)
        .map(|number| source(&docker, &agent, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // What they do besides is learned.
    std::thread::sleep(Duration::from_secs(2));
    agent.set_domain_mode("off", IMAGE, "file")?;
    agent.set_domain_mode("monitor", IMAGE, "exec")?;
    ground::settle();

    progress.say("programs that are written and executed, at a steady rate");
    let drift = steady(&agent, &mut sources[..CONTAINERS], options, "run")?;
    agent.set_domain_mode("monitor", IMAGE, "file")?;
    ground::settle();
    progress.say("files that are made, at a steady rate");
    let steady = steady(&agent, &mut sources[..CONTAINERS], options, "new")?;
    progress.say("as many different ones as there can be");
    let storm = storm(&agent, &mut sources)?;
    progress.say("one behaviour, again and again");
    let one = one(&agent, &mut sources[0])?;
    report(options, &ground::tiers(&agent)?, [&steady, &drift], &storm, &one)
}

fn source(docker: &Docker, agent: &Agent, number: usize) -> anyhow::Result<Source> {
    let name = format!("bench-{number}");
    let (load, container) = Load::in_named_container(docker, &name, IMAGE, LOAD, &[])?;
    agent.wait_until_resolved(&container.id)?;
    Ok(Source { load, container })
}

/// What a steady rate of alerts took.
struct Steady {
    alerts: usize,
    /// From the record to the reader, sorted.
    delays: Vec<Duration>,
    elapsed: Duration,
    /// What the agent took meanwhile.
    taken: Taken,
}

/// `what` the sources do, each time another.
fn steady(agent: &Agent, sources: &mut [Source], options: Options, what: &str) -> anyhow::Result<Steady> {
    let mark = agent.mark();
    let each = options.sample / STEPS / u32::try_from(sources.len())?;
    let step = Duration::from_secs(1) / STEPS;
    let before = Footprint::of(agent)?;
    let started = Instant::now();
    for number in 0..options.rounds * STEPS {
        let due = started + step * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for source in &mut *sources {
            source.load.measure(each, &format!("{what} {DIRECTORY}"))?;
        }
    }
    let elapsed = started.elapsed();
    let wanted = (options.rounds * STEPS * each) as usize * sources.len();
    let taken = Footprint::of(agent)?.since(&before);
    wait_for(agent, mark, wanted)?;
    let arrivals = agent.arrivals();
    let alerts = agent.alerts();
    let mut delays = Vec::with_capacity(wanted);
    for (alert, arrived) in alerts.iter().zip(&arrivals).skip(mark) {
        if alert["repeats_of"].is_null() {
            let time = alert["time"].as_str().context("an alert without time")?;
            let time: Timestamp = time.parse()?;
            delays.push(Duration::try_from(arrived.duration_since(time)).unwrap_or_default());
        }
    }
    delays.sort_unstable();
    Ok(Steady {
        alerts: delays.len(),
        delays,
        elapsed,
        taken,
    })
}

/// What a storm led to.
struct Storm {
    done: u64,
    elapsed: Duration,
    alerts: u64,
    counted: u64,
    lost: u64,
    /// Alerts that the spool had no room for.
    given_up: u64,
    memory: u64,
    cpu_share: f64,
}

/// All containers make files as fast as they can.
fn storm(agent: &Agent, sources: &mut [Source]) -> anyhow::Result<Storm> {
    under_watch(agent, |deadline| {
        std::thread::scope(|scope| {
            let making: Vec<_> = sources
                .iter_mut()
                .map(|source| {
                    scope.spawn(move || -> anyhow::Result<u64> {
                        let mut made = 0;
                        while Instant::now() < deadline {
                            source.load.measure(200, &format!("new {DIRECTORY}"))?;
                            made += 200;
                        }
                        Ok(made)
                    })
                })
                .collect();
            making
                .into_iter()
                .map(|made| made.join().expect("no panic"))
                .sum()
        })
    })
}

/// One container opens one file as fast as it can.
fn one(agent: &Agent, source: &mut Source) -> anyhow::Result<Storm> {
    let storm = under_watch(agent, |deadline| {
        let mut opened = 0;
        while Instant::now() < deadline {
            source.load.measure(20_000, &format!("open {ONE}"))?;
            opened += 20_000;
        }
        Ok(opened)
    })?;
    ensure!(
        agent
            .wait_for_alert(0, PATIENCE, |alert| alert["behaviour"]["path"] == ONE
                && alert["container"]["id"] == source.container.id.as_str())
            .is_some(),
        "nobody was told of {ONE}"
    );
    Ok(storm)
}

fn under_watch(agent: &Agent, work: impl FnOnce(Instant) -> anyhow::Result<u64>) -> anyhow::Result<Storm> {
    let mark = agent.mark();
    let before = Footprint::of(agent)?;
    let given_up = |agent: &Agent| -> anyhow::Result<u64> {
        let status = agent.json(&["status"])?;
        status["spool"]["dropped"]
            .as_u64()
            .context("no count of dropped alerts")
    };
    let given_up_before = given_up(agent)?;
    let started = Instant::now();
    let done = work(started + STORM)?;
    let elapsed = started.elapsed();
    let after = Footprint::of(agent)?;
    // Until what was folded is summed up, and everything is with the reader.
    std::thread::sleep(Duration::from_secs(FOLD_WINDOW_S + 2));
    wait_until_delivered(agent)?;
    let memory = Footprint::of(agent)?.memory_bytes.max(after.memory_bytes);
    let alerts = agent.alerts();
    let counts = alerts[mark..]
        .iter()
        .map(|alert| alert["count"].as_u64().unwrap_or(0));
    let taken = after.since(&before);
    Ok(Storm {
        done,
        elapsed,
        alerts: (alerts.len() - mark) as u64,
        counted: counts.sum(),
        lost: Footprint::of(agent)?.since(&before).lost,
        given_up: given_up(agent)? - given_up_before,
        memory,
        cpu_share: taken.cpu_share,
    })
}

fn wait_for(agent: &Agent, mark: usize, wanted: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let paths: HashSet<String> = agent.alerts()[mark..]
            .iter()
            .map(|alert| format!("{}{}", alert["container"]["id"], alert["behaviour"]["path"]))
            .collect();
        if paths.len() >= wanted {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {wanted} alerts came; {}",
            paths.len(),
            agent.json(&["status"])?
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn wait_until_delivered(agent: &Agent) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = agent.json(&["status"])?;
        if status["spool"]["alerts"] == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "alerts wait: {}", status["spool"]);
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Steady {
    /// How long this share of the alerts took at most.
    fn delay(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a position in a list"
        )]
        let position = ((self.delays.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.delays.get(position).copied().unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rate(&self) -> f64 {
        self.alerts as f64 / self.elapsed.as_secs_f64()
    }

    fn to_json(&self) -> Value {
        let at_ms = |share| self.delay(share).as_secs_f64() * 1e3;
        json!({
            "alerts": self.alerts, "rate_per_s": self.rate(), "agent": self.taken.to_json(),
            "p50_ms": at_ms(0.5), "p90_ms": at_ms(0.9), "p99_ms": at_ms(0.99), "max_ms": at_ms(1.0),
        })
    }
}

impl Storm {
    fn line(&self, name: &str) -> Vec<String> {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = self.done as f64 / self.elapsed.as_secs_f64();
        vec![
            name.to_owned(),
            format!("{rate:.0}"),
            self.alerts.to_string(),
            self.counted.to_string(),
            self.lost.to_string(),
            self.given_up.to_string(),
            format!(
                "{}; {}",
                mib(self.memory),
                verdict(&format!("below {}", mib(GOAL_MEMORY)), self.memory < GOAL_MEMORY)
            ),
            format!("{:.0} % of one", self.cpu_share * 100.0),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "done": self.done, "elapsed_s": self.elapsed.as_secs_f64(), "alerts": self.alerts, "counted": self.counted,
            "lost": self.lost, "given_up": self.given_up, "memory_bytes": self.memory, "cpu_share": self.cpu_share,
        })
    }
}

/// How long alerts took.
fn delays(files: &Steady, programs: &Steady) -> Grid {
    let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1e3);
    let mut delays = Grid::new(&[
        "from the record to the reader",
        "made files",
        "goal",
        "executed programs",
        "goal",
    ]);
    let goal = format!("below {}", ms(GOAL));
    for (name, share, has_goal) in [
        ("half of the alerts", 0.5, false),
        ("90 of 100", 0.9, false),
        ("99 of 100", 0.99, true),
        ("all", 1.0, false),
    ] {
        let cells = [files, programs].map(|steady| {
            let delay = steady.delay(share);
            let met = has_goal.then(|| verdict(&goal, delay < GOAL));
            [ms(delay), met.unwrap_or_default()]
        });
        let name = std::iter::once(name.to_owned());
        delays
            .lines
            .push(name.chain(cells.into_iter().flatten()).collect());
    }
    delays.lines.push(vec![
        "the agent's processor time".to_owned(),
        files.taken.processor(),
        String::new(),
        programs.taken.processor(),
        String::new(),
    ]);
    delays
}

fn report(
    options: Options,
    tiers: &[String],
    [files, programs]: [&Steady; 2],
    storm: &Storm,
    one: &Storm,
) -> anyhow::Result<Report> {
    let mut storms = Grid::new(&[
        "storm",
        "done in a second",
        "alerts",
        "their counts",
        "records lost, counted",
        "alerts given up",
        "memory",
        "processor",
    ]);
    storms.lines = vec![storm.line("different files"), one.line("one file")];
    let numbers = [
        ("files", files.to_json()),
        ("programs", programs.to_json()),
        ("storm_of_different", storm.to_json()),
        ("storm_of_one", one.to_json()),
    ];
    Ok(Report {
        part: "alerts",
        machine: Machine::this()?,
        conditions: format!(
            "tiers: {}; {} and {} alerts in {} s each, {:.0} and {:.0} a second, of {CONTAINERS} containers; storms of {} s, the first of {STORM_CONTAINERS} containers",
            tiers.join(", "),
            files.alerts,
            programs.alerts,
            options.rounds,
            files.rate(),
            programs.rate(),
            STORM.as_secs()
        ),
        tables: vec![delays(files, programs), storms],
        numbers: numbers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    })
}
