//! A file that is rotated: a line per alert. What is on disk counts as received.
//!
//! Failure: a write that fails part of the way is taken back, so that the file never holds half a line in its middle; a file that was moved
//! or removed by somebody else (logrotate) is made anew. Bound: a file that has reached its size becomes `PATH.1`, that before it `PATH.2`,
//! and so on; the last goes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::transport::{Message, SentIsAcknowledged, Transport, TransportError, failed};
use crate::config::Number;
use crate::config::sinks::FileTarget;

/// Megabytes from which on a new file is begun if nobody says otherwise.
const MAX_MB: u32 = 100;
/// Files before it that are kept if nobody says otherwise.
const KEEP: u32 = 5;

/// A file.
#[derive(Debug)]
pub struct FileTransport {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    sent: SentIsAcknowledged,
}

impl FileTransport {
    /// One for this target.
    #[must_use]
    pub fn new(target: &FileTarget) -> Self {
        Self {
            path: target.path.clone(),
            max_bytes: u64::from(target.max_mb.map_or(MAX_MB, Number::get)) << 20,
            keep: target.keep.map_or(KEEP, Number::get),
            sent: SentIsAcknowledged::default(),
        }
    }
}

impl Transport for FileTransport {
    const IN_FLIGHT_MAX: u64 = 1;

    async fn open(&mut self) -> Result<(), TransportError> {
        let path = self.path.clone();
        on_disk(&self.path, "open", move || open(&path).map(drop)).await
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let text: String = messages.iter().map(|message| &*message.line).collect();
        let (path, max_bytes, keep) = (self.path.clone(), self.max_bytes, self.keep);
        on_disk(&self.path, "write to", move || {
            append(&path, text.as_bytes(), max_bytes, keep)
        })
        .await?;
        self.sent.sent(messages);
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        Ok(self.sent.acknowledged().await)
    }
}

/// Works where a slow disk holds up nobody else.
async fn on_disk(
    path: &Path,
    operation: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), TransportError> {
    let result = tokio::task::spawn_blocking(work).await;
    let result = result.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(failed(operation, path.display().to_string()))
}

/// Opens the file, and ends a line that an agent before this one was killed in.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(0o640)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let size = file.metadata()?.size();
    if let Some(last) = size.checked_sub(1) {
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, last)?;
        if byte != *b"\n" {
            (&file).write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn append(path: &Path, text: &[u8], max_bytes: u64, keep: u32) -> io::Result<()> {
    let mut file = open(path)?;
    let mut size = file.metadata()?.size();
    if size > 0 && size + text.len() as u64 > max_bytes {
        rotate(path, keep)?;
        file = open(path)?;
        size = 0;
    }
    let written = file.write_all(text).and_then(|()| file.sync_data());
    if written.is_err() {
        // A full disk takes half of it. If this fails too, the next that opens it ends the line.
        let _ = file.set_len(size);
    }
    written?;
    if size == 0 {
        sync_directory(path)?;
    }
    Ok(())
}

/// `PATH` becomes `PATH.1`, and so on.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        match std::fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, numbered(path, 1))?;
    sync_directory(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Makes names durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_rotated_and_the_last_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("alerts");
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            append(&path, line.as_bytes(), 2, 2).expect("written");
        }
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        assert_eq!(read(&path).as_deref(), Some("4\n"));
        assert_eq!(read(&numbered(&path, 1)).as_deref(), Some("3\n"));
        assert_eq!(read(&numbered(&path, 2)).as_deref(), Some("2\n"));
        assert_eq!(read(&numbered(&path, 3)), None);
    }

    #[test]
    fn half_a_line_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("alerts");
        std::fs::write(&path, "hal").expect("written");
        append(&path, b"whole\n", 1 << 20, 1).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "hal\nwhole\n");
    }

    #[test]
    fn a_file_that_was_moved_is_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("alerts");
        append(&path, b"1\n", 1 << 20, 1).expect("written");
        std::fs::rename(&path, directory.path().join("moved")).expect("moved");
        append(&path, b"2\n", 1 << 20, 1).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "2\n");
    }
}
