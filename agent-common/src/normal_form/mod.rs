//! The typed normal form of a path: what remains the same when numbers, identifiers and random parts of its names vary.
//!
//! Purpose: one rule for paths that differ in such parts alone. The kernel programs and the daemon run this same code.
//! Input: the words of a path's names ([`crate::path::PathWords`]). Output: a form of the same encoding. Failure: none; what no
//! type covers is literal.
//!
//! A name's form is the name with each varying part replaced by two bytes: a slash, which no name can hold, and its [`Kind`].
//! So no literal name has the words of a form, and a form's hash is that of its words ([`crate::hash::component`]). A
//! name in which nothing varies is its own form. The hash of a path's form is that of its names' forms, finished as
//! [`crate::hash::Subject::NormalForm`]; only paths in which something varies have one.
//!
//! What the types are and why: docs/adr/0017. What they do to real paths: docs/normal-form.md.
#![allow(
    clippy::inline_always,
    reason = "in the kernel programs a call costs the verifier a frame and the hook time"
)]

mod bytes;
mod classify;
#[cfg(feature = "user")]
mod form;
#[cfg(all(test, feature = "user"))]
mod reference;
mod row;
mod write;

pub use classify::{Classifier, Marks, NAME_BYTES};
#[cfg(feature = "user")]
pub use form::{Form, Part, Pattern, PatternError, subtree_hash};
pub use write::Writer;

/// Stands before a type's number in a form.
const KIND_MARK: u8 = b'/';
/// Added to a type's number in a form.
const KIND_BASE: u8 = 0x60;

/// The type of a part that varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A name of digits alone; within a name at least four digits, or six right behind a letter.
    Decimal = 1,
    /// At least eight hexadecimal digits, both digits and letters among them, with neither letter nor digit beside them.
    Hexadecimal = 2,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid = 3,
    /// `YYYY-MM-DD`; with a time of day behind it, that too.
    Date = 4,
    /// Letters and digits that a tool drew: behind a delimiter at a name's end, or behind `cc`, `tmp` or `.tmp` at
    /// its beginning.
    Random = 5,
    /// A name of two hexadecimal digits above a name that begins with a hexadecimal part, or above another such pair: how
    /// files are spread over directories by their hash.
    HexadecimalPair = 6,
}

impl Kind {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::Decimal,
        Self::Hexadecimal,
        Self::Uuid,
        Self::Date,
        Self::Random,
        Self::HexadecimalPair,
    ];

    /// The type with this number; `None` if there is none.
    #[must_use]
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == raw)
    }

    /// The one word of the form of a name that is of type `whole` ([`Marks::whole`]) as a whole; 0 for none.
    #[inline(always)]
    #[must_use]
    pub const fn whole_word(whole: u64) -> u64 {
        // 1 unless it is 0: numbers are below 8.
        let is_any = (whole + 7) >> 3;
        is_any * (KIND_MARK as u64 | ((KIND_BASE as u64 + whole) << 8))
    }

    /// What a rule with this type holds for, in words for a reviewer.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Decimal => "any number",
            Self::Hexadecimal => "any hexadecimal number of eight digits or more",
            Self::Uuid => "any UUID",
            Self::Date => "any date, with or without a time",
            Self::Random => "any random letters and digits as tools draw them",
            Self::HexadecimalPair => "any two hexadecimal digits",
        }
    }

    /// The word for this type between braces in a rule's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decimal => "decimal",
            Self::Hexadecimal => "hexadecimal",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Random => "random",
            Self::HexadecimalPair => "hexadecimal-pair",
        }
    }
}
