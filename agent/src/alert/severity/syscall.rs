//! The system calls that matter: one table.
//!
//! Input: a system call. Output: severity and techniques. Failure: none; what is in no row is low, as most calls that a profile does
//! not hold are new ways of doing what was done before. A call by another interface than the machine's own is never low: it is
//! how filters of system calls are gone around.

use agent_common::syscall::{SyscallAbi, SyscallPhase};

use super::Severity;
use crate::behaviour::SyscallBehaviour;

/// By name: how grave a call is that the profile does not hold.
const TABLE: &[(&str, Severity, &[&str])] = &[
    ("init_module", Severity::High, &["T1014", "T1611"]),
    ("finit_module", Severity::High, &["T1014", "T1611"]),
    ("kexec_load", Severity::High, &["T1611"]),
    ("kexec_file_load", Severity::High, &["T1611"]),
    ("bpf", Severity::High, &["T1014"]),
    ("ptrace", Severity::High, &["T1055.008"]),
    ("process_vm_writev", Severity::High, &["T1055"]),
    ("process_vm_readv", Severity::High, &["T1055"]),
    ("open_by_handle_at", Severity::High, &["T1611"]),
    ("mount", Severity::High, &["T1611"]),
    ("move_mount", Severity::High, &["T1611"]),
    ("fsopen", Severity::High, &["T1611"]),
    ("open_tree", Severity::High, &["T1611"]),
    ("pivot_root", Severity::High, &["T1611"]),
    ("setns", Severity::High, &["T1611"]),
    ("unshare", Severity::High, &["T1611"]),
    ("iopl", Severity::High, &["T1611"]),
    ("ioperm", Severity::High, &["T1611"]),
    ("reboot", Severity::High, &["T1529"]),
    ("memfd_create", Severity::Medium, &["T1620"]),
    ("io_uring_setup", Severity::Medium, &[]),
    ("userfaultfd", Severity::Medium, &[]),
    ("perf_event_open", Severity::Medium, &[]),
    ("keyctl", Severity::Medium, &[]),
    ("add_key", Severity::Medium, &[]),
    ("request_key", Severity::Medium, &[]),
    ("umount2", Severity::Medium, &["T1611"]),
    ("swapon", Severity::Medium, &[]),
    ("settimeofday", Severity::Medium, &["T1070"]),
    ("clock_settime", Severity::Medium, &["T1070"]),
    ("execveat", Severity::Medium, &["T1620"]),
    ("socket", Severity::Medium, &[]),
    ("connect", Severity::Medium, &[]),
    ("bind", Severity::Medium, &[]),
    ("listen", Severity::Medium, &[]),
];

/// Rates a system call that the profile does not hold.
pub(super) fn rate(call: SyscallBehaviour) -> (Severity, &'static [&'static str]) {
    // The runtime prepares the container with those that are grave in a program.
    if call.phase == SyscallPhase::Runtime {
        return (Severity::Info, &[]);
    }
    let name = call.name();
    let row = TABLE.iter().find(|(row, ..)| *row == name);
    let (severity, techniques) = row.map_or((Severity::Low, &[][..]), |(_, severity, techniques)| {
        (*severity, *techniques)
    });
    let is_other = !matches!(call.abi, SyscallAbi::X86_64 | SyscallAbi::Aarch64);
    if is_other {
        (severity.max(Severity::Medium), techniques)
    } else {
        (severity, techniques)
    }
}

#[cfg(test)]
mod tests {
    use agent_common::syscall::SyscallPhase;

    use super::*;
    use crate::behaviour::syscall_name;

    fn call(abi: SyscallAbi, name: &str) -> SyscallBehaviour {
        SyscallBehaviour {
            abi,
            number: syscall_name::number(abi, name).expect("a system call"),
            phase: SyscallPhase::Program,
        }
    }

    #[test]
    fn each_row_is_a_system_call_and_is_found() {
        for (name, severity, techniques) in TABLE {
            assert_eq!(
                rate(call(SyscallAbi::X86_64, name)),
                (*severity, *techniques),
                "{name}"
            );
        }
    }

    #[test]
    fn another_interface_is_never_low() {
        assert_eq!(rate(call(SyscallAbi::X86_64, "getpid")).0, Severity::Low);
        assert_eq!(rate(call(SyscallAbi::I386, "getpid")).0, Severity::Medium);
        assert_eq!(rate(call(SyscallAbi::I386, "ptrace")).0, Severity::High);
    }
}
