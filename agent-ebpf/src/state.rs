//! Whose process it is: the container that a task belongs to, and its state.
//!
//! Failure: without an entry in `TASKS` (the task is older than the agent, or its id is beyond the table) both are derived from the
//! task's cgroup, root and parent. A task in no container leaves by its word in `TASKS`, and where it executes, by its root, which is the
//! host's, or after one look-up that misses.

use agent_common::container::{CONTAINER_PARENT, Container};
use agent_common::domain::Section;
use agent_common::instance::Instance;
use agent_common::task::{TASKS_PER_ELEMENT, Task, TaskState};

use crate::counter;
use crate::kernel::{Access, TaskStruct};
use crate::maps::{CONTAINERS, INSTANCES, NODE, TASKS};
use crate::volatile::{load, store};

/// A task's container, as one hook sees it.
pub struct Member {
    pub container: Container,
    pub instance: &'static mut Instance,
    /// What `TASKS` holds; `None` where the state must be derived.
    pub task: Option<Task>,
}

impl Member {
    /// Whether `TASKS` holds one of these `TASK_*` bits of it.
    #[inline(always)]
    pub fn has(&self, bits: u32) -> bool {
        self.task.is_some_and(|task| task.has(bits))
    }
}

/// The container whose process executes, and its state; `None` if it is in none or still is the runtime. A state that had to
/// be derived is remembered.
#[inline(always)]
pub fn executing<A: Access>(task: TaskStruct<A>, pid: u32) -> Option<(Member, TaskState)> {
    if let Some(entry) = self::task(pid) {
        return Some((member_of(entry)?, TaskState::from_raw(entry.state())?));
    }
    // Before its cgroup is looked up: nearly all processes outside of containers end here, and the runtime.
    if is_host_root(task) {
        return None;
    }
    let mut member = member_of_container(container(container(task.current_cgroup_id())?.container)?)?;
    let state = derive(task, pid, &mut member, true);
    remember(&mut member, pid, state);
    Some((member, state))
}

/// Sets and clears bits of a process's entry, if it has one. Only for the running process.
#[inline(always)]
pub fn change_flags(pid: u32, set: u32, clear: u32) {
    if let Some(entry) = entry(pid) {
        let before = load(entry);
        if before.is_held() {
            store(entry, before.without(clear).with(set));
        }
    }
}

/// The container of a task; `None` if it is in none. `cgroup_id` is asked only where `TASKS` does not know the task.
#[inline(always)]
pub fn member(pid: u32, cgroup_id: impl FnOnce() -> u64) -> Option<Member> {
    if let Some(task) = task(pid) {
        return member_of(task);
    }
    let container = container(container(cgroup_id())?.container)?;
    if container.flags & CONTAINER_PARENT != 0 {
        return None;
    }
    let instance = instance(&container)?;
    Some(Member {
        container,
        instance,
        task: None,
    })
}

/// The container of a process that `TASKS` holds as `task`.
#[inline(always)]
pub fn member_of(task: Task) -> Option<Member> {
    let instance = instance_of(task)?;
    let container = container(load(&instance.cgroup))?;
    Some(Member {
        container,
        instance,
        task: Some(task),
    })
}

/// The slot of a process's container, if it still is that container's.
#[inline(always)]
pub fn instance_of(task: Task) -> Option<&'static mut Instance> {
    let instance = INSTANCES.get_ptr_mut(task.slot())?;
    // SAFETY: as in `instance`.
    let instance = unsafe { &mut *instance };
    task.can_be_of(load(&instance.cgroup)).then_some(instance)
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
        task: None,
    })
}

/// Whether a process is in no container for certain, or still is the runtime: `TASKS` has a place for it, and does not hold it.
#[inline(always)]
pub fn is_outside(pid: u32) -> bool {
    entry(pid).is_some_and(|task| !load(task).is_held())
}

/// The container of the current process and its state, whether or not `TASKS` has a place for it; `None` if it is in none, or still is the
/// runtime. `task` is asked only where it has none.
#[inline(always)]
pub fn acting<A: Access>(pid: u32, task: impl FnOnce() -> TaskStruct<A>) -> Option<(Member, u8)> {
    let Some(entry) = entry(pid) else {
        return beyond(task());
    };
    let entry = load(entry);
    if !entry.is_held() {
        return None;
    }
    Some((member_of(entry)?, entry.state()))
}

/// [`acting`], for a process beyond the table.
#[inline(always)]
fn beyond<A: Access>(task: TaskStruct<A>) -> Option<(Member, u8)> {
    let member = member_of_container(container(container(task.current_cgroup_id())?.container)?)?;
    if member.instance.first_exec == 0 || is_host_root(task) {
        return None;
    }
    Some((member, TaskState::Unclassified as u8))
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
    // Member by member: of whole words the verifier would know more, and follow more apart (half as much again, on 6.1).
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

/// What `TASKS` holds of a process; `None` if it is in no container, still the runtime, or beyond the table.
#[inline(always)]
pub fn task(pid: u32) -> Option<Task> {
    let task = load(entry(pid)?);
    task.is_held().then_some(task)
}

/// The place of a process in `TASKS`; `None` if its id is beyond it.
#[inline(always)]
pub fn entry(pid: u32) -> Option<&'static mut Task> {
    let tasks = TASKS.get_ptr_mut(pid / TASKS_PER_ELEMENT as u32)?;
    // SAFETY: array elements live as long as the map. A word that is written by its process, or for it before it runs.
    Some(unsafe { &mut (*tasks).0[pid as usize % TASKS_PER_ELEMENT] })
}

/// Whether it is a process of this container.
#[inline(always)]
fn is_of(task: Task, container: &Container) -> bool {
    task.slot() == container.slot && task.can_be_of(container.container)
}

/// The state of a task that has none yet and executes, or is found by the iterator.
///
/// Its root is not the host's: it is no longer the runtime. It is the container's first program (`executes`), or has entered from outside,
/// unless its parent is one of the container's.
#[inline(always)]
pub fn derive<A: Access>(task: TaskStruct<A>, pid: u32, member: &mut Member, executes: bool) -> TaskState {
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
    match self::task(parent_pid) {
        // Its parent may be so only because it adopted an orphan.
        Some(entry) if is_of(entry, &member.container) && parent_pid != instance.init_pid => {
            TaskState::from_raw(entry.state()).unwrap_or(TaskState::Unclassified)
        }
        Some(entry) if is_of(entry, &member.container) => TaskState::Unclassified,
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
    task.root_dentry().0 == node.root_dentry
}

/// Remembers the state of a process of a container. One beyond the table is counted and goes without: see the module's head.
#[inline(always)]
pub fn remember(member: &mut Member, pid: u32, state: TaskState) {
    enter(
        pid,
        Task::new(member.container.slot, state, member.container.cgroup),
        member.instance,
    );
}

/// Writes what `TASKS` holds of a process of a container's.
#[inline(always)]
pub fn enter(pid: u32, task: Task, instance: &mut Instance) {
    match entry(pid) {
        Some(entry) => store(entry, task),
        None => counter::add(&mut instance.counters[0].untracked_tasks, 1),
    }
}
