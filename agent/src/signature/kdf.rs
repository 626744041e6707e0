//! How a password becomes the key that a secret key is encrypted with: scrypt, with the costs that the file names.
//!
//! Input: password, salt and costs, in libsodium's two numbers. Output: the key stream. Failure: costs beyond the bounds, which a
//! file could name to have all memory taken.

use scrypt::Params;
use zeroize::Zeroizing;

use super::SignatureError;

/// Most memory in bytes: what minisign takes by default (libsodium's "sensitive").
pub(super) const MEMORY_MAX: u64 = 1 << 30;
/// Most rounds over that memory.
pub(super) const ROUNDS_MAX: u32 = 16;
/// Blocks per element of the memory, fixed in libsodium.
const BLOCKS: u32 = 8;

/// `N` bytes from a password.
pub(super) fn stream<const N: usize>(
    password: &[u8],
    salt: &[u8],
    operations: u64,
    memory_bytes: u64,
) -> Result<Zeroizing<[u8; N]>, SignatureError> {
    let parameters = parameters(operations, memory_bytes).ok_or(SignatureError::Costly)?;
    let mut stream = Zeroizing::new([0; N]);
    scrypt::scrypt(password, salt, &parameters, &mut stream[..]).map_err(|_| SignatureError::Costly)?;
    Ok(stream)
}

/// scrypt's parameters for libsodium's limits of operations and memory (`crypto_pwhash_scryptsalsa208sha256`).
fn parameters(operations: u64, memory_bytes: u64) -> Option<Params> {
    let operations = operations.max(32_768);
    let elements_log2 = |most: u64| (1..63).find(|log2| 1_u64 << log2 > most / 2).unwrap_or(63);
    let (log2, rounds) = if operations < memory_bytes / 32 {
        (elements_log2(operations / u64::from(BLOCKS * 4)), 1)
    } else {
        let log2 = elements_log2(memory_bytes / u64::from(BLOCKS * 128));
        let rounds = ((operations / 4) >> log2).min(0x3fff_ffff) / u64::from(BLOCKS);
        (log2, rounds)
    };
    let rounds = u32::try_from(rounds).ok()?;
    let memory = u64::from(BLOCKS * 128).checked_shl(log2)?;
    if log2 > 30 || memory > MEMORY_MAX || rounds > ROUNDS_MAX {
        return None;
    }
    Params::new(u8::try_from(log2).ok()?, BLOCKS, rounds, Params::RECOMMENDED_LEN).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_libsodium_and_bounded() {
        let of = |operations, memory| parameters(operations, memory).map(|found| (found.log_n(), found.p()));
        // minisign's default, and libsodium's "interactive".
        assert_eq!(of(33_554_432, 1 << 30), Some((20, 1)));
        assert_eq!(of(524_288, 1 << 24), Some((14, 1)));
        assert_eq!(of(u64::MAX, u64::MAX), None);
        assert_eq!(
            of(33_554_432, 1 << 32),
            Some((20, 1)),
            "few operations bound the memory"
        );
        assert_eq!(of(1 << 40, 1 << 31), None, "too much memory");
        assert_eq!(of(1 << 40, 1 << 20), None, "too many rounds");
        assert_eq!(
            of(0, 0),
            parameters(0, 0).map(|found| (found.log_n(), found.p())),
            "and no panic"
        );
    }
}
