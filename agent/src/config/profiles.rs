//! `profiles:` of the configuration: whose profiles are trusted.
//!
//! Input: the section, and the files of keys that it names. Output: [`Trust`]. Failure: [`TrustError`] with the entry that is wrong.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::signature::{KEY_BYTES_MAX, PublicKey, SignatureError};

/// Most keys; more are refused.
pub const KEYS_MAX: usize = 64;

/// `profiles:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfilesSection {
    /// Public keys of minisign, each in its one line of Base64 or as the absolute path of its file.
    pub trusted_keys: Vec<String>,
    /// Nothing is enforced but what one of them has signed.
    pub enforce_only_signed: bool,
}

/// Whose profiles are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// `enforce` holds only where a profile permits what one of these keys has signed.
    pub enforce_only_signed: bool,
}

/// The section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read.
    #[error("profiles.trusted_keys: cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An entry is no key.
    #[error("profiles.trusted_keys: `{}`: {source}", entry.escape_debug())]
    Key {
        /// The entry, cut to 100 characters.
        entry: String,
        /// Why not.
        source: SignatureError,
    },
    /// Too many.
    #[error("profiles.trusted_keys: more than {KEYS_MAX} keys")]
    TooMany,
    /// Then nothing at all could be enforced, which is hardly what is meant.
    #[error("profiles.enforce_only_signed: there are no trusted_keys that a profile could be signed with")]
    NoKeys,
}

impl ProfilesSection {
    /// Reads the keys.
    pub fn resolve(&self) -> Result<Trust, TrustError> {
        if self.trusted_keys.len() > KEYS_MAX {
            return Err(TrustError::TooMany);
        }
        let keys: Vec<_> = self
            .trusted_keys
            .iter()
            .map(|entry| key(entry))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() && self.enforce_only_signed {
            return Err(TrustError::NoKeys);
        }
        Ok(Trust {
            keys,
            enforce_only_signed: self.enforce_only_signed,
        })
    }
}

fn key(entry: &str) -> Result<PublicKey, TrustError> {
    // No key begins like this: its first byte is the algorithm's letter.
    let parsed = if entry.starts_with('/') {
        PublicKey::parse(&read_key(Path::new(entry)).map_err(|source| TrustError::Read {
            file: entry.into(),
            source,
        })?)
    } else {
        PublicKey::parse(entry.as_bytes())
    };
    parsed.map_err(|source| TrustError::Key {
        entry: entry.chars().take(100).collect(),
        source,
    })
}

/// The bytes of a key's file; of one that is too long, no more than tell so.
pub fn read_key(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(KEY_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWTG+GJw1FJEjXRsIPWF32IksZPEiQ5qZ/Tvj7T/YPACXIJqoMEP4jOx";

    fn resolve(entries: &[&str], enforce_only_signed: bool) -> Result<Trust, String> {
        let section = ProfilesSection {
            trusted_keys: entries.iter().map(ToString::to_string).collect(),
            enforce_only_signed,
        };
        section.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_lines_or_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ops.pub");
        std::fs::write(&file, format!("untrusted comment: ops\n{KEY}\n")).expect("written");
        let file = file.to_str().expect("text");
        let trust = resolve(&[KEY, file], true).expect("two keys");
        assert_eq!(trust.keys[0], trust.keys[1]);
        assert_eq!(trust.keys[0].id().to_string(), "8D4452D47062F8C6");
        assert_eq!(resolve(&[], false), Ok(Trust::default()));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let missing = resolve(&["/nonexistent/key.pub"], false).expect_err("missing");
        assert!(missing.contains("/nonexistent/key.pub"), "{missing}");
        let key = resolve(&["ops.pub"], false).expect_err("no key");
        assert!(
            key.contains("`ops.pub`") && key.contains("56 characters"),
            "{key}"
        );
        assert!(
            resolve(&[], true)
                .expect_err("none")
                .contains("enforce_only_signed")
        );
        assert!(resolve(&[KEY; 65], true).expect_err("too many").contains("64"));
        let endless = resolve(&["/dev/zero"], false).expect_err("endless");
        assert!(endless.contains("longer than"), "{endless}");
    }
}
