//! `TASKS`: whose process it is.

use crate::instance::INSTANCES_MAX;
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

/// What `TASKS` holds of a process: one word, so that it is read and written at once. Inherited at fork, cleared when the last thread
/// exits; it stays with a task that leaves the container's cgroup.
///
/// From the lowest bit on: 12 bits the container's index in `INSTANCES`, 2 bits a [`TaskState`], 2 bits `TASK_*`, 16 bits the lowest of
/// the container's cgroup id, which tell that the index still is that container's. 0: no container's, or still the runtime's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct Task(u32);

const SLOT: u32 = INSTANCES_MAX - 1;
const STATE_SHIFT: u32 = 12;
const STATE: u32 = 3;
const CGROUP_SHIFT: u32 = 16;
const _: () = assert!(INSTANCES_MAX.is_power_of_two() && SLOT >> STATE_SHIFT == 0);
const _: () = assert!(TaskState::ALL.len() == STATE as usize + 1);

impl Task {
    /// Of a container's process, without `TASK_*` bits.
    #[must_use]
    #[inline]
    pub const fn new(slot: u32, state: TaskState, cgroup: u64) -> Self {
        Self((slot & SLOT) | (state as u32) << STATE_SHIFT | lowest(cgroup) << CGROUP_SHIFT)
    }

    /// Whether it is a container's, beyond the runtime.
    #[must_use]
    #[inline]
    pub const fn is_held(self) -> bool {
        self.state() != TaskState::Runtime as u8
    }

    /// The container's index in `INSTANCES`.
    #[must_use]
    #[inline]
    pub const fn slot(self) -> u32 {
        self.0 & SLOT
    }

    /// A [`TaskState`], as a number.
    #[must_use]
    #[inline]
    pub const fn state(self) -> u8 {
        ((self.0 >> STATE_SHIFT) & STATE) as u8
    }

    /// Whether it can be this container's: to be asked of the cgroup that `INSTANCES` has at its index.
    #[must_use]
    #[inline]
    pub const fn can_be_of(self, cgroup: u64) -> bool {
        self.0 >> CGROUP_SHIFT == lowest(cgroup)
    }

    /// Whether it has one of these `TASK_*` bits.
    #[must_use]
    #[inline]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// With these `TASK_*` bits set.
    #[must_use]
    #[inline]
    pub const fn with(self, bits: u32) -> Self {
        Self(self.0 | bits)
    }

    /// Without these `TASK_*` bits.
    #[must_use]
    #[inline]
    pub const fn without(self, bits: u32) -> Self {
        Self(self.0 & !bits)
    }
}

/// The lowest 16 bits of a cgroup id.
const fn lowest(cgroup: u64) -> u32 {
    (cgroup & 0xffff) as u32
}

/// A kill was sent to this task; its death is reported so that the alert can say "confirmed".
pub const TASK_KILLED: u32 = 1 << 14;
/// A binary passed the check and is being loaded: the next file that is opened for execution is its interpreter
/// (`PT_INTERP`), and what is mapped until then is the execution's own.
pub const TASK_LOADING: u32 = 1 << 15;

/// Value of `TASKS`: some processes, since the kernel gives no element of an array less than eight bytes. The place of one is its thread
/// group id, divided by [`TASKS_PER_ELEMENT`]: the quotient is the element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct Tasks(pub [Task; TASKS_PER_ELEMENT]);

/// Processes in one element of `TASKS`: a line of the processor's cache.
pub const TASKS_PER_ELEMENT: usize = 16;
const _: () = assert!(TASKS_PER_ELEMENT.is_power_of_two());

/// Elements of `TASKS` for as many process ids as Linux can have (`PID_MAX_LIMIT`, include/linux/threads.h); the daemon makes fewer
/// where the machine has fewer. A process with an id beyond the bound is judged by its cgroup and its parent at each exec, and counted
/// for its container.
pub const TASKS_MAX: u32 = (4 << 20) >> TASKS_PER_ELEMENT.trailing_zeros();

/// Most processes that were killed and have not died yet, whose deaths are awaited. At the bound a kill is sent and its death is not
/// confirmed.
pub const KILLED_MAX: u32 = 4_096;

plain_old_data!(Task, Tasks);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_all_of_it() {
        for slot in [0, 1, INSTANCES_MAX - 1] {
            for state in TaskState::ALL.iter().copied() {
                for cgroup in [1, 0xffff, 0x1_2345, u64::MAX] {
                    let task = Task::new(slot, state, cgroup).with(TASK_LOADING);
                    assert_eq!((task.slot(), task.state()), (slot, state as u8));
                    assert!(task.can_be_of(cgroup) && !task.can_be_of(cgroup ^ 1));
                    assert!(task.has(TASK_LOADING) && !task.has(TASK_KILLED));
                    assert_eq!(task.without(TASK_LOADING), Task::new(slot, state, cgroup));
                    assert_eq!(task.is_held(), state != TaskState::Runtime);
                }
            }
        }
        assert!(!Task::default().is_held());
    }
}
