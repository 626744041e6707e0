//! The profile document: what one image does, as YAML to be reviewed and kept in git.
//!
//! Purpose: write and read `kind: ImageProfile`. Input: bytes of a file, or what the store holds of an image. Output:
//! a checked [`ProfileDocument`], or bytes. The bytes are canonical: the same content gives the same bytes, so that a
//! diff means something and a detached signature holds.
//! Failure: what cannot be read is a [`DocumentError`] with file, line and column. Size, depth and number of nodes
//! are bounded before anything is built; anchors, aliases, merge keys and tags are refused.

use std::collections::BTreeMap;

use agent_common::file::Layer;
use serde_saphyr::{Location, MessageFormatter as _, UserMessageFormatter};

use crate::behaviour::Behaviour;
use crate::image::ImageDigest;
use crate::profile::model::{
    AcceptedDrift, Evidence, ExecInEntry, ImageRecord, ObservationCounts, Profile, Role,
};
use crate::text::ByteText;
use check::Problem;

mod check;
#[cfg(test)]
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

/// Largest document in bytes. A larger one is neither read nor written.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting: document, roles, role, acceptedDrift, file, sha256.
const DEPTH_MAX: usize = 6;
/// Most nodes (mappings, sequences and scalars): whatever [`ProfileDocument::render`] writes has at least six bytes for each.
const NODES_MAX: usize = DOCUMENT_BYTES_MAX / 6;
/// Most characters of a line that an error repeats.
const LINE_SHOWN: usize = 120;

/// Everything that is exchanged of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileDocument {
    /// Digest of the image's config.
    pub digest: ImageDigest,
    /// What is known of the image.
    pub image: ImageRecord,
    /// Its profiles.
    pub roles: BTreeMap<Role, RoleProfile>,
}

/// A profile without what belongs to this node's store: see [`Profile`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleProfile {
    /// An operator has approved what it permits.
    pub approved: bool,
    /// It tells of scripts.
    pub scripts: bool,
    /// What it was learned from.
    pub counts: ObservationCounts,
    /// What the container's own processes did.
    pub main: BTreeMap<Behaviour, Evidence>,
    /// What entered from outside did.
    pub exec_in: BTreeMap<Behaviour, ExecInEntry>,
    /// What did not come with the image and was accepted.
    pub drift: BTreeMap<(Layer, ByteText), AcceptedDrift>,
}

/// Why a document cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than [`DOCUMENT_BYTES_MAX`].
    #[error("{}: {bytes} bytes are more than a profile document may have ({DOCUMENT_BYTES_MAX})", file.escape_debug())]
    TooLarge {
        /// The document's name.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// It is not text.
    #[error("{}: not UTF-8 from byte {offset} on", file.escape_debug())]
    NotText {
        /// The document's name.
        file: String,
        /// Where the first invalid byte is.
        offset: usize,
    },
    /// It is not a profile document.
    #[error("{}:{line}:{column}: {problem}{}", file.escape_debug(), show(text))]
    Content {
        /// The document's name.
        file: String,
        /// Line, from 1; 0 if it is about the document as a whole.
        line: u64,
        /// Column in characters, from 1; 0 if it is about the document as a whole.
        column: u64,
        /// What is wrong, with the field's name.
        problem: String,
        /// The line itself.
        text: String,
    },
    /// It holds what no document can say.
    #[error("image {digest}: {problem}")]
    Unwritable {
        /// The image.
        digest: ImageDigest,
        /// What cannot be written.
        problem: String,
    },
}

// === impl ProfileDocument ===

impl ProfileDocument {
    /// Reads a document; `file` names it in errors.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, DocumentError> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge {
                file: file.to_owned(),
                bytes: bytes.len(),
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::NotText {
            file: file.to_owned(),
            offset: error.valid_up_to(),
        })?;
        let failed = |problem: Problem| DocumentError::Content {
            file: file.to_owned(),
            line: problem.location.line(),
            column: problem.location.column(),
            problem: problem.text,
            text: line(text, problem.location.line()),
        };
        let document: wire::Document = serde_saphyr::from_str_with_options(text, options(NODES_MAX))
            .map_err(|error| {
                failed(Problem {
                    location: error.location().unwrap_or(Location::UNKNOWN),
                    text: showable(&UserMessageFormatter.format_message(error.without_snippet())),
                })
            })?;
        Self::check(document).map_err(failed)
    }

    /// The document's bytes.
    pub fn render(&self) -> Result<String, DocumentError> {
        let unwritable = |problem: String| DocumentError::Unwritable {
            digest: self.digest.clone(),
            problem,
        };
        let document = self
            .wire()
            .ok_or_else(|| unwritable("a behaviour has a layer that is never learned or accepted".into()))?;
        // Whether a string is written on one line or as a block must not depend on its length.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&document, options)
            .map_err(|error| unwritable(error.to_string()))?;
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge {
                file: self.digest.to_string(),
                bytes: text.len(),
            });
        }
        Ok(text)
    }
}

/// What the parser may do: it reads a stranger's file.
fn options(nodes_max: usize) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(DOCUMENT_BYTES_MAX),
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_aliases: 0,
            max_anchors: 0,
            max_documents: 1,
            max_merge_keys: 0,
            max_nodes: nodes_max,
            max_events: 2 * nodes_max,
            max_total_scalar_bytes: DOCUMENT_BYTES_MAX,
        },
        emit_comments: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

// === impl RoleProfile ===

impl From<&Profile> for RoleProfile {
    fn from(profile: &Profile) -> Self {
        Self {
            approved: profile.approved,
            scripts: profile.scripts,
            counts: profile.counts,
            main: profile.main.iter().collect(),
            exec_in: profile.exec_in.iter().collect(),
            drift: profile.drift.clone(),
        }
    }
}

/// Line `number` of `text`, made safe to show and short.
fn line(text: &str, number: u64) -> String {
    let index = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1));
    let line = index
        .and_then(|index| text.lines().nth(index))
        .unwrap_or_default();
    showable(&line.trim().chars().take(LINE_SHOWN).collect::<String>())
}

/// `text` without what acts on a terminal; quotes and backslashes stay, because they are what a file's author wrote.
fn showable(text: &str) -> String {
    text.split_inclusive(['\\', '\'', '"'])
        .flat_map(|part| {
            let (rest, last) = match part.char_indices().next_back() {
                Some((index, last @ ('\\' | '\'' | '"'))) => (&part[..index], Some(last)),
                _ => (part, None),
            };
            rest.escape_debug().chain(last)
        })
        .collect()
}

fn show(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!(", at: {line}")
    }
}
