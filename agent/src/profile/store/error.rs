//! Why the store could not do what it was asked.

use std::path::{Path, PathBuf};

use crate::profile::model::{BehaviourError, ProfileKey, TextError};
use crate::profile::rows::{LoadError, RowError};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be used.
    #[error("state directory `{}`: {operation}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others could replace the store.
    #[error(
        "state directory `{}` is writable by others than its owner (mode {mode:o}): make it 0700", path.display()
    )]
    DirectoryWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its owner could replace the store.
    #[error(
        "state directory `{}` belongs to user {uid}: it must belong to the agent's own user or to root", path.display()
    )]
    DirectoryOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Another process has it open.
    #[error("profile store `{}`: another agent is running with this state directory", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "profile store `{}` has format {found}, this version knows up to {known}: run a newer driftlock", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The latest that this version knows.
        known: u64,
    },
    /// The file could not be opened, read or written.
    #[error("profile store `{}`: {operation}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// The file holds something that no version wrote.
    #[error("profile store `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RowError,
    },
    /// There is no such profile.
    #[error("there is no profile for image {} and role `{}`", key.digest, key.role)]
    NoProfile {
        /// What was asked for.
        key: ProfileKey,
    },
    /// It cannot be in a profile.
    #[error("profile {key}")]
    Behaviour {
        /// Whose it was to be.
        key: ProfileKey,
        /// Why not.
        source: BehaviourError,
    },
    /// A text cannot be kept.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A bound was reached.
    #[error("there is no room for more than {limit} {what}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// `pending` says that a container's image is not known; it is not a setting.
    #[error("mode `pending` cannot be set: choose learn, monitor or enforce")]
    PendingMode,
    /// A domain that cannot be switched off.
    #[error(
        "mode `off` is for one of the domains file, cap and syscall: what did not come with the image is always recognised"
    )]
    AlwaysOn,
}

impl StoreError {
    pub(super) fn loading(path: &Path, error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => Self::Storage {
                path: path.to_owned(),
                operation: "read",
                source: Box::new(error),
            },
            LoadError::Row(source) => Self::Damaged {
                path: path.to_owned(),
                source,
            },
        }
    }
}
