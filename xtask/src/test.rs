//! `cargo xtask test`: unit tests, then tests against this machine's kernel and real containers.
//!
//! Input: the sources and, if given, a part of the names of the tests wanted. Output: the test runner's own, whose
//! summary comes last. Failure: what could not be set up or built, else the runner's exit status.
//!
//! One run of the runner holds both kinds, so that there is one summary and one verdict. `.config/nextest.toml` says
//! which tests take turns and how long one may take.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

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
    if arguments.filter.is_none() {
        // The runner does not know the examples in the documentation.
        process::show(cargo().args(["test", "--quiet", "--doc", "--workspace", "--locked"]))?;
    }
    let runner = tools.nextest.as_ref().context("the tests need their runner")?;
    let mut command = cargo();
    // cargo finds its subcommand on the search path.
    environment.give(&mut command, runner.parent())?;
    command.args(["nextest", "run", "--workspace", "--locked"]);
    if arguments.full {
        command.args(["--run-ignored", "all"]);
    }
    process::pass_on(command.args(&arguments.filter))
}
