//! Reading files whose size somebody else decides.
//!
//! Input: a path and a bound. Output: the content. Failure: [`ReadError`], which names the operation and the path; a
//! file beyond the bound is an error (`FileTooLarge`), never a shortened content.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::text;

/// A file or directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`: {source}", show(path))]
pub struct ReadError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl ReadError {
    /// Whether there is no such file, or no such process any more.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        is_absent(&self.source)
    }

    /// For `map_err`: an error of `operation` on `path`.
    pub fn of<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// Whether an error says that there is no such file, directory or process. `/proc/PID` gives `ESRCH` between the
/// end of a process and its reaping.
#[must_use]
pub fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::SRCH, Errno::NOTDIR, Errno::NODEV]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A path as text that is safe to show.
#[must_use]
pub fn show(path: &Path) -> String {
    text::escape(path.as_os_str().as_bytes())
}

/// Reads the whole of a file of at most `limit_bytes`. Does not follow a symbolic link in the last component, and does
/// not wait for the other end of a pipe.
pub fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let file = open(path)?;
    read_open(&file, path, limit_bytes)
}

/// Opens a file for [`read_open`], as [`read_bounded`] does.
pub fn open(path: &Path) -> Result<File, ReadError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(ReadError::of("open", path))
}

/// Reads the whole of an open file of at most `limit_bytes`; `path` is for the error.
pub fn read_open(file: &File, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    let limit = limit_bytes.saturating_add(1);
    file.take(limit)
        .read_to_end(&mut content)
        .map_err(ReadError::of("read", path))?;
    if content.len() as u64 > limit_bytes {
        let source = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit_bytes} bytes"),
        );
        return Err(ReadError::of("read", path)(source));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_bound() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"12345").expect("write");
        assert_eq!(read_bounded(&path, 5).expect("within"), b"12345");
        let error = read_bounded(&path, 4).expect_err("beyond");
        assert_eq!(error.source.kind(), io::ErrorKind::FileTooLarge);
        assert!(!error.is_absent());
    }

    #[test]
    fn tells_what_is_not_there() {
        let directory = tempfile::tempdir().expect("directory");
        assert!(
            read_bounded(&directory.path().join("none"), 1)
                .expect_err("none")
                .is_absent()
        );
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).expect("link");
        let error = read_bounded(&directory.path().join("link"), 1 << 20).expect_err("a link");
        assert!(!error.is_absent(), "{error}");
    }
}
