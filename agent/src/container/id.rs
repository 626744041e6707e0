//! Ids of containers, and how runtimes put them into the names of cgroup directories.
//!
//! Input: a directory's name, chosen by a runtime (or by whoever else may create cgroups). Output: the id, or `None`
//! for a name of any other form; never an error.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits of an id: a 256-bit number in hexadecimal, which every OCI runtime's callers draw at random.
const DIGITS: usize = 64;

/// What stands before the id, by the runtime that writes it: cgroupfs drivers and CRI (nothing), Docker with
/// systemd, containerd's CRI with systemd, podman, CRI-O. The monitors that podman and CRI-O place beside a container
/// (`libpod-conmon-`, `crio-conmon-`) carry its id too and are none.
const PREFIXES: &[&[u8]] = &[b"", b"docker-", b"cri-containerd-", b"libpod-", b"crio-"];

/// What may follow the id: nothing, or the suffix of a systemd scope.
const SUFFIXES: &[&[u8]] = &[b"", b".scope"];

/// Id of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId([u8; DIGITS]);

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a container id: expected 64 lower-case hexadecimal digits")]
pub struct ContainerIdError {
    /// What was to be read, at most its first 100 characters.
    pub text: String,
}

/// The id of the container whose cgroup has this name (the last component of its path, not the path).
#[must_use]
pub fn container_id_in(cgroup_name: &[u8]) -> Option<ContainerId> {
    PREFIXES.iter().find_map(|prefix| {
        let (digits, suffix) = cgroup_name.strip_prefix(*prefix)?.split_at_checked(DIGITS)?;
        SUFFIXES
            .contains(&suffix)
            .then(|| ContainerId::from_digits(digits))?
    })
}

// === impl ContainerId ===

impl ContainerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hexadecimal digits are UTF-8: the default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first twelve digits, as Docker's tables show them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.as_str()[..12]
    }

    fn from_digits(digits: &[u8]) -> Option<Self> {
        let digits: [u8; DIGITS] = digits.try_into().ok()?;
        digits
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            .then_some(Self(digits))
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl std::fmt::Debug for ContainerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ContainerId({})", self.as_str())
    }
}

impl std::str::FromStr for ContainerId {
    type Err = ContainerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_digits(text.as_bytes()).ok_or_else(|| ContainerIdError {
            text: text.chars().take(100).collect(),
        })
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";

    #[test]
    fn finds_the_id_in_what_runtimes_write() {
        for name in [
            ID.to_owned(),
            format!("docker-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("libpod-{ID}"),
            format!("libpod-{ID}.scope"),
            format!("crio-{ID}.scope"),
        ] {
            assert_eq!(
                container_id_in(name.as_bytes()).expect(&name).as_str(),
                ID,
                "{name}"
            );
        }
    }

    #[test]
    fn takes_nothing_else_for_a_container() {
        for name in [
            String::new(),
            ID[1..].to_owned(),
            format!("{ID}0"),
            ID.to_uppercase(),
            format!("libpod-conmon-{ID}.scope"),
            format!("crio-conmon-{ID}.scope"),
            format!("libpod_pod_{ID}.slice"),
            format!("docker-{ID}.scope/x"),
            format!("docker-{ID}.slice"),
            format!("x{ID}"),
        ] {
            assert_eq!(container_id_in(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_found_only_where_it_stands(name in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(id) = container_id_in(&name) {
                prop_assert!(name.windows(DIGITS).any(|run| run == id.as_str().as_bytes()));
            }
        }

        #[test]
        fn text_is_read_back(digits in "[0-9a-f]{64}") {
            prop_assert_eq!(digits.parse::<ContainerId>().expect("an id").to_string(), digits);
        }
    }
}
