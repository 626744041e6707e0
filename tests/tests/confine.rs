//! The agent confines itself, and still does what it is there for.

use anyhow::{Context as _, ensure};
use tests::agent::Options;
use tests::attempt::{ATTEMPTS, CONFORMING, Scene};
use tests::runtime::Kind;
use tests::stage::Stage;

/// What a running agent may have, by number: `DAC_READ_SEARCH`, `SYS_PTRACE`, `PERFMON`, `BPF`.
const RUNNING: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39;
/// And where a process answers before executions: `SYS_ADMIN`, `SYS_NICE`.
const ANSWERING: u64 = 1 << 21 | 1 << 23;

/// The value of a field in a `status` of /proc.
fn field(status: &str, name: &str) -> anyhow::Result<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.strip_prefix(':'));
    Ok(value.with_context(|| format!("no {name}"))?.trim().to_owned())
}

/// Every thread of a process has no more than these capabilities, gets no new privileges, and is filtered.
fn expect_confined(pid: u32, allowed: u64) -> anyhow::Result<usize> {
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        for set in ["CapEff", "CapPrm"] {
            let has = u64::from_str_radix(&field(&status, set)?, 16)?;
            ensure!(
                has & !allowed == 0,
                "{set} {has:x}, allowed are {allowed:x}:\n{status}"
            );
        }
        ensure!(field(&status, "NoNewPrivs")? == "1", "{status}");
        ensure!(field(&status, "Seccomp")? == "2", "{status}");
        threads += 1;
    }
    Ok(threads)
}

/// Agent and answering process are confined in every thread, say so, and what drifts is stopped all the same; also by an answering process
/// that the confined agent started anew.
#[test]
fn a_confined_agent_does_its_work() -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(Kind::Docker, &Options::named("confined"))?;
    let answering = stage.agent.answering_process();
    let allowed = RUNNING | if answering.is_some() { ANSWERING } else { 0 };
    let threads = expect_confined(stage.agent.pid(), allowed)?;
    ensure!(threads > 3, "an agent has more than {threads} threads");
    let status = stage.agent.json(&["status"])?;
    ensure!(status["confinement"]["confined"] == true, "{status:#}");
    let doctor = stage.agent.json(&["doctor"])?;
    let checks = doctor["checks"].as_array().context("no checks")?;
    for name in ["confinement", "capabilities"] {
        ensure!(
            checks
                .iter()
                .any(|check| check["name"] == name && check["result"] == "ok"),
            "{doctor:#}"
        );
    }
    if let Some(first) = answering {
        expect_confined(first, allowed)?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(first)?).context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    let service = stage.service("after", &[])?;
    if answering.is_some() {
        let second = stage
            .agent
            .answering_process()
            .context("it is not started again")?;
        ensure!(Some(second) != answering, "it was not killed");
        expect_confined(second, allowed)?;
    }
    let scene = Scene::new(&stage, &service);
    for attempt in [ATTEMPTS[0], ATTEMPTS[1], ATTEMPTS[2], CONFORMING] {
        let result = attempt.make(&scene)?;
        ensure!(
            result.faults().is_empty(),
            "{}: {:?}",
            attempt.name,
            result.faults()
        );
    }
    Ok(())
}

/// Where the configuration says so the agent stays as it was started.
#[test]
fn confinement_can_be_switched_off() -> anyhow::Result<()> {
    let options = Options {
        config: "confine: false\n".to_owned(),
        ..Options::named("unconfined")
    };
    let stage = Stage::start(Kind::Docker, &options)?;
    let status = stage.agent.json(&["status"])?;
    ensure!(status["confinement"]["confined"] == false, "{status:#}");
    Ok(())
}
