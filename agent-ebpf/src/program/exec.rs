//! Domain exec, lite tier: raw tracepoint `sched_process_exec`.
//!
//! It runs after the new program was loaded and before its first instruction; a kill sent here is therefore carried
//! out before the program runs. It cannot refuse the exec.
//!
//! Fails closed: a file whose identity cannot be read is `foreign`, what is not found in the rules is a deviation. Fails
//! open only where the container itself is unknown (no room in `CONTAINERS` or `INSTANCES`, counted in `NODE`), and
//! where the kernel refuses the signal (counted in `kill_failed`).

use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;
use agent_common::path::PATH_TOO_LONG;
use agent_common::record::RecordKind;
use agent_common::record::exec::{
    ARGS_BYTES, EXEC_APPLET_JUDGED, EXEC_ARGS_UNREADABLE, EXEC_SCRIPT, EXEC_VERIFIED_AS_IMAGE, ExecRecord,
    NAME_BYTES,
};
use agent_common::rule::{Action, BehaviourKey, RULE_ALLOW, RULE_APPLET, Verdict};
use agent_common::task::{TASK_KILLED, Task, TaskState};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_send_signal};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::debug;

use crate::emit::{self, Weight};
use crate::kernel::{BinPrm, TaskStruct, setting};
use crate::maps::TASKS;
use crate::path;
use crate::scratch::{EXEC_SCRATCH, ExecScratch, element};
use crate::state::{self, Member};
use crate::verdict::{self, Question, Verification};
use crate::volatile::{load, set, store};
use crate::{applet, identity};

const SIGKILL: u32 = 9;

/// Layers from this number on are drift.
const FIRST_DRIFT_LAYER: u8 = Layer::Upper as u8;
const _: () = {
    let mut number = 0;
    while let Some(layer) = Layer::from_raw(number) {
        assert!(layer.is_drift() == (number >= FIRST_DRIFT_LAYER));
        number += 1;
    }
};

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let task = TaskStruct(ctx.arg(0));
    let _ = judge(&ctx, task, pid, BinPrm(ctx.arg(2)));
    0
}

