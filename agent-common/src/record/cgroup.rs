//! A container's cgroup appeared or went, or a container's process left it.

use super::{ProcessPart, RecordHeader};
use crate::{plain_old_data, tag};

/// Bytes kept of a cgroup's name, NUL included. Runtimes' names are at most 64 hexadecimal digits with a prefix
/// and a suffix.
pub const CGROUP_NAME_BYTES: usize = 128;

tag! {
    /// What happened to a cgroup.
    CgroupChange {
        /// It was created and is a container's: it has an entry in `CONTAINERS` and a slot.
        Created = 1 => "created",
        /// It was removed.
        Removed = 2 => "removed",
        /// It was created and is a container's, but there is no free slot or no room: it is not tracked.
        Untracked = 3 => "untracked",
    }
}

/// A cgroup that is a container's own was created or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct CgroupRecord {
    /// Kind, time; `container` is the cgroup's own id.
    pub header: RecordHeader,
    /// Cgroup id of the parent.
    pub parent: u64,
    /// A [`CgroupChange`].
    pub change: u8,
    /// Always zero.
    pub reserved: [u8; 7],
    /// The cgroup's name, NUL-terminated unless it fills the array.
    pub name: [u8; CGROUP_NAME_BYTES],
}

/// A process of a container moved to a cgroup outside the container. It stays tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct LeaveRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who was moved.
    pub process: ProcessPart,
    /// Cgroup id of the destination.
    pub destination: u64,
    /// The destination's name, NUL-terminated unless it fills the array.
    pub name: [u8; CGROUP_NAME_BYTES],
}

plain_old_data!(CgroupRecord, LeaveRecord);
const _: () = assert!(size_of::<CgroupRecord>() == 32 + 16 + CGROUP_NAME_BYTES);
