//! Life cycle of tasks: raw tracepoints `sched_process_fork` and `sched_process_exit`, and the iterator over tasks that
//! exist already.
//!
//! A process in no container leaves both tracepoints at the first look-up. They deny nothing; where `TASKS` is full a
//! child's state is derived later (see `state`).

use agent_common::container::SELF_TEST;
use agent_common::domain::Domain;
use agent_common::instance::Instance;
use agent_common::record::RecordKind;
use agent_common::record::exit::ExitRecord;
use agent_common::task::{TASK_KILLED, Task, TaskState};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::emit::{self, Weight};
use crate::kernel::{Access, TaskStruct, Typed};
use crate::maps::{INSTANCES, NODE, TASKS};
use crate::state;

/// What `Task::killed_for` says; as numbers: the verifier would follow each value of an enumeration apart.
const FILE: u8 = Domain::File as u8;
const CAP: u8 = Domain::Cap as u8;

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`: the child inherits whose process it is.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let _ = inherit(&ctx);
    0
}

#[inline(always)]
fn inherit(ctx: &BtfTracePointContext) -> Option<()> {
    let parent_pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !state::is_tracked(parent_pid) {
        return None;
    }
    let parent = state::task_entry(TaskStruct::<Typed>::at(ctx.arg(0)), parent_pid)?;
    let child = TaskStruct::<Typed>::at(ctx.arg(1));
    let pid = child.pid();
    if pid == parent_pid {
        return None;
    }
    let entry = Task {
        started_ns: child.started_ns(),
        flags: 0,
        ..parent
    };
    state::remember(slot(&parent)?, pid, &entry);
    Some(())
}

/// `TP_PROTO(struct task_struct *p)`: forgets the process with its last thread, and tells the fate of what was killed.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let _ = forget(&ctx);
    0
}

#[inline(always)]
fn forget(ctx: &BtfTracePointContext) -> Option<()> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !state::is_tracked(pid) {
        return None;
    }
    let entry = TASKS.get_ptr(pid)?;
    // SAFETY: the entry of the running process; it is removed only below.
    let entry = unsafe { core::ptr::read_volatile(entry) };
    let task = TaskStruct::<Typed>::at(ctx.arg(0));
    if !task.is_process_dead() {
        return None;
    }
    let _ = TASKS.remove(pid);
    state::set_tracked(pid, false);
    let instance = slot(&entry)?;
    emit::add(&mut instance.tasks, 1_u64.wrapping_neg());
    if entry.flags & TASK_KILLED == 0 {
        return None;
    }
    let exit_code = task.exit_code();
    if exit_code & 0x7f == 9 {
        let domain = match entry.killed_for {
            FILE => Domain::File,
            CAP => Domain::Cap,
            _ => Domain::Exec,
        };
        emit::add(&mut emit::counters(instance, domain).kill_confirmed, 1);
    }
    let now_ns = emit::now_ns();
    let record = ExitRecord {
        header: emit::header::<ExitRecord>(
            RecordKind::Exit,
            Domain::Exec,
            entry.container,
            entry.slot,
            now_ns,
        ),
        started_ns: entry.started_ns,
        pid,
        exit_code,
    };
    emit::send(&record, instance, Domain::Exec, Weight::Confirmation, now_ns);
    Some(())
}

/// The slot of a process's container, if that still is its container's.
#[inline(always)]
fn slot(entry: &Task) -> Option<&'static mut Instance> {
    let instance = INSTANCES.get_ptr_mut(entry.slot)?;
    // SAFETY: as in `state::instance`.
    let instance = unsafe { &mut *instance };
    (instance.cgroup == entry.container).then_some(instance)
}

/// `struct bpf_iter__task`, of which this program needs the second member.
#[repr(C)]
pub struct TaskIteratorContext {
    meta: u64,
    task: u64,
}

/// Iterator over all tasks: notes the host's root, and the state of processes that were in a container
/// before the agent came. The daemon reads it after it has entered the containers that run; it writes nothing.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn iterate_tasks(ctx: *const TaskIteratorContext) -> i32 {
    // SAFETY: the kernel passes a context of this layout.
    let task = TaskStruct::<Typed>::at(unsafe { (*ctx).task });
    if task.0 != 0 {
        let _ = classify(task);
    }
    0
}

#[inline(always)]
fn classify<A: Access>(task: TaskStruct<A>) -> Option<()> {
    // Threads other than the first belong to a process that is visited by itself.
    if task.leader() != task || task.is_process_dead() {
        return None;
    }
    let pid = task.pid();
    // Process 1 has the host's root. A hardened kernel may hide it from iterators: then kthreadd (2) tells, which shares
    // its `fs_struct` since boot (`rest_init`, init/main.c).
    if pid == 1 || pid == 2 {
        let node = NODE.get_ptr_mut(0)?;
        let root = task.root();
        // SAFETY: the only element of an array; nothing else writes these two words.
        unsafe {
            if pid == 1 || (*node).root_dentry == 0 {
                (*node).root_dentry = root.dentry.0;
                (*node).root_superblock = root.mount.superblock().0;
            }
        }
        return None;
    }
    if enter_self_test(task, pid).is_some() {
        return None;
    }
    let mut member = state::member(task, pid, || task.cgroup_id())?;
    if member.state.is_some() || member.instance.first_exec == 0 {
        return None;
    }
    let state = state::derive(task, pid, &mut member, false);
    if state as u8 == TaskState::Runtime as u8 {
        return None;
    }
    let entry = Task {
        container: member.container.cgroup,
        started_ns: task.started_ns(),
        slot: member.container.slot,
        state: state as u8,
        flags: 0,
        killed_for: 0,
        reserved: 0,
    };
    state::remember(member.instance, pid, &entry);
    Some(())
}

/// Enters the process of the daemon's self-test in its container; `None` if there is no test, or it is another process.
#[inline(always)]
fn enter_self_test<A: Access>(task: TaskStruct<A>, pid: u32) -> Option<()> {
    let container = state::container(SELF_TEST)?;
    let instance = state::instance(&container)?;
    if instance.init_pid != pid {
        return None;
    }
    let entry = Task {
        container: SELF_TEST,
        started_ns: task.started_ns(),
        slot: container.slot,
        state: TaskState::Main as u8,
        flags: 0,
        killed_for: 0,
        reserved: 0,
    };
    state::remember(instance, pid, &entry);
    Some(())
}
