//! Domain file, after the operation (lite tier): tracepoints at the end of the system calls that open, rename and link
//! ([ADR 16](../../../docs/adr/0016-opened-files-are-seen-at-the-end-of-the-system-call.md)).
//!
//! Of an opened file the descriptor leads to the file itself. Of a rename or link only the name is seen that was given for it.
//! Nothing is refused here: the operation has happened. Where the operator asked for it, the process is killed.
//!
//! Fails open: see the ADR for what is not seen (`driftlock doctor` lists it). Each tracepoint at a system call slows every system call
//! of the machine a little, so they are attached only on this tier.

use agent_common::file::FileOperation;
use agent_common::record::exec::NAME_BYTES;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_user_str};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::file::{self, Means};
use crate::kernel::{Access, File, Path, Probed, TaskStruct, Typed, setting};
use crate::path;
use crate::scratch::{FILE_SCRATCH, element};
use crate::state;
use crate::volatile::{load, store};

/// Offsets in the context of `sys_exit_*` (`struct syscall_trace_exit`, kernel/trace/trace.h): the call's number and what it
/// returned.
const CALL_AT: usize = 8;
const RETURNED_AT: usize = 16;
/// `AT_FDCWD` (include/uapi/linux/fcntl.h).
const WORKING_DIRECTORY: i32 = -100;
/// Numbers of system calls on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
const RENAME: u64 = 82;
const LINK: u64 = 86;
const SYMLINK: u64 = 88;
const RENAMEAT: u64 = 264;
const LINKAT: u64 = 265;
const SYMLINKAT: u64 = 266;
const RENAMEAT2: u64 = 316;
/// Offsets in `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h).
const REGISTER_R10: u32 = 56;
const REGISTER_DX: u32 = 96;
const REGISTER_SI: u32 = 104;

/// `openat`, `openat2`, `open`, `creat`.
#[tracepoint]
pub fn sys_exit_open(ctx: TracePointContext) -> u32 {
    let _ = opened(&ctx);
    0
}

#[inline(always)]
fn opened(ctx: &TracePointContext) -> Option<()> {
    let descriptor: i64 = word(ctx, RETURNED_AT);
    if descriptor < 0 {
        return None;
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let entry = state::task(pid)?;
    // SAFETY: the helpers take no argument.
    let (files, task) = if setting!(has_typed_task) != 0 {
        let task = TaskStruct::<Typed>::at(unsafe { bpf_get_current_task_btf() } as u64);
        (task.open_files(), task.probed())
    } else {
        let task = TaskStruct::<Probed>::at(unsafe { bpf_get_current_task() });
        (task.open_files(), task)
    };
    let mut member = state::member_of(entry)?;
    if file::is_off(&member) {
        return None;
    }
    let scratch = element(&FILE_SCRATCH, 0)?;
    let opened = File::pointed_to(files, descriptor as u64 * 8).opened(&mut scratch.file);
    let operation = file::operation(opened.mode, opened.flags)?;
    let name = opened.path.dentry.name_identity_at_once();
    let asked = file::asked(
        &member,
        opened.path.dentry,
        opened.inode,
        operation,
        state::section(entry.state()),
        name,
    );
    if file::is_known(&member, &asked, opened.inode) {
        return None;
    }
    store(&mut scratch.record.process.state, entry.state());
    file::judge_opened(&mut member, scratch, task, &opened, asked, Means::Kill);
    None
}

/// A value in the context.
#[inline(always)]
fn word<T: Copy>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the verifier accepts only a read inside of the context.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().byte_add(offset).cast()) }
}

/// `rename`, `renameat`, `renameat2`, `link`, `linkat`, `symlink`, `symlinkat`.
#[tracepoint]
pub fn sys_exit_rename(ctx: TracePointContext) -> u32 {
    let _ = renamed(&ctx);
    0
}

#[inline(always)]
fn renamed(ctx: &TracePointContext) -> Option<()> {
    let returned: i64 = word(ctx, RETURNED_AT);
    if returned != 0 {
        return None;
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let entry = state::task(pid)?;
    // SAFETY: the helper takes no argument.
    let task: TaskStruct = TaskStruct::at(unsafe { bpf_get_current_task() });
    let mut member = state::member_of(entry)?;
    let registers = task.current_registers()?;
    let call: i32 = word(ctx, CALL_AT);
    let (directory, name, operation) = target(registers, call as u64)?;
    let scratch = element(&FILE_SCRATCH, 1)?;
    let record = &mut scratch.record;
    record.name = [0; NAME_BYTES];
    // SAFETY: the length is the array's; the helper checks the user address.
    let length = unsafe {
        bpf_probe_read_user_str(
            record.name.as_mut_ptr().cast(),
            NAME_BYTES as u32,
            name as *const _,
        )
    };
    // One that fills its place was cut there, and one that cannot be read is no name: neither may be taken for another.
    let is_whole = length > 0 && length < NAME_BYTES as i64;
    let from: Path = if load(&record.name[0]) == b'/' {
        task.root()
    } else if directory == WORKING_DIRECTORY {
        task.working_directory()
    } else {
        File::pointed_to(task.open_files(), directory as u32 as u64 * 8).path()
    };
    path::walk(&mut record.path, from.dentry.0, from.mount.0);
    store(&mut record.operation, operation);
    store(&mut record.section, state::section(entry.state()));
    store(&mut record.process.state, entry.state());
    file::judge_typed(&mut member, scratch, task, is_whole);
    Some(())
}

/// The directory that the new name starts from (a descriptor), the name's address, and what is done.
#[inline(always)]
fn target(registers: u64, call: u64) -> Option<(i32, u64, u8)> {
    let register = |offset| -> u64 { Probed::read(registers, offset) };
    const RENAMED: u8 = FileOperation::Rename as u8;
    const LINKED: u8 = FileOperation::Link as u8;
    match call {
        RENAME => Some((WORKING_DIRECTORY, register(REGISTER_SI), RENAMED)),
        LINK | SYMLINK => Some((WORKING_DIRECTORY, register(REGISTER_SI), LINKED)),
        RENAMEAT | RENAMEAT2 => Some((register(REGISTER_DX) as i32, register(REGISTER_R10), RENAMED)),
        LINKAT => Some((register(REGISTER_DX) as i32, register(REGISTER_R10), LINKED)),
        SYMLINKAT => Some((register(REGISTER_SI) as i32, register(REGISTER_DX), LINKED)),
        _ => None,
    }
}
