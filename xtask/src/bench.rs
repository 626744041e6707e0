//! `cargo xtask bench`: what Driftlock costs on this machine, with real containers.
//!
//! Input: what is measured, and how often. Output: a table, and on request JSON and the page docs/benchmarks.md. Failure: what could not
//! be set up or built, or what the measurement says (`tests/src/bench`). A goal that is missed is no failure: the table says it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::process;
use crate::setup::{self, Purpose, cargo, is_root, workspace};

/// The page that `--write` writes to, below the workspace.
const PAGE: &str = "docs/benchmarks.md";
/// What is measured without an agent, and so without a build of one; and its page.
const PATHS: (&str, &str) = ("paths", "docs/normal-form.md");

/// What the command line says. What can be measured, and how much of it is usual, `tests/src/bench` knows.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is measured: `exec` (the start of a program), `calls` (open with close, getpid), `compile` (a C program with
    /// hundreds of headers), `scale` (many containers) or `alerts` (from the kernel to a sink). All of it if nothing is named. Or `paths`: what the typed normal form
    /// does to this machine's paths.
    part: Option<String>,
    /// Rounds without and with the agent, in turn.
    #[arg(long)]
    rounds: Option<u32>,
    /// How often a sample does what is measured.
    #[arg(long)]
    sample: Option<u32>,
    /// Also write the numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the tables to docs/benchmarks.md; of `paths` to docs/normal-form.md.
    #[arg(long)]
    write: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the measurement loads kernel programs and starts containers: run this as root"
    );
    let is_paths = arguments.part.as_deref() == Some(PATHS.0);
    let mut command = cargo();
    if !is_paths {
        let tools = setup::run(&[Purpose::Bench])?;
        Environment::build(&tools)?.give(&mut command)?;
    }
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "tests",
        "--bin",
        "bench",
        "--",
    ]);
    command.args(&arguments.part);
    for (option, value) in [("--rounds", arguments.rounds), ("--sample", arguments.sample)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    if let Some(file) = &arguments.json {
        command.arg("--json").arg(file);
    }
    if arguments.write {
        let page = if is_paths { PATHS.1 } else { PAGE };
        command.arg("--page").arg(workspace().join(page));
    }
    process::pass_on(&mut command)
}
