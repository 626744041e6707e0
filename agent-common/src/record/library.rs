//! A file was mapped executable, or a mapping of it was made executable.

use super::exec::ARGS_BYTES;
use super::{ProcessPart, RecordHeader};
use crate::file::FileIdentity;
use crate::path::PathWords;
use crate::plain_old_data;

/// A file was mapped executable that did not come with the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct LibraryRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who maps.
    pub process: ProcessPart,
    /// The file that is mapped.
    pub file: FileIdentity,
    /// Keyed hash of the path.
    pub path_hash: u64,
    /// Keyed hash of path and inode, for the daemon to put in `SEEN`.
    pub behaviour_hash: u64,
    /// Profile number of the container, 0 for none.
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
    /// The [`crate::domain::Section`] of the process.
    pub section: u8,
    /// `LIBRARY_*` bits.
    pub flags: u8,
    /// Bytes of `args` in use.
    pub args_bytes: u16,
    /// Length of the whole argument area in bytes; more than `args_bytes` if it was cut.
    pub args_total_bytes: u32,
    /// Always zero.
    pub reserved: u32,
    /// The file's path, as its layer defines it.
    pub path: PathWords,
    /// The program's path, as the container's mount namespace shows it.
    pub exe: PathWords,
    /// The program's arguments, NUL-separated.
    pub args: [u8; ARGS_BYTES],
}

/// The file was mapped before, and now the mapping became executable (`mprotect`).
pub const LIBRARY_PROTECTED: u8 = 1 << 0;
/// The arguments could not be read.
pub const LIBRARY_ARGS_UNREADABLE: u8 = 1 << 1;

plain_old_data!(LibraryRecord);
const _: () = assert!(size_of::<LibraryRecord>().is_multiple_of(8));
