//! What a file in a container holds, so that it can be vouched for from now on.
//!
//! Input: where the file is ([`Location`]), its path as a record gave it, and, if it is to be the file of that record,
//! the record's [`FileIdentity`]. Output: [`HashedFile`]: the SHA-256 of the content, and the identity (inode, size, change
//! time) for which it holds. Failure: [`ContentError`] says why the content cannot be vouched for.
//!
//! Why the pair holds: while the file is read a lease guarantees that nobody can write to it, not even through an
//! older mapping. Whoever writes later has to open it first and thereby gives it a later change time; it differs from
//! the recorded one because that was already older than the granularity of change times when the lease was taken.
//! This needs a filesystem that records writes through mappings ([`VOUCHING`]); tmpfs does not (a page that was read
//! first is then written without any trace).
//!
//! What it does not say: that the content was the same at the time of the record. Between a record and its hashing
//! lies time; if the change time is the record's, only writes within one tick of the kernel's clock are unseen.
//! Whoever may set the clock (`CAP_SYS_TIME`) can forge change times before Linux 6.13.
//!
//! A path into a volume crosses mounts that the container chose. Types that can keep a reader waiting (FUSE, network)
//! are refused before the walk; a container that mounts one in the moment between can still do it. Call from a thread
//! that may wait, never from one that serves others.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_common::file::FileIdentity;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::mountinfo;
use super::read::ReadError;
use super::root::{self, RootError};
use crate::kernel::lease::ReadLease;
use crate::profile::model::ContentHash;
use crate::text::ByteText;

/// Filesystems whose change times tell of every write, writes through mappings included, by magic number
/// (`linux/magic.h`): ext2 to ext4, XFS, btrfs, F2FS.
pub const VOUCHING: &[i64] = &[0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// Filesystems that a path may cross: local ones, which answer by themselves.
const CROSSABLE: &[&[u8]] = &[
    b"overlay",
    b"ext2",
    b"ext3",
    b"ext4",
    b"xfs",
    b"btrfs",
    b"f2fs",
    b"tmpfs",
    b"ramfs",
    b"devtmpfs",
    b"squashfs",
    b"erofs",
];

/// Bytes that are hashed between two looks at the lease.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where a file is.
#[derive(Clone, Copy, Debug)]
pub enum Location<'a> {
    /// In the upper layer of a container's root filesystem.
    Upper {
        /// The upper directory, as this process sees it.
        directory: &'a Path,
        /// `s_dev` of the overlay, which the identity carries.
        device: u32,
    },
    /// As a process of the container sees it.
    Volume {
        /// A process whose root is the container's: its first one.
        pid: u32,
        /// Inode number of the container's mount namespace: the process must still be in it.
        mount_namespace: u32,
    },
}

/// How much is read and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentLimits {
    /// Largest file that is read, bytes.
    pub max_bytes: u64,
    /// Age that a change time must have; above the granularity of change times (one tick, at most 10 ms).
    pub settled_after: Duration,
    /// Longest wait for that age. Then the file is read as it is.
    pub max_wait: Duration,
}

/// A file's content and the identity for which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedFile {
    /// SHA-256 of the content.
    pub sha256: ContentHash,
    /// Identity of the file: any later write changes it, if it [`is_settled`](Self::is_settled).
    pub identity: FileIdentity,
    /// The change time was old enough. If not (or if it lies in the future), the file held this when it was read, and nothing else is
    /// said: a write right after may have left the identity as it is.
    pub is_settled: bool,
    /// What executing the file gives beyond the content.
    pub privileges: Privileges,
}

/// What a file's metadata gives to whoever executes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// User that it runs as (set-user-id).
    pub set_uid: Option<u32>,
    /// Group that it runs as (set-group-id).
    pub set_gid: Option<u32>,
    /// File capabilities (`security.capability`).
    pub capabilities: Option<Vec<u8>>,
}

/// Why a file's content cannot be vouched for.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Something could not be opened or read.
    #[error("cannot {operation} `{path}` in the container: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file, as the record names it.
        path: ByteText,
        /// Why it failed.
        source: io::Error,
    },
    /// The container's mounts could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The process that was to show the container's files is in another mount namespace.
    #[error("process {pid} is not in the container's mount namespace")]
    NotInContainer {
        /// Which process.
        pid: u32,
    },
    /// The path crosses a filesystem that may keep a reader waiting, or whose content is somebody else's.
    #[error("`{path}` is on or below a mount of type `{filesystem}`")]
    Crossing {
        /// The file.
        path: ByteText,
        /// Type of the mount.
        filesystem: ByteText,
    },
    /// The filesystem does not record every write.
    #[error(
        "`{path}` is on a filesystem (magic number {magic:#x}) whose change times do not tell of every write"
    )]
    Filesystem {
        /// The file.
        path: ByteText,
        /// Its magic number.
        magic: i64,
    },
    /// It is no regular file.
    #[error("`{path}` is not a regular file")]
    NotRegular {
        /// The file.
        path: ByteText,
    },
    /// Another file is there now.
    #[error("`{path}` is another file now (inode {found}, the record has {expected})")]
    Replaced {
        /// The file.
        path: ByteText,
        /// Inode number of the record.
        expected: u64,
        /// Inode number found.
        found: u64,
    },
    /// The file has changed since the record, or while it was read.
    #[error("`{path}` has changed since it was recorded")]
    Changed {
        /// The file.
        path: ByteText,
    },
    /// The file is larger than the bound.
    #[error("`{path}` has {size_bytes} bytes, more than the {max_bytes} that are read")]
    TooLarge {
        /// The file.
        path: ByteText,
        /// Its size.
        size_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// Somebody has the file open for writing, or opened it for writing while it was read.
    #[error("`{path}` is open for writing")]
    OpenForWriting {
        /// The file.
        path: ByteText,
    },
    /// Only the metadata was copied up; the content is still in a lower layer (`metacopy`).
    #[error("`{path}` has only its metadata in the upper layer")]
    MetadataOnlyCopy {
        /// The file.
        path: ByteText,
    },
}

