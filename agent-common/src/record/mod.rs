//! Records: what the kernel programs send through the ring buffer.
//!
//! Every record starts with a [`RecordHeader`] that tells its kind and length; the daemon checks both before it reads
//! further. One module per kind.

pub mod cap;
pub mod cgroup;
pub mod exec;
pub mod exit;
pub mod file;
pub mod library;
pub mod syscall;

use crate::{plain_old_data, tag};

tag! {
    /// The kind of a record.
    RecordKind {
        /// [`exec::ExecRecord`]: a program was executed that is new, or was denied or killed.
        Exec = 1 => "exec",
        /// [`cgroup::CgroupRecord`]: a container's cgroup appeared or went.
        Cgroup = 2 => "cgroup",
        /// [`exit::ExitRecord`]: a process that was killed has died.
        Exit = 3 => "exit",
        /// [`cgroup::LeaveRecord`]: a container's process left the container's cgroup.
        Leave = 4 => "leave",
        /// [`library::LibraryRecord`]: a file was mapped executable that did not come with the image.
        Library = 5 => "library",
        /// [`file::FileRecord`]: a file was opened or put in its place in a way that is new, or was acted on.
        File = 6 => "file",
        /// [`cap::CapRecord`]: a capability was used or refused in a way that is new, or was acted on.
        Cap = 7 => "cap",
        /// [`syscall::SyscallRecord`]: a system call was made that is new.
        Syscall = 8 => "syscall",
    }
}

/// Single value of `CHECKPOINT`: what the next daemon must know of the one before. Written by the daemon alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Checkpoint {
    /// Position in `EVENTS` before which every record has led to all that it leads to.
    pub position: u64,
    /// What the wall clock showed when the boot-time clock was zero, in milliseconds, as alerts' ids have it; 0 if there are none yet.
    pub id_epoch_ms: u64,
    /// Positions at which records begin, in order, the latest last; 0 where there is none yet. Where records after `position` were overwritten,
    /// the next daemon begins at the first of these that is still there.
    pub marks: [u64; CHECKPOINT_MARKS],
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            position: 0,
            id_epoch_ms: 0,
            marks: [0; CHECKPOINT_MARKS],
        }
    }
}

/// Positions in a [`Checkpoint`]: together they reach back once around `EVENTS`.
pub const CHECKPOINT_MARKS: usize = 64;

/// What every record starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RecordHeader {
    /// [`crate::ABI_VERSION`].
    pub abi: u32,
    /// Length of the whole record in bytes.
    pub length: u32,
    /// When, on the boot-time clock (`CLOCK_BOOTTIME`; on kernels before 5.8 the monotonic one), ns.
    pub time_ns: u64,
    /// Cgroup id of the container; 0 where there is none.
    pub container: u64,
    /// The container's slot in `INSTANCES`.
    pub slot: u32,
    /// A [`RecordKind`].
    pub kind: u8,
    /// A [`crate::domain::Domain`].
    pub domain: u8,
    /// Which load of the programs sent it ([`crate::settings::Settings::load`]); 0 if none did.
    pub load: u16,
}

/// Size of the ring buffer in bytes.
pub const EVENTS_BYTES: u32 = 8 << 20;
/// Part of the ring buffer that ordinary novelty leaves free, so that drift still finds room in a storm.
pub const EVENTS_KEPT_FOR_DRIFT_BYTES: u64 = 2 << 20;

/// Who did it. The process as it was when the hook ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ProcessPart {
    /// Start of the process, boot-time clock, ns.
    pub started_ns: u64,
    /// Thread group id in the host's pid namespace.
    pub pid: u32,
    /// Thread group id in the process's own pid namespace.
    pub pid_in_container: u32,
    /// The real parent's thread group id in the host's pid namespace.
    pub parent_pid: u32,
    /// Real user id, in the host's user namespace.
    pub uid: u32,
    /// Real group id, in the host's user namespace.
    pub gid: u32,
    /// A [`crate::task::TaskState`].
    pub state: u8,
    /// Number of entries in use of `ancestors`.
    pub ancestor_count: u8,
    /// 1 if there were more ancestors inside the container than there is room for.
    pub ancestors_truncated: u8,
    /// Always zero.
    pub reserved: u8,
    /// The thread's name.
    pub comm: [u8; 16],
    /// From the parent up to the container's first process.
    pub ancestors: [Ancestor; ANCESTORS_MAX],
}

/// Most ancestors in a record.
pub const ANCESTORS_MAX: usize = 12;

/// A process on the way from the parent to the container's first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Ancestor {
    /// Thread group id in the host's pid namespace.
    pub pid: u32,
    /// The name of its leader.
    pub comm: [u8; 16],
}

plain_old_data!(RecordHeader, ProcessPart, Ancestor, Checkpoint);
const _: () = assert!(size_of::<RecordHeader>() == 32);
const _: () = assert!(size_of::<Ancestor>() == 20);
const _: () = assert!(size_of::<ProcessPart>() == 48 + ANCESTORS_MAX * 20);
