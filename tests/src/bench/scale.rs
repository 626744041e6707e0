//! A full node: many containers, each of an image of its own with a large profile.
//!
//! The profiles are made here, as documents, and imported; a container of each image waits and does nothing. What the agent itself takes
//! is measured before, with all of it in force and enforced, and after a restart. Failure: a container whose profile is not in
//! force; an alert, as none of the containers does anything.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use super::footprint::{Footprint, Taken, mib};
use super::report::{Grid, Machine, Report, verdict};
use super::{Options, Progress, ground, program};
use crate::agent::Agent;
use crate::runtime::{Docker, Layout, Runtime as _};

/// How much is measured if nothing else is said: one round, and so many containers.
pub const USUAL: Options = Options {
    rounds: 1,
    sample: 100,
};

/// The program of each image: it waits.
const PROGRAM: &str = "/usr/bin/wait";
/// Rules in a profile: programs (one of them is [`PROGRAM`]), files and capabilities.
const RULES: u64 = 1_000;
/// Of them, uses of capabilities.
const CAPABILITIES: [&str; 10] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_PTRACE",
];
/// Of them, programs.
const PROGRAMS: u64 = 300;
/// How long the agent is watched while nothing happens.
const WATCHED: Duration = Duration::from_secs(30);
/// How long an agent that has taken over needs to remove what nobody refers to any longer.
const SETTLED: Duration = Duration::from_secs(5);
/// How long a container may take until its profile is in force.
const PATIENCE: Duration = Duration::from_mins(2);

/// The most memory that the agent may use, bytes.
const GOAL_MEMORY: u64 = 40 << 20;
/// The most that the kernel may use for its maps, bytes.
const GOAL_MAPS: u64 = 64 << 20;

/// Measures.
pub(super) fn run(options: Options, progress: &Progress) -> anyhow::Result<Report> {
    let count = options.sample;
    progress.say(&format!(
        "starting a Docker daemon of its own and building {count} images"
    ));
    let docker = Docker::start(Layout::Hybrid)?;
    let digests = images(&docker, count)?;
    let mut agent = Agent::start(&docker, &ground::options())?;
    let tiers = ground::tiers(&agent)?;
    let mut moments = vec![Moment::now("no container, no profile", &agent)?];
    progress.say("importing the profiles");
    let document = docker.directory().join("profile.yaml");
    for (number, digest) in digests.iter().enumerate() {
        std::fs::write(&document, profile(number, digest))?;
        let path = document.to_str().context("the run directory's name")?;
        agent.done(&["profile", "import", path])?;
    }
    agent.done(&["mode", "set", "enforce", "--default"])?;
    moments.push(Moment::now("the profiles are imported", &agent)?);
    progress.say("starting the containers");
    for number in 0..count {
        let entry = format!("--entrypoint={PROGRAM}");
        docker.run(&format!("scale-{number}"), &image(number), &[&entry], &[])?;
    }
    wait_until_in_force(&agent, count)?;
    moments.push(Moment::now("the containers run, enforced", &agent)?);
    progress.say("watching an agent that has nothing to do");
    let taken = watch(&agent)?;
    moments.push(Moment::now("after half a minute", &agent)?);
    progress.say("restarting it");
    agent.restart(&docker, &ground::options())?;
    wait_until_in_force(&agent, count)?;
    // The rules that were in force before go a moment later.
    std::thread::sleep(SETTLED);
    moments.push(Moment::now("after a restart", &agent)?);
    let alerts = agent.alerts();
    ensure!(alerts.is_empty(), "containers that only wait alarm: {alerts:#?}");
    agent.stop()?;
    report(count, &tiers, &moments, &taken)
}

/// What the agent takes at some moment.
#[derive(Debug)]
struct Moment {
    name: &'static str,
    footprint: Footprint,
}

impl Moment {
    fn now(name: &'static str, agent: &Agent) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            footprint: Footprint::of(agent)?,
        })
    }
}

