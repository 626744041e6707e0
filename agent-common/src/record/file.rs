//! A file was opened, or put in its place by a rename or as a link.

use super::exec::{ARGS_BYTES, NAME_BYTES};
use super::{ProcessPart, RecordHeader};
use crate::file::FileIdentity;
use crate::path::PathWords;
use crate::plain_old_data;

/// A use of a file that is new to the daemon, or on which the kernel acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct FileRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who uses it.
    pub process: ProcessPart,
    /// The file; all zero if [`FILE_TYPED`] is set.
    pub file: FileIdentity,
    /// Keyed hash of the path.
    pub path_hash: u64,
    /// Keyed hash of the behaviour, for the daemon to put in `SEEN`.
    pub behaviour_hash: u64,
    /// Profile number that the verdict rests on, 0 for none.
    pub profile: u32,
    /// Generation of that profile.
    pub generation: u32,
    /// A [`crate::file::Layer`].
    pub layer: u8,
    /// A [`crate::rule::Verdict`].
    pub verdict: u8,
    /// A [`crate::rule::Action`] that the kernel took.
    pub action: u8,
    /// The [`crate::domain::Mode`] that held.
    pub mode: u8,
    /// The [`crate::domain::Section`] that was looked up.
    pub section: u8,
    /// A [`crate::file::FileOperation`].
    pub operation: u8,
    /// `FILE_*` bits.
    pub flags: u8,
    /// Always zero.
    pub reserved: u8,
    /// Bytes of `args` in use.
    pub args_bytes: u16,
    /// Always zero.
    pub reserved_16: u16,
    /// Length of the whole argument area in bytes; more than `args_bytes` if it was cut.
    pub args_total_bytes: u32,
    /// Flags of the opened file (`O_*`); 0 for a rename or link.
    pub open_flags: u32,
    /// Negative error number of the kill, 0 if it was sent or none was due.
    pub action_error: i32,
    /// The file's path, as its layer defines it; with [`FILE_TYPED`] the directory that `name` starts from, as the container's
    /// mounts show it.
    pub path: PathWords,
    /// The program's path, as the container's mount namespace shows it.
    pub exe: PathWords,
    /// With [`FILE_TYPED`] the name that was given to the system call, NUL-terminated unless it fills the array; else empty.
    pub name: [u8; NAME_BYTES],
    /// The program's arguments, NUL-separated.
    pub args: [u8; ARGS_BYTES],
}

/// The arguments could not be read.
pub const FILE_ARGS_UNREADABLE: u8 = 1 << 0;
/// The file itself was not seen, only the name that was given for it (renames and links on the lite tier): the layer is not
/// known, and what the name leads to is for the daemon to find out.
pub const FILE_TYPED: u8 = 1 << 1;
/// The hook ran before the operation, and could refuse it.
pub const FILE_BEFORE: u8 = 1 << 2;

plain_old_data!(FileRecord);
const _: () = assert!(size_of::<FileRecord>().is_multiple_of(8));
