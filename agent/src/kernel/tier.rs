//! What this kernel can do about deviations, per domain, as it was proved. Pure.
//!
//! Input: what the self-test saw, and whether LSM programs were taken. Output: a [`TierView`] per domain. Failure: none; what
//! was not proved is not claimed.

use agent_common::domain::Domain;
use serde::{Deserialize, Serialize};

use crate::control::view::{Tier, TierView};

/// What the process of the self-test saw ([`super::self_test`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of its execution.
    pub exec: Exec,
    /// Both ways of mapping a file executable were refused.
    pub library_denied: bool,
    /// What became of opening a file.
    pub file: Watch,
    /// What became of using a capability.
    pub cap: Watch,
    /// What became of making system calls: they are never refused.
    pub syscall: Watch,
}

/// What became of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It was refused.
    Denied,
    /// It succeeded, and the kernel programs have seen it.
    Seen,
    /// It succeeded unseen.
    Unseen,
}

impl Outcome {
    /// Whether any LSM hook did what it was to do.
    #[must_use]
    pub fn is_any_denied(&self) -> bool {
        self.exec == Exec::Denied
            || self.library_denied
            || self.file == Watch::Denied
            || self.cap == Watch::Denied
    }

    /// A bit per domain: its LSM hooks refuse. What `Node::refuses` holds.
    #[must_use]
    pub fn refuses(&self) -> u64 {
        [
            (Domain::Exec, self.exec == Exec::Denied),
            (Domain::Library, self.library_denied),
            (Domain::File, self.file == Watch::Denied),
            (Domain::Cap, self.cap == Watch::Denied),
        ]
        .iter()
        .filter(|(_, denied)| *denied)
        .fold(0, |bits, (domain, _)| bits | 1 << (*domain as u8))
    }
}

/// What became of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exec {
    /// It was refused, and the caller was told so.
    Denied,
    /// The program was killed before it did anything.
    Killed,
    /// It ran.
    Ran,
}

impl Exec {
    /// The word, as it is in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Killed => "killed",
            Self::Ran => "ran",
        }
    }

    /// The same, of a program in a sentence.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Denied => "was denied",
            Self::Killed => "was killed",
            Self::Ran => "ran",
        }
    }

    /// Whether no less was done than `other`: to refuse is more than to kill, and that is more than nothing.
    #[must_use]
    pub const fn is_stopped_as_by(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Denied, _) | (Self::Killed, Self::Killed) | (_, Self::Ran)
        )
    }
}

/// What is known about the attached programs.
#[derive(Clone, Copy, Debug)]
pub struct Proved<'a> {
    /// What the self-test saw; `None` if it was not made, or failed.
    pub outcome: Option<Outcome>,
    /// Why the kernel takes no LSM programs.
    pub lsm_refused: Option<&'a str>,
    /// Why a domain is not even observed.
    pub not_observed: &'a [(Domain, String)],
    /// There is a process that answers before executions ([`crate::answer`]).
    pub answers: bool,
}

const NOT_TESTED: &str = "the self-test at start could not be made: see the log";
const ANSWERED: &str = "but upper-layer files of the image's filesystem, scripts included, are denied by fanotify (volumes, memory and \
                        foreign mounts are killed)";
const NOT_ANSWERED: &str = "of a script only the interpreter is judged";
const NEVER_CALLED: &str = "LSM programs load and attach but this kernel never calls them: `bpf` is not in its list of LSMs (boot with `lsm=...,bpf`)";

const FILE_DENIED: &str =
    "full tier, proved by a self-test: opens, creations, renames and links are refused before they happen";
const FILE_SEEN: &str = "lite tier, proved by a self-test: an opened file is seen at the end of the system call, a rename or link by the name that \
                         was typed; a process is killed only if `policies.kill` names the domain. Not seen: io_uring, \
                         open_by_handle_at, 32-bit system calls, descriptors that another process sends, a descriptor that another \
                         thread replaces within the call, processes whose ids are beyond the `kernel.pid_max` that the agent started with";
const CAP_DENIED: &str = "full tier, proved by a self-test: the use of a capability is refused; what the kernel refuses itself is seen";
const CAP_SEEN: &str = "lite tier, proved by a self-test: each check is seen with its answer; a process is killed only if `policies.kill` names \
                        the domain";

const SYSCALL_SEEN: &str = "proved by a self-test: a system call is seen when it begins, by number and interface, while some container's are \
                            watched (`driftlock mode set learn --domain syscall`); what a seccomp filter refuses is not seen. None is \
                            refused: the exported seccomp profile does that";

