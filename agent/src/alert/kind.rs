//! What an alert is about: one name per kind of deviation and domain.

use agent_common::domain::Domain;
use serde::{Deserialize, Serialize};

/// What is wrong. More kinds come with more domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum AlertKind {
    /// A program that did not come with the image.
    #[serde(rename = "exec.drift")]
    ExecDrift,
    /// A program of the image that the profile does not hold.
    #[serde(rename = "exec.unknown")]
    ExecUnknown,
    /// Something entered from outside that the profile's `exec_in` does not hold.
    #[serde(rename = "exec.into")]
    ExecInto,
    /// A process moved out of its container's cgroup. It stays tracked.
    #[serde(rename = "exec.left_cgroup")]
    ExecLeftCgroup,
    /// A container has made more cgroups than are entered as its own. Their processes stay tracked.
    #[serde(rename = "exec.cgroup_limit")]
    ExecCgroupLimit,
    /// Code that did not come with the image was mapped executable.
    #[serde(rename = "library.drift")]
    LibraryDrift,
    /// A use of a file that the profile does not hold.
    #[serde(rename = "file.unknown")]
    FileUnknown,
    /// A process from outside used a file in a way that the profile does not hold as accepted.
    #[serde(rename = "file.into")]
    FileInto,
    /// A capability was used, or refused, that the profile does not hold.
    #[serde(rename = "cap.unknown")]
    CapUnknown,
    /// A process from outside used a capability, or was refused one, that the profile does not hold as accepted.
    #[serde(rename = "cap.into")]
    CapInto,
    /// A system call that the profile does not hold.
    #[serde(rename = "syscall.unknown")]
    SyscallUnknown,
    /// A process from outside made a system call that the profile does not hold as accepted.
    #[serde(rename = "syscall.into")]
    SyscallInto,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::ExecDrift,
        Self::ExecUnknown,
        Self::ExecInto,
        Self::ExecLeftCgroup,
        Self::ExecCgroupLimit,
        Self::LibraryDrift,
        Self::FileUnknown,
        Self::FileInto,
        Self::CapUnknown,
        Self::CapInto,
        Self::SyscallUnknown,
        Self::SyscallInto,
    ];

    /// The domain that it belongs to: the word before the dot.
    #[must_use]
    pub const fn domain(self) -> Domain {
        match self {
            Self::ExecDrift
            | Self::ExecUnknown
            | Self::ExecInto
            | Self::ExecLeftCgroup
            | Self::ExecCgroupLimit => Domain::Exec,
            Self::LibraryDrift => Domain::Library,
            Self::FileUnknown | Self::FileInto => Domain::File,
            Self::CapUnknown | Self::CapInto => Domain::Cap,
            Self::SyscallUnknown | Self::SyscallInto => Domain::Syscall,
        }
    }

    /// The word in alerts and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecDrift => "exec.drift",
            Self::ExecUnknown => "exec.unknown",
            Self::ExecInto => "exec.into",
            Self::ExecLeftCgroup => "exec.left_cgroup",
            Self::ExecCgroupLimit => "exec.cgroup_limit",
            Self::LibraryDrift => "library.drift",
            Self::FileUnknown => "file.unknown",
            Self::FileInto => "file.into",
            Self::CapUnknown => "cap.unknown",
            Self::CapInto => "cap.into",
            Self::SyscallUnknown => "syscall.unknown",
            Self::SyscallInto => "syscall.into",
        }
    }
}

impl AlertKind {
    /// What is wrong, as a title. Receivers of alerts sort by it: a title does not change once it was given.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ExecDrift => "Program that did not come with the image",
            Self::ExecUnknown => "Program that the profile does not hold",
            Self::ExecInto => "Program brought into the container from outside",
            Self::ExecLeftCgroup => "Process left the cgroup of its container",
            Self::ExecCgroupLimit => "Container made too many cgroups",
            Self::LibraryDrift => "Executable code that did not come with the image",
            Self::FileUnknown => "Use of a file that the profile does not hold",
            Self::FileInto => "Use of a file from outside that the profile does not accept",
            Self::CapUnknown => "Use of a capability that the profile does not hold",
            Self::CapInto => "Use of a capability from outside that the profile does not accept",
            Self::SyscallUnknown => "System call that the profile does not hold",
            Self::SyscallInto => "System call from outside that the profile does not accept",
        }
    }
}

impl std::fmt::Display for AlertKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_named() {
        for kind in AlertKind::ALL {
            let text = serde_json::to_string(kind).expect("json");
            assert_eq!(text, format!("\"{kind}\""));
            let domain = kind.as_str().split('.').next();
            assert_eq!(domain, Some(kind.domain().as_str()));
        }
    }

    #[test]
    fn every_kind_has_a_title_of_its_own() {
        let titles: std::collections::BTreeSet<_> = AlertKind::ALL.iter().map(|kind| kind.title()).collect();
        assert_eq!(titles.len(), AlertKind::ALL.len());
    }
}
