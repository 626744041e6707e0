//! `cargo xtask test`: unit tests, then tests against this machine's kernel and real containers.
//!
//! Input: the sources and, if given, a part of the names of the tests wanted. Output: cargo's and the tests' own, whose
//! summary comes last. Failure: what could not be set up or built, else a test that failed.
//!
//! The runner is cargo's: another one would have to be compiled on every new machine, which takes longer than the
//! unit tests and their build.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::process;
use crate::setup::{self, Purpose, cargo, is_root};

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Also the tests that are marked as ignored because they take long.
    #[arg(long)]
    full: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the tests load kernel programs and start containers: run this as root"
    );
    let tools = setup::run(&[Purpose::Test])?;
    let environment = Environment::build(&tools)?;
    let mut options: Vec<&str> = arguments.filter.as_deref().into_iter().collect();
    if arguments.full {
        options.push("--include-ignored");
    }

    // One failure hides no other, neither in a stage nor of the next stage.
    let test = ["test", "--locked", "--no-fail-fast"];
    let mut unit = cargo();
    unit.args(test)
        .args(["--workspace", "--exclude", "tests", "--"])
        .args(&options);
    let unit = process::show(&mut unit);

    let mut kernel = cargo();
    environment.give(&mut kernel)?;
    // One at a time: each has the machine's kernel to itself, and some measure it.
    kernel
        .args(test)
        .args(["--package", "tests", "--tests", "--", "--test-threads=1"])
        .args(&options);
    let kernel = process::pass_on(&mut kernel)?;
    unit?;
    Ok(kernel)
}
