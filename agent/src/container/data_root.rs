//! A directory in which a runtime keeps what it knows, as this process sees it.
//!
//! Input: a path as a runtime's process sees it. Output: [`DataRoot`], and the files below it. A runtime in another
//! mount namespace is read through `/proc/PID/root` where its path shows this process another directory. Failure:
//! [`RuntimeError`]; a file that others than root (or this process's own user) can write proves nothing and is refused.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::error::RuntimeError;
use super::process::ProcessId;
use super::read::{self, ReadError};

/// Most data directories of one runtime at once. Those beyond are left out, which [`RuntimeError::TooManyDataRoots`]
/// tells.
pub const MAX_DATA_ROOTS: usize = 64;

/// A runtime's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRoot {
    /// As this process sees it.
    pub directory: PathBuf,
    /// What this process has to put before a path as the runtime sees it: `/` or `/proc/PID/root`.
    pub prefix: PathBuf,
    /// As the runtime sees it.
    pub daemon_directory: PathBuf,
    /// The process whose root is gone through, if any: what is read counts only if it runs before and after.
    pub via: Option<ProcessId>,
    /// The ordinary user whose directory it is; `None` for root's. Only files of that user are read.
    pub user: Option<u32>,
}

impl DataRoot {
    /// A directory that the agent sees as its runtime does.
    #[must_use]
    pub fn in_own_namespace(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            prefix: PathBuf::from("/"),
            daemon_directory: directory.to_owned(),
            via: None,
            user: None,
        }
    }

    /// The directory that a process calls `path`, which is absolute: by that path if it shows this process the same
    /// directory.
    #[must_use]
    pub fn of_process(process: ProcessId, path: PathBuf) -> Self {
        let root = PathBuf::from(format!("/proc/{}/root", process.pid));
        let through_root = below(&root, &path);
        let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        match (identity(&path), identity(&through_root)) {
            (Some(own), Some(theirs)) if own == theirs => Self::in_own_namespace(&path),
            _ => Self {
                directory: through_root,
                prefix: root,
                daemon_directory: path,
                via: Some(process),
                user: None,
            },
        }
    }

    /// Reads a file of the runtime's. It must be root's (or the agent's own user's, or that of the user whose directory it
    /// is), and nobody else's to write.
    pub fn read(&self, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, RuntimeError> {
        let file = read::open(path)?;
        let metadata = file.metadata().map_err(ReadError::of("stat", path))?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let is_trusted = match self.user {
            Some(user) => owner == user,
            None => owner == 0 || owner == rustix::process::geteuid().as_raw(),
        };
        if !metadata.is_file() || !is_trusted || mode & 0o022 != 0 {
            let path = path.to_owned();
            return Err(RuntimeError::Untrusted { path, owner, mode });
        }
        let content = read::read_open(&file, path, limit_bytes)?;
        if let Some(process) = self.via.filter(|process| !process.is_alive()) {
            let path = path.to_owned();
            return Err(RuntimeError::DaemonEnded {
                path,
                pid: process.pid,
            });
        }
        Ok(content)
    }

    /// Reads a JSON file of the runtime's, as [`DataRoot::read`] does.
    pub fn read_json<T: DeserializeOwned>(&self, path: &Path, limit_bytes: u64) -> Result<T, RuntimeError> {
        parse_json(path, &self.read(path, limit_bytes)?)
    }
}

/// Reads a JSON document; `path` is for the error. A document that ends early may be being written.
pub fn parse_json<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, RuntimeError> {
    serde_json::from_slice(content).map_err(|source| match source.classify() {
        serde_json::error::Category::Data => RuntimeError::Malformed {
            path: path.to_owned(),
            problem: crate::text::escape(source.to_string().as_bytes()),
        },
        _ => RuntimeError::Incomplete {
            path: path.to_owned(),
            source,
        },
    })
}

/// `path`, which is absolute, below another root.
#[must_use]
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
