//! `cargo xtask check`: what every commit passes, apart from the tests.
//!
//! Input: the work tree. Output: a table of checks, each passed, failed or skipped with the reason. Failure: at least
//! one failed; its output stands above the table. All run, whatever failed before, so that one run shows everything.

mod sources;
mod unsafety;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::fuzz;
use crate::process;
use crate::setup::{self, Compiler, Purpose, Tools, cargo, workspace};

/// How one check ended.
#[derive(Debug)]
enum Verdict {
    Passed,
    Failed,
    Skipped(String),
}

/// A check that ran.
#[derive(Debug)]
struct Row {
    name: &'static str,
    verdict: Verdict,
    took: Duration,
}

/// Runs all checks.
pub fn run() -> Result<()> {
    let tools = setup::run(&[Purpose::Check])?;
    let compiler = tools
        .compiler
        .as_ref()
        .context("the kernel programs need a compiler")?;
    let rows = vec![
        program("format", cargo().args(["fmt", "--all", "--check"])),
        program(
            "format, kernel",
            cargo().current_dir(kernel()).args(["fmt", "--check"]),
        ),
        program(
            "format, fuzz",
            cargo().current_dir(fuzz::package()).args(["fmt", "--check"]),
        ),
        program("clippy", clippy().args(["--", "-Dwarnings"])),
        kernel_clippy(compiler),
        program(
            "clippy, fuzz",
            cargo()
                .current_dir(fuzz::package())
                .args(["clippy", "--target-dir"])
                .arg(workspace().join("target/fuzz/clippy"))
                .args(["--", "-Dwarnings"]),
        ),
        program(
            "documentation",
            cargo()
                .args([
                    "doc",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                    "--locked",
                ])
                // Links to private items lead somewhere, as those are documented too.
                .env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links"),
        ),
        program(
            "dependencies",
            &mut deny(&tools, workspace(), &["bans", "licenses", "sources"])?,
        ),
        program(
            "dependencies, kernel",
            &mut deny(&tools, &kernel(), &["bans", "licenses", "sources"])?,
        ),
        program(
            "dependencies, fuzz",
            &mut deny(&tools, &fuzz::package(), &["bans", "licenses", "sources"])?,
        ),
        advisories(&tools)?,
        program(
            "spelling",
            Command::new(tools.typos.as_ref().context("typos")?).current_dir(workspace()),
        ),
        unsafety(),
    ];
    for row in &rows {
        let (word, reason) = match &row.verdict {
            Verdict::Passed => ("passed", ""),
            Verdict::Failed => ("FAILED", ""),
            Verdict::Skipped(reason) => ("skipped", reason.as_str()),
        };
        eprintln!(
            "  {:<22} {word:<8} {:>6.1} s  {reason}",
            row.name,
            row.took.as_secs_f64()
        );
    }
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Failed))
        .map(|row| row.name)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} checks failed: {}",
        failed.len(),
        rows.len(),
        failed.join("; ")
    )
}

fn kernel() -> std::path::PathBuf {
    workspace().join("agent-ebpf")
}

fn clippy() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--locked"]);
    command
}

/// A check that is one command; its output is shown if it fails.
fn program(name: &'static str, command: &mut Command) -> Row {
    let started = Instant::now();
    let verdict = match process::watch(name, command) {
        Ok(outcome) if outcome.status.success() => Verdict::Passed,
        Ok(outcome) => {
            let (line, status) = (process::display(command), outcome.status);
            eprintln!(
                "{name}: `{line}` failed: {}\n{}",
                status,
                outcome.without_progress().tail(usize::MAX)
            );
            Verdict::Failed
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            Verdict::Failed
        }
    };
    Row {
        name,
        verdict,
        took: started.elapsed(),
    }
}

fn skipped(name: &'static str, reason: String) -> Row {
    Row {
        name,
        verdict: Verdict::Skipped(reason),
        took: Duration::ZERO,
    }
}

/// clippy on the kernel programs, by the clippy that belongs to their compiler: another one cannot read its core.
fn kernel_clippy(compiler: &Compiler) -> Row {
    let name = "clippy, kernel";
    let Some(driver) = compiler.clippy() else {
        return skipped(name, format!("{} has no clippy", compiler.rustc.display()));
    };
    // cargo-clippy runs the cargo that it finds in CARGO, and the clippy-driver beside itself.
    let mut command = build::kernel_cargo(compiler);
    let cargo = command.get_program().to_owned();
    let arguments = build::kernel_arguments();
    command.env("CARGO", cargo);
    let mut clippy = Command::new(driver);
    clippy
        .arg("clippy")
        .args(arguments)
        .args(["--", "-Dwarnings"])
        .current_dir(kernel());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => clippy.env(name, value),
            None => clippy.env_remove(name),
        };
    }
    program(name, &mut clippy)
}

/// cargo-deny on the workspace, or on the kernel programs or what is fuzzed, which are workspaces of their own under the same policy.
fn deny(tools: &Tools, directory: &Path, what: &[&str]) -> Result<Command> {
    let mut command = Command::new(tools.deny.as_ref().context("cargo-deny")?);
    command
        .current_dir(workspace())
        .env("CARGO", cargo().get_program())
        .args(["--locked", "--config"])
        .arg(workspace().join("deny.toml"))
        .arg("--manifest-path")
        .arg(directory.join("Cargo.toml"))
        .arg("check")
        .args(what);
    Ok(command)
}

/// Known vulnerabilities: only where the database of advisories can be fetched, and said so where it cannot.
fn advisories(tools: &Tools) -> Result<Row> {
    let name = "advisories";
    let mut fetch = Command::new(tools.deny.as_ref().context("cargo-deny")?);
    fetch
        .current_dir(workspace())
        .arg("--config")
        .arg(workspace().join("deny.toml"))
        .args(["fetch", "db"]);
    let fetched = process::watch("advisories: database", &mut fetch)?;
    if !fetched.status.success() {
        let cause = fetched.lines.back().map_or("", String::as_str);
        return Ok(skipped(
            name,
            format!("NOT CHECKED: the advisory database cannot be fetched: {cause}"),
        ));
    }
    Ok(program(name, &mut deny(tools, workspace(), &["advisories"])?))
}

fn unsafety() -> Row {
    let name = "unsafe code";
    let started = Instant::now();
    let verdict = match unsafety::find(workspace()) {
        Ok(found) if found.is_empty() => Verdict::Passed,
        Ok(found) => {
            eprintln!("{name}: outside {}:", unsafety::ALLOWED.join(", "));
            for place in &found {
                eprintln!("    | {place}");
            }
            Verdict::Failed
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            Verdict::Failed
        }
    };
    Row {
        name,
        verdict,
        took: started.elapsed(),
    }
}
