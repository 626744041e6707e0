//! Domain syscall (both tiers): raw tracepoint `sys_enter`, attached only while some container's system calls are watched, because
//! every system call of the machine comes by.
//!
//! Nothing is refused here: by then it is too late to (the exported seccomp profile does that). What a seccomp filter refuses does not
//! come here: the kernel asks the filter first.
//!
//! Who is in no container leaves after a byte; unless a seccomp filter is on it: that may be the runtime's process, which has put the
//! container's filter on itself and is in the container's cgroup, but has not begun the container's program. What it calls from
//! then on the filter must allow, so it is in the profile, marked as the runtime's.
//!
//! A call of a container that was found in order leaves after three look-ups: the byte, `TASKS`, `CALLS`.
//!
//! Fails open: a process whose id is beyond `TASKS` is not seen (counted), and from then on nothing is taken for its container's
//! runtime's.

use agent_common::domain::{Domain, Mode};
use agent_common::record::RecordKind;
use agent_common::record::syscall::{SYSCALL_ARGS_UNREADABLE, SyscallRecord};
use agent_common::rule::{BehaviourKey, RULE_ALLOW, Verdict};
use agent_common::syscall::{
    CALLS_BYTES, CALLS_PER_ROW, SYSCALL_OUT_OF_RANGE, SYSCALLS_MAX, SyscallAbi, SyscallPhase, X32_BIT,
    calls_row, hash,
};
use agent_common::task::TaskState;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::args::{self, Args};
use crate::emit::{self, Weight};
use crate::kernel::{Access, Probed, TaskStruct, Typed, setting};
use crate::maps::CALLS;
use crate::path;
use crate::scratch::{SYSCALL_SCRATCH, element};
use crate::state::{self, Member};
use crate::verdict::{self, Question};
use crate::volatile::{load, set};

/// `SECCOMP_MODE_FILTER` (include/uapi/linux/seccomp.h).
const FILTERED: u32 = 2;

/// A system call.
#[derive(Clone, Copy)]
struct Call {
    /// A [`SyscallAbi`].
    abi: u8,
    number: u16,
    raw_number: u32,
    /// A [`SyscallPhase`].
    phase: u8,
}

/// `TP_PROTO(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let _ = if setting!(has_typed_task) != 0 {
        // SAFETY: the helper takes no argument.
        entered(
            &ctx,
            TaskStruct::<Typed>::at(unsafe { bpf_get_current_task_btf() } as u64),
        )
    } else {
        // SAFETY: as above.
        entered(&ctx, TaskStruct::<Probed>::at(unsafe { bpf_get_current_task() }))
    };
    0
}

#[inline(always)]
fn entered<A: Access>(ctx: &BtfTracePointContext, task: TaskStruct<A>) -> Option<()> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(entry) = state::task(pid) else {
        return if task.seccomp_mode() == FILTERED && state::is_outside(pid) {
            by_runtime(ctx, task)
        } else {
            None
        };
    };
    let (slot, state) = (entry.slot(), entry.state());
    let call = call(ctx, task, SyscallPhase::Program as u8)?;
    let section = state::section(state);
    let place = place(call, section);
    // SAFETY: elements live until the daemon removes them, and no longer than one that is being read (the map is not preallocated).
    let quiet = CALLS
        .get_ptr_mut(slot)
        .map(|calls| unsafe { &mut (*calls).quiet });
    if let (Some(quiet), Some(place)) = (&quiet, place)
        && load(&quiet[place & (CALLS_BYTES - 1)]) != 0
    {
        return None;
    }
    let mut member = state::member_of(entry)?;
    if conforms(&mut member, call, section)
        && let (Some(quiet), Some(place)) = (quiet, place)
    {
        crate::volatile::store(&mut quiet[place & (CALLS_BYTES - 1)], 1);
        return None;
    }
    judge(&mut member, task, call, section, state)
}

/// What the runtime does in a container's cgroup, with the container's filter on.
#[inline(always)]
fn by_runtime<A: Access>(ctx: &BtfTracePointContext, task: TaskStruct<A>) -> Option<()> {
    let container = state::container(task.current_cgroup_id())?;
    let mut member = state::member_of_container(state::container(container.container)?)?;
    // Where `TASKS` once had no place for a process of the container's, one that it does not hold may be a program: whoever gets there must
    // not have what that does taken for the runtime's.
    if load(&member.instance.counters[0].untracked_tasks) != 0 {
        return None;
    }
    let call = call(ctx, task, SyscallPhase::Runtime as u8)?;
    judge(
        &mut member,
        task,
        call,
        state::section(TaskState::Runtime as u8),
        TaskState::Runtime as u8,
    )
}

