//! The commands that ask the agent.
//!
//! Input: resolved arguments. Output: the answer on standard output. Failure: [`Failure`].

use std::io::Write as _;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::args::{Alerts, Global, ModeCommand, ModeSet, Output};
use super::failure::Failure;
use super::screen::Screen;
use super::{print, resolve, show};
use crate::alert::format::AlertFormat;
use crate::alert::time::Time;
use crate::control::client::{self, ClientError};
use crate::control::protocol::{ModeTarget, Request};
use crate::control::view::{ContainerView, DoctorView, ModeView, StatusView};

pub(super) fn ask<T: DeserializeOwned>(global: &Global, request: &Request) -> Result<T, Failure> {
    Ok(client::ask(&resolve::socket(global)?, request)?)
}

pub(super) fn status(global: &Global, output: Output) -> Result<(), Failure> {
    let view: StatusView = ask(global, &Request::Status)?;
    print(output, &view, show::status::text)
}

pub(super) fn containers(global: &Global, output: Output) -> Result<(), Failure> {
    let views: Vec<ContainerView> = ask(global, &Request::Containers)?;
    print(output, &views[..], show::container::text)
}

/// The running agent's answer; `None` if none runs.
pub(super) fn doctor(global: &Global) -> Result<Option<DoctorView>, Failure> {
    match ask(global, &Request::Doctor) {
        Ok(view) => Ok(Some(view)),
        Err(Failure::Client(ClientError::NotRunning { .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(super) fn mode(global: &Global, command: ModeCommand) -> Result<(), Failure> {
    let (request, output) = match command {
        ModeCommand::Get(output) => (Request::ModeGet, output),
        ModeCommand::Set(set) => (mode_set(set)?, Output::default()),
    };
    let view: ModeView = ask(global, &request)?;
    print(output, &view, show::mode::text)
}

fn mode_set(set: ModeSet) -> Result<Request, Failure> {
    let target = match (set.image, set.container, set.default) {
        (Some(image), None, false) => ModeTarget::Image(image),
        (None, Some(container), false) => ModeTarget::Container(container),
        (None, None, true) => ModeTarget::Default,
        _ => {
            return Err(Failure::Usage(
                "give one of --image, --container and --default".to_owned(),
            ));
        }
    };
    Ok(Request::ModeSet {
        mode: set.mode,
        target,
        domain: set.domain,
    })
}

pub(super) fn alerts(global: &Global, alerts: Alerts) -> Result<(), Failure> {
    let screen = Screen::of_stdout();
    let socket = resolve::socket(global)?;
    let mut stdout = std::io::stdout().lock();
    let mut unintelligible = None;
    client::alerts(&socket, alerts.follow, alerts.last, |line| {
        match alerts.format() {
            None => writeln!(stdout, "{}", show::alert::text(line, screen))?,
            // As it came, so that what a newer agent added is there, too.
            Some(AlertFormat::Driftlock) => writeln!(stdout, "{line}")?,
            Some(format) => match in_format(line, format) {
                Ok(line) => stdout.write_all(line.as_bytes())?,
                Err(message) => {
                    unintelligible = Some(message);
                    return Ok(ControlFlow::Break(()));
                }
            },
        }
        stdout.flush()?;
        Ok(ControlFlow::Continue(()))
    })?;
    match unintelligible {
        None => Ok(()),
        Some(message) => Err(ClientError::Unintelligible { socket, message }.into()),
    }
}

/// A line of the stream in another format, with its newline. What this version cannot read is no alert that could be
/// told in other words: leaving it out would lose it in silence.
fn in_format(line: &str, format: AlertFormat) -> Result<String, String> {
    let error = match serde_json::from_str(line) {
        Ok(alert) => return Ok(format.line(&alert)),
        Err(error) => error,
    };
    match show::alert::missed(line) {
        Some(missed) => Ok(format.missed_line(missed, Time::now())),
        None => Err(format!("an alert that this version does not know: {error}")),
    }
}
