//! Which bytes of a name vary, and how: the types.
//!
//! Input: the words of a name, as [`crate::path::PathWords`] has them. Output: [`Marks`]. Failure: none; a name that is
//! longer than [`NAME_BYTES`] has no types within it, it is literal or decimal or hexadecimal as a whole.
//!
//! There are hardly any branches: a verifier follows each way through them, and values that it knows on one of them keep it
//! from joining them again (needed by 5.10 to 7.2). What is true of a row of bytes is therefore a bit: the one behind its last
//! byte, or none.

use super::Kind;
use super::bytes::{digits, equal, fill_down, letters, present, runs_from, starts};
use super::row::{Row, in_a_row, nothing, nothing_in};

/// The longest name, in bytes, of which parts can have a type: a map of it has a bit for each byte, and one for its end.
pub const NAME_BYTES: usize = 63;
/// The same in words.
const NAME_WORDS: u32 = 8;

/// Digits in a row that are decimal where no letter is before them.
const DECIMAL_APART: u32 = 4;
/// Digits in a row that are decimal right behind a letter.
const DECIMAL_ATTACHED: u32 = 6;

/// How names of GCC's begin, as a word.
const GCC_BEGINS: u64 = u64::from_le_bytes(*b"cc\0\0\0\0\0\0");
/// And those of Rust's crate tempfile.
const RUST_BEGINS: u64 = u64::from_le_bytes(*b".tmp\0\0\0\0");
/// And those of Python's.
const PYTHON_BEGINS: u64 = u64::from_le_bytes(*b"tmp\0\0\0\0\0");

/// What is known of a name's words so far. Maps have one bit for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Classifier {
    present: u64,
    digits: u64,
    lower: u64,
    upper: u64,
    hexadecimal: u64,
    dashes: u64,
    underscores: u64,
    dots: u64,
    /// The name's first eight bytes.
    first_word: u64,
    /// Not 0 if a byte is neither a digit nor one of the letters a to f; here names of all lengths count.
    not_hexadecimal: u64,
    /// Words so far.
    words: u32,
    /// Always zero.
    reserved: u32,
}

/// Which bytes of one name are replaced by which type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Marks {
    /// The first byte of each part that has a type. Each has at least two.
    pub first: u64,
    /// All but the first two bytes of each such part; until the last step all of its bytes.
    pub gone: u64,
    /// At each part's second byte the bits of its type's number, lowest first.
    pub kind: [u64; 3],
    /// The [`Kind`] of the name as a whole, or 0; if not 0, no part has a type.
    pub whole: u64,
    /// The [`Kind`] that the name begins with, or 0, as far as it matters to the name above it.
    pub leading: u64,
}

impl Marks {
    /// Nothing varies.
    pub const NONE: Self = Self {
        first: 0,
        gone: 0,
        kind: [0; 3],
        whole: 0,
        leading: 0,
    };

    /// Adds parts of one type: their first bytes, and all of them.
    #[inline(always)]
    const fn add(&mut self, kind: Kind, start: u64, bytes: u64) {
        self.first |= start;
        self.gone |= bytes;
        let mut bit = 0;
        while bit < 3 {
            if (kind as u64 >> bit) & 1 != 0 {
                self.kind[bit] |= start << 1;
            }
            bit += 1;
        }
    }

    /// Whether anything of the name varies: not 0 if so.
    #[inline(always)]
    #[must_use]
    pub const fn varies(&self) -> u64 {
        self.first | self.whole
    }
}

impl Classifier {
    /// Takes in one word of the name, the one with its NUL included.
    #[inline(always)]
    pub const fn word(&mut self, word: u64) {
        let present = present(word);
        let digits = digits(word);
        let (lower, upper, hexadecimal) = letters(word);
        // Beyond the eighth word the maps have no meaning, and are not used.
        let at = (self.words & (NAME_WORDS - 1)) * 8;
        // All ones for the first word, else none.
        let is_first = (self.words as i64 - 1) >> 63;
        self.first_word |= word & is_first.cast_unsigned();
        self.present |= present << at;
        self.digits |= digits << at;
        self.lower |= lower << at;
        self.upper |= upper << at;
        self.hexadecimal |= hexadecimal << at;
        self.dashes |= equal(word, b'-') << at;
        self.underscores |= equal(word, b'_') << at;
        self.dots |= equal(word, b'.') << at;
        self.not_hexadecimal |= present & !(digits | hexadecimal);
        self.words += 1;
    }

    /// What varies in the name, all of whose words were taken in. `below` is [`Marks::leading`] of the name below it in the
    /// path, or 0. The kernel programs take the same steps, each as a function of its own, because their stack is small.
    #[must_use]
    pub const fn marks(&self, below: u64) -> Marks {
        let mut marks = Marks::NONE;
        self.mark_whole(below, &mut marks);
        if marks.whole == 0 && self.may_have_parts() {
            self.mark_identifiers(&mut marks);
            self.mark_hexadecimals(&mut marks);
            self.mark_tools(&mut marks);
            self.mark_drawn(&mut marks);
            self.mark_decimals(&mut marks);
            self.settle(&mut marks);
        }
        marks
    }

