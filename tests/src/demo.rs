//! The demonstration: a real container is learned, enforced and attacked.
//!
//! Input: the environment ([`crate::environment`]). Output: a table of what was tried and what came of it, and one
//! real alert, on standard output; progress on standard error. Failure: what could not be set up; an attempt that
//! was missed is no failure but a row of the table and the result `false`. Whatever happens, nothing stays behind.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use crate::agent::{Agent, Options as AgentOptions};
use crate::attempt::{self, Attempt, Ending, Expected, Scene};
use crate::environment::Environment;
use crate::image;
use crate::runtime::{Container, Kind, Layout};
use crate::service::{Service, Stop};
use crate::stage::{IMAGE, Stage, is_about};

/// How it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// No progress on standard error.
    pub quiet: bool,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    attempt: String,
    expected: String,
    process: String,
    alert: String,
    faults: Vec<String>,
}

/// Runs it. Returns whether nothing was missed.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    Environment::read()?;
    let progress = Progress {
        quiet: options.quiet,
        started: Instant::now(),
    };
    progress.say("starting a Docker daemon of its own and building an image of static programs");
    let docker = Kind::Docker.start(Layout::Hybrid)?;
    let digest = image::build(docker.as_ref(), IMAGE, "demo")?;
    progress.say("starting the agent; exec_into is `alert`");
    let alerting = AgentOptions {
        policies: vec![("exec_into", "alert")],
        ..AgentOptions::named("demo")
    };
    let agent = Agent::start(docker.as_ref(), &alerting)?;
    let mut stage = Stage::of(agent, docker, digest)?;

    progress.say("learning: a container does what it always does");
    stage.learn()?;
    let learned = stage.agent.rules(IMAGE, "main")?;
    progress.say(&format!(
        "the profile of {} holds {}",
        stage.digest,
        learned.join(", ")
    ));
    stage.agent.accept_probe(IMAGE, "/bin/fetch")?;
    progress.say("accepted /bin/fetch as an exec probe; switching the image to enforce");
    stage.agent.set_mode("enforce", IMAGE)?;

    let (service, restarting) = start_containers(&stage)?;
    progress.say("attacking");
    let mut results = Vec::new();
    let scene = Scene::new(&stage, &service);
    let policy_free = attempt::ATTEMPTS.iter();
    for attempt in policy_free.chain([
        &attempt::SHELL_ALERT,
        &attempt::ACCEPTED_PROBE,
        &attempt::CONFORMING,
    ]) {
        results.push(attempt.make(&scene)?);
    }
    progress.say("restarting a container that conforms");
    let mut rows: Vec<Row> = results.iter().map(Row::of).collect();
    rows.push(restart(&stage, &restarting)?);
    let example = results.into_iter().find_map(|result| result.alert);

    progress.say("starting the agent again beside the running container; exec_into is `deny`");
    stage.agent.restart(
        stage.runtime.as_ref(),
        &AgentOptions {
            policies: vec![("exec_into", "deny")],
            ..alerting
        },
    )?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    let scene = Scene::new(&stage, &service);
    for attempt in [attempt::SHELL_DENY, attempt::ACCEPTED_PROBE, attempt::CONFORMING] {
        rows.push(Row::of(&attempt.make(&scene)?));
    }
    progress.say("cleaning up");
    drop(service);
    drop(stage);

    println!("{}", table(&rows));
    if let Some(example) = example {
        println!("\nThe alert about the first of them:\n{example:#}");
    }
    let missed = rows.iter().filter(|row| !row.faults.is_empty()).count();
    match missed {
        0 => println!("\n{} of {} as expected.", rows.len(), rows.len()),
        _ => println!("\n{missed} of {} MISSED.", rows.len()),
    }
    Ok(missed == 0)
}

