//! `driftlock profile`: what is done with profiles, each by whoever does it.
//!
//! Input: resolved arguments. Output: the answer on standard output. Failure: [`Failure`].

use super::args::{Global, Output, ProfileCommand};
use super::ask::ask;
use super::failure::Failure;
use super::{accept, document, export, print, show, sign};
use crate::control::protocol::Request;
use crate::control::view::{AcceptView, ProfileSummary, ProfileView};

pub(super) fn run(global: &Global, command: ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::List(output) => {
            let views: Vec<ProfileSummary> = ask(global, &Request::ProfileList)?;
            print(output, &views[..], show::profile::list)
        }
        ProfileCommand::Show(shown) => {
            let (image, role) = (shown.name.image, shown.name.role);
            let view: ProfileView = ask(global, &Request::ProfileShow { image, role })?;
            print(shown.output, &view, show::profile::show)
        }
        ProfileCommand::Diff(diff) => document::diff(global, &diff),
        ProfileCommand::Export(export) => export::export(global, &export),
        ProfileCommand::Import(import) => {
            let (document, source) = document::read(&import.file)?;
            let request = Request::ProfileImport {
                document,
                source,
                signature: sign::beside(&import)?,
            };
            let views: Vec<ProfileSummary> = ask(global, &request)?;
            print(Output::default(), &views[..], show::profile::list)
        }
        ProfileCommand::Report(arguments) => document::report(global, &arguments),
        ProfileCommand::Sign(arguments) => sign::sign(&arguments),
        ProfileCommand::Verify(arguments) => sign::verify(&arguments),
        ProfileCommand::Approve(name) => {
            let (image, role) = (name.image, name.role);
            let view: ProfileView = ask(global, &Request::ProfileApprove { image, role })?;
            print(Output::default(), &view, show::profile::show)
        }
        ProfileCommand::Accept(accept) => {
            let view: AcceptView = ask(global, &accept::request(*accept)?)?;
            print(Output::default(), &view, show::profile::accepted)
        }
    }
}
