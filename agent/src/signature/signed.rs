//! Signatures: made, written, read, verified.
//!
//! Input: a key and what is signed, or a signature's file. Output: [`Signature`], or whether it holds. Failure:
//! [`SignatureError`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::Signer as _;

use super::{
    COMMENT_BYTES_MAX, KeyId, PublicKey, SIGNATURE_BYTES_MAX, SecretKey, SignatureError, TRUSTED, UNTRUSTED,
    check_algorithm, decoded, part, text,
};

const WHAT: &str = "signature";
/// Algorithm, key id, signature.
const BYTES: usize = 2 + 8 + 64;
/// Over the BLAKE2b-512 of the file.
const PREHASHED: [u8; 2] = *b"ED";

/// What is signed of a file: its BLAKE2b-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prehash([u8; 64]);

/// A detached signature with its comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: KeyId,
    file: [u8; 64],
    trusted_comment: String,
    /// Of `file` and the trusted comment.
    comment: [u8; 64],
}

impl Prehash {
    /// That of a file with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Blake2b512::digest(bytes).into())
    }
}

impl Signature {
    /// Signs a file, and a comment that cannot be changed afterwards.
    pub fn sign(key: &SecretKey, file: &Prehash, trusted_comment: &str) -> Result<Self, SignatureError> {
        if !is_comment(trusted_comment) {
            return Err(SignatureError::Comment);
        }
        let of_file = key.key.sign(&file.0).to_bytes();
        let of_comment = key.key.sign(&with_comment(&of_file, trusted_comment));
        Ok(Self {
            key: key.id,
            file: of_file,
            trusted_comment: trusted_comment.to_owned(),
            comment: of_comment.to_bytes(),
        })
    }

    /// Reads a signature's file. Nothing is verified yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let text = text(bytes, WHAT, SIGNATURE_BYTES_MAX)?;
        let malformed = |problem| SignatureError::Malformed { what: WHAT, problem };
        let mut lines = text.lines();
        let mut line = || lines.next().unwrap_or_default();
        if !line().starts_with(UNTRUSTED) {
            return Err(malformed("line 1 is no `untrusted comment: `"));
        }
        let signature: [u8; BYTES] =
            decoded(line()).ok_or_else(|| malformed("line 2 is no signature in Base64"))?;
        check_algorithm(WHAT, part(&signature, 0), PREHASHED)?;
        let trusted_comment = line()
            .strip_prefix(TRUSTED)
            .ok_or_else(|| malformed("line 3 is no `trusted comment: `"))?
            .to_owned();
        if !is_comment(&trusted_comment) {
            return Err(SignatureError::Comment);
        }
        let comment =
            decoded(line()).ok_or_else(|| malformed("line 4 is no signature of the comment in Base64"))?;
        if !lines.all(str::is_empty) {
            return Err(malformed("more than four lines"));
        }
        Ok(Self {
            key: KeyId(part(&signature, 2)),
            file: part(&signature, 10),
            trusted_comment,
            comment,
        })
    }

    /// The signature's file.
    #[must_use]
    pub fn render(&self) -> String {
        let file = [&PREHASHED[..], &self.key.0, &self.file].concat();
        format!(
            "{UNTRUSTED}signature of key {} by driftlock\n{}\n{TRUSTED}{}\n{}\n",
            self.key,
            STANDARD.encode(file),
            self.trusted_comment,
            STANDARD.encode(self.comment)
        )
    }

    /// The key that it says it was made with.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// The comment that is signed with the file; of a signature that was not verified, whatever somebody wrote.
    #[must_use]
    pub fn trusted_comment(&self) -> &str {
        &self.trusted_comment
    }

    /// Whether `key` made this signature, for this file and this comment.
    pub fn verify(&self, key: &PublicKey, file: &Prehash) -> Result<(), SignatureError> {
        if self.key != key.id {
            return Err(SignatureError::OtherKey {
                signed_with: self.key,
                expected: key.id,
            });
        }
        let holds = |bytes: &[u8], signature: &[u8; 64]| {
            let signature = ed25519_dalek::Signature::from_bytes(signature);
            // Strict: one signature for one content, whatever library looks at it.
            key.key.verify_strict(bytes, &signature).is_ok()
        };
        if !holds(&file.0, &self.file) {
            return Err(SignatureError::WrongFile { key: self.key });
        }
        if !holds(&with_comment(&self.file, &self.trusted_comment), &self.comment) {
            return Err(SignatureError::WrongComment { key: self.key });
        }
        Ok(())
    }

    /// Whether one of `keys` made this signature. Two keys may have one id, which is drawn and proves nothing.
    pub fn verify_by_any(&self, keys: &[PublicKey], file: &Prehash) -> Result<(), SignatureError> {
        let mut result = Err(SignatureError::Untrusted {
            signed_with: self.key,
        });
        for key in keys.iter().filter(|key| key.id == self.key) {
            result = self.verify(key, file);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

/// Whether a trusted comment is one line, so that it is read back as it was signed.
fn is_comment(text: &str) -> bool {
    let is_shown = |character: char| character == '\t' || !character.is_control();
    text.len() <= COMMENT_BYTES_MAX && text.chars().all(is_shown)
}

/// What the second signature is of.
fn with_comment(of_file: &[u8; 64], trusted_comment: &str) -> Vec<u8> {
    [&of_file[..], trusted_comment.as_bytes()].concat()
}
