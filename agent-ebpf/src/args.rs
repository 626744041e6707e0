//! A program's arguments.
//!
//! Input: the process. Output: [`Args`], NUL-separated. Failure: `false` if they cannot be read; what is there then is not to be
//! used.

use agent_common::record::exec::{ARGS_BYTES, NAME_BYTES};
use agent_common::settings::REGISTERS_BY_HELPER;
use aya_ebpf::helpers::bpf_get_current_task_btf;
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str, bpf_task_pt_regs};

use crate::kernel::{Access as _, Probed, TaskStruct, setting};
use crate::volatile::store;

/// Arguments that are looked at before an execution; further ones are cut.
const CALLER_ARGS_MAX: usize = 32;
/// Bytes that are kept of each of them, NUL included.
const CALLER_ARG_BYTES: usize = 256;
/// Numbers of system calls on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
const EXECVE: u64 = 59;
const EXECVEAT: u64 = 322;
/// Offsets in `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h), which is what user space sees in `ptrace(2)`.
const REGISTER_DX: u32 = 96;
const REGISTER_SI: u32 = 104;
const REGISTER_DI: u32 = 112;
const REGISTER_NUMBER: u32 = 120;

/// Where arguments go to.
pub struct Args<'a> {
    pub bytes: &'a mut [u8; ARGS_BYTES],
    /// How many bytes were kept.
    pub kept: &'a mut u16,
    /// Of how many.
    pub total: &'a mut u32,
}

impl Args<'_> {
    #[inline(always)]
    fn set(&mut self, kept: u16, total: u32) {
        store(self.kept, kept);
        store(self.total, total);
    }
}

/// Of a process, from its own memory. False if they cannot be read.
#[inline(always)]
pub fn of_process(mut args: Args<'_>, task: TaskStruct) -> bool {
    *args.bytes = [0; ARGS_BYTES];
    let (start, end) = task.memory().arguments();
    let total = end.wrapping_sub(start);
    let length = if total >= ARGS_BYTES as u64 {
        ARGS_BYTES as u64
    } else {
        total
    };
    // SAFETY: `length` is at most the size of the array; the helper checks the user address.
    let error = unsafe {
        bpf_probe_read_user(
            args.bytes.as_mut_ptr().cast(),
            length as u32 & (2 * ARGS_BYTES as u32 - 1),
            start as *const _,
        )
    };
    let total = if total > i32::MAX as u64 {
        i32::MAX as u32
    } else {
        total as u32
    };
    args.set(length as u16, total);
    error == 0
}

/// Of the program that the current process asked for, from where its caller keeps them. Another thread can change them after
/// the kernel has copied them: whoever judges by them judges again after the execution.
#[inline(always)]
pub fn of_caller(mut args: Args<'_>) -> bool {
    *args.bytes = [0; ARGS_BYTES];
    args.set(0, 0);
    if setting!(registers) != REGISTERS_BY_HELPER {
        return false;
    }
    // SAFETY: the helpers take the current task, which the first of them gives.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let call: u64 = Probed::read(registers, REGISTER_NUMBER);
    let list: u64 = match call {
        EXECVE => Probed::read(registers, REGISTER_SI),
        EXECVEAT => Probed::read(registers, REGISTER_DX),
        // A 32-bit system call, whose list is of another shape.
        _ => return false,
    };
    let mut position = 0_u32;
    let mut cut = 0_u32;
    for index in 0..CALLER_ARGS_MAX {
        let mut argument = 0_u64;
        // SAFETY: the destination is a word on the stack; the helper checks the user address.
        let error = unsafe {
            bpf_probe_read_user(
                (&raw mut argument).cast(),
                8,
                list.wrapping_add(index as u64 * 8) as *const _,
            )
        };
        if error != 0 {
            return false;
        }
        if argument == 0 {
            args.set(position as u16, position + cut);
            return true;
        }
        if position > (ARGS_BYTES - CALLER_ARG_BYTES) as u32 {
            break;
        }
        // SAFETY: `position` leaves room for as many bytes as are read at most; the helper checks the user address.
        let length = unsafe {
            bpf_probe_read_user_str(
                args.bytes.as_mut_ptr().add(position as usize).cast(),
                CALLER_ARG_BYTES as u32,
                argument as *const _,
            )
        };
        // The first two may be an applet's name, of which no part may be taken for the whole.
        if length <= 0 || (length == CALLER_ARG_BYTES as i64 && index < 2) {
            return false;
        }
        // One for each that fills its room. Without a branch, which the verifier would follow in each round.
        cut += length as u32 / CALLER_ARG_BYTES as u32;
        position += length as u32;
    }
    args.set(position as u16, position + 1);
    true
}

/// The name that the current process gave to `execve`, from where it keeps it; empty if that cannot be read.
#[inline(always)]
pub fn filename_of_caller(name: &mut [u8; NAME_BYTES]) {
    *name = [0; NAME_BYTES];
    if setting!(registers) != REGISTERS_BY_HELPER {
        return;
    }
    // SAFETY: the helpers take the current task, which the first of them gives.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let call: u64 = Probed::read(registers, REGISTER_NUMBER);
    let address: u64 = match call {
        EXECVE => Probed::read(registers, REGISTER_DI),
        EXECVEAT => Probed::read(registers, REGISTER_SI),
        _ => return,
    };
    // SAFETY: the length is the array's; the helper checks the user address.
    unsafe { bpf_probe_read_user_str(name.as_mut_ptr().cast(), NAME_BYTES as u32, address as *const _) };
}
