//! Domain cap: what the hooks of both tiers have in common.
//!
//! Input: the process, the capability that was asked for, in which user namespace, and whether it has it. Output: a verdict, and a
//! record of what does not conform, sent. Failure: what is not found in the rules is a deviation.

use agent_common::cap::{CapOutcome, UserNamespace as Reach, hash};
use agent_common::container::CONTAINER_KILL_CAP;
use agent_common::domain::{Domain, Mode};
use agent_common::record::RecordKind;
use agent_common::record::cap::{CAP_ARGS_UNREADABLE, CapRecord};
use agent_common::rule::{Action, BehaviourKey, RULE_ALLOW, Verdict, is_enforced};
use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::args::{self, Args};
use crate::counter;
use crate::emit::{self, Weight};
use crate::file::Means;
use crate::kernel::{Access, Probed, TaskStruct, UserNamespace};
use crate::kill;
use crate::path;
use crate::scratch::CapScratch;
use crate::state::{self, Member};
use crate::verdict::{self, Question};
use crate::volatile::{load, set, store};

/// `CAP_SYS_ADMIN` (include/uapi/linux/capability.h).
pub const SYS_ADMIN: u32 = 21;
/// `CAP_OPT_NOAUDIT` (include/linux/security.h): the kernel asks whether it may do more, and nobody is refused anything.
pub const NO_AUDIT: u64 = 1 << 1;
/// Offsets in `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h).
const REGISTER_DI: u32 = 112;
const REGISTER_NUMBER: u32 = 120;

/// What was asked for.
pub struct Asked {
    pub capability: u8,
    /// A [`Reach`].
    pub namespace: u8,
    pub namespace_number: u32,
    /// A [`CapOutcome`].
    pub outcome: u8,
}

impl Asked {
    /// A check of `capability` in a user namespace.
    #[inline(always)]
    pub fn new<A: Access>(capability: u32, namespace: UserNamespace<A>, is_granted: bool) -> Self {
        let reach = if namespace.level() == 0 {
            Reach::Initial
        } else {
            Reach::Other
        };
        let outcome = if is_granted {
            CapOutcome::Granted
        } else {
            CapOutcome::Refused
        };
        Self {
            capability: capability as u8,
            namespace: reach as u8,
            namespace_number: namespace.number(),
            outcome: outcome as u8,
        }
    }

    #[inline(always)]
    fn question(&self, section: u8) -> Question {
        Question {
            domain: Domain::Cap,
            layer: 0,
            section,
            operation: self.outcome,
            hash: hash(self.capability, self.namespace),
        }
    }

    #[inline(always)]
    fn key(&self, container: u64, section: u8) -> BehaviourKey {
        BehaviourKey {
            container,
            hash: hash(self.capability, self.namespace),
            domain: Domain::Cap as u8,
            layer: 0,
            section,
            operation: self.outcome,
            reserved: [0; 4],
        }
    }
}

/// Whether a check is the process's own: made of the credentials that it has. With others' it is asked about something else: by overlayfs,
/// which works with those of who mounted it, and of whoever opened a file or is another process.
#[inline(always)]
pub fn is_own(task: TaskStruct, cred: u64) -> bool {
    task.own_credentials() == cred
}

/// Whether the profile holds it; if so, its window is counted while the image learns.
#[inline(always)]
pub fn conforms(member: &mut Member, asked: &Asked, state: u8) -> bool {
    let section = state::section(state);
    if member.container.modes[Domain::Cap as usize] == Mode::Off as u8 {
        return true;
    }
    if verdict::rule(&mut member.container, &asked.question(section)) != RULE_ALLOW {
        return false;
    }
    if member.container.modes[Domain::Cap as usize] == Mode::Learn as u8 {
        verdict::count_window(&asked.key(member.container.cgroup, section), emit::now_ns());
    }
    true
}

/// What follows from a check that does not conform. Whether it is refused.
#[inline(always)]
pub fn conclude(
    member: &mut Member,
    scratch: &mut CapScratch,
    task: TaskStruct,
    asked: &Asked,
    state: u8,
    means: Means,
) -> bool {
    let section = state::section(state);
    let flags = member.container.flags;
    let mode = member.container.modes[Domain::Cap as usize];
    let enforced = is_enforced(flags, mode, Verdict::Unknown as u8, section);
    let refused = enforced && means == Means::Deny;
    let record = &mut scratch.record;
    store(&mut record.action, Action::None as u8);
    store(&mut record.action_error, 0);
    if refused {
        store(&mut record.action, Action::Denied as u8);
        counter::add(&mut counter::counters(member.instance, Domain::Cap).denied, 1);
    } else if enforced && flags & CONTAINER_KILL_CAP != 0 {
        let error = kill::current(member.instance, Domain::Cap, task.pid());
        store(&mut record.action_error, error);
        if error == 0 {
            store(&mut record.action, Action::Killed as u8);
        }
    } else if verdict::is_seen(&asked.key(member.container.cgroup, section)) {
        return false;
    }
    store(&mut record.capability, asked.capability);
    store(&mut record.namespace, asked.namespace);
    store(&mut record.namespace_number, asked.namespace_number);
    store(&mut record.operation, asked.outcome);
    store(&mut record.section, section);
    store(&mut record.mode, mode);
    store(&mut record.verdict, Verdict::Unknown as u8);
    store(&mut record.process.state, state);
    report(member, record, task);
    refused
}

/// Completes the record and sends it.
#[inline(always)]
fn report(member: &mut Member, record: &mut CapRecord, task: TaskStruct) {
    let now_ns = emit::now_ns();
    let container = &member.container;
    record.header = emit::header::<CapRecord>(
        RecordKind::Cap,
        Domain::Cap,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.flags = 0;
    record.reserved = [0; 3];
    record.system_call = system_call().unwrap_or(u64::MAX) as i32;
    let state = load(&record.process.state);
    emit::fill_process(&mut record.process, task.0, container.cgroup, state);
    let exe = task.memory().program().path();
    path::walk(&mut record.exe, exe.dentry.0, exe.mount.0);
    let args = Args {
        bytes: &mut record.args,
        kept: &mut record.args_bytes,
        total: &mut record.args_total_bytes,
    };
    if !args::of_process(args, task) {
        set(&mut record.flags, CAP_ARGS_UNREADABLE);
    }
    let weight = if load(&record.action) == Action::None as u8 {
        Weight::Ordinary
    } else {
        Weight::Drift
    };
    emit::send(record, member.instance, Domain::Cap, weight, now_ns);
}

/// Number of the system call that the current process is in; all ones outside of one (a page fault). `None` if this kernel does not
/// tell.
#[inline(always)]
pub fn system_call() -> Option<u64> {
    register(REGISTER_NUMBER)
}

/// The first argument of the system call that the current process is in.
#[inline(always)]
pub fn first_argument() -> Option<u64> {
    register(REGISTER_DI)
}

#[inline(always)]
fn register(offset: u32) -> Option<u64> {
    // SAFETY: the helper takes no argument.
    let task = TaskStruct::<Probed>::at(unsafe { bpf_get_current_task() });
    Some(Probed::read(task.current_registers()?, offset))
}
