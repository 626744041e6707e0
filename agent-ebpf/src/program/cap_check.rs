//! Domain cap, before it is used (full tier): LSM hook `capable`.
//!
//! It is called only where the process has the capability: what others refuse first never reaches it ([`super::cap`] sees that). What is
//! enforced is refused; the caller gets what it gets without the capability, most often `EPERM`.
//!
//! Fails closed: what is not in the rules is refused in `enforce`. Where there is no work space (dozens of threads preempted in this hook)
//! it refuses in `enforce`, reports nothing else, and counts it.

use agent_common::domain::{Domain, Mode};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::exec_check::answer;
use crate::cap::{self, Asked, NO_AUDIT};
use crate::counter;
use crate::file::Means;
use crate::kernel::{TaskStruct, Typed, UserNamespace};
use crate::scratch::{CAP_CHECKS, borrow, give_back};
use crate::state;

/// `LSM_HOOK(int, 0, capable, const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)`
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    answer(check(&ctx))
}

#[inline(always)]
fn check(ctx: &LsmContext) -> Option<bool> {
    let options: u64 = ctx.arg(3);
    if options & NO_AUDIT != 0 {
        return None;
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the helper takes no argument.
    let task: TaskStruct = TaskStruct::at(unsafe { bpf_get_current_task() });
    let cred: u64 = ctx.arg(0);
    if !cap::is_own(task, cred) {
        return None;
    }
    let (mut member, state) = state::acting(pid, || task)?;
    let capability: u64 = ctx.arg(2);
    let asked = Asked::new(capability as u32, UserNamespace::<Typed>::at(ctx.arg(1)), true);
    if cap::conforms(&mut member, &asked, state) {
        return None;
    }
    let Some((scratch, borrowed)) = borrow(&CAP_CHECKS) else {
        counter::add(&mut counter::counters(member.instance, Domain::Cap).unchecked, 1);
        return Some(member.container.modes[Domain::Cap as usize] == Mode::Enforce as u8);
    };
    let refused = cap::conclude(&mut member, scratch, task, &asked, state, Means::Deny);
    give_back(borrowed);
    Some(refused)
}
