//! How grave a deviation is, and which techniques of MITRE ATT&CK it points to: one table.
//!
//! Input: kind, layer and circumstances of a deviation. Output: [`Rating`]. Failure: none; every combination has a row.
//! The severity tells how grave the deviation is, not what was done about it: a drift that was killed is rated as one
//! that ran.
//!
//! Techniques are those of ATT&CK for Enterprise (<https://attack.mitre.org>, matrices Linux and Containers):
//! - T1059 Command and Scripting Interpreter: a program or applet that the profile does not hold
//! - T1105 Ingress Tool Transfer: a program that was brought into the running container
//! - T1574.006 Hijack Execution Flow: Dynamic Linker Hijacking: a library that was dropped, replaced or preloaded
//! - T1609 Container Administration Command: entered from outside, as `docker exec` does
//! - T1611 Escape to Host: what leaves the container's cgroup or runs from another mount namespace
//! - T1620 Reflective Code Loading: a program or library without a file, as from `memfd_create`

use agent_common::file::Layer;
use agent_common::task::TaskState;
use serde::{Deserialize, Serialize};

use super::kind::AlertKind;

/// How grave a deviation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// What the rating of a deviation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// What kind of alert it is.
    pub kind: AlertKind,
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
pub fn rate(what: Circumstances) -> Rating {
    let (severity, techniques): (_, &[&'static str]) = match (what.kind, what.layer) {
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
    };
    let mut attack = techniques.to_vec();
    if what.state == TaskState::ExecIn && !attack.contains(&"T1609") {
        attack.push("T1609");
    }
    Rating { severity, attack }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn table() -> String {
        let mut rows = String::new();
        for kind in AlertKind::ALL {
            for layer in Layer::ALL {
                for state in [TaskState::Main, TaskState::ExecIn] {
                    let rating = rate(Circumstances {
                        kind: *kind,
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
                layer: Layer::Upper,
                state: TaskState::Main,
                metadata_only: true,
            });
            assert_eq!(rating.severity, Severity::Low, "{kind}");
            assert_eq!(rating.attack, Vec::<&str>::new(), "{kind}");
        }
    }
}
