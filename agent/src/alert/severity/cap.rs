//! The capabilities that matter: one table.
//!
//! Input: a capability, and what the kernel answered. Output: severity and techniques. Failure: none; what is in no row is
//! medium. What was refused is one step lower than what was used: it was tried.

use agent_common::cap::CapOutcome;

use super::Severity;
use crate::behaviour::Capability;

/// By name: how grave the use of a capability is that the profile does not hold.
const TABLE: &[(&str, Severity, &[&str])] = &[
    ("CAP_SYS_ADMIN", Severity::High, &["T1611"]),
    ("CAP_SYS_MODULE", Severity::High, &["T1014", "T1611"]),
    ("CAP_SYS_RAWIO", Severity::High, &["T1611"]),
    ("CAP_SYS_PTRACE", Severity::High, &["T1055.008"]),
    ("CAP_DAC_READ_SEARCH", Severity::High, &["T1611"]),
    ("CAP_BPF", Severity::High, &["T1014"]),
    ("CAP_PERFMON", Severity::High, &["T1014"]),
    ("CAP_MKNOD", Severity::High, &["T1611"]),
    ("CAP_SYS_BOOT", Severity::High, &["T1529"]),
    ("CAP_SYS_TIME", Severity::High, &["T1070"]),
    ("CAP_SYSLOG", Severity::High, &["T1611"]),
    ("CAP_MAC_ADMIN", Severity::High, &["T1562"]),
    ("CAP_MAC_OVERRIDE", Severity::High, &["T1562"]),
    ("CAP_AUDIT_CONTROL", Severity::High, &["T1562"]),
    ("CAP_NET_ADMIN", Severity::High, &["T1562"]),
    ("CAP_SETFCAP", Severity::High, &["T1548"]),
    ("CAP_CHECKPOINT_RESTORE", Severity::High, &[]),
    ("CAP_SETUID", Severity::Medium, &["T1548"]),
    ("CAP_SETGID", Severity::Medium, &["T1548"]),
    ("CAP_SETPCAP", Severity::Medium, &["T1548"]),
    ("CAP_NET_RAW", Severity::Medium, &["T1040"]),
    ("CAP_SYS_NICE", Severity::Low, &[]),
    ("CAP_AUDIT_WRITE", Severity::Low, &[]),
    ("CAP_WAKE_ALARM", Severity::Low, &[]),
    ("CAP_IPC_LOCK", Severity::Low, &[]),
];

pub(super) fn rate(capability: Capability, outcome: CapOutcome) -> (Severity, &'static [&'static str]) {
    let name = capability.name();
    let (used, techniques): (_, &[&str]) = TABLE
        .iter()
        .find(|(row, ..)| *row == name)
        .map_or((Severity::Medium, &[]), |(_, severity, techniques)| {
            (*severity, *techniques)
        });
    let severity = match (outcome, used) {
        (CapOutcome::Granted, used) => used,
        (CapOutcome::Refused, Severity::Critical) => Severity::High,
        (CapOutcome::Refused, Severity::High) => Severity::Medium,
        (CapOutcome::Refused, Severity::Medium) => Severity::Low,
        (CapOutcome::Refused, Severity::Low | Severity::Info) => Severity::Info,
    };
    (severity, techniques)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_the_node_is_high_and_a_refusal_one_step_lower() {
        let rate = |name: &str, outcome| super::rate(name.parse().expect("a capability"), outcome);
        assert_eq!(
            rate("CAP_SYS_ADMIN", CapOutcome::Granted),
            (Severity::High, &["T1611"][..])
        );
        assert_eq!(
            rate("CAP_SYS_ADMIN", CapOutcome::Refused),
            (Severity::Medium, &["T1611"][..])
        );
        assert_eq!(
            rate("CAP_CHOWN", CapOutcome::Granted),
            (Severity::Medium, &[][..])
        );
        assert_eq!(rate("CAP_CHOWN", CapOutcome::Refused), (Severity::Low, &[][..]));
        assert_eq!(
            rate("CAP_SYS_NICE", CapOutcome::Refused),
            (Severity::Info, &[][..])
        );
    }

    #[test]
    fn each_row_is_of_a_capability_and_the_only_one_of_it() {
        for (index, (name, ..)) in TABLE.iter().enumerate() {
            assert!(name.parse::<Capability>().is_ok(), "{name}");
            assert!(TABLE[..index].iter().all(|(other, ..)| other != name), "{name}");
        }
    }
}
