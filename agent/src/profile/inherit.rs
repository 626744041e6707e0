//! What the profile of a new image takes over from that of the image before.
//!
//! Input: the images that are known, the profile of the one before, and how the files that its rules name compare in the two
//! images ([`Likeness`]). Output: which image is the one before, and which of its rules hold for the new one
//! ([`Inheritance`]); later, whether something new is about what changed. Failure: none; what could not be compared is not
//! taken over, and counts as unchanged. Pure.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::Section;
use agent_common::file::Layer;

use crate::behaviour::{Behaviour, ExecBehaviour, FileBehaviour, FilePattern};
use crate::image::ImageDigest;
use crate::profile::model::{AcceptedDrift, Profile};
use crate::profile::reference::{same_image, same_repository};
use crate::text::ByteText;

/// How what is at one path in the image before compares with what is there in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It is the same: a file's content and what executing it gives, for anything else its type.
    Same,
    /// It is something else.
    Changed,
    /// Only the new image has it.
    New,
    /// The new image does not have it.
    Absent,
}

/// An image that may be the one before.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its digest.
    pub digest: &'a ImageDigest,
    /// References under which it was seen.
    pub references: &'a BTreeSet<String>,
    /// The higher, the later it was seen.
    pub seen: u64,
}

/// What a new image's profile takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// What the container's own processes may do.
    pub main: Vec<Behaviour>,
    /// What processes from outside may do.
    pub exec_in: Vec<Behaviour>,
    /// What did not come with the image and is accepted by its content.
    pub drift: BTreeMap<(Layer, ByteText), AcceptedDrift>,
    /// How many rules are not taken over, because what they name changed or could not be compared.
    pub left_out: usize,
}

/// The image before one with these references: of those with the same reference the one that was seen last, else of those in
/// the same repository.
#[must_use]
pub fn predecessor<'a>(
    references: &[String],
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> Option<&'a ImageDigest> {
    let any = |candidate: &Candidate<'_>, same: fn(&str, &str) -> bool| {
        let mut theirs = candidate.references.iter();
        theirs.any(|theirs| references.iter().any(|own| same(own, theirs)))
    };
    candidates
        .into_iter()
        .filter(|candidate| any(candidate, same_repository))
        // Of two that were seen at no known time any one, but always the same.
        .max_by_key(|candidate| (any(candidate, same_image), candidate.seen, candidate.digest))
        .map(|candidate| candidate.digest)
}

/// The one file of the image that a behaviour names; `None` if it is about something else, or about several.
#[must_use]
pub fn image_file(behaviour: &Behaviour) -> Option<&ByteText> {
    match behaviour {
        Behaviour::Exec(ExecBehaviour {
            layer: Layer::Image,
            path,
            ..
        })
        | Behaviour::File(FileBehaviour {
            layer: Layer::Image,
            pattern: FilePattern::Exact(path),
            ..
        }) => Some(path),
        _ => None,
    }
}

/// The files of the image that the rules of a profile name, each once.
#[must_use]
pub fn image_files(profile: &Profile) -> BTreeSet<ByteText> {
    profile
        .rules()
        .filter_map(|(_, behaviour)| image_file(&behaviour).cloned())
        .collect()
}

impl Inheritance {
    /// What follows from the profile of the image before, and from how the files that it names compare.
    ///
    /// A rule about a file of the image is taken over if the file is the same. One that names no file of the image (a capability, a
    /// volume, what is written, a rule for several paths) is taken over as it is. A program in a root filesystem without
    /// layers cannot be compared.
    #[must_use]
    pub fn new(before: &Profile, likeness: impl Fn(&ByteText) -> Option<Likeness>) -> Self {
        let holds = |behaviour: &Behaviour| match image_file(behaviour) {
            Some(path) => likeness(path) == Some(Likeness::Same),
            None => !matches!(behaviour, Behaviour::Exec(_)),
        };
        let mut inheritance = Self {
            drift: before.drift.clone(),
            ..Self::default()
        };
        // Of what came from outside the rules are what an operator accepted; proposals are none.
        for (section, behaviour) in before.rules() {
            if !holds(&behaviour) {
                inheritance.left_out += 1;
                continue;
            }
            match section {
                Section::Main => inheritance.main.push(behaviour),
                Section::ExecIn => inheritance.exec_in.push(behaviour),
            }
        }
        inheritance
    }

    /// Number of rules that are taken over, apart from accepted contents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.main.len() + self.exec_in.len()
    }

    /// Whether nothing is taken over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.drift.is_empty()
    }
}

/// Whether something that the profile does not hold is about what changed: the file of the image that it is about, or the program
/// of the process that did it. `None` stands for what is no file of the image, or could not be compared.
#[must_use]
pub fn is_about_change(subject: Option<Likeness>, program: Option<Likeness>) -> bool {
    let is_changed = |likeness| matches!(likeness, Some(Likeness::Changed | Likeness::New));
    is_changed(subject) || is_changed(program)
}

#[cfg(test)]
mod tests;
