//! Secret keys: the half that signs.
//!
//! Input: a key's file and, if it is encrypted, its password. Output: [`SecretKey`]. Failure: [`SignatureError`]. The bytes are
//! overwritten when they are not needed any more, and never shown.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use ed25519_dalek::SigningKey;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    KEY_BYTES_MAX, KeyId, PublicKey, SignatureError, UNTRUSTED, check_algorithm, decoded, kdf, part, text,
};

const WHAT: &str = "secret key";
/// Algorithm, key derivation, checksum's algorithm, salt, operations, memory: what is never encrypted.
const HEAD: usize = 2 + 2 + 2 + 32 + 8 + 8;
/// Key id, seed and public key, checksum: what a password encrypts.
const BODY: usize = 8 + 64 + 32;
const BYTES: usize = HEAD + BODY;

/// A key that signs.
pub struct SecretKey {
    pub(super) id: KeyId,
    pub(super) key: SigningKey,
}

/// A secret key as its file holds it.
pub struct LockedKey {
    bytes: Zeroizing<[u8; BYTES]>,
}

impl LockedKey {
    /// Reads a key's file.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let text = text(bytes, WHAT, KEY_BYTES_MAX)?;
        let malformed = |problem| SignatureError::Malformed { what: WHAT, problem };
        let (comment, rest) = text.split_once('\n').unwrap_or((text, ""));
        if !comment.starts_with(UNTRUSTED) {
            return Err(malformed("the first line is no `untrusted comment: `"));
        }
        let line = rest.lines().next().unwrap_or_default();
        let bytes = decoded(line)
            .map(Zeroizing::new)
            .ok_or_else(|| malformed("the second line is no secret key in Base64 (is it a public key?)"))?;
        check_algorithm(WHAT, part(&*bytes, 0), *b"Ed")?;
        match part(&*bytes, 2) {
            [0, 0] | [b'S', b'c'] => {}
            other => check_algorithm(WHAT, other, *b"Sc")?,
        }
        check_algorithm(WHAT, part(&*bytes, 4), *b"B2")?;
        Ok(Self { bytes })
    }

    /// Whether it takes a password to use it.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.bytes[2..4] != [0, 0]
    }

    /// The key itself; `password` does not matter for one that is not encrypted.
    pub fn unlock(self, password: &[u8]) -> Result<SecretKey, SignatureError> {
        let is_encrypted = self.is_encrypted();
        let mut body = Zeroizing::new(part::<BODY>(&*self.bytes, HEAD));
        if is_encrypted {
            let [operations, memory_bytes] = [38, 46].map(|at| u64::from_le_bytes(part(&*self.bytes, at)));
            let stream = kdf::stream::<BODY>(password, &self.bytes[6..38], operations, memory_bytes)?;
            body.iter_mut()
                .zip(stream.iter())
                .for_each(|(byte, key)| *byte ^= key);
        }
        let checksum = Blake2b::<U32>::new()
            .chain_update(&self.bytes[..2])
            .chain_update(&body[..72])
            .finalize();
        let wrong = || {
            if is_encrypted {
                SignatureError::Password
            } else {
                SignatureError::Malformed {
                    what: WHAT,
                    problem: "its halves do not belong together: the file is damaged",
                }
            }
        };
        // minisign writes no checksum where it does not encrypt; that both halves belong together is checked below.
        let is_absent = !is_encrypted && body[72..].iter().all(|byte| *byte == 0);
        if checksum[..] != body[72..] && !is_absent {
            return Err(wrong());
        }
        let mut pair = part::<64>(&*body, 8);
        let key = SigningKey::from_keypair_bytes(&pair);
        pair.zeroize();
        Ok(SecretKey {
            id: KeyId(part(&*body, 0)),
            key: key.map_err(|_| wrong())?,
        })
    }
}

impl SecretKey {
    /// Which key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The other half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            id: self.id,
            key: self.key.verifying_key(),
        }
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretKey({})", self.id)
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LockedKey")
    }
}
