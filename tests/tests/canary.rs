//! The canary: what the agent tries itself is caught and published, and so is that it was not, or late.

#![allow(
    clippy::float_cmp,
    reason = "figures are whole numbers, of which floating point holds each exactly"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::environment::patience;
use tests::prometheus::{free_address, get, value};
use tests::runtime::Kind;
use tests::service::Stop;
use tests::stage::{ALERT_PATIENCE, Stage};

/// How long what is regular may take.
const SOON: Duration = Duration::from_secs(30);

/// An agent that tries as often as this, in seconds, and serves metrics.
fn options(name: &str, interval: &str, address: SocketAddr) -> Options {
    Options {
        config: format!("canary: {{ interval_s: {interval} }}\nmetrics: {{ listen: '{address}' }}\n"),
        ..Options::named(name)
    }
}

/// What `status` says of the canary, as soon as it is what is wanted.
fn wait_until(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + patience(SOON);
    loop {
        let status = agent.json(&["status"])?;
        if wanted(&status["canary"]) {
            return Ok(status["canary"].clone());
        }
        ensure!(
            Instant::now() < deadline,
            "not {what}: {:#}\nlog:\n{}",
            status["canary"],
            agent.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(canary: &Value, name: &str) -> u64 {
    canary[name].as_u64().unwrap_or_default()
}

/// What is served; what was asked a moment ago is answered as it was then.
fn page(address: SocketAddr) -> anyhow::Result<String> {
    std::thread::sleep(Duration::from_millis(1_100));
    Ok(get(address, "/metrics")?.1)
}

fn figure(page: &str, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
    let text = value(page, name, labels).with_context(|| format!("no {name} {labels:?} in {page}"))?;
    Ok(text.parse()?)
}

fn check(agent: &Agent) -> anyhow::Result<Value> {
    let doctor = agent.json(&["doctor"])?;
    let mut checks = doctor["checks"].as_array().context("no checks")?.iter();
    let found = checks.find(|check| check["name"] == "canary");
    Ok(found.with_context(|| format!("{doctor:#}"))?.clone())
}

fn pid(process: u32) -> anyhow::Result<Pid> {
    Pid::from_raw(i32::try_from(process)?).context("no process id")
}

fn ends(process: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(SOON);
    while std::fs::exists(format!("/proc/{process}"))? {
        ensure!(Instant::now() < deadline, "process {process} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Also after an agent that was killed. No alert tells of it, no container's counters, and its process may do nothing at all; while
/// a real container's drift is told as ever.
#[test]
fn a_canary_is_caught_and_only_that_is_told() -> anyhow::Result<()> {
    let address = free_address()?;
    let options = options("canary", "1", address);
    let mut stage = Stage::start(Kind::Docker, &options)?;
    let expected = if stage.stop == Stop::Denied {
        "denied"
    } else {
        "killed"
    };
    for round in 0..2 {
        let canary = wait_until(&stage.agent, "caught", |canary| count(canary, "caught") >= 3)?;
        let last = &canary["last"];
        println!("{last}");
        ensure!(
            last["result"] == "caught" && last["program"] == expected,
            "{canary:#}"
        );
        let (hook, start) = (count(last, "from_hook_us"), count(last, "from_start_us"));
        ensure!(0 < hook && hook < start && start < 10_000_000, "{canary:#}");
        let page = page(address)?;
        for bad in ["not_stopped", "missed", "failed"] {
            ensure!(count(&canary, bad) == 0, "{canary:#}");
            ensure!(figure(&page, "driftlock_canaries_total", &[("result", bad)])? == 0.0);
        }
        ensure!(figure(&page, "driftlock_canaries_total", &[("result", "caught")])? >= 3.0);
        let seconds = figure(&page, "driftlock_canary_seconds", &[("from", "hook")])?;
        ensure!(seconds > 0.0 && seconds < 10.0, "{seconds}");
        ensure!(figure(&page, "driftlock_canary_caught_age_seconds", &[])? < 10.0);
        ensure!(check(&stage.agent)?["result"] == "ok");
        let text = stage.agent.done(&["status"])?;
        ensure!(text.contains(&format!("{expected} and caught ")), "{text}");
        let status = stage.agent.json(&["status"])?;
        ensure!(status["counters"]["generated"] == 0, "{status:#}");
        ensure!(stage.agent.alerts().is_empty(), "{:#?}", stage.agent.alerts());
        let process = stage.agent.canary_process().context("no process")?;
        let own = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        for field in [
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            ensure!(own.contains(field), "{field}:\n{own}");
        }
        if round == 0 {
            stage.agent.kill()?;
            ends(process)?;
            stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
        }
    }
    let service = stage.service("beside", &[])?;
    let mark = stage.agent.mark();
    Stage::drop_payload(&service, "/tmp/dropped")?;
    service.start(&["/tmp/dropped"])?;
    let alert = stage.expect_alert(mark, &service);
    ensure!(alert["kind"] == "exec.drift", "{alert:#}");
    Ok(())
}

/// Hooks that somebody has detached miss it, which is published; nothing else would tell.
#[test]
fn a_missed_canary_is_told() -> anyhow::Result<()> {
    let address = free_address()?;
    let stage = Stage::start(Kind::Docker, &options("missed", "1", address))?;
    wait_until(&stage.agent, "caught", |canary| count(canary, "caught") >= 1)?;
    let hooks = ["sched_process_exec", "bprm_check_security"];
    let mut remove = stage.runtime.place().beside("find");
    let removed = remove.arg(stage.agent.pinned()).args([
        "-path",
        "*/links/*",
        "(",
        "-name",
        hooks[0],
        "-o",
        "-name",
        hooks[1],
        ")",
        "-delete",
    ]);
    ensure!(removed.status()?.success());
    let canary = wait_until(&stage.agent, "missed", |canary| count(canary, "missed") >= 1)?;
    println!("{}", canary["last"]);
    ensure!(
        canary["last"]["result"] == "missed" && canary["last"]["program"] == "ran",
        "{canary:#}"
    );
    let reason = canary["last"]["reason"].as_str().unwrap_or_default();
    ensure!(reason == "no hook saw its execution", "{canary:#}");
    let page = page(address)?;
    ensure!(figure(&page, "driftlock_canaries_total", &[("result", "missed")])? >= 1.0);
    ensure!(figure(&page, "driftlock_canary_caught_age_seconds", &[])? >= 10.0);
    let check = check(&stage.agent)?;
    ensure!(check["result"] == "warn", "{check:#}");
    let text = stage.agent.done(&["status"])?;
    ensure!(
        text.contains("the canary was missed: no hook saw its execution"),
        "{text}"
    );
    // And what is not attached any more does not count as attached.
    ensure!(text.contains("sched_process_exec is not attached"), "{text}");
    ensure!(
        stage.agent.log().contains("canary missed"),
        "{}",
        stage.agent.log()
    );
    Ok(())
}

/// An agent that stands still while the record waits says how long; without its process it says that, too.
#[test]
fn a_slow_agent_tells_how_slow_it_was() -> anyhow::Result<()> {
    const STILL: Duration = Duration::from_secs(2);
    let stage = Stage::start(Kind::Docker, &options("slow", "5", free_address()?))?;
    let process = pid(stage.agent.canary_process().context("no process")?)?;
    wait_until(&stage.agent, "caught", |canary| count(canary, "caught") >= 1)?;
    // The next try is begun and not made, until the agent stands still.
    kill_process(process, Signal::STOP)?;
    std::thread::sleep(Duration::from_millis(5_700));
    stage.agent.halt()?;
    kill_process(process, Signal::CONT)?;
    std::thread::sleep(STILL);
    stage.agent.go_on()?;
    let canary = wait_until(&stage.agent, "caught", |canary| count(canary, "caught") >= 2)?;
    println!("{}", canary["last"]);
    let hook = count(&canary["last"], "from_hook_us");
    ensure!(u128::from(hook) > STILL.as_micros() * 9 / 10, "{canary:#}");
    ensure!(
        count(&canary, "caught") == 2 && count(&canary, "missed") == 0,
        "{canary:#}"
    );
    kill_process(process, Signal::KILL)?;
    let canary = wait_until(&stage.agent, "failed", |canary| count(canary, "failed") >= 1)?;
    let reason = canary["last"]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("its process has ended"), "{canary:#}");
    Ok(())
}

/// A reload makes it slower or ends it at once; it begins with a start alone.
#[test]
fn the_canary_is_reloaded() -> anyhow::Result<()> {
    let address = free_address()?;
    let stage = Stage::start(Kind::Docker, &options("reloaded", "3600", address))?;
    let runtime = stage.runtime.as_ref();
    let process = stage.agent.canary_process().context("no process")?;
    stage.agent.reload(runtime, &options("reloaded", "1", address))?;
    wait_until(&stage.agent, "faster", |canary| count(canary, "caught") >= 2)?;
    stage
        .agent
        .reload(runtime, &options("reloaded", "off", address))?;
    ends(process)?;
    let canary = wait_until(&stage.agent, "off", |canary| count(canary, "interval_s") == 0)?;
    ensure!(
        count(&canary, "failed") + count(&canary, "missed") == 0,
        "{canary:#}"
    );
    ensure!(figure(&page(address)?, "driftlock_canary_interval_seconds", &[])? == 0.0);
    stage.agent.reload(runtime, &options("reloaded", "1", address))?;
    let deadline = Instant::now() + patience(ALERT_PATIENCE);
    // Named among what waits for a restart.
    while !stage.agent.log().contains("fields=[\"canary\"]") {
        ensure!(Instant::now() < deadline, "{}", stage.agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(stage.agent.canary_process().is_none());
    Ok(())
}