/// Hashes a file. With `expected`, it must still be that file, unchanged.
pub fn hash_file(
    location: Location<'_>,
    path: &ByteText,
    expected: Option<&FileIdentity>,
    limits: &ContentLimits,
) -> Result<HashedFile, ContentError> {
    let subject = Subject { path };
    let (handle, device) = match location {
        Location::Upper { directory, device } => (subject.open_in_upper(directory)?, device),
        Location::Volume { pid, mount_namespace } => subject.open_in_volume(pid, mount_namespace)?,
    };
    let stat = subject.check_regular(&handle, limits)?;
    if let Some(expected) = expected.filter(|one| one.inode != stat.st_ino || one.device != device) {
        let (path, expected) = (path.clone(), expected.inode);
        return Err(ContentError::Replaced {
            path,
            expected,
            found: stat.st_ino,
        });
    }
    let magic = rustix::fs::fstatfs(&handle)
        .map_err(subject.failed("examine"))?
        .f_type;
    if !VOUCHING.contains(&magic) {
        return Err(ContentError::Filesystem {
            path: path.clone(),
            magic,
        });
    }
    let file = subject.reopen(&handle)?;
    if matches!(location, Location::Upper { .. })
        && subject.attribute(&file, "trusted.overlay.metacopy")?.is_some()
    {
        return Err(ContentError::MetadataOnlyCopy { path: path.clone() });
    }
    let lease = ReadLease::take(file.as_fd()).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => ContentError::OpenForWriting { path: path.clone() },
        _ => subject.failed("take a lease on")(source),
    })?;
    let (before, is_settled) = subject.settle(&file, limits)?;
    let identity = identity_of(&before, device);
    if expected.is_some_and(|expected| *expected != identity) {
        return Err(ContentError::Changed { path: path.clone() });
    }
    let sha256 = subject.hash(&file, limits, || lease.holds())?;
    let privileges = subject.privileges(&file, &before)?;
    let after = rustix::fs::fstat(&file).map_err(subject.failed("examine"))?;
    if identity_of(&after, device) != identity {
        return Err(ContentError::Changed { path: path.clone() });
    }
    if !lease.holds() {
        return Err(ContentError::OpenForWriting { path: path.clone() });
    }
    Ok(HashedFile {
        sha256,
        identity,
        is_settled,
        privileges,
    })
}

/// The identity as the kernel programs record it.
fn identity_of(stat: &Stat, device: u32) -> FileIdentity {
    FileIdentity {
        inode: stat.st_ino,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        changed_s: stat.st_ctime,
        changed_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
        device,
    }
}

/// A file by the name that errors give it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) path: &'a ByteText,
}

// === impl Subject ===

