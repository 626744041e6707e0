//! A name with its varying parts replaced, word by word.
//!
//! Input: the name's words and its [`Marks`]. Output: the words of its form, each as soon as it is complete, to be hashed or
//! kept. Failure: none.

use super::bytes::{compress, present, spread};
use super::classify::Marks;
use super::{KIND_BASE, KIND_MARK};

/// What is left over from the words so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Writer {
    /// Bytes that do not fill a word yet, from the low end.
    rest: u64,
    /// How many bits these are: a multiple of 8 below 64.
    rest_bits: u64,
    /// Bits of the marks that belong to the words so far: a multiple of 8.
    position: u64,
}

impl Writer {
    /// Takes in one word of the name. Gives the word of the form that is under way, and all ones if it is complete, else 0: a
    /// branch would double what a verifier has to follow.
    #[inline(always)]
    pub const fn word(&mut self, word: u64, marks: &Marks) -> (u64, u64) {
        let at = self.position & 63;
        self.position += 8;
        let first = spread(marks.first >> at);
        let second = spread((marks.first << 1) >> at);
        let gone = spread(marks.gone >> at) | spread(!present(word));
        let kind = spread(marks.kind[0] >> at)
            | (spread(marks.kind[1] >> at) << 1)
            | (spread(marks.kind[2] >> at) << 2);
        let kept = word & !((first | second | gone) * 0xff);
        let replaced = kept | (first * KIND_MARK as u64) | (second * KIND_BASE as u64 + kind);
        let bytes = compress(replaced, gone);
        // The sum of the bytes that stay, in the highest byte.
        let bits = 64 - ((gone.wrapping_mul(0x0101_0101_0101_0101) >> 56) * 8);

        let full = self.rest | (bytes << self.rest_bits);
        // Two steps, because a shift by 64 is none.
        let over = (bytes >> (63 - self.rest_bits)) >> 1;
        let total = self.rest_bits + bits;
        self.rest_bits = total & 63;
        // The sign says whether a whole word is there: the total is at most 120.
        let complete = ((63 - total.cast_signed()) >> 63).cast_unsigned();
        self.rest = (over & complete) | (full & !complete);
        (full, complete)
    }

    /// The last word: what is left over, and the NUL.
    #[inline(always)]
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.rest
    }
}
