//! The binary: daemon and operator's tool in one.

use std::process::ExitCode;

use driftlock::cli::{self, Host};
use driftlock::run;

fn main() -> ExitCode {
    cli::main(&Host {
        run: run::run,
        doctor: run::doctor,
        teardown: run::teardown,
    })
}
