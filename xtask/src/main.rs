//! Driftlock's build, test, demonstration and measuring commands: `cargo xtask COMMAND`.
//!
//! Input: the command line. Output: what the command makes, below `target`, and what it says on the terminal.
//! Failure: a message on standard error and exit status 1; 2 if the command line is wrong.

mod bench;
mod build;
mod check;
mod demo;
mod environment;
mod fuzz;
mod not_here;
mod package;
mod process;
mod record;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use build::Profile;
use setup::Purpose;

/// Build, check, test and show Driftlock. Each command first installs what it needs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing: compiler and linker for the kernel programs, container runtime, checkers.
    Setup {
        /// Only what this command needs (can be given more than once).
        #[arg(long = "for", value_enum, value_name = "COMMAND")]
        purposes: Vec<Purpose>,
    },
    /// Build the kernel programs and the driftlock binary that holds them.
    Build {
        /// With optimisation, as it is shipped. The kernel programs always are.
        #[arg(long)]
        release: bool,
    },
    /// Check format, lints, licences, spelling and documentation.
    Check,
    /// Run the unit tests, then the tests against this machine's kernel and real containers (as root).
    Test(test::Arguments),
    /// Feed what reads hostile bytes (records, requests, documents, metadata) with inputs that coverage leads on.
    Fuzz(fuzz::Arguments),
    /// Run the tests against the kernel on other kernels, in a virtual machine without acceleration.
    Vm(vm::Arguments),
    /// Measure what the agent costs on this machine, with real containers (as root).
    Bench(bench::Arguments),
    /// Record what ordinary programs do in many runs, for the measurement of coverage (needs strace).
    Record(record::Arguments),
    /// Make the container image of the agent, an archive that Docker, Podman and containerd load.
    Image(package::Arguments),
    /// Make the Debian package of the agent.
    Deb(package::Arguments),
    /// Learn a real container, switch to enforcing, attack it, and show what happened (as root).
    Demo,
}

fn main() -> ExitCode {
    run(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { purposes } => {
            let purposes = if purposes.is_empty() {
                Purpose::ALL.to_vec()
            } else {
                purposes
            };
            setup::run(&purposes)?;
        }
        Command::Build { release } => build::run(if release { Profile::Release } else { Profile::Debug })?,
        Command::Check => check::run()?,
        Command::Test(arguments) => return test::run(&arguments),
        Command::Fuzz(arguments) => return fuzz::run(&arguments),
        Command::Vm(arguments) => return vm::run(&arguments),
        Command::Bench(arguments) => return bench::run(&arguments),
        Command::Record(arguments) => record::run(&arguments)?,
        Command::Image(arguments) => package::image::run(&arguments)?,
        Command::Deb(arguments) => package::deb::run(&arguments)?,
        Command::Demo => return demo::run(),
    }
    Ok(ExitCode::SUCCESS)
}