fn report(count: u32, tiers: &[String], moments: &[Moment], taken: &Taken) -> anyhow::Result<Report> {
    let mut grid = Grid::new(&[
        "when",
        "the agent's memory",
        "goal: 40 MiB",
        "the kernel's memory for maps",
        "goal: 64 MiB",
        "memory of the process that answers before executions",
    ]);
    for Moment { name, footprint } in moments {
        let met = |met: bool| verdict("below", met);
        grid.lines.push(vec![
            (*name).to_owned(),
            footprint.memory(),
            met(footprint.memory_bytes < GOAL_MEMORY),
            mib(footprint.map_bytes),
            met(footprint.map_bytes < GOAL_MAPS),
            mib(footprint.answering_bytes),
        ]);
    }
    let mut idle = Grid::new(&["the agent, while nothing happens", ""]);
    for (name, value) in [
        ("processor", taken.processor()),
        (
            "records",
            format!("{}, of them {} lost", taken.generated, taken.lost),
        ),
    ] {
        idle.lines.push(vec![name.to_owned(), value]);
    }
    let seen: Vec<Value> = moments
        .iter()
        .map(|moment| json!({"when": moment.name, "footprint": moment.footprint.to_json()}))
        .collect();
    let fields = [
        ("tiers", json!(tiers)),
        ("containers", json!(count)),
        ("rules_per_profile", json!(RULES)),
        ("moments", json!(seen)),
        ("idle", taken.to_json()),
    ];
    Ok(Report {
        part: "scale",
        machine: Machine::this()?,
        conditions: format!(
            "tiers: {}; {count} containers of {count} images, {RULES} rules in each profile.",
            tiers.join(", ")
        ),
        tables: vec![grid, idle],
        numbers: Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value))),
    })
}

fn image(number: u32) -> String {
    format!("scale-{number}:1")
}

/// Builds images that differ by one file. Returns their config digests.
fn images(docker: &Docker, count: u32) -> anyhow::Result<Vec<String>> {
    let root = tempfile::tempdir_in(docker.directory())?;
    let program = root.path().join(&PROGRAM[1..]);
    std::fs::create_dir_all(program.parent().unwrap_or(Path::new("/")))?;
    program::install_idle(&program)?;
    (0..count)
        .map(|number| {
            std::fs::write(root.path().join("mark"), number.to_string())?;
            docker.import(root.path(), &image(number))
        })
        .collect()
}

/// The document of an image's profile.
fn profile(number: usize, digest: &str) -> String {
    let mut text = format!(
        "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: {digest}
roles:
- role: {PROGRAM}
  approved: true
  exec:
  - layer: image
    path: {PROGRAM}
    windows: 1
"
    );
    for program in 1..PROGRAMS {
        let _ = write!(
            text,
            "  - layer: image\n    path: /opt/app{number}/bin/program{program:04}\n    windows: 1\n"
        );
    }
    text.push_str("  files:\n");
    let capabilities = 4 * CAPABILITIES.len() as u64;
    for file in 0..RULES - PROGRAMS - capabilities {
        let (layer, operation) = if file % 4 == 0 {
            ("upper", "create")
        } else {
            ("image", "read")
        };
        let _ = write!(
            text,
            "  - layer: {layer}\n    path: /opt/app{number}/share/data/file{file:04}.txt\n    operation: {operation}\n    windows: 1\n"
        );
    }
    text.push_str("  capabilities:\n");
    for capability in CAPABILITIES {
        for (namespace, outcome) in [
            ("initial", "granted"),
            ("initial", "refused"),
            ("other", "granted"),
            ("other", "refused"),
        ] {
            let _ = write!(
                text,
                "  - capability: {capability}\n    namespace: {namespace}\n    outcome: {outcome}\n    windows: 1\n"
            );
        }
    }
    text
}

/// Waits until as many containers as there are to be have all rules of their profile in the kernel.
fn wait_until_in_force(agent: &Agent, count: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let containers = agent.json(&["containers"])?;
        let list = containers.as_array().context("no list of containers")?;
        let in_force = list.iter().filter(|container| {
            container["state"] == "resolved" && container["rules"].as_u64() >= Some(RULES)
        });
        let in_force = in_force.count();
        if in_force == count as usize {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "of {count} containers {in_force} have their rules in force; the first is {:#}; log:\n{}",
            list.first().unwrap_or(&Value::Null),
            agent.log()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What the agent takes while nothing happens.
fn watch(agent: &Agent) -> anyhow::Result<Taken> {
    let before = Footprint::of(agent)?;
    std::thread::sleep(WATCHED);
    Ok(Footprint::of(agent)?.since(&before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_as_many_rules_as_it_says() {
        let text = profile(7, "sha256:0");
        let rules = text.lines().filter(|line| *line == "    windows: 1").count();
        assert_eq!(rules as u64, RULES);
        assert!(text.contains("/opt/app7/bin/program0299"), "{text}");
    }
}
