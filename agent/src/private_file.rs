//! Files of the state directory that hold what the agent must not forget.
//!
//! Input: a path in a directory that only the agent can write. Output: the file, which is there after a crash. Failure: the system's
//! error; a link is not followed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file for reading and writing, for this user only, and makes it if it is missing.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    // Makes the name itself durable: what was reported as written must be there after a crash.
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}
