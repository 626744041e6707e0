//! The tags of the ABI (`Domain`, `Mode`, `Layer`, ...) as their words in every document: `#[serde(with = "crate::tag")]`.
//!
//! Input and output: the word that [`agent_common`] gives each value. Failure: a word without meaning is a
//! deserialisation error that names the words there are.

use std::borrow::Cow;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::{FileOperation, Layer};
use agent_common::rule::{Action, Verdict};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use agent_common::task::TaskState;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// A tag with a word for each value.
pub trait Tag: Copy + 'static {
    /// What such a value is, for error messages.
    const WHAT: &'static str;
    /// All values.
    fn all() -> &'static [Self];
    /// The value's word.
    fn word(self) -> &'static str;

    /// The value with this word.
    ///
    /// # Errors
    /// A message that names the words there are.
    fn from_word(word: &str) -> Result<Self, String> {
        Self::all()
            .iter()
            .copied()
            .find(|value| value.word() == word)
            .ok_or_else(|| {
                let words: Vec<_> = Self::all().iter().map(|value| value.word()).collect();
                let what = Self::WHAT;
                let word = crate::text::escape(word.as_bytes());
                format!("`{word}` is no {what}, expected one of: {}", words.join(", "))
            })
    }
}

macro_rules! tags {
    ($($name:ty => $what:literal),+ $(,)?) => {$(
        impl Tag for $name {
            const WHAT: &'static str = $what;
            fn all() -> &'static [Self] {
                Self::ALL
            }
            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    )+};
}
tags! {
    Action => "action",
    CapOutcome => "outcome",
    SyscallAbi => "interface of system calls",
    SyscallPhase => "phase",
    Domain => "domain",
    FileOperation => "operation",
    Layer => "layer",
    Mode => "mode",
    Section => "section",
    TaskState => "task state",
    UserNamespace => "user namespace",
    Verdict => "verdict",
}

/// Writes the word.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Tag, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.word())
}

/// Reads the word.
///
/// # Errors
/// If there is no such word.
pub fn deserialize<'de, T: Tag, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::from_word(&Cow::<'de, str>::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for a value that may be absent: `#[serde(with = "crate::tag::option")]`.
pub mod option {
    use super::{Cow, Deserialize, Deserializer, Error, Serializer, Tag};

    /// Writes the word or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Tag, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(value.word()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the word or null.
    ///
    /// # Errors
    /// If there is no such word.
    pub fn deserialize<'de, T: Tag, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Option::<Cow<'de, str>>::deserialize(deserializer)?
            .map(|word| T::from_word(&word).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "crate::tag")]
        layer: Layer,
        #[serde(with = "crate::tag::option")]
        mode: Option<Mode>,
    }

    #[test]
    fn reads_what_it_writes_and_refuses_other_words() {
        let both = Both {
            layer: Layer::Upper,
            mode: None,
        };
        let text = serde_json::to_string(&both).expect("json");
        assert_eq!(text, r#"{"layer":"upper","mode":null}"#);
        assert_eq!(serde_json::from_str::<Both>(&text).expect("read back"), both);
        let error =
            serde_json::from_str::<Both>(r#"{"layer":"top\n","mode":null}"#).expect_err("no such layer");
        assert!(
            error
                .to_string()
                .contains("`top\\x0a` is no layer, expected one of: unknown, image"),
            "{error}"
        );
    }
}
