//! Eight bytes at a time: which of a word's bytes belong to a class, and which bits of a map belong to which run.
//!
//! Input: a word of a name, little endian (its first byte is the lowest), or a map with one bit per byte of a name, the first
//! byte's lowest. Output: bits. Failure: none.

/// Each byte 1.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// All others.
const LOW: u64 = !HIGH;

/// Gathers the highest bits of a word's bytes: bit `n` for byte `n`.
#[inline(always)]
const fn gather(high: u64) -> u64 {
    ((high & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The bytes from `from` to `to`, both below 128.
#[inline(always)]
const fn between(word: u64, from: u8, to: u8) -> u64 {
    let low = word & LOW;
    // No sum leaves its byte: 127 + 128 is the most there can be.
    let reaches = low + ONES * (0x80 - from as u64);
    let exceeds = low + ONES * (0x7f - to as u64);
    reaches & !exceeds & !word & HIGH
}

/// The bytes that are `byte`, as bits.
#[inline(always)]
pub const fn equal(word: u64, byte: u8) -> u64 {
    gather(!present_high(word ^ (ONES * byte as u64)))
}

/// The highest bit of each byte that is not 0.
#[inline(always)]
const fn present_high(word: u64) -> u64 {
    (((word & LOW) + LOW) | word) & HIGH
}

/// The bytes that are not 0, as bits.
#[inline(always)]
pub const fn present(word: u64) -> u64 {
    gather(present_high(word))
}

/// The bytes `0` to `9`, as bits.
#[inline(always)]
pub const fn digits(word: u64) -> u64 {
    gather(between(word, b'0', b'9'))
}

/// The letters `a` to `z`, `A` to `Z`, and of both those to `f`, as bits.
#[inline(always)]
pub const fn letters(word: u64) -> (u64, u64, u64) {
    let folded = word | (ONES * 0x20);
    let all = between(folded, b'a', b'z');
    // The bit that makes a letter a small one, moved to where the others are.
    let small = word << 2;
    (
        gather(all & small),
        gather(all & !small),
        gather(between(folded, b'a', b'f')),
    )
}

/// Spreads eight bits over a word's bytes: 1 in byte `n` for bit `n`.
#[inline(always)]
pub const fn spread(bits: u64) -> u64 {
    let lanes = (bits & 0xff).wrapping_mul(ONES) & 0x8040_2010_0804_0201;
    ((lanes + LOW) >> 7) & ONES
}

/// Moves the bytes that stay to the word's low end, in their order. `gone` has 1 in each byte that goes; what the word has in
/// those must be 0.
#[inline(always)]
pub const fn compress(word: u64, gone: u64) -> u64 {
    // How far each byte moves: as many places as bytes below it go. Those that go do not move.
    let mut distance = (gone.wrapping_mul(ONES) << 8) & !(gone * 0xff);
    let mut word = word;
    let mut bit = 0;
    while bit < 3 {
        let which = ((distance >> bit) & ONES) * 0xff;
        let (bytes, distances) = (word & which, distance & which);
        word = (word ^ bytes) | (bytes >> (8 << bit));
        distance = (distance ^ distances) | (distances >> (8 << bit));
        bit += 1;
    }
    word
}

/// The first bit of each run of set bits.
#[inline(always)]
pub const fn starts(map: u64) -> u64 {
    map & !(map << 1)
}

/// Of the runs in `map`, those that begin at one of the bits in `chosen`, each of which is the first of a run.
#[inline(always)]
pub const fn runs_from(map: u64, chosen: u64) -> u64 {
    // The carry clears a chosen run and sets the bit behind it.
    map & !map.wrapping_add(chosen)
}

/// Of the runs in `map`, the bits at and before each of `seeds` in the same run.
#[inline(always)]
pub const fn fill_down(map: u64, seeds: u64) -> u64 {
    let (mut filled, mut through) = (seeds & map, map);
    let mut distance = 1;
    while distance < 64 {
        filled |= through & (filled >> distance);
        through &= through >> distance;
        distance *= 2;
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(bytes: [u8; 8], holds: impl Fn(u8) -> bool) -> u64 {
        (0..8).filter(|&n| holds(bytes[n])).map(|n| 1 << n).sum()
    }

    proptest! {
        #[test]
        fn classes_are_those_of_each_byte(bytes: [u8; 8], byte: u8) {
            let word = u64::from_le_bytes(bytes);
            prop_assert_eq!(present(word), bits(bytes, |b| b != 0));
            prop_assert_eq!(equal(word, byte), bits(bytes, |b| b == byte));
            prop_assert_eq!(digits(word), bits(bytes, |b| b.is_ascii_digit()));
            let (lower, upper, hexadecimal) = letters(word);
            prop_assert_eq!(lower, bits(bytes, |b| b.is_ascii_lowercase()));
            prop_assert_eq!(upper, bits(bytes, |b| b.is_ascii_uppercase()));
            prop_assert_eq!(hexadecimal, bits(bytes, |b| b.is_ascii_alphabetic() && b.is_ascii_hexdigit()));
        }

        #[test]
        fn what_stays_keeps_its_order(bytes: [u8; 8], gone: u8) {
            let (mut word, mut expected, mut at) = ([0; 8], [0; 8], 0);
            for n in 0..8 {
                if gone >> n & 1 == 0 {
                    word[n] = bytes[n];
                    expected[at] = bytes[n];
                    at += 1;
                }
            }
            let got = compress(u64::from_le_bytes(word), spread(u64::from(gone)));
            prop_assert_eq!(got.to_le_bytes(), expected);
        }

        #[test]
        fn runs_are_whole(map: u64, seeds: u64) {
            let chosen = starts(map) & seeds;
            let (mut runs, mut filled) = (0u64, 0u64);
            let mut inside = false;
            for n in 0..64 {
                let bit = 1u64 << n;
                inside = map & bit != 0 && (inside || chosen & bit != 0);
                runs |= if inside { bit } else { 0 };
            }
            inside = false;
            for n in (0..64).rev() {
                let bit = 1u64 << n;
                inside = map & bit != 0 && (inside || seeds & bit != 0);
                filled |= if inside { bit } else { 0 };
            }
            prop_assert_eq!(runs_from(map, chosen), runs);
            prop_assert_eq!(fill_down(map, seeds), filled);
        }
    }
}
