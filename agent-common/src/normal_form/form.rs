//! Forms of whole paths, for the daemon: rules that hold for more than one path.
//!
//! Input: a path, or the parts of a rule. Output: a [`Form`] or a [`Pattern`], with the hash that the kernel programs give for each path
//! that it holds for. Failure: [`PatternError`], for rules that no path can match.

use alloc::vec::Vec;

use super::{Classifier, KIND_BASE, KIND_MARK, Kind, Writer};
use crate::hash::{self, HashKey, Hasher, Subject};

/// The form of a path: that of each of its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form {
    /// From the root on.
    names: Vec<Vec<u8>>,
}

/// A piece of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// These very bytes.
    Literal(&'a [u8]),
    /// Anything of this type.
    Varying(Kind),
}

/// A rule that holds for more than one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// All paths of this form, in which something varies.
    Form(Form),
    /// Everything below this directory, or below each directory of this form.
    Subtree(Form),
}

/// A rule that no path would match, or one path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A name is empty or holds a byte that no name can hold, or two literals are not apart.
    #[error("a name is empty, or holds a slash or a NUL")]
    Name,
    /// It is an exact path.
    #[error("nothing in it varies: it is an exact path")]
    Exact,
    /// A part of it would be another type, or none.
    #[error("no path has this form: a part of it would always be taken for something else")]
    NeverMatches,
}

impl Form {
    /// The form of an absolute path without `.` and `..`; empty components do not count.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        let mut below = 0;
        let mut names: Vec<Vec<u8>> = names(path)
            .rev()
            .map(|name| {
                let form;
                (form, below) = of_name(name, below);
                form
            })
            .collect();
        names.reverse();
        Self { names }
    }

    /// A path as it is, whatever in it could vary: a directory by its exact name.
    #[must_use]
    pub fn exact(path: &[u8]) -> Self {
        Self {
            names: names(path).map(<[u8]>::to_vec).collect(),
        }
    }

    /// The form that [`Self::names`] gave the parts of.
    ///
    /// # Errors
    /// [`PatternError::Name`].
    pub fn from_names<'a, N, P>(names: N) -> Result<Self, PatternError>
    where
        N: IntoIterator<Item = P>,
        P: IntoIterator<Item = Part<'a>>,
    {
        let mut form = Self { names: Vec::new() };
        for parts in names {
            let mut name = Vec::new();
            for part in parts {
                match part {
                    Part::Literal(bytes) if bytes.iter().any(|byte| matches!(byte, 0 | b'/')) => {
                        return Err(PatternError::Name);
                    }
                    Part::Literal(bytes) => name.extend_from_slice(bytes),
                    Part::Varying(kind) => name.extend([KIND_MARK, KIND_BASE + kind as u8]),
                }
            }
            if name.is_empty() {
                return Err(PatternError::Name);
            }
            form.names.push(name);
        }
        Ok(form)
    }

    /// Its names from the root on, each as its parts.
    #[must_use]
    pub fn names(&self) -> impl DoubleEndedIterator<Item = impl Iterator<Item = Part<'_>>> {
        self.names.iter().map(|name| Parts(name))
    }

    /// The form of the directory that its first `names` names lead to.
    #[must_use]
    pub fn directory(&self, names: usize) -> Self {
        Self {
            names: self.names.iter().take(names).cloned().collect(),
        }
    }

    /// Whether anything in it varies. If not, its path has no hash of this kind.
    #[must_use]
    pub fn varies(&self) -> bool {
        self.names.iter().any(|name| name.contains(&KIND_MARK))
    }

    fn finish(&self, key: HashKey, subject: Subject) -> u64 {
        let mut hasher = Hasher::new(key);
        for name in &self.names {
            hasher.word(hash::component(key, name));
        }
        hasher.finish(subject)
    }

    /// Whether a path has this form, above a name that begins with this type (or 0).
    fn is_possible(&self, below: u64) -> bool {
        let mut below = below;
        self.names.iter().rev().all(|name| {
            samples(name).any(|sample| {
                let (form, leading) = of_name(&sample, below);
                let fits = form == *name;
                if fits {
                    below = leading;
                }
                fits
            })
        })
    }
}

impl Pattern {
    /// All paths of this form.
    ///
    /// # Errors
    /// Nothing in it varies, or no path has it.
    pub fn form(form: Form) -> Result<Self, PatternError> {
        if !form.varies() {
            return Err(PatternError::Exact);
        }
        if form.is_possible(0) {
            Ok(Self::Form(form))
        } else {
            Err(PatternError::NeverMatches)
        }
    }

