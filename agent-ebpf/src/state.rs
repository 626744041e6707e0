//! Whose process it is: the container that a task belongs to, and its state.
//!
//! Failure: without an entry in `TASKS` (it was full, or the task is older than the agent) both are derived from the
//! task's cgroup, root and parent. A task in no container leaves after one look-up that misses, besides a byte of `TRACKED`.

use agent_common::container::{CONTAINER_PARENT, Container};
use agent_common::domain::Section;
use agent_common::instance::Instance;
use agent_common::task::{TASKS_PER_CONTAINER_MAX, TRACKED_PROCESSES, Task, TaskState};
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};

use crate::emit;
use crate::kernel::{Access, TaskStruct};
use crate::maps::{CONTAINERS, INSTANCES, NODE, TASKS, TRACKED};
use crate::volatile::load;

/// A task's container, as one hook sees it.
pub struct Member {
    pub container: Container,
    pub instance: &'static mut Instance,
    /// What `TASKS` holds; `None` where the state must be derived.
    pub state: Option<TaskState>,
    /// `TASK_*` bits that `TASKS` holds.
    pub task_flags: u8,
}

/// The container whose process executes, and its state; `None` if it is in none or still is the runtime. A state that had to
/// be derived is remembered.
#[inline(always)]
pub fn executing<A: Access>(task: TaskStruct<A>, pid: u32) -> Option<(Member, TaskState)> {
    let mut member = member(task, pid, || task.current_cgroup_id())?;
    if let Some(state) = member.state {
        return Some((member, state));
    }
    let state = derive(task, pid, &mut member, true);
    if state as u8 == TaskState::Runtime as u8 {
        return None;
    }
    let entry = Task {
        container: member.container.cgroup,
        started_ns: task.leader().started_ns(),
        slot: member.container.slot,
        state: state as u8,
        flags: 0,
        killed_for: 0,
        reserved: 0,
    };
    remember(member.instance, pid, &entry);
    Some((member, state))
}

/// Sets and clears bits of a process's entry, if it has one. Only for the running process.
#[inline(always)]
pub fn change_flags(pid: u32, set: u8, clear: u8) {
    if let Some(entry) = TASKS.get_ptr_mut(pid) {
        // SAFETY: the entry of the running process, which is removed only at its exit.
        unsafe { (*entry).flags = ((*entry).flags & !clear) | set };
    }
}

/// The container of `task`; `None` if it is in none. `cgroup_id` is asked only where `TASKS` does not know the task.
#[inline(always)]
pub fn member<A: Access>(task: TaskStruct<A>, pid: u32, cgroup_id: impl FnOnce() -> u64) -> Option<Member> {
    let (id, state, task_flags) = match task_entry(task, pid) {
        Some(entry) => (entry.container, TaskState::from_raw(entry.state), entry.flags),
        None => (container(cgroup_id())?.container, None, 0),
    };
    let container = container(id)?;
    if container.flags & CONTAINER_PARENT != 0 {
        return None;
    }
    let instance = instance(&container)?;
    Some(Member {
        container,
        instance,
        state,
        task_flags,
    })
}

/// The container of a process that `TASKS` holds as `entry`.
#[inline(always)]
pub fn member_of(entry: &Task) -> Option<Member> {
    let container = container(entry.container)?;
    let instance = instance(&container)?;
    Some(Member {
        container,
        instance,
        state: TaskState::from_raw(entry.state),
        task_flags: entry.flags,
    })
}

/// A process of `container` that `TASKS` does not hold, because it still is the runtime; `None` for what is no container.
#[inline(always)]
pub fn member_of_container(container: Container) -> Option<Member> {
    if container.flags & CONTAINER_PARENT != 0 {
        return None;
    }
    let instance = instance(&container)?;
    Some(Member {
        container,
        instance,
        state: Some(TaskState::Runtime),
        task_flags: 0,
    })
}

/// The container of the current process and its state, whether or not `TASKS` had room for it; `None` if it is in none, or still is the
/// runtime.
#[inline(always)]
pub fn acting<A: Access>(task: TaskStruct<A>, pid: u32) -> Option<(Member, u8)> {
    let member = member(task, pid, || task.current_cgroup_id())?;
    if member.instance.first_exec == 0 {
        return None;
    }
    let state = match member.state {
        Some(state) => state as u8,
        None if is_host_root(task) => return None,
        None => TaskState::Unclassified as u8,
    };
    Some((member, state))
}

/// The section of the profile that speaks for a process in a [`TaskState`].
#[inline(always)]
pub fn section(state: u8) -> u8 {
    if state == TaskState::ExecIn as u8 {
        Section::ExecIn as u8
    } else {
        Section::Main as u8
    }
}

/// A copy of the entry of one cgroup, if it still is that cgroup's (the map reuses memory that is being read).
#[inline(always)]
pub fn container(cgroup: u64) -> Option<Container> {
    // SAFETY: the element may be reused while it is copied, which the comparison finds out.
    let copy = unsafe { core::ptr::read_volatile(CONTAINERS.get_ptr(cgroup)?) };
    (copy.cgroup == cgroup).then_some(copy)
}

