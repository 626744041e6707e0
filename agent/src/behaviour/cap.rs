//! Capabilities that are used or refused.

use std::borrow::Cow;

use agent_common::cap::{self, CAPABILITIES_MAX, CapOutcome, UserNamespace};
use serde::{Deserialize, Serialize};

/// A use of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapBehaviour {
    /// Which one.
    pub capability: Capability,
    /// How far it reaches.
    pub namespace: UserNamespace,
    /// What the kernel answered.
    pub outcome: CapOutcome,
}

/// A capability by its number; as text its name in `linux/capability.h`, or `CAP_` and the number of one that is newer
/// than this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// A text that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no capability: expected a name as `CAP_NET_RAW`")]
pub struct CapabilityError {
    /// What was to be read, cut to 100 characters.
    pub text: String,
}

/// The names, by number (`include/uapi/linux/capability.h` of Linux 6.12).
const NAMES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl CapBehaviour {
    /// What stands in place of a path's hash in the kernel's keys.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        cap::hash(self.capability.0, self.namespace as u8)
    }
}

impl std::fmt::Display for CapBehaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.capability, self.outcome)?;
        match self.namespace {
            UserNamespace::Initial => Ok(()),
            UserNamespace::Other => formatter.write_str(" in a user namespace of its own"),
        }
    }
}

impl Capability {
    /// The one with the lowest number.
    pub const FIRST: Self = Self(0);

    /// The capability with this number; `None` if no kernel can have it.
    #[must_use]
    pub const fn from_raw(number: u8) -> Option<Self> {
        if number < CAPABILITIES_MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        NAMES
            .get(usize::from(self.0))
            .map_or_else(|| format!("CAP_{}", self.0).into(), |name| Cow::Borrowed(*name))
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.name())
    }
}

impl std::str::FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        (0..CAPABILITIES_MAX)
            .map(Self)
            .find(|capability| capability.name() == text)
            .ok_or_else(|| CapabilityError {
                text: text.chars().take(100).flat_map(char::escape_debug).collect(),
            })
    }
}

impl Serialize for Capability {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_name_and_comes_back_from_it() {
        for number in 0..=u8::MAX {
            let Some(capability) = Capability::from_raw(number) else {
                assert!(number >= CAPABILITIES_MAX);
                continue;
            };
            assert_eq!(capability.name().parse(), Ok(capability));
            assert_eq!(capability.number(), number);
        }
        let name = |number| Capability::from_raw(number).expect("a capability").to_string();
        assert_eq!(
            [name(0), name(13), name(21), name(40), name(41)],
            [
                "CAP_CHOWN",
                "CAP_NET_RAW",
                "CAP_SYS_ADMIN",
                "CAP_CHECKPOINT_RESTORE",
                "CAP_41"
            ]
        );
        for wrong in [
            "",
            "CAP_",
            "CAP_64",
            "CAP_00",
            "CAP_0",
            "net_raw",
            "CAP_NET_RAW\n",
        ] {
            assert!(wrong.parse::<Capability>().is_err(), "{wrong:?}");
        }
    }
}
