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

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    part: Part,
}

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The start of a program, in a container and outside, without the agent and with it.
    Exec {
        /// Rounds without and with the agent, in turn: three to four seconds each.
        #[arg(long, default_value_t = 80)]
        rounds: u32,
        /// Starts in a sample.
        #[arg(long, default_value_t = 8_000)]
        starts: u32,
        /// Also write the numbers to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also write the tables to docs/benchmarks.md.
        #[arg(long)]
        write: bool,
    },
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the measurement loads kernel programs and starts containers: run this as root"
    );
    let tools = setup::run(&[Purpose::Bench])?;
    let environment = Environment::build(&tools)?;
    let mut command = cargo();
    environment.give(&mut command)?;
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
    match arguments.part {
        Part::Exec {
            rounds,
            starts,
            json,
            write,
        } => {
            command.args(["exec", "--rounds", &rounds.to_string()]);
            command.args(["--starts", &starts.to_string()]);
            if let Some(file) = json {
                command.arg("--json").arg(file);
            }
            if write {
                command.arg("--page").arg(workspace().join(PAGE));
            }
        }
    }
    process::pass_on(&mut command)
}
