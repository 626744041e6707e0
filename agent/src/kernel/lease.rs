//! Read leases (`fcntl(2)`, "Leases"): as long as one holds, nobody has the file open for writing.
//!
//! A lease is refused while anybody has the file open for writing or mapped writable and shared, by whatever path,
//! an overlay on top included. Whoever opens it for writing later waits until the lease is given back (at most
//! `/proc/sys/fs/lease-break-time`, 45 s), or gets `EWOULDBLOCK` if it asked not to wait, and [`ReadLease::holds`] turns
//! false at once. So: hold one briefly and ask between steps.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Command that chooses the signal (`include/uapi/asm-generic/fcntl.h`); the `libc` crate does not have it.
const F_SETSIG: i32 = 10;

/// A read lease on an open file; given back when dropped.
#[derive(Debug)]
pub struct ReadLease<'file> {
    file: BorrowedFd<'file>,
}

impl<'file> ReadLease<'file> {
    /// Takes a lease on a file that is open for reading only.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has the file open for writing; `EINVAL` where the filesystem knows no leases; `EACCES` for
    /// somebody else's file without `CAP_LEASE`.
    pub fn take(file: BorrowedFd<'file>) -> io::Result<Self> {
        // The kernel tells the holder of a broken lease by a signal: SIGIO unless told otherwise, which ends a process
        // that does not expect it. SIGURG is ignored by default.
        control(file, F_SETSIG, libc::SIGURG)?;
        control(file, libc::F_SETLEASE, libc::F_RDLCK)?;
        Ok(Self { file })
    }

    /// Whether nobody has asked to write since the lease was taken.
    #[must_use]
    pub fn holds(&self) -> bool {
        control(self.file, libc::F_GETLEASE, 0).is_ok_and(|kind| kind == libc::F_RDLCK)
    }
}

impl Drop for ReadLease<'_> {
    fn drop(&mut self) {
        // It fails only if the lease was taken away after the kernel's patience ended: then there is none to give back.
        let _ = control(self.file, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

#[expect(
    unsafe_code,
    reason = "no safe wrapper of these commands is among the dependencies"
)]
fn control(file: BorrowedFd<'_>, command: i32, argument: i32) -> io::Result<i32> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and the commands used here take an integer, not a
    // pointer.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"content").expect("write");
        (directory, path)
    }

    /// Takes a lease on a file that nobody writes. What another test starts holds this test's files open between fork
    /// and exec.
    fn take(reader: &File) -> ReadLease<'_> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            match ReadLease::take(reader.as_fd()) {
                Ok(lease) => return lease,
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && std::time::Instant::now() < deadline =>
                {
                    std::thread::yield_now();
                }
                Err(error) => panic!("no lease: {error}"),
            }
        }
    }

    #[test]
    fn is_refused_while_somebody_may_write() {
        let (_directory, path) = file();
        let reader = File::open(&path).expect("open");
        let writer = File::options().append(true).open(&path).expect("open");
        let error = ReadLease::take(reader.as_fd()).expect_err("a writer");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert!(take(&reader).holds());
    }

    #[test]
    fn tells_of_a_writer_and_survives_the_signal() {
        let (_directory, path) = file();
        let reader = File::open(&path).expect("open");
        let lease = take(&reader);
        let writer = std::thread::spawn({
            let path = path.clone();
            move || File::options().append(true).open(path).map(drop)
        });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while lease.holds() {
            assert!(std::time::Instant::now() < deadline, "the writer never came");
            std::thread::yield_now();
        }
        assert!(!writer.is_finished(), "the writer did not wait");
        drop(lease);
        writer.join().expect("no panic").expect("the writer goes on");
    }

    #[test]
    fn a_writer_that_does_not_wait_is_turned_away() {
        let (_directory, path) = file();
        let reader = File::open(&path).expect("open");
        let lease = take(&reader);
        let open = || {
            File::options()
                .append(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
        };
        assert_eq!(open().expect_err("leased").kind(), io::ErrorKind::WouldBlock);
        drop(lease);
        open().expect("given back");
    }
}
