//! Domain exec, after the execution: raw tracepoint `sched_process_exec`.
//!
//! It runs after the new program was loaded and before its first instruction; a kill sent here is therefore carried
//! out before the program runs. It cannot refuse the execution. On the full tier it is the second line behind
//! [`super::exec_check`], which has refused what is enforced: it learns, reports what is not enforced, and judges again by the
//! arguments that the program really has.
//!
//! Fails closed: see [`crate::exec`]. Fails open only where the container itself is unknown (no room in `CONTAINERS` or
//! `INSTANCES`, counted in `NODE`), and where the kernel refuses the signal (counted in `kill_failed`).

use agent_common::domain::{Domain, Mode};
use agent_common::rule::{Action, Verdict, is_enforced};
use agent_common::task::TASK_LOADING;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;

use crate::kernel::{BinPrm, TaskStruct, Typed};
use crate::scratch::{EXEC_SCRATCH, element};
use crate::state;
use crate::volatile::{load, store};
use crate::{emit, exec, kill, verdict};

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let task = TaskStruct::at(ctx.arg(0));
    let _ = judge(&ctx, task, pid, BinPrm::at(ctx.arg(2)));
    0
}

#[inline(always)]
fn judge(
    ctx: &BtfTracePointContext,
    task: TaskStruct<Typed>,
    pid: u32,
    program: BinPrm<Typed>,
) -> Option<()> {
    let (mut member, state) = state::executing(task, pid)?;
    if member.has(TASK_LOADING) {
        loaded(pid);
    }
    let file = program.file();
    let asked = exec::asked(&member, file, state);
    if exec::is_known::<false>(&member, &asked, file.inode()) {
        return None;
    }
    let scratch = element(&EXEC_SCRATCH, 0)?;
    exec::begin::<false>(&mut scratch.record, state, 0);

    let verdict = exec::compare::<false, _>(&mut member, scratch, task.probed(), file);
    store(&mut scratch.record.verdict, verdict as u8);
    let verdict = load(&scratch.record.verdict);
    let section = exec::section(&scratch.record);
    let mode = member.container.modes[Domain::Exec as usize];
    let key = exec::key(&member, &scratch.record);
    if verdict == Verdict::Conforms as u8 {
        let now_ns = emit::now_ns();
        if mode == Mode::Learn as u8 {
            verdict::count_window(&key, now_ns);
        }
        exec::remember(&member, &scratch.record, asked, now_ns);
        return None;
    }
    let mut action = Action::None;
    if is_enforced(member.container.flags, mode, verdict, section) {
        let error = kill::current(member.instance, Domain::Exec, pid);
        store(&mut scratch.record.action_error, error);
        if error == 0 {
            action = Action::Killed;
        }
        debug!(
            ctx,
            "exec of pid {} in container {}: killed ({})", pid, member.container.cgroup, error
        );
    } else if verdict::is_seen(&key) {
        return None;
    }
    store(&mut scratch.record.action, action as u8);
    exec::report::<false>(
        &mut member,
        scratch,
        task.probed(),
        program.probed(),
        emit::now_ns(),
    );
    Some(())
}

/// What was being loaded runs now. A function of its own: the verifier then follows what comes after it once.
#[inline(never)]
fn loaded(pid: u32) -> i32 {
    state::change_flags(pid, 0, TASK_LOADING);
    0
}
