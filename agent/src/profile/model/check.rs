//! What may be in a profile.
//!
//! Input: a behaviour, a file or a text. Output: that it may. Failure: [`BehaviourError`] or [`TextError`], which say why not.

use agent_common::domain::Domain;
use agent_common::file::Layer;

use super::{BEHAVIOURS_MAX, FILE_BEHAVIOURS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, TEXT_BYTES_MAX};
use crate::behaviour::{Behaviour, ExecBehaviour, FilePattern};
use crate::profile::pattern::PathPattern;
use crate::text::ByteText;

/// Why a behaviour cannot be in a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// Drift is not learned.
    #[error(
        "layer `{layer}` did not come with the image: it is never learned; an operator accepts it by path and content"
    )]
    Drift {
        /// The behaviour's layer.
        layer: Layer,
    },
    /// Not every drift can be accepted.
    #[error(
        "a file of layer `{layer}` cannot be accepted by path and content: only `upper` and `volume` can"
    )]
    NeverAccepted {
        /// The file's layer.
        layer: Layer,
    },
    /// The path is not one that the kernel programs walk.
    #[error(
        "path `{path}` is not in normal form: expected `/` and components of 1 to {NAME_BYTES_MAX} bytes without NUL, \
         none of them `.` or `..`, {PATH_BYTES_MAX} bytes together"
    )]
    Path {
        /// The path, cut to 100 characters.
        path: String,
    },
    /// The rule for several paths is longer than any path.
    #[error("rule `{pattern}` is longer than {PATH_BYTES_MAX} bytes")]
    Pattern {
        /// The rule, cut to 100 characters.
        pattern: String,
    },
    /// The applet is not a name.
    #[error("applet `{applet}` is not a name: expected at most {NAME_BYTES_MAX} bytes without NUL and `/`")]
    Applet {
        /// The applet, cut to 100 characters.
        applet: String,
    },
}

/// A reference or note that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{}` is too long ({TEXT_BYTES_MAX} bytes) or has characters that cannot be shown", text.escape_debug())]
pub struct TextError {
    /// What it is.
    pub what: &'static str,
    /// The text, cut to 100 characters.
    pub text: String,
}

/// Most behaviours of `domain` in one section of one profile.
#[must_use]
pub const fn behaviours_max(domain: Domain) -> usize {
    match domain {
        Domain::File => FILE_BEHAVIOURS_MAX,
        Domain::Exec | Domain::Library | Domain::Cap | Domain::Syscall => BEHAVIOURS_MAX,
    }
}

/// Whether `behaviour` can be learned, or accepted without its content: a program must have come with the image, or be of a
/// layer that cannot be told; files of every layer can be used.
pub fn check_learnable(behaviour: &Behaviour) -> Result<(), BehaviourError> {
    match behaviour {
        Behaviour::Exec(exec) => check_exec(exec),
        Behaviour::File(file) => match &file.pattern {
            FilePattern::Exact(path) => check_path(path),
            FilePattern::Pattern(pattern) => check_pattern(pattern),
        },
        Behaviour::Cap(_) | Behaviour::Syscall(_) => Ok(()),
    }
}

fn check_exec(behaviour: &ExecBehaviour) -> Result<(), BehaviourError> {
    if behaviour.layer.is_drift() {
        return Err(BehaviourError::Drift {
            layer: behaviour.layer,
        });
    }
    check_path(&behaviour.path)?;
    match &behaviour.applet {
        Some(applet)
            if applet.as_bytes().len() > NAME_BYTES_MAX
                || applet.as_bytes().iter().any(|byte| matches!(byte, 0 | b'/')) =>
        {
            Err(BehaviourError::Applet {
                applet: shorten(applet),
            })
        }
        _ => Ok(()),
    }
}

/// Whether the file at `path` of `layer` can be accepted by path and content.
pub fn check_acceptable(layer: Layer, path: &ByteText) -> Result<(), BehaviourError> {
    if !matches!(layer, Layer::Upper | Layer::Volume) {
        return Err(BehaviourError::NeverAccepted { layer });
    }
    check_path(path)
}

/// One path, one text: the kernel's hash ignores empty components, so they may not be in a profile.
fn check_path(path: &ByteText) -> Result<(), BehaviourError> {
    let is_name = |name: &[u8]| {
        !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_BYTES_MAX && !name.contains(&0)
    };
    let is_normal = path.as_bytes().len() <= PATH_BYTES_MAX
        && path
            .as_bytes()
            .strip_prefix(b"/")
            .is_some_and(|rest| rest.split(|byte| *byte == b'/').all(is_name));
    if is_normal {
        Ok(())
    } else {
        Err(BehaviourError::Path { path: shorten(path) })
    }
}

/// A rule is made of names, each of which says itself what is wrong with it; here only its length is bounded.
fn check_pattern(pattern: &PathPattern) -> Result<(), BehaviourError> {
    let text = pattern.to_string();
    if text.len() <= PATH_BYTES_MAX {
        Ok(())
    } else {
        Err(BehaviourError::Pattern {
            pattern: text.chars().take(100).collect(),
        })
    }
}

/// Whether `text` can be kept and shown on one line of a terminal.
pub fn check_text(what: &'static str, text: &str) -> Result<(), TextError> {
    // What may be shown is what the text form of bytes leaves as it is, but for its own escape character.
    let is_shown = crate::text::escape(text.as_bytes()) == text.replace('\\', "\\\\");
    if text.len() <= TEXT_BYTES_MAX && is_shown {
        return Ok(());
    }
    let text = text.chars().take(100).collect();
    Err(TextError { what, text })
}

fn shorten(text: &ByteText) -> String {
    text.to_string().chars().take(100).collect()
}
