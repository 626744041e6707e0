//! Identity of an image: the digest of its config, the one identity that every runtime has.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::container::ContainerId;

/// `sha256:` and 64 lower-case hexadecimal digits (OCI image specification, "Digests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ImageDigest(String);

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    /// What was to be read.
    pub text: String,
}

impl ImageDigest {
    /// What stands for the image of a container of which no image is known. It is no image's digest, and no other
    /// container's.
    #[must_use]
    pub fn of_container(id: &ContainerId) -> Self {
        Self::standing_for(&format!("container {id}"))
    }

    /// What stands for an image whose digest only the files of an ordinary user tell. It is no image's digest, and no
    /// other user's.
    #[must_use]
    pub fn of_user(user: u32, claimed: &Self) -> Self {
        Self::standing_for(&format!("user {user} {claimed}"))
    }

    /// A config is JSON, and this text is none.
    fn standing_for(words: &str) -> Self {
        use std::fmt::Write as _;
        let hash = Sha256::digest(format!("driftlock stands for {words}"));
        let mut text = "sha256:".to_owned();
        for byte in hash {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The whole text, with `sha256:`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as tables show them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

impl std::fmt::Display for ImageDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.0)
    }
}

impl std::str::FromStr for ImageDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(is_digit) => Ok(Self(text.to_owned())),
            _ => Err(DigestError {
                text: text.chars().take(100).collect(),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for ImageDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A reference without its tag: what follows the last colon, unless that is a port.
#[must_use]
pub fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_no_port() {
        assert_eq!(without_tag("docker.io/library/demo:1"), "docker.io/library/demo");
        assert_eq!(without_tag("localhost:5000/demo"), "localhost:5000/demo");
        assert_eq!(without_tag("demo"), "demo");
    }

    #[test]
    fn what_stands_for_an_image_is_nobody_elses() {
        let id = |digit: &str| digit.repeat(64).parse::<ContainerId>().expect("an id");
        let one = ImageDigest::of_container(&id("1"));
        assert_eq!(one, ImageDigest::of_container(&id("1")));
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        let all = [
            one.clone(),
            ImageDigest::of_container(&id("2")),
            ImageDigest::of_user(1000, &one),
            ImageDigest::of_user(1001, &one),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn takes_only_the_canonical_form() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(format!("sha256:{digits}").parse::<ImageDigest>().is_ok());
        for text in [
            digits.clone(),
            format!("sha512:{digits}"),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:{digits}0"),
        ] {
            assert!(text.parse::<ImageDigest>().is_err(), "{text}");
        }
    }
}
