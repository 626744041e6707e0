//! Programs that are executed.

use agent_common::file::Layer;
use agent_common::hash::{self, HashKey};

use crate::text::ByteText;

/// A program that was executed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecBehaviour {
    /// Where the file came from.
    pub layer: Layer,
    /// Its path, as its layer defines it (DESIGN, "What a file is").
    pub path: ByteText,
    /// For a multi-call binary, the name it was invoked as.
    pub applet: Option<ByteText>,
}

impl ExecBehaviour {
    /// The keyed hash that the kernel computes for this behaviour.
    #[must_use]
    pub fn hash(&self, key: HashKey) -> u64 {
        hash::path(
            key,
            self.path.as_bytes(),
            self.applet.as_ref().map(ByteText::as_bytes),
        )
    }
}

impl std::fmt::Display for ExecBehaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.layer, self.path)?;
        match &self.applet {
            Some(applet) => write!(formatter, " ({applet})"),
            None => Ok(()),
        }
    }
}

/// Programs that are one file for many commands and choose by the name they are invoked as. Their applet is part of
/// the behaviour.
pub const MULTI_CALL_PROGRAMS: &[&str] = &["busybox", "toybox", "coreutils", "toolbox", "busybox.static"];

/// Whether the program at `path` is a multi-call binary, by its own name (never by a link's).
#[must_use]
pub fn is_multi_call(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    MULTI_CALL_PROGRAMS
        .iter()
        .any(|program| program.as_bytes() == name)
}
