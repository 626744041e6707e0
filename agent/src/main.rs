//! The binary: daemon and operator's tool in one.

use std::process::ExitCode;

use driftlock::cli::{self, Host};

fn main() -> ExitCode {
    cli::main(&Host {
        run: |_| anyhow::bail!("the agent is not built into this version"),
        doctor: |_| anyhow::bail!("the checks are not built into this version; ask a running agent"),
        teardown: |_| anyhow::bail!("teardown is not built into this version"),
    })
}