    /// Whether the steps after the first could find anything. Without a digit or a capital there is nothing but Python's names.
    #[inline(always)]
    #[must_use]
    pub const fn may_have_parts(&self) -> bool {
        self.digits | self.upper != 0 || self.first_word & 0xff_ffff == PYTHON_BEGINS
    }

    /// First step: the type of the name as a whole. If it has one there are no others. `below` as for [`Self::marks`].
    #[inline(always)]
    pub const fn mark_whole(&self, below: u64, marks: &mut Marks) {
        marks.whole = self.whole(below);
        marks.leading = marks.whole;
    }

    /// Second step: uuids and dates.
    #[inline(always)]
    pub const fn mark_identifiers(&self, marks: &mut Marks) {
        let (start, bytes) = self.uuids();
        marks.add(Kind::Uuid, start, bytes);
        let (start, bytes) = self.dates();
        marks.add(Kind::Date, start, bytes);
    }

    /// Third step: hexadecimal parts.
    #[inline(always)]
    pub const fn mark_hexadecimals(&self, marks: &mut Marks) {
        let bytes = self.hexadecimals(marks.gone);
        let start = starts(bytes);
        marks.add(Kind::Hexadecimal, start, bytes);
        // Such as `0123abcd.debug`.
        marks.leading = (start & 1) * Kind::Hexadecimal as u64;
    }

    /// Fourth step: what tools drew behind a beginning of their own.
    #[inline(always)]
    pub const fn mark_tools(&self, marks: &mut Marks) {
        let bytes = self.python(marks.gone);
        marks.add(Kind::Random, starts(bytes), bytes);
        let bytes = self.drawn_behind(GCC_BEGINS, 2, marks.gone);
        marks.add(Kind::Random, starts(bytes), bytes);
        let bytes = self.drawn_behind(RUST_BEGINS, 4, marks.gone);
        marks.add(Kind::Random, starts(bytes), bytes);
    }

    /// Fifth step: what tools drew at the end.
    #[inline(always)]
    pub const fn mark_drawn(&self, marks: &mut Marks) {
        let bytes = self.drawn_at_end(marks.gone);
        marks.add(Kind::Random, starts(bytes), bytes);
    }

    /// Sixth step: rows of digits.
    #[inline(always)]
    pub const fn mark_decimals(&self, marks: &mut Marks) {
        let bytes = self.decimals(marks.gone);
        marks.add(Kind::Decimal, starts(bytes), bytes);
    }

    /// Last step: makes the marks of what the others found.
    #[inline(always)]
    pub const fn settle(&self, marks: &mut Marks) {
        // Of a name that is too long no part counts; the maps have no meaning then.
        let is_short = ((self.words as i64 - (NAME_WORDS as i64 + 1)) >> 63).cast_unsigned();
        marks.first &= is_short;
        marks.leading &= is_short;
        marks.gone &= !(marks.first | (marks.first << 1));
    }

    /// Its type, or 0.
    #[inline(always)]
    const fn whole(&self, below: u64) -> u64 {
        let all = nothing_in(self.not_hexadecimal, 8) & self.present;
        let no_letter = nothing(self.hexadecimal);
        let no_digit = nothing(self.digits);
        let eight = self.present >> 7;
        // The numbers of the two types are 2 and 6, and no other's two lowest bits are 2.
        let is_below_addressed = (below >> 1) & !below;
        let pair = all & nothing(self.present ^ 0b11) & is_below_addressed;
        let decimal = all & no_letter & !pair;
        let hexadecimal = all & !no_letter & !no_digit & eight;
        // At most one of them is true.
        (pair & 1) * Kind::HexadecimalPair as u64
            + (decimal & 1) * Kind::Decimal as u64
            + (hexadecimal & 1) * Kind::Hexadecimal as u64
    }

    /// Letters and digits.
    #[inline(always)]
    const fn alphanumeric(&self) -> u64 {
        self.digits | self.lower | self.upper
    }

    /// Where uuids begin, and their bytes: 8-4-4-4-12 hexadecimal digits, with neither letter nor digit beside them.
    #[inline(always)]
    const fn uuids(&self) -> (u64, u64) {
        let word = self.alphanumeric();
        let digit = self.digits | self.hexadecimal;
        let two = digit & (digit >> 1);
        let four = two & (two >> 2);
        let eight = four & (four >> 4);
        let dash = self.dashes;
        let start = eight
            & (dash >> 8)
            & (four >> 9)
            & (dash >> 13)
            & (four >> 14)
            & (dash >> 18)
            & (four >> 19)
            & (dash >> 23)
            & (four >> 24)
            & (eight >> 28)
            & !(word << 1)
            & !(word >> 36);
        (start, (start << 36).wrapping_sub(start))
    }

