//! The command line: what `driftlock` does with its arguments.
//!
//! [`args`] are the arguments as typed, [`resolve`] brings them together with environment and file, `ask` has the commands
//! that ask the agent, `profile` those about profiles, of which `document`, `export` and `sign` need no agent or may do without, `top` is the live view, [`show`] makes text of their answers on a [`screen`]; [`failure`] knows the exit codes;
//! [`logging`] starts the agent's log.
//! Input: the program's arguments, and what the program does by itself ([`Host`]). Output: text or JSON on standard
//! output. Failure: a message on standard error and an exit code of [`failure`].

mod accept;
pub mod args;
mod ask;
mod document;
mod export;
pub mod failure;
pub mod logging;
mod profile;
pub mod resolve;
pub mod screen;
pub mod show;
mod sign;
#[cfg(feature = "top")]
pub mod top;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use serde::Serialize;

use crate::canary;
use crate::config::Config;
use crate::control::view::{CheckResult, DoctorView, TeardownView};
use crate::kernel::self_test;
use crate::service::reload::ReadConfig;
use args::{Arguments, Command, Global, Output, Run};
use failure::Failure;
use screen::Screen;

/// What the program does by itself, without asking an agent. A [`std::io::Error`] or an error number for "not
/// permitted" anywhere in the chain of an error becomes exit code 4.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// `driftlock run`: until the agent is told to end. It is also given how the configuration is read again.
    pub run: fn(Config, ReadConfig) -> anyhow::Result<()>,
    /// `driftlock doctor` while no agent runs: what this machine can do.
    pub doctor: fn(&Config) -> anyhow::Result<DoctorView>,
    /// `driftlock teardown`: removes what is pinned.
    pub teardown: fn(&Config) -> anyhow::Result<TeardownView>,
}

/// The whole program.
#[must_use]
pub fn main(host: &Host) -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments, host) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure.exit_code() {
            None => ExitCode::SUCCESS,
            Some(code) => {
                // Where standard error is closed there is nobody to tell.
                let _ = std::io::stderr().write_all(failure.report().as_bytes());
                ExitCode::from(code)
            }
        },
    }
}

fn dispatch(arguments: Arguments, host: &Host) -> Result<(), Failure> {
    let global = arguments.global;
    match arguments.command {
        Command::Run(run) => {
            let config = resolve::config(&global, &run)?;
            let read = Box::new(move || resolve::config(&global, &run));
            (host.run)(config, read).map_err(Failure::Host)
        }
        Command::Status(output) => ask::status(&global, output),
        Command::Containers(output) => ask::containers(&global, output),
        Command::Mode(command) => ask::mode(&global, command),
        Command::Profile(command) => profile::run(&global, command),
        Command::Alerts(alerts) => ask::alerts(&global, alerts),
        #[cfg(feature = "top")]
        Command::Top(arguments) => {
            let interval = std::time::Duration::from_secs(arguments.interval.into());
            Ok(top::run(&resolve::socket(&global)?, interval)?)
        }
        Command::Completions(arguments) => document::completions(arguments),
        Command::Man(arguments) => document::man(&arguments),
        Command::Doctor(output) => doctor(&global, output, host),
        Command::Teardown(output) => teardown(&global, output, host),
        Command::AnswerExecs(arguments) => {
            crate::answer::run(&arguments.maps).map_err(|error| Failure::Host(error.into()))
        }
        Command::SelfTest => self_test::process().map_err(|error| Failure::Host(error.into())),
        Command::Canary => canary::process::process().map_err(|error| Failure::Host(error.into())),
    }
}

fn doctor(global: &Global, output: Output, host: &Host) -> Result<(), Failure> {
    let view = match ask::doctor(global)? {
        Some(view) => view,
        None => (host.doctor)(&resolve::config(global, &Run::default())?).map_err(Failure::Host)?,
    };
    print(output, &view, show::doctor::text)?;
    if view
        .checks
        .iter()
        .any(|check| check.result == CheckResult::Missing)
    {
        return Err(Failure::Found("something that the agent needs is missing"));
    }
    Ok(())
}

fn teardown(global: &Global, output: Output, host: &Host) -> Result<(), Failure> {
    let config = resolve::config(global, &Run::default())?;
    if crate::control::client::is_running(&config.socket) {
        let socket = config.socket.display();
        return Err(Failure::Host(anyhow::anyhow!(
            "an agent answers on {socket}: end it first"
        )));
    }
    let view = (host.teardown)(&config).map_err(Failure::Host)?;
    print(output, &view, |view, _| {
        if view.removed.is_empty() {
            return format!("nothing was pinned under {}\n", config.bpffs.display());
        }
        let removed = view.removed.iter().flat_map(|path| ["removed ", path, "\n"]);
        removed.collect()
    })
}

/// Prints a view as JSON or as `text` makes it.
fn print<T: Serialize + ?Sized>(
    output: Output,
    view: &T,
    text: impl FnOnce(&T, Screen) -> String,
) -> Result<(), Failure> {
    if output.json {
        let mut json = serde_json::to_string_pretty(view).map_err(std::io::Error::from)?;
        json.push('\n');
        write_out(&json)
    } else {
        write_out(&text(view, Screen::of_stdout()))
    }
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
