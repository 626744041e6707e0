//! Detached signatures in minisign's format: ed25519 over the BLAKE2b-512 of a file, with a comment that is signed too.
//!
//! Purpose: say who vouches for a profile document, in files that `minisign` reads and writes alike. [`PublicKey`] and
//! [`SecretKey`] are keys, [`Signature`] is the file beside the document. Input: the bytes of such files, which strangers may
//! have written. Output: a signature, or whether it holds. Failure: a [`SignatureError`] that says what is wrong with which
//! line; nothing is allocated by what a file says, with the one exception that [`kdf`] bounds.
//!
//! The formats are those of minisign 0.6 and later. What its older option `-l` makes (algorithm `Ed`, over the file itself) is
//! refused by name. Pure, apart from the clock and the files that callers read.

mod kdf;
mod public_key;
mod secret_key;
mod signed;
#[cfg(test)]
pub(crate) mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use public_key::PublicKey;
pub use secret_key::{LockedKey, SecretKey};
pub use signed::{Prehash, Signature};

/// What minisign appends to the name of the file that it signs.
pub const SUFFIX: &str = ".minisig";
/// Largest signature file in bytes: minisign's own bounds of its two comments (1,024 and 8,192 bytes), and the rest.
pub const SIGNATURE_BYTES_MAX: usize = 10 << 10;
/// Largest file of a key in bytes.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Longest trusted comment in bytes that minisign reads.
pub const COMMENT_BYTES_MAX: usize = 8192;

/// How the first line of each file begins. What follows is not signed.
const UNTRUSTED: &str = "untrusted comment: ";
/// How the third line of a signature begins. What follows is signed.
const TRUSTED: &str = "trusted comment: ";

/// Which key: drawn when it was made, the same in both halves and in every signature. Not a secret, and no proof of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// Why a key or a signature cannot be used, or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// More bytes than such a file has.
    #[error("{what}: longer than {limit} bytes")]
    TooLong {
        /// Which file.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The file is not what it should be.
    #[error("{what}: {problem}")]
    Malformed {
        /// Which file.
        what: &'static str,
        /// What is wrong, with the line.
        problem: &'static str,
    },
    /// Another algorithm than ed25519 over BLAKE2b-512.
    #[error("{what}: algorithm `{algorithm}` is not supported{}", legacy(algorithm))]
    Algorithm {
        /// Which file.
        what: &'static str,
        /// The two letters by which the file names it, escaped.
        algorithm: String,
    },
    /// The key's file asks for more memory or time than any password is worth.
    #[error("secret key: its password hashing asks for more than {} MiB or {} rounds", kdf::MEMORY_MAX >> 20, kdf::ROUNDS_MAX)]
    Costly,
    /// It does not open with this password.
    #[error("secret key: the password is wrong")]
    Password,
    /// Made with another key.
    #[error("signed with key {signed_with}, not with {expected}")]
    OtherKey {
        /// The key that the signature names.
        signed_with: KeyId,
        /// The key that it was held against.
        expected: KeyId,
    },
    /// Not one of the keys that are trusted.
    #[error("signed with key {signed_with}, which is not trusted here")]
    Untrusted {
        /// The key that the signature names.
        signed_with: KeyId,
    },
    /// Made for another content, or by someone who does not have the key.
    #[error("the signature of key {key} does not hold: the file is not what was signed")]
    WrongFile {
        /// The key that the signature names.
        key: KeyId,
    },
    /// The file is what was signed, the comment is not.
    #[error("the signature of key {key} does not hold for its trusted comment: that was changed")]
    WrongComment {
        /// The key that the signature names.
        key: KeyId,
    },
    /// A comment that would not be one line.
    #[error(
        "a trusted comment is one line of at most {COMMENT_BYTES_MAX} bytes, without control characters but tabs"
    )]
    Comment,
}

impl std::fmt::Display for KeyId {
    /// As minisign shows it: hexadecimal digits, without zeros at the beginning.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:X}", u64::from_le_bytes(self.0))
    }
}

fn legacy(algorithm: &str) -> &'static str {
    if algorithm == "Ed" {
        ": it was made over the file itself (`minisign -l`), sign it without that option"
    } else {
        ""
    }
}

/// The file as text, if it is not longer than `limit`.
fn text<'a>(bytes: &'a [u8], what: &'static str, limit: usize) -> Result<&'a str, SignatureError> {
    if bytes.len() > limit {
        return Err(SignatureError::TooLong { what, limit });
    }
    std::str::from_utf8(bytes).map_err(|_| SignatureError::Malformed {
        what,
        problem: "it is not text",
    })
}

/// The bytes that a line holds in Base64, exactly `N` of them.
fn decoded<const N: usize>(line: &str) -> Option<[u8; N]> {
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(line.trim_ascii_end()).ok()?);
    bytes.as_slice().try_into().ok()
}

/// Refuses every algorithm but `expected`.
fn check_algorithm(what: &'static str, found: [u8; 2], expected: [u8; 2]) -> Result<(), SignatureError> {
    if found == expected {
        return Ok(());
    }
    Err(SignatureError::Algorithm {
        what,
        algorithm: crate::text::escape(&found),
    })
}

/// `N` bytes from `at` on, of a longer array. Where they lie is fixed, so that it cannot fail.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
