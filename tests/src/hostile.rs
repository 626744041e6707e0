//! A hostile container beside another one, and what has to hold whatever the first does.
//!
//! Input: a [`Stage`] in mode `enforce`. Output: rows for a table: what was tried, and what it led to. Failure: a verdict about the
//! other container that is wrong, an agent that ended, needs too much memory or does not account for what it lost.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::service::Service;
use crate::stage::{Stage, is_about};

/// Most resident memory of the agent, MiB. It has a bound for each of its tables; together they stay below this.
const MEMORY_MIB: u64 = 256;
/// How long what was tried may take to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Starts in the other container after each attack.
const STARTS: u64 = 20;

/// What the page begins with.
const HEAD: &str = "\
# A hostile container

Written by `DRIFTLOCK_PAGE=$PWD/docs/hostile-container.md cargo xtask test hostile_container`: not by hand. One container does what
stands in the first column; beside it runs another one of the same image, both in mode `enforce`. After each attack a program that the profile
holds still starts in the other container, drift in it is still stopped, no alert is about what it did not do, every record of the
hostile container was submitted or is counted as lost, and the agent lives and is not larger than 256 MiB.

| what the container does | what it led to | alerts | records lost | agent, MiB |
|---|---|---|---|---|
";

/// One attack and what came of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was tried.
    pub attack: String,
    /// What it led to.
    pub outcome: String,
    /// Alerts about the hostile container.
    pub alerts: u64,
    /// Its records that were lost, all of them counted.
    pub lost: u64,
    /// Resident memory of the agent, MiB.
    pub memory_mib: u64,
}

/// The other container.
#[derive(Debug)]
pub struct Neighbour<'a> {
    stage: &'a Stage,
    service: Service,
}

impl<'a> Neighbour<'a> {
    /// Starts it, with a volume that holds `/data/tool`, which is drift.
    pub fn start(stage: &'a Stage, volume: &str) -> anyhow::Result<Self> {
        let service = stage.service("neighbour", &[volume])?;
        Ok(Self { stage, service })
    }

    /// Asserts that nothing has changed for it.
    pub fn check(&self) -> anyhow::Result<()> {
        let mark = self.stage.agent.mark();
        let allowed = self.service.start_many(STARTS, &["/bin/fetch"])?;
        ensure!(allowed.all_succeeded(), "what conforms was stopped: {allowed:?}");
        let drift = self.service.start(&["/data/tool", "/tmp/witness"])?;
        ensure!(drift.all(self.stage.stop), "drift was not stopped: {drift:?}");
        let is_wrong = |alert: &Value| {
            is_about(alert, &self.service.container.id) && alert["behaviour"]["path"] != "/data/tool"
        };
        let wrong = self.stage.agent.wait_for_alert(mark, Duration::ZERO, is_wrong);
        ensure!(wrong.is_none(), "a wrong alert: {:#}", wrong.unwrap_or_default());
        Ok(())
    }

    /// Asserts that a program of its image, copied up without a change, runs again as soon as its content was compared.
    pub fn has_its_own_verified(&self) -> anyhow::Result<()> {
        let copied = self.service.start(&["/bin/chmod", "711", "/bin/report"])?;
        ensure!(copied.all_succeeded(), "{copied:?}");
        let deadline = Instant::now() + TOLD_WITHIN;
        while !self.service.start(&["/bin/report"])?.all_succeeded() {
            ensure!(
                Instant::now() < deadline,
                "what has the image's content stays stopped"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// Asserts what has to hold after an attack of a container, and makes the table's row.
pub fn row(
    stage: &Stage,
    attack: &str,
    container: &str,
    before: Before,
    outcome: String,
) -> anyhow::Result<Row> {
    let deadline = Instant::now() + TOLD_WITHIN;
    // What is on its way arrives.
    let counters = loop {
        let counters = counters(stage, container)?;
        let accounted = counters.submitted + counters.lost == counters.generated;
        if accounted {
            break counters;
        }
        ensure!(Instant::now() < deadline, "{attack}: {counters:?} do not add up");
        std::thread::sleep(Duration::from_millis(50));
    };
    let memory_mib = memory_mib(stage.agent.pid())?;
    ensure!(
        memory_mib <= MEMORY_MIB,
        "{attack}: the agent needs {memory_mib} MiB"
    );
    ensure!(
        !stage.agent.log().contains("panicked"),
        "{attack}: {}",
        stage.agent.log()
    );
    let alerts = stage.agent.alerts();
    let alerts = alerts
        .iter()
        .skip(before.alerts)
        .filter(|alert| is_about(alert, container));
    let row = Row {
        attack: attack.to_owned(),
        outcome,
        alerts: alerts.count() as u64,
        lost: counters.lost - before.lost,
        memory_mib,
    };
    println!("{}", row.line());
    Ok(row)
}

/// What there was before an attack.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// How many alerts.
    pub alerts: usize,
    /// How many records of the container were lost.
    pub lost: u64,
}

impl Before {
    /// What there is now.
    pub fn now(stage: &Stage, container: &str) -> anyhow::Result<Self> {
        Ok(Self {
            alerts: stage.agent.mark(),
            lost: counters(stage, container)?.lost,
        })
    }
}

/// What became of a container's records.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// All of them.
    pub generated: u64,
    /// Those that were sent.
    pub submitted: u64,
    /// Those that were not.
    pub lost: u64,
    /// Processes whose state was not kept.
    pub untracked: u64,
    /// Executions that were stopped, in whichever way.
    pub stopped: u64,
}

/// The counters of one container.
pub fn counters(stage: &Stage, container: &str) -> anyhow::Result<Counters> {
    let found = stage.agent.wait_until_resolved(container)?;
    let counters = &found["counters"];
    let number = |name: &str| {
        counters[name]
            .as_u64()
            .with_context(|| format!("no counter {name}: {found:#}"))
    };
    Ok(Counters {
        generated: number("generated")?,
        submitted: number("submitted")?,
        lost: number("lost_ring")? + number("lost_quota")?,
        untracked: number("untracked_tasks")?,
        stopped: number("kills")? + number("denied")?,
    })
}

/// Resident memory of a process, MiB.
pub fn memory_mib(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .context("the kernel does not say how large the agent is")?;
    Ok(kib / 1024)
}

impl Row {
    fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} |",
            self.attack, self.outcome, self.alerts, self.lost, self.memory_mib
        )
    }
}

/// Prints the table, and writes the page that `DRIFTLOCK_PAGE` names.
pub fn tell(rows: &[Row]) -> anyhow::Result<()> {
    let mut page = HEAD.to_owned();
    for row in rows {
        let _ = writeln!(page, "{}", row.line());
    }
    let _ = writeln!(
        page,
        "\nLinux {}.",
        std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()
    );
    println!("{page}");
    if let Some(file) = std::env::var_os("DRIFTLOCK_PAGE") {
        std::fs::write(Path::new(&file), page)?;
    }
    Ok(())
}
