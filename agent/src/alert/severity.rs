//! How grave a deviation is, and which techniques of MITRE ATT&CK it points to: one table here, and one each for
//! the files, the capabilities and the system calls that matter.
//!
//! Input: kind, layer and circumstances of a deviation. Output: [`Rating`]. Failure: none; every combination has a row.
//! The severity tells how grave the deviation is, not what was done about it: a drift that was killed is rated as one
//! that ran.
//!
//! Techniques are those of ATT&CK for Enterprise (<https://attack.mitre.org>, matrices Linux and Containers):
//! - T1003.008 OS Credential Dumping: /etc/passwd and /etc/shadow
//! - T1014 Rootkit: a kernel module, or a BPF program
//! - T1037 Boot or Logon Initialization Scripts
//! - T1053.003 Scheduled Task/Job: Cron
//! - T1055 Process Injection
//! - T1055.008 Process Injection: Ptrace System Calls
//! - T1059 Command and Scripting Interpreter: a program or applet that the profile does not hold
//! - T1040 Network Sniffing: raw sockets
//! - T1070 Indicator Removal: what hides traces (the clock, the audit trail)
//! - T1098.004 Account Manipulation: SSH Authorized Keys
//! - T1105 Ingress Tool Transfer: a program that was brought into the running container
//! - T1136.001 Create Account: Local Account
//! - T1529 System Shutdown/Reboot
//! - T1543.002 Create or Modify System Process: Systemd Service
//! - T1548 Abuse Elevation Control Mechanism: setuid, sudoers, file capabilities
//! - T1552.001 Unsecured Credentials: Credentials In Files, T1552.004 Private Keys, T1552.007 Container API
//! - T1562 Impair Defenses: firewall and security modules
//! - T1574.006 Hijack Execution Flow: Dynamic Linker Hijacking: a library that was dropped, replaced or preloaded
//! - T1609 Container Administration Command: entered from outside, as `docker exec` does
//! - T1611 Escape to Host: what leaves the container's cgroup or runs from another mount namespace
//! - T1620 Reflective Code Loading: a program or library without a file, as from `memfd_create`

mod cap;
mod file;
mod syscall;

use agent_common::cap::CapOutcome;
use agent_common::file::{FileOperation, Layer};
use agent_common::task::TaskState;
use serde::{Deserialize, Serialize};

use super::kind::AlertKind;
use crate::behaviour::{Capability, SyscallBehaviour};

/// How grave a deviation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Severity {
    /// For the record.
    Info,
    /// Explained, but not accepted.
    Low,
    /// Departs from the profile.
    Medium,
    /// Did not come with the image.
    High,
    /// Did not come with the image and hides where it came from.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in alerts and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What a deviation is about, as far as its rating depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A program or library, or a process: its layer tells.
    Program,
    /// A use of a file.
    File {
        /// What was done with it.
        operation: FileOperation,
        /// Its path.
        path: &'a [u8],
    },
    /// A use of a capability.
    Cap {
        /// Which one.
        capability: Capability,
        /// What the kernel answered.
        outcome: CapOutcome,
    },
    /// A system call.
    Syscall(SyscallBehaviour),
}

/// What the rating of a deviation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// What kind of alert it is.
    pub kind: AlertKind,
    /// What it is about.
    pub subject: Subject<'a>,
    /// The file's layer; of no meaning where the alert is about none.
    pub layer: Layer,
    /// Whose process it is.
    pub state: TaskState,
    /// The content equals the image's: only owner or mode were changed.
    pub metadata_only: bool,
}

/// Severity and techniques.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// How grave.
    pub severity: Severity,
    /// ATT&CK ids, each once.
    pub attack: Vec<&'static str>,
}

/// Rates a deviation.
#[must_use]
pub fn rate(what: Circumstances<'_>) -> Rating {
    let (severity, techniques): (_, &[&'static str]) = match what.subject {
        Subject::Program => rate_program(what),
        Subject::File { operation, path } => file::rate(operation, path),
        Subject::Cap { capability, outcome } => cap::rate(capability, outcome),
        Subject::Syscall(call) => syscall::rate(call),
    };
    let mut attack = techniques.to_vec();
    if what.state == TaskState::ExecIn && !attack.contains(&"T1609") {
        attack.push("T1609");
    }
    Rating { severity, attack }
}

fn rate_program(what: Circumstances<'_>) -> (Severity, &'static [&'static str]) {
    match (what.kind, what.layer) {
        (AlertKind::ExecDrift | AlertKind::LibraryDrift, _) if what.metadata_only => (Severity::Low, &[]),
        (AlertKind::ExecDrift | AlertKind::LibraryDrift, Layer::Anonymous) => {
            (Severity::Critical, &["T1620"])
        }
        (AlertKind::ExecDrift | AlertKind::LibraryDrift, Layer::Foreign) => {
            (Severity::Critical, &["T1105", "T1611"])
        }
        (AlertKind::ExecDrift, Layer::Volume) => (Severity::Medium, &["T1105"]),
        (AlertKind::ExecDrift, _) => (Severity::High, &["T1105"]),
        (AlertKind::LibraryDrift, Layer::Volume) => (Severity::Medium, &["T1574.006"]),
        (AlertKind::LibraryDrift, _) => (Severity::High, &["T1574.006"]),
        (AlertKind::ExecUnknown, _) => (Severity::Medium, &["T1059"]),
        (AlertKind::ExecInto, _) => (Severity::Medium, &["T1059", "T1609"]),
        (AlertKind::ExecLeftCgroup, _) => (Severity::High, &["T1611"]),
        (AlertKind::ExecCgroupLimit, _) => (Severity::Medium, &["T1499"]),
        // These are about no program.
        (
            AlertKind::FileUnknown
            | AlertKind::FileInto
            | AlertKind::CapUnknown
            | AlertKind::CapInto
            | AlertKind::SyscallUnknown
            | AlertKind::SyscallInto,
            _,
        ) => (Severity::Medium, &[]),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use agent_common::domain::Domain;

    use super::*;

    fn table() -> String {
        let mut rows = String::new();
        let of_programs = |kind: &&AlertKind| matches!(kind.domain(), Domain::Exec | Domain::Library);
        for kind in AlertKind::ALL.iter().filter(of_programs) {
            for layer in Layer::ALL {
                for state in [TaskState::Main, TaskState::ExecIn] {
                    let rating = rate(Circumstances {
                        kind: *kind,
                        subject: Subject::Program,
                        layer: *layer,
                        state,
                        metadata_only: false,
                    });
                    writeln!(
                        rows,
                        "{kind:<17} {layer:<9} {state:<7} {:<8} {}",
                        rating.severity,
                        rating.attack.join(" ")
                    )
                    .expect("writing to a string cannot fail");
                }
            }
        }
        rows
    }

    #[test]
    fn rates_every_combination() {
        insta::assert_snapshot!(table());
    }

    #[test]
    fn a_changed_owner_is_no_intrusion() {
        for kind in [AlertKind::ExecDrift, AlertKind::LibraryDrift] {
            let rating = rate(Circumstances {
                kind,
                subject: Subject::Program,
                layer: Layer::Upper,
                state: TaskState::Main,
                metadata_only: true,
            });
            assert_eq!(rating.severity, Severity::Low, "{kind}");
            assert_eq!(rating.attack, Vec::<&str>::new(), "{kind}");
        }
    }
}
