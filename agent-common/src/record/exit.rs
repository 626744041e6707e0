//! A process that a hook killed has died: the confirmation of the kill.

use super::RecordHeader;
use crate::plain_old_data;

/// The last thread of a process with [`crate::task::TASK_KILLED`] exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ExitRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Start of the process, boot-time clock, ns: with `pid` the identity that the exec record carries.
    pub started_ns: u64,
    /// Thread group id in the host's pid namespace.
    pub pid: u32,
    /// Exit code as in `wait(2)`: the low seven bits are the signal.
    pub exit_code: u32,
}

plain_old_data!(ExitRecord);
const _: () = assert!(size_of::<ExitRecord>() == 48);
