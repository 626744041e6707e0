//! Domain exec, before the execution (full tier): LSM hook `bprm_check_security`, and of `file_open` what an execution opens.
//!
//! The first is asked of every file that is to be executed: a script, its interpreter, a binary. The second is asked of the
//! interpreter that a binary names (`PT_INTERP`), which the first never sees; its program is in [`super::file_check`]. What is
//! enforced is refused; the caller gets `EACCES`, and nothing has happened. What is not enforced goes on to [`super::exec`],
//! where it is reported; except scripts and binaries' interpreters, which that hook cannot see: they are reported here.
//!
//! Fails closed: see [`crate::exec`]. Where there is no work space (hundreds of threads preempted in this hook) the binary is
//! judged after its execution instead, and a script is refused if its container is in `enforce`; both are counted.

use agent_common::domain::{Domain, Mode};
use agent_common::record::exec::{EXEC_ARGS_UNREADABLE, EXEC_IS_LOADER, EXEC_IS_SCRIPT};
use agent_common::rule::{Action, Verdict, is_enforced};
use agent_common::task::{TASK_LOADING, TaskState};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::kernel::{BinPrm, File, TaskStruct, Typed, current_pid, current_task};
use crate::scratch::{EXEC_CHECKS, ExecScratch, borrow, give_back};
use crate::state::{self, Member};
use crate::volatile::{load, store};
use crate::{counter, emit, exec, identity, verdict};

/// `-EACCES`: a shell says "Permission denied", and a search along a path goes on.
const REFUSED: i32 = -13;
/// `ELFMAG` (include/uapi/linux/elf.h).
const ELF: [u8; 4] = *b"\x7fELF";

/// `LSM_HOOK(int, 0, bprm_check_security, struct linux_binprm *bprm)`
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the helper takes no argument.
    let task = TaskStruct::at(unsafe { bpf_get_current_task() });
    answer(check(task, pid, BinPrm::at(ctx.arg(0))))
}

/// What a hook returns. By way of memory, so that the compiler does not compute the number from the answer: the verifier wants to
/// see that it is an error number.
#[inline(always)]
pub fn answer(refused: Option<bool>) -> i32 {
    let mut code = 0;
    if refused == Some(true) {
        store(&mut code, REFUSED);
    }
    load(&code)
}

/// Whether the file is refused; `None` if nothing is to be said about it.
#[inline(always)]
fn check(task: TaskStruct, pid: u32, program: BinPrm<Typed>) -> Option<bool> {
    let (mut member, state) = state::executing(task, pid)?;
    let mut what = 0;
    store(
        &mut what,
        if program.first_bytes() == ELF {
            0
        } else {
            EXEC_IS_SCRIPT
        },
    );
    // Read back, each time: the verifier would follow the rest apart for a binary and a script.
    let is_binary = |what: &u8| load(what) == 0;
    let file = program.file();
    if is_binary(&what) && exec::is_known::<true>(&member, &exec::asked(&member, file, state), file.inode()) {
        state::change_flags(pid, TASK_LOADING, 0);
        return Some(false);
    }
    let Some((scratch, borrowed)) = borrow(&EXEC_CHECKS) else {
        return Some(without_work_space(&mut member, is_binary(&what)));
    };
    exec::begin::<true>(&mut scratch.record, state, load(&what));
    let verdict = exec::compare::<true, _>(&mut member, scratch, task, file);
    store(&mut scratch.record.verdict, verdict as u8);
    let refused = conclude(&mut member, scratch, task, program.probed(), is_binary(&what));
    give_back(borrowed);
    if is_binary(&what) && !refused {
        state::change_flags(pid, TASK_LOADING, 0);
    }
    Some(refused)
}

#[inline(always)]
fn without_work_space(member: &mut Member, is_binary: bool) -> bool {
    counter::add(&mut counter::counters(member.instance, Domain::Exec).unchecked, 1);
    !is_binary && member.container.modes[Domain::Exec as usize] == Mode::Enforce as u8
}

/// What follows from the verdict in the record. `is_seen_later`: the hook after the execution sees the file too.
#[inline(always)]
fn conclude(
    member: &mut Member,
    scratch: &mut ExecScratch,
    task: TaskStruct,
    program: BinPrm,
    is_seen_later: bool,
) -> bool {
    let verdict = load(&scratch.record.verdict);
    let section = exec::section(&scratch.record);
    let mode = member.container.modes[Domain::Exec as usize];
    let key = exec::key(member, &scratch.record);
    if verdict == Verdict::Conforms as u8 {
        if mode == Mode::Learn as u8 && !is_seen_later {
            verdict::count_window(&key, emit::now_ns());
        }
        return false;
    }
    // Without the arguments it is not known which applet it is; after the execution it will be.
    let is_early = load(&scratch.record.flags) & EXEC_ARGS_UNREADABLE != 0
        && verdict == Verdict::TooLong as u8
        && is_seen_later;
    let refused = is_enforced(member.container.flags, mode, verdict, section) && !is_early;
    if refused {
        store(&mut scratch.record.action, Action::Denied as u8);
        counter::add(&mut counter::counters(member.instance, Domain::Exec).denied, 1);
    } else if is_seen_later || verdict::is_seen(&key) {
        return false;
    }
    exec::report::<true>(member, scratch, task, program, emit::now_ns());
    refused
}

/// Whether a file that is opened in order to be executed is refused, as the interpreter that a binary names; `None` if nothing is to
/// be said about it.
#[inline(always)]
pub fn check_loader(file: File<Typed>) -> Option<bool> {
    let entry = state::task(current_pid())?;
    if !entry.has(TASK_LOADING) {
        return None;
    }
    let mut member = state::member_of(entry)?;
    let state = TaskState::from_raw(entry.state())?;
    if (identity::layer(file.path(), file.inode(), member.instance) as u8) < exec::FIRST_DRIFT_LAYER {
        return None;
    }
    let Some((scratch, borrowed)) = borrow(&EXEC_CHECKS) else {
        return Some(without_work_space(&mut member, false));
    };
    exec::begin::<true>(&mut scratch.record, state, EXEC_IS_LOADER);
    let verdict = exec::compare_loader(&mut member, scratch, file);
    store(&mut scratch.record.verdict, verdict as u8);
    // The binary that names it is not at hand: its name is what the caller gave.
    let refused = conclude(&mut member, scratch, current_task(), BinPrm::at(0), false);
    give_back(borrowed);
    Some(refused)
}