    /// Everything below this directory. Without types it is the one directory of that path, also where its names could vary.
    ///
    /// # Errors
    /// It has types, and no path has this form.
    pub fn subtree(directory: Form) -> Result<Self, PatternError> {
        // What is below decides whether names of two hexadecimal digits are pairs.
        let is_possible = directory.is_possible(0) || directory.is_possible(Kind::Hexadecimal as u64);
        if directory.varies() && !is_possible {
            return Err(PatternError::NeverMatches);
        }
        Ok(Self::Subtree(directory))
    }

    /// What the kernel programs look for: the hash of a path's form, or of one of the directories above it.
    #[must_use]
    pub fn hash(&self, key: HashKey) -> u64 {
        match self {
            Self::Form(form) => form.finish(key, Subject::NormalForm),
            Self::Subtree(directory) => directory.finish(key, Subject::Subtree),
        }
    }

    /// Whether it holds for a path: what the kernel programs find by its hash.
    #[must_use]
    pub fn holds_for(&self, path: &[u8]) -> bool {
        match self {
            Self::Form(form) => Form::of_path(path) == *form,
            Self::Subtree(directory) => {
                let path = if directory.varies() {
                    Form::of_path(path)
                } else {
                    Form::exact(path)
                };
                path.names.len() > directory.names.len() && path.names.starts_with(&directory.names)
            }
        }
    }
}

/// The hash of everything below a directory, by its exact path.
#[must_use]
pub fn subtree_hash(key: HashKey, directory: &[u8]) -> u64 {
    Form::exact(directory).finish(key, Subject::Subtree)
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// The form of one name, and the type that it begins with (or 0); `below` is that of the name below it.
fn of_name(name: &[u8], below: u64) -> (Vec<u8>, u64) {
    let words = || {
        (0..=name.len() / 8).map(|index| {
            let bytes = &name[index * 8..name.len().min(index * 8 + 8)];
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        })
    };
    let mut classifier = Classifier::default();
    for word in words() {
        classifier.word(word);
    }
    let marks = classifier.marks(below);
    if marks.whole != 0 {
        let [mark, kind, ..] = Kind::whole_word(marks.whole).to_le_bytes();
        return ([mark, kind].to_vec(), marks.leading);
    }
    if marks.varies() == 0 {
        return (name.to_vec(), marks.leading);
    }
    let mut form = Vec::with_capacity(name.len());
    let mut writer = Writer::default();
    for word in words() {
        let (word, complete) = writer.word(word, &marks);
        if complete != 0 {
            form.extend(word.to_le_bytes());
        }
    }
    form.extend(writer.last().to_le_bytes());
    // What follows the NUL is padding.
    form.truncate(
        form.iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1),
    );
    (form, marks.leading)
}

/// Names that have this form if any name has: each part as short as it can be, and longer where it would else be taken for
/// something else with what stands beside it (a number for a date's year).
fn samples(form: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..27).flat_map(move |more| ["2000-01-01", "2000-01-01T10:10:10"].map(|date| sample(form, more, date)))
}

/// One of them: the digits of `more` to the base of 3 say how many more digits than it needs each number has.
fn sample(form: &[u8], mut more: usize, date: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"12345678";
    let mut name = Vec::new();
    for part in Parts(form) {
        let bytes = match part {
            Part::Literal(bytes) => bytes,
            Part::Varying(Kind::Decimal) if name.last().is_some_and(u8::is_ascii_alphabetic) => {
                &DIGITS[..6 + more % 3]
            }
            Part::Varying(Kind::Decimal) => &DIGITS[..4 + more % 3],
            Part::Varying(Kind::Hexadecimal) => b"0123abcd",
            Part::Varying(Kind::Uuid) => b"01234567-89ab-cdef-0123-456789abcdef",
            Part::Varying(Kind::Date) => date.as_bytes(),
            // Python's names.
            Part::Varying(Kind::Random) if name == b"tmp" => b"a_b1c2d3",
            Part::Varying(Kind::Random) => b"zY3dE6",
            Part::Varying(Kind::HexadecimalPair) => b"0a",
        };
        name.extend_from_slice(bytes);
        if part == Part::Varying(Kind::Decimal) {
            more /= 3;
        }
    }
    name
}

/// The parts of one name's form.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (part, rest) = match self.0 {
            [] => return None,
            [KIND_MARK, kind, rest @ ..] => {
                let kind =
                    Kind::from_raw(kind.wrapping_sub(KIND_BASE)).expect("only types stand behind the mark");
                (Part::Varying(kind), rest)
            }
            name => {
                let end = name.iter().position(|byte| *byte == KIND_MARK);
                let (literal, rest) = name.split_at(end.unwrap_or(name.len()));
                (Part::Literal(literal), rest)
            }
        };
        self.0 = rest;
        Some(part)
    }
}
