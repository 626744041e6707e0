//! A system call filter for container runtimes, in the JSON of the OCI runtime specification.
//!
//! Input: a profile. Output: what Docker, Podman, containerd and CRI-O take as a seccomp profile: what was learned is allowed, everything else
//! is refused with EPERM. Failure: [`ExportError::Unlearned`]: a filter of nothing would end every container.
//!
//! Besides what was learned, the filter allows what a runtime calls between putting it on itself and starting the program ([`runtime_call`]); each
//! such rule says so in its comment. What is newer than Linux 5.0 and was not learned is refused as a kernel without it would (ENOSYS), because
//! libraries try such calls and do without them only if there are none.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::Domain;
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use serde::Serialize;

use super::{Export, ExportError, Source, listed};
use crate::behaviour::{Behaviour, SyscallBehaviour, runtime_call, syscall_name};

/// `EPERM` on every architecture (include/uapi/asm-generic/errno-base.h).
const EPERM: u32 = 1;
/// `ENOSYS` on x86 and Arm (include/uapi/asm-generic/errno.h).
const ENOSYS: u32 = 38;
/// From this number on a call has the same number by every interface; the first that is newer than Linux 5.0
/// (`pidfd_send_signal`, `arch/x86/entry/syscalls/syscall_64.tbl`).
const FIRST_NEWER: u16 = 424;

/// The filter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    default_action: Action,
    default_errno_ret: u32,
    architectures: Vec<&'static str>,
    syscalls: Vec<Rule>,
}

/// What is done with some calls.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: BTreeSet<&'static str>,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    /// Not in the specification; Docker has it, and the others pass over it.
    comment: String,
}

/// What is done with a call.
#[derive(Clone, Copy, Serialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Refuse,
}

/// Writes it.
pub(super) fn export(source: &Source<'_>) -> Result<Export, ExportError> {
    if !source.tells_of(Domain::Syscall) {
        return Err(ExportError::Unlearned {
            role: source.role.clone(),
            domain: Domain::Syscall,
        });
    }
    let calls: Vec<SyscallBehaviour> = source
        .permitted()
        .into_iter()
        .filter_map(|behaviour| match behaviour {
            Behaviour::Syscall(call) => Some(*call),
            _ => None,
        })
        .collect();
    let program = names(&calls, SyscallPhase::Program);
    let mut by_runtime = names(&calls, SyscallPhase::Runtime);
    by_runtime.retain(|name| !program.contains(name));
    let mut minimum: BTreeSet<&'static str> = runtime_call::MINIMUM.into_iter().collect();
    minimum.retain(|name| !program.contains(name) && !by_runtime.contains(name));
    let mut newer = newer();
    newer.retain(|name| {
        ![&program, &by_runtime, &minimum]
            .iter()
            .any(|allowed| allowed.contains(name))
    });

    let allow = |names, comment: &str| Rule {
        names,
        action: Action::Allow,
        errno_ret: None,
        comment: comment.to_owned(),
    };
    let rules = [
        allow(program, &format!("learned: {}", source.name())),
        allow(by_runtime, "learned, of the runtime before it starts the program"),
        allow(minimum, "not learned: what runtimes call before they start the program"),
        Rule {
            names: newer,
            action: Action::Refuse,
            errno_ret: Some(ENOSYS),
            comment: "newer than Linux 5.0 and not learned: refused as by a kernel without them, so that libraries do without"
                .to_owned(),
        },
    ];
    let interfaces: BTreeSet<SyscallAbi> = calls.iter().map(|call| call.abi).collect();
    let filter = Filter {
        default_action: Action::Refuse,
        default_errno_ret: EPERM,
        architectures: interfaces.into_iter().map(architecture).collect(),
        syscalls: rules.into_iter().filter(|rule| !rule.names.is_empty()).collect(),
    };
    let mut text = serde_json::to_string_pretty(&filter).expect("texts and numbers are JSON");
    text.push('\n');
    Ok(Export {
        text,
        notes: notes(source, &calls),
    })
}

/// The names of the calls that were made in `phase`; those without a name are told by [`notes`].
fn names(calls: &[SyscallBehaviour], phase: SyscallPhase) -> BTreeSet<&'static str> {
    calls
        .iter()
        .filter(|call| call.phase == phase)
        .filter_map(|call| syscall_name::name(call.abi, call.number))
        .collect()
}

/// The calls that are newer than Linux 5.0.
fn newer() -> BTreeSet<&'static str> {
    /// Numbers from here on are x32's own.
    const BEHIND: u16 = 512;
    (FIRST_NEWER..BEHIND)
        .filter_map(|number| syscall_name::name(SyscallAbi::X86_64, number))
        .collect()
}

/// What libseccomp calls an interface (include/seccomp.h.in).
const fn architecture(abi: SyscallAbi) -> &'static str {
    match abi {
        SyscallAbi::X86_64 => "SCMP_ARCH_X86_64",
        SyscallAbi::I386 => "SCMP_ARCH_X86",
        SyscallAbi::X32 => "SCMP_ARCH_X32",
        SyscallAbi::Aarch64 => "SCMP_ARCH_AARCH64",
        SyscallAbi::Arm => "SCMP_ARCH_ARM",
    }
}

fn notes(source: &Source<'_>, calls: &[SyscallBehaviour]) -> Vec<String> {
    let mut notes = source.common_notes();
    let mut by_name: BTreeMap<&str, BTreeSet<SyscallAbi>> = BTreeMap::new();
    let mut nameless = BTreeSet::new();
    let mut interfaces = BTreeSet::new();
    for call in calls {
        interfaces.insert(call.abi);
        if let Some(name) = syscall_name::name(call.abi, call.number) {
            by_name.entry(name).or_default().insert(call.abi);
        } else {
            nameless.insert(format!("{} ({})", call.name(), call.abi));
        }
    }
    // A call is allowed by each interface of the filter that has it.
    let is_wider = |name: &str, by: &BTreeSet<SyscallAbi>| {
        interfaces
            .iter()
            .any(|abi| !by.contains(abi) && syscall_name::number(*abi, name).is_some())
    };
    let wider: Vec<&str> = by_name
        .iter()
        .filter(|(name, by)| is_wider(name, by))
        .map(|(name, _)| *name)
        .collect();
    if !wider.is_empty() {
        notes.push(format!(
            "A name holds for all interfaces of the filter; learned by some of them alone: {}.",
            listed(&wider)
        ));
    }
    if !nameless.is_empty() {
        let nameless: Vec<String> = nameless.into_iter().collect();
        notes.push(format!(
            "Left out, because a filter needs names and these have none here: {}.",
            listed(&nameless)
        ));
    }
    let interfaces: Vec<SyscallAbi> = interfaces.into_iter().collect();
    if interfaces.is_empty() {
        return notes;
    }
    notes.push(format!(
        "Calls by other interfaces than {} are not refused but end the process (SIGSYS): libseccomp has it so.",
        listed(&interfaces)
    ));
    notes.push(
        "Arguments are not in a profile: a call is allowed with all of them. The runtimes' own default filters restrict those of clone, \
         personality and socket."
            .to_owned(),
    );
    notes.push(
        "What the runtime calls before it starts the program is allowed to the program, too: a filter cannot tell when that has \
         started."
            .to_owned(),
    );
    notes
}
