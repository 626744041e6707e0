//! Documents: reading one, and the commands that make some of what is there: a comparison of profiles, a page about one, completions,
//! manual pages.
//!
//! Input: resolved arguments; files, or profiles of the agent. Output: text or JSON on standard output, or files. Failure: [`Failure`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::CommandFactory as _;

use super::args::{Arguments, Completions, Global, Man, Output, ProfileDiff, ProfileReport};
use super::ask::ask;
use super::failure::Failure;
use super::{print, resolve, show, write_out};
use crate::control::protocol::{IMPORT_LINE_BYTES_MAX, Request};
use crate::control::view::DocumentView;
use crate::profile::diff;
use crate::profile::document::ProfileDocument;
use crate::profile::model::Role;
use crate::report::Report;
use crate::text::ByteText;

/// The program's name in completions.
const NAME: &str = "driftlock";

/// Compares what two profiles permit.
pub(super) fn diff(global: &Global, arguments: &ProfileDiff) -> Result<(), Failure> {
    let from = document(global, &arguments.from)?;
    let to = document(global, &arguments.to)?;
    let diff = diff::ProfileDiff::new((&arguments.from, &from), (&arguments.to, &to));
    let output = Output { json: arguments.json };
    print(output, &diff, show::diff::text)?;
    if arguments.exit_code && !diff.is_empty() {
        return Err(Failure::Found("the profiles do not permit the same"));
    }
    Ok(())
}

/// The document of a file if there is one of that name, else of what the agent knows by that name.
fn document(global: &Global, name: &str) -> Result<ProfileDocument, Failure> {
    let file = Path::new(name);
    let (text, source) = if name == "-" || file.is_file() {
        read(file)?
    } else {
        let image = name.to_owned();
        let view: DocumentView = ask(global, &Request::ProfileExport { image })?;
        (view.document, view.digest.to_string())
    };
    ProfileDocument::parse(text.as_bytes(), &source).map_err(|error| Failure::Host(error.into()))
}

/// Writes a page about a profile.
pub(super) fn report(global: &Global, arguments: &ProfileReport) -> Result<(), Failure> {
    let profile = document(global, &arguments.profile)?;
    let previous = match (&arguments.previous, &profile.image.descends_from) {
        (Some(previous), _) => Some(document(global, previous)?),
        // It is more than was asked for: the page says that it is missing, whatever the reason.
        (None, Some(digest)) => document(global, digest.as_str()).ok(),
        (None, None) => None,
    };
    let role = match &arguments.role {
        None => None,
        Some(role) => Some(role_of(&profile, role)?),
    };
    let page = Report {
        document: &profile,
        previous: previous.as_ref(),
        role: role.as_ref(),
        // The file may be there for the agent alone; then its defaults are as good as any.
        targets: resolve::targets(global).unwrap_or_default(),
    }
    .html();
    if arguments.html == Path::new("-") {
        return write_out(&page);
    }
    std::fs::write(&arguments.html, page).map_err(|source| Failure::File {
        operation: "write",
        path: arguments.html.clone(),
        source,
    })
}

/// The role of a document that is called `text`.
fn role_of(document: &ProfileDocument, text: &str) -> Result<Role, Failure> {
    let wanted: Option<ByteText> = text.parse().ok();
    let mut roles = document.roles.keys();
    let found = roles.find(|role| wanted.as_ref() == Some(role.as_text()));
    found.cloned().ok_or_else(|| {
        let roles: Vec<_> = document.roles.keys().map(ToString::to_string).collect();
        Failure::Usage(format!(
            "the profile has no role `{}`, but {}",
            text.escape_debug(),
            roles.join(", ")
        ))
    })
}

/// Prints a shell's completions.
pub(super) fn completions(arguments: Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), NAME, &mut script);
    write_out(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes those of all commands.
pub(super) fn man(arguments: &Man) -> Result<(), Failure> {
    if let Some(directory) = &arguments.dir {
        return clap_mangen::generate_to(Arguments::command(), directory).map_err(|source| Failure::File {
            operation: "write manual pages into",
            path: directory.clone(),
            source,
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    write_out(&String::from_utf8_lossy(&page))
}

/// The document and the name of where it came from. More than the agent takes is not read.
pub(super) fn read(file: &Path) -> Result<(String, String), Failure> {
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
