//! Why a container, or what a runtime keeps about it, could not be read: the error that all runtimes share.

use std::path::PathBuf;

use super::read::{ReadError, show};

/// Why a container, or a runtime's data directory, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file or directory could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file ends early or is damaged: it may be being written.
    #[error("`{}` is no complete JSON document: {source}", show(path))]
    Incomplete {
        /// Which file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The file is a JSON document of another form.
    #[error("`{}` is not as its runtime writes it: {problem}", show(path))]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody other than its owner can write the file, so that it proves nothing.
    #[error("`{}` is not trusted: owned by uid {owner} with mode {mode:o}", show(path))]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The process through whose root the file was read has ended meanwhile.
    #[error(
        "the runtime with process id {pid} ended while `{}` was being read",
        show(path)
    )]
    DaemonEnded {
        /// Which file.
        path: PathBuf,
        /// Whose root it was read through.
        pid: u32,
    },
    /// There are more data directories than are looked at.
    #[error("there are more than {most} data directories; `{}` is left out", show(path))]
    TooManyDataRoots {
        /// How many are looked at.
        most: usize,
        /// The one that is left out.
        path: PathBuf,
    },
}

impl RuntimeError {
    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::DaemonEnded { .. })
    }
}
