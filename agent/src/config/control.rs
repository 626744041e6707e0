//! The section `control:` of the configuration: who may ask the agent, beside root.
//!
//! Input: YAML. Output: [`ControlSection`]. Failure: an entry that is neither a user's number nor a group is an error with its place.

use serde::{Deserialize, Deserializer};

/// Most entries of one list; a longer one is refused.
const ENTRIES_MAX: usize = 64;
/// Longest name of a group in bytes (`LOGIN_NAME_MAX` of Linux).
const NAME_BYTES_MAX: usize = 256;
/// What the kernel shows in the place of every user and group that is none here (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65_534;

/// `control:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSection {
    /// Who may read.
    #[serde(deserialize_with = "principals")]
    pub readers: Vec<Principal>,
    /// Who may read and change.
    #[serde(deserialize_with = "principals")]
    pub changers: Vec<Principal>,
    /// What processes of containers may do at most, whoever they are.
    pub from_containers: FromContainers,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user, by number: `1001`.
    User(u32),
    /// A group, by number: `gid:1001`.
    Group(u32),
    /// A group, by name: `operators`.
    GroupName(String),
}

/// What processes of containers may do at most. The user ids in a container are those of the node unless it has a user namespace of
/// its own, so "root" there says nothing about who may administer the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromContainers {
    /// Nothing.
    #[default]
    Refuse,
    /// Read, if their user or group may.
    Read,
    /// Whatever their user or group may.
    Change,
}

fn principals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Principal>, D::Error> {
    let list = Vec::<Principal>::deserialize(deserializer)?;
    if list.len() > ENTRIES_MAX {
        return Err(serde::de::Error::custom(format_args!(
            "more than {ENTRIES_MAX} entries; make a group of them"
        )));
    }
    Ok(list)
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.parse() {
            Ok(OVERFLOW_ID) => Err(format!(
                "`{text}` stands for every user and group of other user namespaces"
            )),
            Ok(u32::MAX) | Err(_) => Err(format!("`{text}` is no number of a user or group")),
            Ok(id) => Ok(id),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_prefix("gid:") {
            Some(digits) if is_number(digits) => return number(digits).map(Self::Group),
            None if is_number(text) => return number(text).map(Self::User),
            None if is_name(text) => return Ok(Self::GroupName(text.to_owned())),
            Some(_) | None => {}
        }
        Err(format!(
            "`{}` is neither a user's number, nor a group's name or `gid:NUMBER`",
            crate::text::escape(text.as_bytes())
        ))
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@$".contains(&byte);
    let first = text.bytes().next();
    text.len() <= NAME_BYTES_MAX
        && first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(allowed)
}

impl std::fmt::Display for Principal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(formatter, "{id}"),
            Self::Group(id) => write!(formatter, "gid:{id}"),
            Self::GroupName(name) => formatter.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_user_or_a_group() {
        for (text, principal) in [
            ("0", Principal::User(0)),
            ("1001", Principal::User(1001)),
            ("gid:1001", Principal::Group(1001)),
            ("operators", Principal::GroupName("operators".to_owned())),
            ("_sec-ops.1", Principal::GroupName("_sec-ops.1".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(principal.clone()), "{text}");
            assert_eq!(principal.to_string(), text);
        }
        for text in [
            "",
            "-1",
            "gid:",
            "gid:x",
            "1001x",
            "65534",
            "gid:65534",
            "4294967295",
            "4294967296",
            "a b",
            "a\x1b",
            "uid:3",
        ] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
    }
}
