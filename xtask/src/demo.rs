//! `cargo xtask demo`: a real container is learned, enforced and attacked, and a table says what happened.
//!
//! Input: none. Output: the demonstration's, see `tests/src/demo.rs`. Failure: what could not be set up or built, else
//! the demonstration's exit status, which is 1 if any attempt was missed.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::process;
use crate::setup::{self, Purpose, cargo, is_root};

/// Runs the command.
pub fn run() -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the demonstration loads kernel programs and starts containers: run this as root"
    );
    let tools = setup::run(&[Purpose::Demo])?;
    let environment = Environment::build(&tools)?;
    let mut command = cargo();
    environment.give(&mut command)?;
    process::pass_on(command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "tests",
        "--bin",
        "demo",
    ]))
}
