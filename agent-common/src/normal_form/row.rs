//! What is true of bytes in a row, and of maps as a whole, without branches.
//!
//! Input: maps with one bit for each byte of a name. Output: bits. Failure: none.

/// Bytes in a row, of a name that is not too long; of others nothing here has a meaning. What is true of it is [`Self::end`], else 0.
pub struct Row {
    /// The bit of the first byte; 0 for no row: then [`Self::bytes_if`] gives none, and nothing else has a meaning.
    pub start: u64,
    /// The bit behind the last byte.
    pub end: u64,
}

impl Row {
    /// From its first bit and the one behind its last.
    #[inline(always)]
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// Its bytes.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        self.end.wrapping_sub(self.start)
    }

    /// Whether the map has all of its bytes.
    #[inline(always)]
    pub const fn are_all(&self, map: u64) -> u64 {
        (map & self.bytes()).wrapping_add(self.start) & self.end
    }

    /// Whether the map has any of its bytes.
    #[inline(always)]
    pub const fn is_any(&self, map: u64) -> u64 {
        let bytes = self.bytes();
        (map & bytes).wrapping_add(bytes) & self.end
    }

    /// Its bytes if that is true of it, else none. It has at most 15.
    #[inline(always)]
    pub const fn bytes_if(&self, truth: u64) -> u64 {
        let mut smeared = truth >> 1;
        smeared |= smeared >> 1;
        smeared |= smeared >> 2;
        smeared |= smeared >> 4;
        smeared |= smeared >> 8;
        smeared & self.bytes()
    }
}

/// 1 if `map` is 0, else 0.
#[inline(always)]
pub const fn nothing(map: u64) -> u64 {
    let map = map | (map >> 32);
    let map = map | (map >> 16);
    nothing_in(map | (map >> 8), 8)
}

/// 1 if the lowest `bits` of `value` are 0, else 0.
#[inline(always)]
pub const fn nothing_in(value: u64, bits: u32) -> u64 {
    let mask = (1 << bits) - 1;
    !(((value & mask) + mask) >> bits) & 1
}

/// The bits at which `length` set bits in a row begin.
#[inline(always)]
pub const fn in_a_row(map: u64, length: u32) -> u64 {
    let mut rows = map;
    let mut distance = 1;
    while distance < length {
        rows &= map >> distance;
        distance += 1;
    }
    rows
}
