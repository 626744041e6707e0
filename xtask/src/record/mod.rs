//! `cargo xtask record`: what ordinary programs do, run after run, written down to try the estimate of coverage with.
//!
//! Input: which workloads, and how many windows of each. Output: a recording per workload under `tests/recordings`, which
//! `agent/tests/coverage` reads. A window is one run of a script under strace (what it executed, opened and called),
//! or one container that the agent watched (`server`). Failure: a tool that
//! is missing, a script that cannot be started. That a program of a script fails is behaviour like any other.

mod agent;
mod draw;
mod trace;
mod windows;
mod workload;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::setup::workspace;
use draw::Draw;
use windows::Windows;
use workload::Workload;

/// Where recordings are kept, below the workspace.
const RECORDINGS: &str = "tests/recordings";
/// Where scripts run: one place, because a container's paths do not change from run to run either.
const PLACE: &str = "/tmp/driftlock-recorded";
/// What stands for that place in a recording.
const WORK: &str = "/work";
/// Where programs are looked for: the system's own, whatever the caller has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is recorded; everything if nothing is named.
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// How many windows of each.
    #[arg(long, default_value_t = 120)]
    windows: u32,
}

/// A directory that goes when it is no longer needed.
struct Place(PathBuf);

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let workloads = if arguments.workloads.is_empty() {
        Workload::ALL.to_vec()
    } else {
        arguments.workloads.clone()
    };
    ensure!(arguments.windows > 0, "nothing to record: at least one window");
    for workload in workloads {
        let file = workspace()
            .join(RECORDINGS)
            .join(workload.name())
            .with_extension("txt");
        let text = record(workload, arguments.windows)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

/// The text of a recording.
fn record(workload: Workload, windows: u32) -> Result<String> {
    let seen = match workload {
        Workload::Server => agent::watch(workload, windows)?,
        _ => trace_all(workload, windows)?,
    };
    let head = format!(
        "# {}\n# cargo xtask record {} --windows {windows}\n",
        workload.description(),
        workload.name()
    );
    Ok(head + &seen.to_text(windows))
}

/// Runs the scripts of a workload under strace.
fn trace_all(workload: Workload, windows: u32) -> Result<Windows> {
    // Each at a place of its own, so that two can be recorded at once.
    let place = Place::create(Path::new(PLACE).join(workload.name()))?;
    let work = place.0.join("work");
    std::fs::create_dir(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let pool = workload.pool(&work)?;
    let mut draw = Draw::new(workload.name());
    let mut seen = Windows::default();
    for number in 0..windows {
        let script = workload.script(number, &pool, &mut draw);
        let traces = place.0.join("traces");
        std::fs::create_dir(&traces).with_context(|| format!("cannot create {}", traces.display()))?;
        run_traced(&script, &work, &traces)?;
        let mut behaviours = trace::read_all(&traces)?;
        let work = work.display().to_string();
        behaviours = behaviours
            .into_iter()
            .map(|behaviour| behaviour.renamed(&work, WORK))
            .collect();
        ensure!(
            !behaviours.is_empty(),
            "strace wrote nothing of window {number} of {}",
            workload.name()
        );
        seen.add(number, behaviours);
        std::fs::remove_dir_all(&traces).with_context(|| format!("cannot remove {}", traces.display()))?;
        eprint!("\r{} {}/{windows}", workload.name(), number + 1);
    }
    eprintln!();
    Ok(seen)
}

/// Runs a script under strace, which writes a file per process into `traces`.
fn run_traced(script: &str, work: &Path, traces: &Path) -> Result<()> {
    let file = work.with_file_name("script");
    std::fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    // One file per process, so that no line is interrupted by another process; descriptors with their paths.
    Command::new("strace")
        .args(["-ff", "-y", "-qq", "-e", "signal=none", "-s", "0", "-o"])
        .arg(traces.join("process"))
        .arg("sh")
        .arg(&file)
        .current_dir(work)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", work)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run strace, which is a package of that name")?;
    Ok(())
}

// === impl Place ===

impl Place {
    fn create(path: PathBuf) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot create {}: is something recorded already?", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is below /tmp, and the next recording says so.
        let _ = std::fs::remove_dir_all(&self.0);
        if let Some(parent) = self.0.parent() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}
