//! Public keys: the half that is given to everybody.
//!
//! Input: a key's file, or its one line of Base64. Output: [`PublicKey`]. Failure: [`SignatureError`].

use ed25519_dalek::VerifyingKey;

use super::{KEY_BYTES_MAX, KeyId, SignatureError, UNTRUSTED, check_algorithm, decoded, part, text};

const WHAT: &str = "public key";
/// Algorithm, key id, key.
const BYTES: usize = 2 + 8 + 32;

/// A key that signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) id: KeyId,
    pub(super) key: VerifyingKey,
}

impl PublicKey {
    /// Reads a key from its file (a comment, and the key below it) or from the key's line alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let text = text(bytes, WHAT, KEY_BYTES_MAX)?;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let line = if first.starts_with(UNTRUSTED) {
            lines.next().unwrap_or_default()
        } else {
            first
        };
        let malformed = |problem| SignatureError::Malformed { what: WHAT, problem };
        let key: [u8; BYTES] = decoded(line).ok_or_else(|| {
            malformed("the line of the key is not 56 characters of Base64 (beginning with `RW`)")
        })?;
        check_algorithm(WHAT, part(&key, 0), *b"Ed")?;
        let verifying = VerifyingKey::from_bytes(&part(&key, 10))
            .ok()
            // Such a key holds for signatures that anybody can make.
            .filter(|key| !key.is_weak())
            .ok_or_else(|| malformed("it is no point of the curve that a key may be"))?;
        Ok(Self {
            id: KeyId(part(&key, 2)),
            key: verifying,
        })
    }

    /// Which key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}