/// Why nothing is seen of a domain.
fn unseen(domain: Domain, proved: &Proved<'_>) -> String {
    let reason = proved
        .not_observed
        .iter()
        .find(|(of, _)| *of == domain)
        .map_or("the self-test was not seen", |(_, reason)| reason);
    format!("not observed: {reason}")
}

/// The most that can be done, per domain.
#[must_use]
pub fn tiers(proved: Proved<'_>) -> Vec<TierView> {
    let why_not_deny = proved.lsm_refused.unwrap_or(NEVER_CALLED);
    Domain::ALL
        .iter()
        .map(|&domain| {
            let (can, reason) = match (domain, proved.outcome) {
                (_, None) => (Tier::None, NOT_TESTED.to_owned()),
                (Domain::Exec, Some(Outcome { exec: Exec::Denied, .. })) => (
                    Tier::Deny,
                    "full tier, proved by a self-test: refused before it runs, scripts and interpreters too".to_owned(),
                ),
                (Domain::Exec, Some(Outcome { exec: Exec::Killed, .. })) => (
                    Tier::Kill,
                    format!(
                        "lite tier, proved by a self-test: killed before its first instruction, not denied; {}, and code that an \
                         interpreter or ld.so loads is not seen; no full tier: {why_not_deny}",
                        if proved.answers { ANSWERED } else { NOT_ANSWERED }
                    ),
                ),
                (Domain::Exec, Some(Outcome { exec: Exec::Ran, .. })) => (
                    Tier::Observe,
                    format!("the self-test's program ran: what is to be enforced is only reported; {why_not_deny}"),
                ),
                (Domain::Library, Some(outcome)) if outcome.library_denied => (
                    Tier::Deny,
                    "full tier, proved by a self-test: executable mappings of files that did not come with the image".to_owned(),
                ),
                (Domain::Library, Some(_)) => (Tier::None, format!("needs BPF LSM: {why_not_deny}")),
                (Domain::File, Some(outcome)) => match outcome.file {
                    Watch::Denied => (Tier::Deny, FILE_DENIED.to_owned()),
                    Watch::Seen => (Tier::Observe, format!("{FILE_SEEN}; no full tier: {why_not_deny}")),
                    Watch::Unseen => (Tier::None, unseen(domain, &proved)),
                },
                (Domain::Cap, Some(outcome)) => match outcome.cap {
                    Watch::Denied => (Tier::Deny, CAP_DENIED.to_owned()),
                    Watch::Seen => (Tier::Observe, format!("{CAP_SEEN}; no full tier: {why_not_deny}")),
                    Watch::Unseen => (Tier::None, unseen(domain, &proved)),
                },
                (Domain::Syscall, Some(outcome)) => match outcome.syscall {
                    Watch::Unseen => (Tier::None, unseen(domain, &proved)),
                    Watch::Denied | Watch::Seen => (Tier::Observe, SYSCALL_SEEN.to_owned()),
                },
            };
            TierView { domain, can, reason }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec_and_library(exec: Exec, library_denied: bool, refused: Option<&str>) -> (TierView, TierView) {
        let mut tiers = tiers(Proved {
            outcome: Some(Outcome {
                exec,
                library_denied,
                file: Watch::Unseen,
                cap: Watch::Unseen,
                syscall: Watch::Unseen,
            }),
            not_observed: &[],
            lsm_refused: refused,
            answers: false,
        })
        .into_iter();
        (tiers.next().expect("exec"), tiers.next().expect("library"))
    }

    #[test]
    fn nothing_is_claimed_that_was_not_proved() {
        let untested = tiers(Proved {
            outcome: None,
            lsm_refused: None,
            not_observed: &[],
            answers: false,
        });
        assert!(untested.iter().all(|tier| tier.can == Tier::None));
    }

    #[test]
    fn each_tier_says_why_it_is_no_better() {
        let (exec, library) = exec_and_library(Exec::Denied, true, None);
        assert_eq!((exec.can, library.can), (Tier::Deny, Tier::Deny));
        let (exec, library) = exec_and_library(Exec::Killed, false, Some("EPERM"));
        assert_eq!((exec.can, library.can), (Tier::Kill, Tier::None));
        assert!(exec.reason.ends_with("EPERM") && library.reason.ends_with("EPERM"));
        let (exec, _) = exec_and_library(Exec::Killed, false, None);
        assert!(exec.reason.contains("never calls them"));
        let (exec, _) = exec_and_library(Exec::Ran, false, None);
        assert_eq!(exec.can, Tier::Observe);
    }
}
