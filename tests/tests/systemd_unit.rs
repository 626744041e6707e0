//! The unit that is shipped, under systemd: it starts with the privileges that it gives, proves what the kernel can do, reloads, and leaves
//! what is enforced when it stops. Only where systemd is process 1: `cargo xtask vm --kernel 6.12 --systemd`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::environment::Environment;
use tests::support;

const UNIT: &str = "/run/systemd/system/driftlock.service";
/// Where the agent's log goes: the machine has no journal.
const LOG: &str = "/run/driftlock-unit.log";

/// A command that must succeed; what it printed.
fn done(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(&program).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{} {arguments:?}: {text}{}",
        program.as_ref().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

#[test]
fn the_unit_starts_proves_reloads_and_leaves_what_is_enforced() -> anyhow::Result<()> {
    let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if init.trim() != "systemd" || Path::new("/etc/systemd/system/driftlock.service").exists() {
        support::not_on_this_kernel("the unit", "systemd is not process 1, or has a unit of that name");
        return Ok(());
    }
    let driftlock = &Environment::get().driftlock;
    let unit = include_str!("../../deploy/systemd/driftlock.service");
    std::fs::write(
        UNIT,
        unit.replace("/usr/bin/driftlock", &driftlock.display().to_string())
            .replace("[Service]\n", &format!("[Service]\nStandardError=append:{LOG}\n")),
    )?;
    let outcome = under_systemd(driftlock);
    let log = Command::new("systemctl")
        .args(["status", "--full", "--lines=50", "driftlock"])
        .output()?;
    let stopped = done("systemctl", &["stop", "driftlock"]);
    let torn_down = done(driftlock, &["teardown"]);
    std::fs::remove_file(UNIT)?;
    done("systemctl", &["daemon-reload"])?;
    let said = std::fs::read_to_string(LOG).unwrap_or_default();
    outcome.with_context(|| format!("{}\nlog:\n{said}", String::from_utf8_lossy(&log.stdout)))?;
    stopped?;
    ensure!(torn_down?.contains("removed"), "nothing was left in force");
    Ok(())
}

fn under_systemd(driftlock: &Path) -> anyhow::Result<()> {
    done("systemctl", &["daemon-reload"])?;
    // `Type=notify`: it returns once the agent says that it is ready.
    done("systemctl", &["start", "driftlock"])?;
    let status: Value = serde_json::from_str(&done(driftlock, &["status", "--json"])?)?;
    ensure!(status["confinement"]["confined"] == true, "{status:#}");
    let hooks = status["hooks"].as_array().context("no hooks")?;
    ensure!(hooks.iter().all(|hook| hook["attached"] == true), "{hooks:#?}");
    // Every domain but system calls, which nobody asks for, is proved: the same as without systemd's restrictions.
    let tiers = status["tiers"].as_array().context("no tiers")?;
    let can = |domain: &str| {
        tiers
            .iter()
            .find(|tier| tier["domain"] == domain)
            .map(|tier| tier["can"].clone())
    };
    ensure!(
        matches!(
            can("exec").as_ref().and_then(Value::as_str),
            Some("deny" | "kill")
        ),
        "{tiers:#?}"
    );
    let doctor: Value = serde_json::from_str(&done(driftlock, &["doctor", "--json"])?)?;
    let checks = doctor["checks"].as_array().context("no checks")?;
    ensure!(
        checks.iter().all(|check| check["result"] != "missing"),
        "{doctor:#}"
    );
    let pid = status["pid"].as_u64().context("no pid")?;
    let process = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(
        process.contains("NoNewPrivs:\t1") && process.contains("Seccomp:\t2"),
        "{process}"
    );
    done("systemctl", &["reload", "driftlock"])?;
    let active = done(
        "systemctl",
        &["show", "--property=ActiveState,StatusText,NRestarts", "driftlock"],
    )?;
    ensure!(
        active.contains("ActiveState=active") && active.contains("NRestarts=0"),
        "{active}"
    );
    ensure!(active.contains("containers"), "{active}");
    Ok(())
}