/// The container that is attacked, with a volume that holds a program, and one that only conforms.
fn start_containers(stage: &Stage) -> anyhow::Result<(Service, Container)> {
    let volume = stage.host_directory("volume")?;
    put_tool(&volume)?;
    let mount = format!("--volume={}:/data", volume.display());
    let service = stage.service("attacked", &[&mount])?;
    let restarting = stage
        .runtime
        .run("restarting", IMAGE, &[], &["/bin/fetch,/tmp/started"])?;
    stage.agent.wait_until_resolved(&restarting.id)?;
    Ok((service, restarting))
}

/// Puts the program `tool` into a directory that becomes a volume.
pub fn put_tool(volume: &Path) -> anyhow::Result<()> {
    std::fs::copy(Environment::get().fixture("witness"), volume.join("tool"))?;
    Ok(())
}

fn restart(stage: &Stage, container: &Container) -> anyhow::Result<Row> {
    let mark = stage.agent.mark();
    stage.runtime.restart(container)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut starts = 0;
    while starts < 2 && Instant::now() < deadline {
        starts = stage
            .runtime
            .read(container, "/tmp/started")?
            .unwrap_or_default()
            .lines()
            .count();
    }
    let alert = stage.agent.wait_for_alert(mark, Duration::from_secs(2), |alert| {
        is_about(alert, &container.id)
    });
    let running = stage.runtime.process(container).is_ok();
    let mut faults = Vec::new();
    if starts != 2 || !running {
        faults.push(format!("running: {running}, starts: {starts}"));
    }
    if let Some(alert) = &alert {
        faults.push(format!("there was an alert: {}", alert["kind"]));
    }
    Ok(Row {
        attempt: "a restart of a container that conforms".to_owned(),
        expected: describe_expected(Expected::Untouched, stage.stop),
        process: if running { "runs" } else { "does not run" }.to_owned(),
        alert: describe(alert.as_ref()),
        faults,
    })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["attempt", "expected", "the process", "alert", "verdict"]);
    for row in rows {
        let verdict = if row.faults.is_empty() {
            "ok".to_owned()
        } else {
            format!("MISSED: {}", row.faults.join("; "))
        };
        table.add_row([&row.attempt, &row.expected, &row.process, &row.alert, &verdict]);
    }
    table
}

fn describe(alert: Option<&Value>) -> String {
    let Some(alert) = alert else {
        return "none".to_owned();
    };
    let text = |path: &str| alert.pointer(path).and_then(Value::as_str).unwrap_or("?");
    let mut description = format!(
        "{}, {}, {}",
        text("/kind"),
        text("/behaviour/layer"),
        text("/action/taken")
    );
    if alert.pointer("/action/confirmed") == Some(&true.into()) {
        description.push_str(", confirmed");
    }
    description
}

impl Row {
    fn of(result: &attempt::Result) -> Self {
        let Attempt { name, expected, .. } = result.attempt;
        let expected = describe_expected(expected, result.stop);
        let mut process = match result.ending {
            Ending::Succeeded => "succeeded",
            Ending::Stopped(stop) => stop.as_str(),
            Ending::Other => "failed",
        }
        .to_owned();
        let _ = write!(
            process,
            ", {}",
            if result.ran {
                "left its witness"
            } else {
                "no witness"
            }
        );
        Self {
            attempt: name.to_owned(),
            expected,
            process,
            alert: describe(result.alert.as_ref()),
            faults: result.faults(),
        }
    }
}

fn describe_expected(expected: Expected, stop: Stop) -> String {
    match expected {
        Expected::Stopped { kind, layer } => format!("{}: {kind}, {layer}", stop.as_str()),
        Expected::Reported { kind } => format!("reported: {kind}"),
        Expected::Untouched => "untouched".to_owned(),
    }
}

/// Says what is being done, with the time since the start.
struct Progress {
    quiet: bool,
    started: Instant,
}

impl Progress {
    fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("[{:5.1} s] {what}", self.started.elapsed().as_secs_f64());
        }
    }
}
