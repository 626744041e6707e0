//! A system call was made.

use super::exec::ARGS_BYTES;
use super::{ProcessPart, RecordHeader};
use crate::path::PathWords;
use crate::plain_old_data;

/// A system call that is new to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SyscallRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who made it.
    pub process: ProcessPart,
    /// Profile number that the verdict rests on, 0 for none.
    pub profile: u32,
    /// Generation of that profile.
    pub generation: u32,
    /// The number in its interface's table, or [`crate::syscall::SYSCALL_OUT_OF_RANGE`].
    pub number: u16,
    /// A [`crate::syscall::SyscallAbi`].
    pub abi: u8,
    /// A [`crate::syscall::SyscallPhase`].
    pub operation: u8,
    /// A [`crate::rule::Verdict`].
    pub verdict: u8,
    /// The [`crate::domain::Mode`] that held.
    pub mode: u8,
    /// The [`crate::domain::Section`] that was looked up.
    pub section: u8,
    /// `SYSCALL_*` bits.
    pub flags: u8,
    /// Number as the process gave it, with all its bits.
    pub raw_number: u32,
    /// Length of the whole argument area in bytes; more than `args_bytes` if it was cut.
    pub args_total_bytes: u32,
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
pub const SYSCALL_ARGS_UNREADABLE: u8 = 1 << 0;

plain_old_data!(SyscallRecord);
const _: () = assert!(size_of::<SyscallRecord>().is_multiple_of(8));