    /// Where dates begin, and their bytes: 4-2-2 digits with dashes; if followed by any one byte and 2-2-2 digits with
    /// a delimiter between them, these too.
    #[inline(always)]
    const fn dates(&self) -> (u64, u64) {
        let digit = self.digits;
        let two = digit & (digit >> 1);
        let four = two & (two >> 2);
        let dash = self.dashes;
        let other = self.present & !self.alphanumeric();
        let start =
            four & (dash >> 4) & (two >> 5) & (dash >> 7) & (two >> 8) & !(digit << 1) & !(digit >> 10);
        let with_time =
            start & (two >> 11) & (other >> 13) & (two >> 14) & (other >> 16) & (two >> 17) & !(digit >> 19);
        (
            start,
            (start << 10).wrapping_sub(start) | (with_time << 19).wrapping_sub(with_time),
        )
    }

    /// Runs of at least eight hexadecimal digits, among them a digit and a letter, with neither letter nor digit beside them.
    #[inline(always)]
    const fn hexadecimals(&self, taken: u64) -> u64 {
        let word = self.alphanumeric();
        let all = (self.digits | self.hexadecimal) & !taken;
        let (digits, letters) = (all & self.digits, all & self.hexadecimal);
        let two = all & (all >> 1);
        let four = two & (two >> 2);
        let eight = four & (four >> 4);
        let chosen = starts(all) & eight & !(word << 1);
        let runs = runs_from(all, chosen);
        // What a carry sets behind a run that begins at a chosen bit: its end, if the carry was not stopped by a byte of the
        // other class before.
        let end = all.wrapping_add(chosen) & !all;
        let only_letters = letters.wrapping_add(chosen & letters) & !all;
        let only_digits = digits.wrapping_add(chosen & digits) & !all;
        let refused = end & (word | only_letters | only_digits);
        runs & !fill_down(runs, refused >> 1)
    }

    /// Where names of tools may end.
    #[inline(always)]
    const fn ends(&self) -> u64 {
        !self.present | self.dots
    }

    /// Python's names: `tmp`, then eight small letters, digits or underscores.
    #[inline(always)]
    const fn python(&self, taken: u64) -> u64 {
        let row = Row::new(1 << 3, 1 << 11);
        let begins = nothing_in(self.first_word ^ PYTHON_BEGINS, 24) << 11;
        let small = self.digits | self.lower | self.underscores;
        row.bytes_if(begins & self.ends() & row.are_all(small) & !row.is_any(taken))
    }

    /// Six mixed letters and digits behind the first `length` bytes of a name, if these are `begins`.
    #[inline(always)]
    const fn drawn_behind(&self, begins: u64, length: u32, taken: u64) -> u64 {
        let row = Row::new(1 << length, 1 << (length + 6));
        let begins = nothing_in(self.first_word ^ begins, 8 * length) << (length + 6);
        row.bytes_if(
            begins
                & self.ends()
                & row.are_all(self.alphanumeric())
                & self.is_mixed(&row)
                & !row.is_any(taken),
        )
    }

    /// As mkstemp and mktemp make it: 6, 8, 10 or 12 mixed letters and digits at the end, behind a delimiter.
    #[inline(always)]
    const fn drawn_at_end(&self, taken: u64) -> u64 {
        let end = self.present.wrapping_add(1);
        let delimiter = self.dots | self.dashes | self.underscores;
        let word = self.alphanumeric();
        let mut start = 0;
        let mut length = 6;
        while length <= 12 {
            let row = Row::new((delimiter << 1) & (end >> length), end);
            start |= row.start & (row.are_all(word) >> length);
            length += 2;
        }
        // Those of them that are as many as mkstemp draws, behind a dot.
        let mkstemp = ((self.dots << 1) & start) << 6;
        let row = Row::new(start, end);
        row.bytes_if(self.is_mixed(&row) & (!self.is_capitalised(&row) | mkstemp) & !row.is_any(taken))
    }

    /// Whether bytes, all of them letters or digits, look drawn from 62: at least two of small letters, capitals and
    /// digits, and not small letters with a number behind them, such as `sha256`.
    #[inline(always)]
    const fn is_mixed(&self, row: &Row) -> u64 {
        let letters = (self.lower | self.upper) & row.bytes();
        let (digit, lower, upper) = (
            row.is_any(self.digits),
            row.is_any(self.lower),
            row.is_any(self.upper),
        );
        // The carry of the first bit runs through the letters, all of them if they come before the digits.
        let letter_later = row.is_any(letters & letters.wrapping_add(row.start));
        (upper & (lower | digit)) | (digit & letter_later)
    }

    /// Whether bytes, all of them letters or digits, look like a capitalised word, such as `Debian`. Six bytes behind a dot
    /// count all the same, as mkstemp draws too many such.
    #[inline(always)]
    const fn is_capitalised(&self, row: &Row) -> u64 {
        let others = (self.upper & row.bytes()) ^ row.start;
        row.end & !row.is_any(self.digits | others)
    }

    /// Rows of digits.
    #[inline(always)]
    const fn decimals(&self, taken: u64) -> u64 {
        let letters = self.lower | self.upper;
        let all = self.digits & !taken;
        let chosen = starts(all)
            & ((in_a_row(all, DECIMAL_APART) & !(letters << 1)) | in_a_row(all, DECIMAL_ATTACHED));
        runs_from(all, chosen)
    }
}