#[inline(always)]
fn judge(ctx: &RawTracePointContext, task: TaskStruct, pid: u32, program: BinPrm) -> Option<()> {
    let mut member = state::member(task, pid, || task.current_cgroup_id())?;
    if pid == setting!(agent_pid) {
        return None;
    }
    let state = match member.state {
        Some(state) => state,
        None => {
            let state = state::derive(task, pid, &mut member, true);
            if state as u8 == TaskState::Runtime as u8 {
                return None;
            }
            let entry = Task {
                container: member.container.cgroup,
                started_ns: task.leader().started_ns(),
                slot: member.container.slot,
                state: state as u8,
                flags: 0,
                reserved: 0,
            };
            state::remember(member.instance, pid, &entry);
            state
        }
    };
    let scratch = element(&EXEC_SCRATCH, 0)?;
    let now_ns = emit::now_ns();
    store(&mut scratch.record.process.state, state as u8);
    store(&mut scratch.record.flags, 0);
    store(&mut scratch.record.args_total_bytes, u32::MAX);
    store(&mut scratch.record.action_error, 0);

    let verdict = compare(&mut member, scratch, task, program);
    store(&mut scratch.record.verdict, verdict as u8);
    let verdict = load(&scratch.record.verdict);
    let section = section(&scratch.record);
    let mode = member.container.modes[Domain::Exec as usize];
    let key = BehaviourKey {
        container: member.container.cgroup,
        hash: load(&scratch.record.behaviour_hash),
        domain: Domain::Exec as u8,
        layer: load(&scratch.record.layer),
        section,
        reserved: [0; 5],
    };
    if verdict == Verdict::Conforms as u8 {
        if mode == Mode::Learn as u8 {
            verdict::count_window(&key, now_ns);
        }
        return None;
    }
    let mut action = Action::None;
    if verdict::is_enforced(&member.container, mode, verdict, section) {
        let error = kill(&mut member, pid);
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
    report(&mut member, scratch, task, program, now_ns);
    Some(())
}

/// The section of the profile that speaks for the process in the record.
#[inline(always)]
fn section(record: &ExecRecord) -> u8 {
    let entered = load(&record.process.state) == TaskState::ExecIn as u8;
    if entered {
        Section::ExecIn as u8
    } else {
        Section::Main as u8
    }
}

/// The verdict, with layer, identity, path and hashes left in the record.
#[inline(always)]
fn compare(member: &mut Member, scratch: &mut ExecScratch, task: TaskStruct, program: BinPrm) -> Verdict {
    let record = &mut scratch.record;
    identity::identify(program.file(), member.instance, record);
    let too_long = load(&record.path.flags) & PATH_TOO_LONG != 0;
    let path_hash = path::hash(&mut scratch.path, &record.path);
    store(&mut record.path_hash, path_hash);
    store(&mut record.behaviour_hash, path_hash);

    let mut question = Question {
        domain: Domain::Exec,
        layer: load(&record.layer),
        section: section(record),
        hash: path_hash,
    };
    if question.layer >= FIRST_DRIFT_LAYER {
        let verification = if too_long {
            Verification::None
        } else {
            verdict::verification(member.container.cgroup, &record.file, path_hash)
        };
        match verification {
            Verification::Accepted => return Verdict::Conforms,
            Verification::AsImage => {
                set(&mut record.flags, EXEC_VERIFIED_AS_IMAGE);
                question.layer = Layer::Image as u8;
            }
            Verification::None => {
                let file = &record.file;
                let content = [
                    file.inode,
                    file.size_bytes,
                    file.changed_s as u64,
                    u64::from(file.changed_ns),
                ];
                let content_hash = path::with_content(&scratch.path, content);
                store(&mut record.behaviour_hash, content_hash);
                return Verdict::Drift;
            }
        }
    }
    if too_long {
        return Verdict::TooLong;
    }
    match verdict::rule(&mut member.container, &question) {
        RULE_ALLOW => return Verdict::Conforms,
        RULE_APPLET => {}
        _ => return Verdict::Unknown,
    }
    read_args(record, task);
    // An applet that is not known is never the lack of one.
    let is_unreadable = load(&record.flags) & EXEC_ARGS_UNREADABLE != 0;
    if is_unreadable || !applet::resolve(record, &mut scratch.applet) {
        return Verdict::TooLong;
    }
    question.hash = path::with_applet(&mut scratch.path, &record.applet);
    store(&mut record.behaviour_hash, question.hash);
    set(&mut record.flags, EXEC_APPLET_JUDGED);
    match verdict::rule(&mut member.container, &question) {
        RULE_ALLOW => Verdict::Conforms,
        _ => Verdict::Unknown,
    }
}

/// Sends the kill; 0, or the negative error number.
#[inline(always)]
fn kill(member: &mut Member, pid: u32) -> i32 {
    // Before the signal: the exit hook must find the mark.
    if let Some(entry) = TASKS.get_ptr_mut(pid) {
        // SAFETY: the entry of the running process, which is removed only at its exit.
        unsafe { (*entry).flags |= TASK_KILLED };
    }
    // SAFETY: the helper takes a number.
    let error = unsafe { bpf_send_signal(SIGKILL) } as i32;
    let counters = emit::counters(member.instance, Domain::Exec);
    if error == 0 {
        emit::add(&mut counters.killed, 1);
    } else {
        emit::add(&mut counters.kill_failed, 1);
    }
    error
}

/// Copies the arguments from the new program's memory, once per record.
#[inline(always)]
fn read_args(record: &mut ExecRecord, task: TaskStruct) {
    if load(&record.args_total_bytes) != u32::MAX {
        return;
    }
    let (start, end) = task.memory().arguments();
    let total = end.wrapping_sub(start);
    let length = if total >= ARGS_BYTES as u64 {
        ARGS_BYTES as u64
    } else {
        total
    };
    record.args = [0; ARGS_BYTES];
    // SAFETY: `length` is at most the size of the array; the helper checks the user address.
    let error = unsafe {
        bpf_probe_read_user(
            record.args.as_mut_ptr().cast(),
            length as u32 & (2 * ARGS_BYTES as u32 - 1),
            start as *const _,
        )
    };
    store(
        &mut record.args_total_bytes,
        if total > i32::MAX as u64 {
            i32::MAX as u32
        } else {
            total as u32
        },
    );
    store(&mut record.args_bytes, length as u16);
    if error != 0 {
        set(&mut record.flags, EXEC_ARGS_UNREADABLE);
    }
}

/// Completes the record and sends it.
#[inline(always)]
fn report(member: &mut Member, scratch: &mut ExecScratch, task: TaskStruct, program: BinPrm, now_ns: u64) {
    let record = &mut scratch.record;
    let container = &member.container;
    record.header = emit::header::<ExecRecord>(
        RecordKind::Exec,
        Domain::Exec,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.mode = container.modes[Domain::Exec as usize];
    let section = section(record);
    store(&mut record.section, section);
    let state = load(&record.process.state);
    emit::fill_process(&mut record.process, task.0, container.cgroup, state);
    if load(&record.args_total_bytes) == u32::MAX {
        read_args(record, task);
        applet::resolve(record, &mut scratch.applet);
    }
    let directory = task.working_directory();
    path::walk(&mut record.cwd, directory.dentry.0, directory.mount.0, 1);
    if program.filename() != program.interpreter() {
        set(&mut record.flags, EXEC_SCRIPT);
    }
    read_name(&mut record.filename, program.filename());
    read_name(&mut record.interpreter, program.interpreter());
    let is_ordinary =
        load(&record.verdict) != Verdict::Drift as u8 && load(&record.action) == Action::None as u8;
    let weight = if is_ordinary {
        Weight::Ordinary
    } else {
        Weight::Drift
    };
    emit::send(record, member.instance, Domain::Exec, weight, now_ns);
}

#[inline(always)]
fn read_name(name: &mut [u8; NAME_BYTES], address: u64) {
    *name = [0; NAME_BYTES];
    // SAFETY: the length is the array's; the helper checks the kernel address.
    unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), NAME_BYTES as u32, address as *const _) };
}
