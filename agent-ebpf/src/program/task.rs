//! Life cycle of tasks: raw tracepoints `sched_process_fork` and `sched_process_exit`, and the iterator over tasks that
//! exist already.
//!
//! A process in no container leaves both tracepoints by its word in `TASKS`. They deny nothing; the state of a child whose id is beyond
//! `TASKS` is derived later (see `state`).

use agent_common::container::SELF_TEST;
use agent_common::domain::Domain;
use agent_common::record::RecordKind;
use agent_common::record::exit::ExitRecord;
use agent_common::task::{TASK_KILLED, TASK_LOADING, Task, TaskState};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_seq_write;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::counter;
use crate::emit::{self, Weight};
use crate::kernel::{Access, TaskStruct, Typed};
use crate::maps::{KILLED, NODE};
use crate::state;
use crate::volatile::{load, store};

/// What `KILLED` says; as numbers: the verifier would follow each value of an enumeration apart.
const FILE: u32 = Domain::File as u32;
const CAP: u32 = Domain::Cap as u32;

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`: the child inherits whose process it is.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let _ = inherit(&ctx);
    0
}

#[inline(always)]
fn inherit(ctx: &BtfTracePointContext) -> Option<()> {
    let parent_pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let pid = TaskStruct::<Typed>::at(ctx.arg(1)).pid();
    if pid == parent_pid {
        return None;
    }
    let inherited = match state::task(parent_pid) {
        Some(parent) => parent.without(TASK_KILLED | TASK_LOADING),
        None => Task::default(),
    };
    match state::entry(pid) {
        Some(entry) => {
            // Also where both are in no container: what an earlier process with this id may have left ends here.
            if load(entry) != inherited {
                store(entry, inherited);
            }
        }
        None if inherited.is_held() => {
            counter::add(&mut state::instance_of(inherited)?.counters[0].untracked_tasks, 1);
        }
        None => {}
    }
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
    let entry = state::entry(pid)?;
    let was = load(entry);
    if !was.is_held() {
        return None;
    }
    let task = TaskStruct::<Typed>::at(ctx.arg(0));
    if !task.is_process_dead() {
        return None;
    }
    store(entry, Task::default());
    if !was.has(TASK_KILLED) {
        return None;
    }
    // SAFETY: a copy of a word. The last threads of a process may come here at once; one of them removes the entry.
    let killed_for = unsafe { *KILLED.get(pid)? };
    KILLED.remove(pid).ok()?;
    let instance = state::instance_of(was)?;
    let exit_code = task.exit_code();
    if exit_code & 0x7f == 9 {
        let domain = match killed_for {
            FILE => Domain::File,
            CAP => Domain::Cap,
            _ => Domain::Exec,
        };
        counter::add(&mut counter::counters(instance, domain).kill_confirmed, 1);
    }
    let now_ns = emit::now_ns();
    let record = ExitRecord {
        header: emit::header::<ExitRecord>(
            RecordKind::Exit,
            Domain::Exec,
            load(&instance.cgroup),
            was.slot(),
            now_ns,
        ),
        started_ns: task.leader().started_ns(),
        pid,
        exit_code,
    };
    emit::send(&record, instance, Domain::Exec, Weight::Confirmation, now_ns);
    Some(())
}

/// `struct bpf_iter__task`, of which this program needs the second member.
#[repr(C)]
pub struct TaskIteratorContext {
    meta: u64,
    task: u64,
}

/// Iterator over all tasks: notes the host's root, and the state of processes that were in a container before the agent came. The
/// daemon reads it after it has entered the containers that run; it writes nothing. Not later: it would take for a container's what the runtime has
/// moved there and not executed yet.
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
    let pid = process(task)?;
    // Process 1 has the host's root. A hardened kernel may hide it from iterators: then kthreadd (2) tells, which shares
    // its `fs_struct` since boot (`rest_init`, init/main.c).
    if pid == 1 || pid == 2 {
        let node = NODE.get_ptr_mut(0)?;
        let root = task.root_dentry();
        // SAFETY: the only element of an array; nothing else writes this word.
        unsafe {
            if pid == 1 || (*node).root_dentry == 0 {
                (*node).root_dentry = root.0;
            }
        }
        return None;
    }
    if enter_self_test(pid).is_some() {
        return None;
    }
    let mut member = state::member(pid, || task.cgroup_id())?;
    if member.task.is_some() || member.instance.first_exec == 0 {
        return None;
    }
    if state::is_host_root(task) {
        return None;
    }
    let state = state::derive(task, pid, &mut member, false);
    state::remember(&mut member, pid, state);
    Some(())
}

/// The process that a task is the first thread of, while any of its threads lives. The others belong to a process that is visited by itself.
#[inline(always)]
fn process<A: Access>(task: TaskStruct<A>) -> Option<u32> {
    if task.leader() != task || task.is_process_dead() {
        return None;
    }
    Some(task.pid())
}

/// Iterator over all tasks: writes the slot of each process that is a container's, a word each. A slot that it does not write is no
/// process's any more.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn iterate_slots(ctx: *const TaskIteratorContext) -> i32 {
    // SAFETY: the kernel passes a context of this layout.
    let (meta, task) = unsafe { ((*ctx).meta, TaskStruct::<Typed>::at((*ctx).task)) };
    if task.0 != 0
        && let Some(entry) = process(task).and_then(state::task)
    {
        let slot = entry.slot();
        // SAFETY: `struct bpf_iter_meta` begins with the file that is read (include/linux/bpf.h); the length is that of the word.
        unsafe {
            let file: u64 = core::ptr::read_volatile(meta as *const u64);
            bpf_seq_write(
                file as *mut _,
                (&raw const slot).cast_mut().cast(),
                size_of::<u32>() as u32,
            );
        }
    }
    0
}

/// Enters the process of the daemon's self-test in its container; `None` if there is no test, or it is another process.
#[inline(always)]
fn enter_self_test(pid: u32) -> Option<()> {
    let container = state::container(SELF_TEST)?;
    let instance = state::instance(&container)?;
    if instance.init_pid != pid {
        return None;
    }
    state::enter(
        pid,
        Task::new(container.slot, TaskState::Main, SELF_TEST),
        instance,
    );
    Some(())
}
