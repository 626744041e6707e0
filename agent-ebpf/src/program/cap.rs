//! Domain cap, what was asked for (both tiers): raw tracepoint `cap_capable` (Linux 6.14 and later), else a kprobe on the function of
//! that name.
//!
//! The full tier's hook is asked only about what a process has, so this one sees what is refused there, and on the lite tier both.
//! Nothing is refused here; where the operator asked for it, the process is killed.
//!
//! Left out is what is asked of other credentials than the process's own: those of who mounted an overlay, or opened a file. And what
//! the kernel asks silently, to find out whether more may be had: of that nobody is refused anything. The kprobe is
//! told so. The tracepoint is not; there it is left out for `CAP_SYS_ADMIN` when memory is accounted, which happens with each fork and
//! mapping.
//!
//! Fails open: a process whose id is beyond `TASKS` is not seen (counted).

use agent_common::domain::Domain;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_stack};
use aya_ebpf::macros::{btf_tracepoint, kprobe};
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext};

use crate::cap::{self, Asked, NO_AUDIT, SYS_ADMIN};
use crate::file::Means;
use crate::kernel::{Cred, Probed, TaskStruct, Typed, UserNamespace, setting};
use crate::maps::NODE;
use crate::scratch::{CAP_SCRATCH, CapScratch, STACK_FRAMES, element};
use crate::state;
use crate::volatile::load;

/// Numbers of system calls on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl): those that account memory, and for which no
/// capability is asked otherwise.
const MMAP: u64 = 9;
const MPROTECT: u64 = 10;
const MUNMAP: u64 = 11;
const BRK: u64 = 12;
const MREMAP: u64 = 25;
const CLONE: u64 = 56;
const FORK: u64 = 57;
const VFORK: u64 = 58;
const EXECVE: u64 = 59;
const EXECVEAT: u64 = 322;
/// A page fault.
const NONE: u64 = u64::MAX;
/// `CLONE_NEWNS`, `CLONE_NEWCGROUP`, `CLONE_NEWUTS`, `CLONE_NEWIPC`, `CLONE_NEWUSER`, `CLONE_NEWPID`, `CLONE_NEWNET`,
/// `CLONE_NEWTIME` (include/uapi/linux/sched.h).
const NEW_NAMESPACES: u64 = 0x7e02_0080;
/// Namespaces nest 32 deep at most.
const NAMESPACES_MAX: u32 = 33;

/// `TP_PROTO(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns, int cap, int ret)`
#[btf_tracepoint(function = "cap_capable")]
pub fn cap_capable(ctx: BtfTracePointContext) -> i32 {
    let _ = asked(&ctx);
    0
}

#[inline(always)]
fn asked(ctx: &BtfTracePointContext) -> Option<()> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let entry = state::task(pid)?;
    let capability: u64 = ctx.arg(3);
    let capability = capability as u32;
    let may_be_silent = capability == SYS_ADMIN;
    if may_be_silent && accounts_memory() {
        return None;
    }
    let cred: u64 = ctx.arg(0);
    if !cap::is_own(current(), cred) {
        return None;
    }
    let result: u64 = ctx.arg(4);
    let (mut member, state) = (state::member_of(entry)?, entry.state());
    let asked = Asked::new(
        capability,
        UserNamespace::<Typed>::at(ctx.arg(1)),
        result as i32 == 0,
    );
    if is_left_to_lsm(result as i32 == 0) || cap::conforms(&mut member, &asked, state) {
        return None;
    }
    let scratch = element(&CAP_SCRATCH, 0)?;
    if may_be_silent && is_called_to_account_memory(ctx, scratch) {
        return None;
    }
    cap::conclude(&mut member, scratch, current(), &asked, state, Means::Kill);
    None
}

/// `int cap_capable(const struct cred *cred, struct user_namespace *targ_ns, int cap, unsigned int opts)`
#[kprobe(function = "cap_capable")]
pub fn cap_capable_entered(ctx: ProbeContext) -> u32 {
    let _ = entered(&ctx);
    0
}

#[inline(always)]
fn entered(ctx: &ProbeContext) -> Option<()> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let entry = state::task(pid)?;
    let options: u64 = ctx.arg(3)?;
    if options & NO_AUDIT != 0 {
        return None;
    }
    let cred: Cred = Cred::at(ctx.arg(0)?);
    let namespace: UserNamespace = UserNamespace::at(ctx.arg(1)?);
    let capability: u64 = ctx.arg(2)?;
    if !cap::is_own(current(), cred.0) {
        return None;
    }
    let (mut member, state) = (state::member_of(entry)?, entry.state());
    let is_granted = has(cred, namespace, capability as u32);
    let asked = Asked::new(capability as u32, namespace, is_granted);
    if is_left_to_lsm(is_granted) || cap::conforms(&mut member, &asked, state) {
        return None;
    }
    let scratch = element(&CAP_SCRATCH, 0)?;
    cap::conclude(&mut member, scratch, current(), &asked, state, Means::Kill);
    None
}

/// What `cap_capable` will answer (security/commoncap.c): the capability counts in the namespace of its holder and in those below;
/// and who owns a namespace has all in it, seen from the one above.
#[inline(always)]
fn has(cred: Cred, target: UserNamespace, capability: u32) -> bool {
    let own = cred.user_namespace();
    let own_level = own.level();
    let mut namespace = target;
    for _ in 0..NAMESPACES_MAX {
        if namespace == own {
            return cred.effective() >> (capability & 63) & 1 != 0;
        }
        if namespace.level() <= own_level {
            return false;
        }
        let parent = namespace.parent();
        if parent == own && namespace.owner() == cred.effective_uid() {
            return true;
        }
        namespace = parent;
    }
    false
}

#[inline(always)]
fn current() -> TaskStruct<Probed> {
    // SAFETY: the helper takes no argument.
    TaskStruct::at(unsafe { bpf_get_current_task() })
}

/// Whether the full tier's hook decides about it, and tells.
#[inline(always)]
fn is_left_to_lsm(is_granted: bool) -> bool {
    is_granted
        && NODE
            .get(0)
            .is_some_and(|node| load(&node.refuses) >> (Domain::Cap as u32) & 1 != 0)
}

/// Whether the current system call is one that asks for `CAP_SYS_ADMIN` only to account memory.
#[inline(always)]
fn accounts_memory() -> bool {
    let Some(call) = cap::system_call() else {
        return false;
    };
    match call {
        MMAP | MPROTECT | MUNMAP | BRK | MREMAP | FORK | VFORK | EXECVE | EXECVEAT | NONE => true,
        CLONE => cap::first_argument().is_some_and(|flags| flags & NEW_NAMESPACES == 0),
        _ => false,
    }
}

/// Whether the kernel's function that accounts memory is among those that led here.
#[inline(always)]
fn is_called_to_account_memory(ctx: &BtfTracePointContext, scratch: &mut CapScratch) -> bool {
    let (start, end) = (setting!(memory_check)[0], setting!(memory_check)[1]);
    if start == 0 {
        return false;
    }
    scratch.stack = [0; STACK_FRAMES];
    // SAFETY: the length is that of the array.
    unsafe {
        bpf_get_stack(
            ctx.as_ptr(),
            scratch.stack.as_mut_ptr().cast(),
            (STACK_FRAMES * 8) as u32,
            0,
        )
    };
    for frame in &scratch.stack {
        let address = load(frame);
        if address > start && address <= end {
            return true;
        }
    }
    false
}
