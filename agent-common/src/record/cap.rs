//! A capability was used, or refused.

use super::exec::ARGS_BYTES;
use super::{ProcessPart, RecordHeader};
use crate::path::PathWords;
use crate::plain_old_data;

/// A check of a capability that is new to the daemon, or on which the kernel acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct CapRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who asked for it.
    pub process: ProcessPart,
    /// Profile number that the verdict rests on, 0 for none.
    pub profile: u32,
    /// Generation of that profile.
    pub generation: u32,
    /// The capability's number (include/uapi/linux/capability.h).
    pub capability: u8,
    /// A [`crate::cap::UserNamespace`].
    pub namespace: u8,
    /// A [`crate::cap::CapOutcome`].
    pub operation: u8,
    /// A [`crate::rule::Verdict`].
    pub verdict: u8,
    /// A [`crate::rule::Action`] that the kernel took.
    pub action: u8,
    /// The [`crate::domain::Mode`] that held.
    pub mode: u8,
    /// The [`crate::domain::Section`] that was looked up.
    pub section: u8,
    /// `CAP_*` bits.
    pub flags: u8,
    /// Inode number of the user namespace that it was asked for in.
    pub namespace_number: u32,
    /// The system call that led to it; -1 outside of one, or if it is not known.
    pub system_call: i32,
    /// Length of the whole argument area in bytes; more than `args_bytes` if it was cut.
    pub args_total_bytes: u32,
    /// Negative error number of the kill, 0 if it was sent or none was due.
    pub action_error: i32,
    /// Bytes of `args` in use.
    pub args_bytes: u16,
    /// Always zero.
    pub reserved: [u16; 3],
    /// The program's path, as the container's mount namespace shows it.
    pub exe: PathWords,
    /// The program's arguments, NUL-separated.
    pub args: [u8; ARGS_BYTES],
}

/// The arguments could not be read.
pub const CAP_ARGS_UNREADABLE: u8 = 1 << 0;

plain_old_data!(CapRecord);
const _: () = assert!(size_of::<CapRecord>().is_multiple_of(8));
