//! `cargo xtask test`: unit tests, then tests against this machine's kernel and real containers.
//!
//! Input: the sources and, if given, a part of the names of the tests wanted. Output: the test runner's own, whose
//! summary comes last. Failure: what could not be set up or built, else the runner's exit status.
//!
//! One run of the runner holds both kinds, so that there is one summary and one verdict. `.config/nextest.toml` says
//! which tests take turns and how long one may take.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::build::{self, Profile};
use crate::process;
use crate::setup::{self, Purpose, Tools, cargo, is_root};

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Also the tests that are marked as ignored because they take long.
    #[arg(long)]
    full: bool,
}

/// Where the things are that tests and demonstration need, as environment variables.
pub fn environment(tools: &Tools) -> Result<Vec<(&'static str, OsString)>> {
    build::kernel_programs(tools)?;
    let binary = build::daemon(Profile::Release)?;
    let fixtures = build::fixtures()?;
    let busybox = tools.busybox.as_ref().context("the images need a busybox")?;
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    // dockerd lies there, and an ordinary user's search path may lack it even after `su`.
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    Ok(vec![
        ("DRIFTLOCK_BIN", binary.into()),
        ("DRIFTLOCK_FIXTURES", fixtures.into()),
        ("DRIFTLOCK_BUSYBOX", busybox.into()),
        ("PATH", path),
    ])
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the tests load kernel programs and start containers: run this as root"
    );
    let tools = setup::run(&[Purpose::Test])?;
    let environment = environment(&tools)?;
    if arguments.filter.is_none() {
        // The runner does not know the examples in the documentation.
        process::show(cargo().args(["test", "--quiet", "--doc", "--workspace", "--locked"]))?;
    }
    let mut command = cargo();
    let runner = tools.nextest.as_ref().context("the tests need their runner")?;
    let mut path = OsString::from(runner.parent().context("a program lies in a directory")?);
    for (name, value) in environment {
        if name == "PATH" {
            // cargo finds its subcommand there.
            path.push(":");
            path.push(value);
        } else {
            command.env(name, value);
        }
    }
    command
        .env("PATH", path)
        .args(["nextest", "run", "--workspace", "--locked"]);
    if arguments.full {
        command.args(["--run-ignored", "all"]);
    }
    command.args(&arguments.filter);
    let status = command
        .stdin(Stdio::null())
        .status()
        .context("cannot run the test runner")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
