//! The commands that ask the agent.
//!
//! Input: resolved arguments. Output: the answer on standard output. Failure: [`Failure`].

use std::fs::File;
use std::io::{Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use agent_common::domain::Section;
use agent_common::file::Layer;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::args::{
    Alerts, Global, ModeCommand, ModeSet, Output, ProfileAccept, ProfileCommand, ProfileExport,
};
use super::failure::Failure;
use super::screen::Screen;
use super::{print, resolve, show, write_out};
use crate::control::client::{self, ClientError};
use crate::control::protocol::{Accept, IMPORT_LINE_BYTES_MAX, ModeTarget, Request};
use crate::control::view::{
    AcceptView, ContainerView, DoctorView, DocumentView, ModeView, ProfileSummary, ProfileView, StatusView,
};
use crate::profile::model::ContentHash;

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

pub(super) fn profile(global: &Global, command: ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::List(output) => {
            let views: Vec<ProfileSummary> = ask(global, &Request::ProfileList)?;
            print(output, &views[..], show::profile::list)
        }
        ProfileCommand::Show(show) => {
            let (image, role) = (show.name.image, show.name.role);
            let view: ProfileView = ask(global, &Request::ProfileShow { image, role })?;
            print(show.output, &view, show::profile::show)
        }
        ProfileCommand::Diff(diff) => super::document::diff(global, &diff),
        ProfileCommand::Export(export) => self::export(global, export),
        ProfileCommand::Import(import) => {
            let (document, source) = read_document(&import.file)?;
            let views: Vec<ProfileSummary> = ask(global, &Request::ProfileImport { document, source })?;
            print(Output::default(), &views[..], show::profile::list)
        }
        ProfileCommand::Approve(name) => {
            let (image, role) = (name.image, name.role);
            let view: ProfileView = ask(global, &Request::ProfileApprove { image, role })?;
            print(Output::default(), &view, show::profile::show)
        }
        ProfileCommand::Accept(accept) => {
            let view: AcceptView = ask(global, &accept_request(*accept)?)?;
            print(Output::default(), &view, show::profile::accepted)
        }
    }
}

fn export(global: &Global, export: ProfileExport) -> Result<(), Failure> {
    let view: DocumentView = ask(global, &Request::ProfileExport { image: export.image })?;
    match export.output {
        Some(path) => std::fs::write(&path, &view.document).map_err(|source| Failure::File {
            operation: "write",
            path,
            source,
        }),
        None if export.json => print(Output { json: true }, &view, |_, _| String::new()),
        None => write_out(&view.document),
    }
}

/// The document and the name of where it came from. More than the agent takes is not read.
pub(super) fn read_document(file: &Path) -> Result<(String, String), Failure> {
    let failed = |source| Failure::File {
        operation: "read",
        path: file.to_owned(),
        source,
    };
    let (reader, source): (Box<dyn Read>, _) = if file == Path::new("-") {
        (Box::new(std::io::stdin()), "-".to_owned())
    } else {
        (
            Box::new(File::open(file).map_err(failed)?),
            file.display().to_string(),
        )
    };
    let mut document = String::new();
    let length = reader
        .take(IMPORT_LINE_BYTES_MAX as u64)
        .read_to_string(&mut document)
        .map_err(failed)?;
    if length >= IMPORT_LINE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{source} is too long for a profile document"
        )));
    }
    Ok((document, source))
}

/// The request for what was typed. What did not come with the image is accepted by its content, all else by its path.
fn accept_request(accept: ProfileAccept) -> Result<Request, Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    let layer = match (accept.volume, accept.upper, accept.layer) {
        (true, _, _) => Some(Layer::Volume),
        (_, true, _) => Some(Layer::Upper),
        (_, _, layer) => layer,
    };
    let behaviour = match layer {
        None | Some(Layer::Image | Layer::Unknown) => {
            if accept.sha256.is_some() || accept.file.is_some() {
                return usage(
                    "a program of the image is accepted by its path; --sha256 and --file need --volume or --upper",
                );
            }
            if accept.note.is_some() {
                return usage("--note needs --volume or --upper");
            }
            Accept::Exec {
                section: if accept.exec_in {
                    Section::ExecIn
                } else {
                    Section::Main
                },
                layer: layer.unwrap_or(Layer::Image),
                path: accept.path,
                applet: accept.applet,
            }
        }
        Some(layer @ (Layer::Volume | Layer::Upper)) => {
            if accept.applet.is_some() {
                return usage("what did not come with the image is accepted by its content, not by applet");
            }
            let sha256 = match accept.file {
                Some(file) => Some(hash(file)?),
                None => accept.sha256,
            };
            Accept::Drift {
                layer,
                path: accept.path,
                sha256,
                note: accept.note,
            }
        }
        Some(Layer::Foreign | Layer::Anonymous) => {
            return usage("what is foreign or has no name cannot be accepted: only upper and volume can");
        }
    };
    Ok(Request::ProfileAccept {
        image: accept.name.image,
        role: accept.name.role,
        accept: behaviour,
    })
}

fn hash(path: PathBuf) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let copied = File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    match copied {
        Ok(_) => Ok(ContentHash(hasher.finalize().into()).to_string()),
        Err(source) => Err(Failure::File {
            operation: "read",
            path,
            source,
        }),
    }
}

pub(super) fn alerts(global: &Global, alerts: Alerts) -> Result<(), Failure> {
    let screen = Screen::of_stdout();
    let mut stdout = std::io::stdout().lock();
    client::alerts(&resolve::socket(global)?, alerts.follow, alerts.last, |line| {
        if alerts.json {
            writeln!(stdout, "{line}")?;
        } else {
            writeln!(stdout, "{}", show::alert::text(line, screen))?;
        }
        stdout.flush()?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}