#[inline(always)]
fn call<A: Access>(ctx: &BtfTracePointContext, task: TaskStruct<A>, phase: u8) -> Option<Call> {
    let id: u64 = ctx.arg(1);
    let raw_number = id as u32;
    // What a tracer or filter took away.
    if (raw_number as i32) < 0 {
        return None;
    }
    let (abi, number) = if task.is_in_32_bit_call() {
        (SyscallAbi::I386 as u8, raw_number)
    } else if raw_number & X32_BIT != 0 {
        (SyscallAbi::X32 as u8, raw_number & !X32_BIT)
    } else {
        (SyscallAbi::X86_64 as u8, raw_number)
    };
    Some(Call {
        abi,
        number: if number < SYSCALLS_MAX as u32 {
            number as u16
        } else {
            SYSCALL_OUT_OF_RANGE
        },
        raw_number,
        phase,
    })
}

/// Where `CALLS` has the byte of a call; `None` if it has none.
#[inline(always)]
fn place(call: Call, section: u8) -> Option<usize> {
    let number = call.number as usize;
    if number >= CALLS_PER_ROW {
        return None;
    }
    Some(calls_row(call.abi, section)? * CALLS_PER_ROW + number)
}

#[inline(always)]
fn key(container: u64, call: Call, section: u8) -> BehaviourKey {
    BehaviourKey {
        container,
        hash: hash(call.abi, call.number),
        domain: Domain::Syscall as u8,
        layer: 0,
        section,
        operation: call.phase,
        reserved: [0; 4],
    }
}

/// Whether there is nothing to tell: the profile holds it (then its window is counted while the image learns), or the domain is off.
#[inline(always)]
fn conforms(member: &mut Member, call: Call, section: u8) -> bool {
    const LEARN: u8 = Mode::Learn as u8;
    const OFF: u8 = Mode::Off as u8;
    if member.container.modes[Domain::Syscall as usize] == OFF {
        return true;
    }
    let question = Question {
        domain: Domain::Syscall,
        layer: 0,
        section,
        operation: call.phase,
        hash: hash(call.abi, call.number),
    };
    if verdict::rule(&mut member.container, &question) != RULE_ALLOW {
        return false;
    }
    if member.container.modes[Domain::Syscall as usize] == LEARN {
        verdict::count_window(&key(member.container.cgroup, call, section), emit::now_ns());
    }
    true
}

#[inline(always)]
fn judge<A: Access>(
    member: &mut Member,
    task: TaskStruct<A>,
    call: Call,
    section: u8,
    state: u8,
) -> Option<()> {
    if call.phase == SyscallPhase::Runtime as u8 && conforms(member, call, section) {
        return None;
    }
    if verdict::is_seen(&key(member.container.cgroup, call, section)) {
        return None;
    }
    report(
        member,
        element(&SYSCALL_SCRATCH, 0)?,
        task.probed(),
        call,
        section,
        state,
    );
    None
}

/// Completes the record and sends it.
#[inline(always)]
fn report(
    member: &mut Member,
    record: &mut SyscallRecord,
    task: TaskStruct,
    call: Call,
    section: u8,
    state: u8,
) {
    let now_ns = emit::now_ns();
    let container = &member.container;
    record.header = emit::header::<SyscallRecord>(
        RecordKind::Syscall,
        Domain::Syscall,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.number = call.number;
    record.abi = call.abi;
    record.operation = call.phase;
    record.verdict = Verdict::Unknown as u8;
    record.mode = container.modes[Domain::Syscall as usize];
    record.section = section;
    record.flags = 0;
    record.raw_number = call.raw_number;
    record.reserved = [0; 3];
    emit::fill_process(&mut record.process, task.0, container.cgroup, state);
    let exe = task.memory().program().path();
    path::walk(&mut record.exe, exe.dentry.0, exe.mount.0);
    let args = Args {
        bytes: &mut record.args,
        kept: &mut record.args_bytes,
        total: &mut record.args_total_bytes,
    };
    if !args::of_process(args, task) {
        set(&mut record.flags, SYSCALL_ARGS_UNREADABLE);
    }
    emit::send(record, member.instance, Domain::Syscall, Weight::Ordinary, now_ns);
}
