//! `driftlock profile export`: a profile as its document, or as what other tools enforce.
//!
//! Input: resolved arguments; the document of a file, or what the agent knows. Output: the text on standard output or in a file; what a
//! text without comments cannot express, on standard error. Failure: [`Failure`]; where an image has several roles and none is named, it lists them.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::args::{ExportFormat, Global, Output, ProfileExport};
use super::ask::ask;
use super::document;
use super::failure::Failure;
use super::{print, write_out};
use crate::control::protocol::Request;
use crate::control::view::DocumentView;
use crate::export::{Format, Source, export as export_as};
use crate::image::ImageDigest;
use crate::profile::document::{ProfileDocument, RoleProfile};
use crate::profile::model::Role;
use crate::text::{ByteText, unescape};

/// An export with what it is of, as JSON.
#[derive(Serialize)]
struct ExportView<'a> {
    digest: &'a ImageDigest,
    role: &'a ByteText,
    format: &'a str,
    name: String,
    text: &'a str,
    notes: &'a [String],
}

pub(super) fn export(global: &Global, arguments: &ProfileExport) -> Result<(), Failure> {
    let output = arguments.output.as_deref();
    let Some(format) = arguments.format.format() else {
        let view = document(global, arguments)?;
        return match output {
            None if arguments.json => print(Output { json: true }, &view, |_, _| String::new()),
            _ => write(output, &view.document),
        };
    };
    let view = document(global, arguments)?;
    let document = parse(&view.document, arguments)?;
    let (role, profile) = choose(&document, arguments.role.as_deref())?;
    let source = Source {
        digest: &document.digest,
        image: &document.image,
        role,
        profile,
    };
    let export = export_as(&source, format).map_err(|error| Failure::Host(error.into()))?;
    if arguments.json {
        let view = ExportView {
            digest: &document.digest,
            role: role.as_text(),
            format: format.as_str(),
            name: source.name(),
            text: &export.text,
            notes: &export.notes,
        };
        return print(Output { json: true }, &view, |_, _| String::new());
    }
    write(output, &export.text)?;
    if !format.has_comments() {
        let mut stderr = std::io::stderr().lock();
        for note in &export.notes {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(stderr, "note: {note}");
        }
    }
    Ok(())
}

/// The document: of the file that was named, or of what the agent knows.
fn document(global: &Global, arguments: &ProfileExport) -> Result<DocumentView, Failure> {
    match (&arguments.from, &arguments.image) {
        (Some(file), _) => {
            let (document, _) = document::read(file)?;
            let digest = parse(&document, arguments)?.digest;
            Ok(DocumentView { digest, document })
        }
        (None, Some(image)) => ask(global, &Request::ProfileExport { image: image.clone() }),
        (None, None) => Err(Failure::Usage("name an image, or a file with --from".to_owned())),
    }
}

fn parse(document: &str, arguments: &ProfileExport) -> Result<ProfileDocument, Failure> {
    let source = arguments.from.as_deref().map(|file| file.display().to_string());
    let source = source.or_else(|| arguments.image.clone()).unwrap_or_default();
    ProfileDocument::parse(document.as_bytes(), &source).map_err(|error| Failure::Host(error.into()))
}

/// The role that was named, or the only one.
fn choose<'a>(
    document: &'a ProfileDocument,
    named: Option<&str>,
) -> Result<(&'a Role, &'a RoleProfile), Failure> {
    let roles = || {
        let roles: Vec<String> = document.roles.keys().map(ToString::to_string).collect();
        roles.join(", ")
    };
    let mut all = document.roles.iter();
    match (named, all.next(), all.next()) {
        (_, None, _) => Err(Failure::Usage("the document has no role to export".to_owned())),
        (None, Some(only), None) => Ok(only),
        (None, Some(_), Some(_)) => Err(Failure::Usage(format!(
            "the image has several roles, name one with --role: {}",
            roles()
        ))),
        (Some(named), ..) => {
            let bytes = unescape(named).map_err(|error| Failure::Usage(error.to_string()))?;
            let found = document
                .roles
                .iter()
                .find(|(role, _)| role.as_text().as_bytes() == bytes);
            found.ok_or_else(|| Failure::Usage(format!("the image has no role {named}, only: {}", roles())))
        }
    }
}

fn write(file: Option<&Path>, text: &str) -> Result<(), Failure> {
    match file {
        Some(path) => std::fs::write(path, text).map_err(|source| Failure::File {
            operation: "write",
            path: path.to_owned(),
            source,
        }),
        None => write_out(text),
    }
}

impl ExportFormat {
    /// The format of an export; `None` for the document itself.
    const fn format(self) -> Option<Format> {
        match self {
            Self::Document => None,
            Self::Seccomp => Some(Format::Seccomp),
            Self::SecurityContext => Some(Format::SecurityContext),
            Self::AppArmor => Some(Format::AppArmor),
            Self::SeLinux => Some(Format::SeLinux),
        }
    }
}
