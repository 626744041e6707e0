//! The fanotify group: what the kernel asks before a file is opened for execution.
//!
//! Input: filesystems to be asked about. Output: [`Notice`]s, each of which waits for its answer. Failure: an [`Errno`];
//! when the group is closed, or the process ends, the kernel answers all questions with yes.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};

/// Most files that are no longer asked about where the kernel must keep each in memory for that (before Linux 5.19).
/// Beyond it further ones are asked about each time.
const PINNED_MAX: u32 = 4_096;

/// The group.
#[derive(Debug)]
pub(super) struct Group {
    fanotify: Fanotify,
    /// Marks may go with their inodes (Linux 5.19).
    evictable: bool,
    pinned: u32,
}

/// Something that the kernel tells or asks.
#[derive(Debug)]
pub(super) struct Notice {
    event: FanotifyEvent,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A thread waits for leave to open a file for execution.
    Execution,
    /// A file that was no longer asked about was open for writing.
    Written,
    /// Nothing that was asked for.
    Other,
}

impl Group {
    /// A group that is asked nothing yet.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`, `EINVAL` or `ENOSYS` where the kernel cannot ask.
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = InitFlags::FAN_CLASS_CONTENT
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_REPORT_TID
            // What waits for an answer must find room; it is bounded by the processes that there are.
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::FAN_UNLIMITED_MARKS;
        let files = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
        Ok(Self {
            fanotify: Fanotify::init(flags, files)?,
            evictable: true,
            pinned: 0,
        })
    }

    /// Asks about executions of all files of the filesystem that `directory` is on, for as long as that is mounted.
    pub(super) fn ask_about(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        self.fanotify
            .mark(flags, MaskFlags::FAN_OPEN_EXEC_PERM, directory, None::<&str>)
    }

    /// Asks about executions of this file, under whatever name and mount.
    pub(super) fn ask_about_file(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.fanotify.mark(
            MarkFlags::FAN_MARK_ADD,
            MaskFlags::FAN_OPEN_EXEC_PERM,
            file,
            None::<&str>,
        )
    }

    /// Asks no longer about this file, until somebody has written to it. The kernel forgets this by itself with the first
    /// write; writes through a mapping it does not tell, so the end of every descriptor that could write is asked for, too.
    pub(super) fn trust(&mut self, file: BorrowedFd<'_>) {
        if self.evictable {
            match self.ignore(file, MarkFlags::FAN_MARK_EVICTABLE) {
                Err(Errno::EINVAL) => self.evictable = false,
                // Else it is asked about again.
                _ => return,
            }
        }
        if self.pinned < PINNED_MAX && self.ignore(file, MarkFlags::empty()).is_ok() {
            self.pinned += 1;
        }
    }

    fn ignore(&self, file: BorrowedFd<'_>, more: MarkFlags) -> Result<(), Errno> {
        let add = MarkFlags::FAN_MARK_ADD | more;
        self.fanotify
            .mark(add, MaskFlags::FAN_CLOSE_WRITE, file, None::<&str>)?;
        let ignore = add | MarkFlags::FAN_MARK_IGNORED_MASK;
        self.fanotify
            .mark(ignore, MaskFlags::FAN_OPEN_EXEC_PERM, file, None::<&str>)
    }

    /// Asks about this file again.
    pub(super) fn distrust(&mut self, file: BorrowedFd<'_>) {
        for (more, mask) in [
            (MarkFlags::FAN_MARK_IGNORED_MASK, MaskFlags::FAN_OPEN_EXEC_PERM),
            (MarkFlags::empty(), MaskFlags::FAN_CLOSE_WRITE),
        ] {
            let flags = MarkFlags::FAN_MARK_REMOVE | more;
            // It fails if the mark went by itself.
            let _ = self.fanotify.mark(flags, mask, file, None::<&str>);
        }
        if !self.evictable {
            self.pinned = self.pinned.saturating_sub(1);
        }
    }

    /// What there is to answer now, at most some 170 at once.
    pub(super) fn notices(&self) -> Result<Vec<Notice>, Errno> {
        match self.fanotify.read_events() {
            Ok(events) => Ok(events.into_iter().map(|event| Notice { event }).collect()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Answers a question.
    pub(super) fn answer(&self, notice: &Notice, allow: bool) -> Result<(), Errno> {
        let Some(file) = notice.file() else { return Ok(()) };
        let response = if allow {
            Response::FAN_ALLOW
        } else {
            Response::FAN_DENY
        };
        match self
            .fanotify
            .write_response(FanotifyResponse::new(file, response))
        {
            // Who asked was killed meanwhile.
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fanotify.as_fd()
    }
}

impl Notice {
    /// The file; `None` if the notice is about none.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.event.fd()
    }

    /// The thread's id on the host; 0 if the kernel does not tell.
    pub(super) fn thread(&self) -> u32 {
        u32::try_from(self.event.pid()).unwrap_or(0)
    }

    pub(super) fn subject(&self) -> Subject {
        let mask = self.event.mask();
        if !self.event.check_version() {
            Subject::Other
        } else if mask.contains(MaskFlags::FAN_OPEN_EXEC_PERM) {
            Subject::Execution
        } else if mask.contains(MaskFlags::FAN_CLOSE_WRITE) {
            Subject::Written
        } else {
            Subject::Other
        }
    }
}