impl Subject<'_> {
    /// For `map_err`.
    pub(super) fn failed<E: Into<io::Error>>(
        self,
        operation: &'static str,
    ) -> impl FnOnce(E) -> ContentError {
        let path = self.path.clone();
        move |source| ContentError::File {
            operation,
            path,
            source: source.into(),
        }
    }

    /// The path without the leading slash, for a walk from a directory.
    pub(super) fn relative(&self) -> &[u8] {
        let path = self.path.as_bytes();
        path.strip_prefix(b"/").unwrap_or(path)
    }

    /// A record's path is made of directory entries, so that neither link nor `..` is in it.
    fn open_below(self, directory: &OwnedFd, more: ResolveFlags) -> Result<OwnedFd, ContentError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | more;
        rustix::fs::openat2(directory, self.relative(), flags, Mode::empty(), resolve)
            .map_err(self.failed("open"))
    }

    fn open_in_upper(self, directory: &Path) -> Result<OwnedFd, ContentError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(self.failed("open the upper layer of"))?;
        self.open_below(&directory, ResolveFlags::NO_XDEV)
    }

    /// Opens the file as a process sees it. Gives the device of the mount it is on.
    fn open_in_volume(self, pid: u32, mount_namespace: u32) -> Result<(OwnedFd, u32), ContentError> {
        let root = format!("/proc/{pid}/root/");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(root.as_str(), flags, Mode::empty()).map_err(self.failed("open the root of"))?;
        let table = mountinfo::of_process(pid).map_err(RootError::from)?;
        // Only now, so that root and mounts are those of a process that was in the namespace all the time.
        if root::mount_namespace(pid)? != mount_namespace {
            return Err(ContentError::NotInContainer { pid });
        }
        let is_foreign = |mount: &&mountinfo::Mount| !CROSSABLE.contains(&mount.filesystem.as_slice());
        if let Some(mount) = table.on_the_way(self.path.as_bytes()).find(is_foreign) {
            let (path, filesystem) = (self.path.clone(), mount.filesystem.as_slice().into());
            return Err(ContentError::Crossing { path, filesystem });
        }
        let handle = self.open_below(&root, ResolveFlags::empty())?;
        let id = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .map_err(self.failed("examine"))?
            .stx_mnt_id;
        match table.with_id(id) {
            Some(mount) => Ok((handle, mount.device)),
            // Mounted after the table was read.
            None => Err(ContentError::Changed {
                path: self.path.clone(),
            }),
        }
    }

    pub(super) fn check_regular(
        self,
        handle: &OwnedFd,
        limits: &ContentLimits,
    ) -> Result<Stat, ContentError> {
        let stat = rustix::fs::fstat(handle).map_err(self.failed("examine"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ContentError::NotRegular {
                path: self.path.clone(),
            });
        }
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if size_bytes > limits.max_bytes {
            let (path, max_bytes) = (self.path.clone(), limits.max_bytes);
            return Err(ContentError::TooLarge {
                path,
                size_bytes,
                max_bytes,
            });
        }
        Ok(stat)
    }

    /// Opens for reading what is known to be a regular file. A device would act on being opened, so that none is.
    pub(super) fn reopen(self, handle: &OwnedFd) -> Result<File, ContentError> {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty())
            .map(File::from)
            .map_err(self.failed("open"))
    }

    /// Waits until the last change is older than the granularity of change times. Whether it is.
    fn settle(self, file: &File, limits: &ContentLimits) -> Result<(Stat, bool), ContentError> {
        let deadline = Instant::now() + limits.max_wait;
        loop {
            let stat = rustix::fs::fstat(file).map_err(self.failed("examine"))?;
            let missing = limits.settled_after.saturating_sub(age(&stat));
            if missing.is_zero() {
                return Ok((stat, true));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if missing > left {
                return Ok((stat, false));
            }
            std::thread::sleep(missing);
        }
    }

    /// Hashes a whole file, as long as `may_continue`.
    pub(super) fn hash(
        self,
        file: &File,
        limits: &ContentLimits,
        may_continue: impl Fn() -> bool,
    ) -> Result<ContentHash, ContentError> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut size_bytes = 0;
        loop {
            let length = match rustix::io::pread(file, &mut chunk, size_bytes) {
                Ok(0) => return Ok(ContentHash(hasher.finalize().into())),
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.failed("read")(error)),
            };
            hasher.update(&chunk[..length]);
            size_bytes += length as u64;
            if size_bytes > limits.max_bytes {
                let (path, max_bytes) = (self.path.clone(), limits.max_bytes);
                return Err(ContentError::TooLarge {
                    path,
                    size_bytes,
                    max_bytes,
                });
            }
            if !may_continue() {
                return Err(ContentError::OpenForWriting {
                    path: self.path.clone(),
                });
            }
        }
    }

    pub(super) fn privileges(self, file: &File, stat: &Stat) -> Result<Privileges, ContentError> {
        let mode = Mode::from_raw_mode(stat.st_mode);
        Ok(Privileges {
            set_uid: mode.contains(Mode::SUID).then_some(stat.st_uid),
            set_gid: mode.contains(Mode::SGID).then_some(stat.st_gid),
            capabilities: self.attribute(file, "security.capability")?,
        })
    }

    /// An extended attribute; `None` if there is none, or the filesystem has none.
    pub(super) fn attribute(self, file: &File, name: &str) -> Result<Option<Vec<u8>>, ContentError> {
        // The longest that is asked for is the version 3 capability of 24 bytes; metacopy holds at most 68.
        let mut value = [0; 256];
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => Ok(Some(value[..length].to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(self.failed("read the attributes of")(error)),
        }
    }
}

/// How long ago the last change was; zero if it lies in the future.
fn age(stat: &Stat) -> Duration {
    let seconds = u64::try_from(stat.st_ctime).unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
    let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    SystemTime::now().duration_since(changed).unwrap_or_default()
}

// === impl ContentLimits ===

impl Default for ContentLimits {
    /// 512 MiB, which takes about a second; 50 ms, of which at most a quarter of a second is waited for.
    fn default() -> Self {
        Self {
            max_bytes: 512 * 1024 * 1024,
            settled_after: Duration::from_millis(50),
            max_wait: Duration::from_millis(250),
        }
    }
}

// === impl ContentError ===

impl From<ReadError> for ContentError {
    fn from(error: ReadError) -> Self {
        Self::Root(error.into())
    }
}

impl ContentError {
    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::OpenForWriting { .. })
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
pub(super) mod tests;