/// The slot of a container's own entry.
#[inline(always)]
pub fn instance(container: &Container) -> Option<&'static mut Instance> {
    let instance = INSTANCES.get_ptr_mut(container.slot)?;
    // SAFETY: array elements live as long as the map; counters are only added to atomically, and the other fields are
    // single words of which any value is acceptable.
    let instance = unsafe { &mut *instance };
    (instance.cgroup == container.cgroup).then_some(instance)
}

/// The entry of a process, unless it is left from an earlier process with the same id.
#[inline(always)]
pub fn task_entry<A: Access>(task: TaskStruct<A>, pid: u32) -> Option<Task> {
    if !is_tracked(pid) {
        return None;
    }
    // SAFETY: as in `container`: a copy, checked by the start time.
    let entry = unsafe { core::ptr::read_volatile(TASKS.get_ptr(pid)?) };
    (entry.started_ns == task.leader().started_ns()).then_some(entry)
}

/// Whether `TASKS` may hold a process.
#[inline(always)]
pub fn is_tracked(pid: u32) -> bool {
    match TRACKED.get(pid / TRACKED_PROCESSES as u32) {
        Some(tracked) => load(&tracked.processes[pid as usize % TRACKED_PROCESSES]) != 0,
        None => true,
    }
}

/// Notes whether `TASKS` holds a process: before it is entered, and after it is removed in its last moments, in which no other
/// process has its id yet.
#[inline(always)]
pub fn set_tracked(pid: u32, is_tracked: bool) {
    if let Some(tracked) = TRACKED.get_ptr_mut(pid / TRACKED_PROCESSES as u32) {
        // SAFETY: an element of an array, of which each process has a byte of its own.
        unsafe {
            (&raw mut (*tracked).processes[pid as usize % TRACKED_PROCESSES])
                .write_volatile(u8::from(is_tracked))
        };
    }
}

/// The state of a task that has none yet and executes, or is found by the iterator.
///
/// `Runtime` while it still has the host's root; otherwise it is the container's first program (`executes`), or has
/// entered from outside, unless its parent is one of the container's.
#[inline(always)]
pub fn derive<A: Access>(task: TaskStruct<A>, pid: u32, member: &mut Member, executes: bool) -> TaskState {
    if is_host_root(task) {
        return TaskState::Runtime;
    }
    let instance = &mut *member.instance;
    if instance.first_exec == 0 && executes {
        instance.root_device = task.root().mount.superblock().device();
        instance.mount_namespace = task.mount_namespace();
        instance.first_exec = 1;
        return TaskState::Main;
    }
    if pid == instance.init_pid {
        return TaskState::Main;
    }
    let parent = task.leader().real_parent();
    let parent_pid = parent.pid();
    match task_entry(parent, parent_pid) {
        // Its parent may be so only because it adopted an orphan.
        Some(entry) if entry.container == member.container.cgroup && parent_pid != instance.init_pid => {
            TaskState::from_raw(entry.state).unwrap_or(TaskState::Unclassified)
        }
        Some(entry) if entry.container == member.container.cgroup => TaskState::Unclassified,
        _ => match container(parent.cgroup_id()) {
            Some(other) if other.container == member.container.cgroup && !is_host_root(parent) => {
                TaskState::Unclassified
            }
            _ => TaskState::ExecIn,
        },
    }
}

/// Whether a task's root is the host's: what still is the runtime.
#[inline(always)]
pub fn is_host_root<A: Access>(task: TaskStruct<A>) -> bool {
    let Some(node) = NODE.get(0) else { return false };
    let root = task.root();
    root.dentry.0 == node.root_dentry && root.mount.superblock().0 == node.root_superblock
}

/// Remembers the state of a process. At a bound it is counted and the process goes without: see the module's head.
///
/// While one agent takes over from another both agents' programs run for a moment: what is remembered already is not
/// counted again.
#[inline(always)]
pub fn remember(instance: &mut Instance, pid: u32, entry: &Task) {
    if instance.tasks >= TASKS_PER_CONTAINER_MAX {
        emit::add(&mut instance.counters[0].untracked_tasks, 1);
        return;
    }
    set_tracked(pid, true);
    if TASKS.insert(pid, entry, u64::from(BPF_NOEXIST)).is_ok() {
        emit::add(&mut instance.tasks, 1);
        return;
    }
    if let Some(there) = TASKS.get_ptr(pid) {
        // SAFETY: a copy of one word.
        let started_ns = unsafe { core::ptr::read_volatile(&raw const (*there).started_ns) };
        if started_ns == entry.started_ns {
            return;
        }
    }
    // Left from an earlier process, or there is no room.
    if TASKS.insert(pid, entry, u64::from(BPF_ANY)).is_err() {
        emit::add(&mut instance.counters[0].untracked_tasks, 1);
        return;
    }
    emit::add(&mut instance.tasks, 1);
}
