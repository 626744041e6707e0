//! `TASKS`: whose process it is.

use crate::{plain_old_data, tag};

tag! {
    /// Whose process a task is (DESIGN, "Whose process it is"). A task without an entry is in no container, or is
    /// still the runtime: that state is derived from the task's root at each exec and never stored.
    TaskState {
        /// In the container's cgroup, still with the host's root: the runtime preparing the container.
        Runtime = 0 => "runtime",
        /// The container's own.
        Main = 1 => "main",
        /// Entered the running container from outside.
        ExecIn = 2 => "exec_in",
        /// Ran before the agent started and its parent had already gone: judged as `main`, told as what it is.
        Unclassified = 3 => "unclassified",
    }
}

/// Value of `TASKS`, keyed by thread group id. Inherited at fork, removed when the last thread exits; it stays
/// with a task that leaves the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Task {
    /// Cgroup id of the container.
    pub container: u64,
    /// Start of the thread group's leader, boot-time clock, ns. Guards against a reused id.
    pub started_ns: u64,
    /// Index of the container in `INSTANCES`.
    pub slot: u32,
    /// A [`TaskState`].
    pub state: u8,
    /// `TASK_*` bits.
    pub flags: u8,
    /// The [`crate::domain::Domain`] for which it was killed, with [`TASK_KILLED`].
    pub killed_for: u8,
    /// Always zero.
    pub reserved: u8,
}

/// A word of bytes per process id, in the map `TRACKED`: not 0 if `TASKS` may hold the process. Neighbours share a cache line, so
/// that a process of no container is known as such without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Tracked {
    /// By the low bits of the process id.
    pub processes: [u8; TRACKED_PROCESSES],
}

/// Processes in one element of `TRACKED`.
pub const TRACKED_PROCESSES: usize = 64;
const _: () = assert!(TRACKED_PROCESSES.is_power_of_two());

/// Elements of `TRACKED` for as many process ids as Linux can have (`PID_MAX_LIMIT`, include/linux/threads.h); the daemon makes
/// fewer where the machine has fewer. What is beyond the bound is looked up.
pub const TRACKED_MAX: u32 = (4 << 20) >> TRACKED_PROCESSES.trailing_zeros();

/// A kill was sent to this task; its death is reported so that the alert can say "confirmed".
pub const TASK_KILLED: u8 = 1 << 0;
/// A binary passed the check and is being loaded: the next file that is opened for execution is its interpreter
/// (`PT_INTERP`), and what is mapped until then is the execution's own.
pub const TASK_LOADING: u8 = 1 << 1;

/// Most thread groups in containers at once. At the bound a task's state is not kept (counted per container): it
/// is then judged by its cgroup and its parent at each exec.
pub const TASKS_MAX: u32 = 65_536;
/// Most entries that one container may hold, so that a fork bomb cannot take the others' room.
pub const TASKS_PER_CONTAINER_MAX: u64 = 16_384;

plain_old_data!(Task, Tracked);
const _: () = assert!(size_of::<Task>() == 24);
