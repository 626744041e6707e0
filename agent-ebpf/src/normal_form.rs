//! What else than a path's own hash a rule may be found by: the hash of its normal form and those of the directories above it
//! ([`agent_common::normal_form`]).
//!
//! Input: a walked path, and what [`crate::path::hash`] left of it: to be called after the look-up of that hash missed. Output:
//! [`Found`]. Failure: none; of a path that is too long nothing here has a meaning, as its hash has none.
//!
//! The loops are shaped as those in [`crate::path`], for the same reason.

use agent_common::hash::{Hasher, Subject};
use agent_common::normal_form::{Classifier, Kind, Marks, Writer};
use agent_common::path::{PATH_STEPS, PATH_WORDS, PathWords, has_nul};

use crate::path::{PathScratch, key};
use crate::volatile::{load, store};

/// Hashes of one path that rules for more than one path may have.
#[repr(C)]
pub struct Found {
    /// Of each directory above the path by its exact name, from `/` on: as many as the path has names.
    pub directories: [u64; PATH_STEPS],
    /// Of each directory's form, in the same order; 0 while nothing in it varies: then no rule has such a hash.
    pub directory_forms: [u64; PATH_STEPS],
    /// Of the path's form; has a meaning only if something varies.
    pub form: u64,
    /// Names in the path.
    pub count: u32,
    /// Whether something in the path varies: 0 or 1.
    pub varies: u32,
}

/// Work space.
#[repr(C)]
pub struct FormScratch {
    pub found: Found,
    /// What varies in each name, leaf first.
    marks: [Marks; PATH_STEPS],
    /// Hashes of the names' forms, leaf first.
    forms: [u64; PATH_STEPS],
    classifier: Classifier,
    hasher: Hasher,
    form_hasher: Hasher,
    writer: Writer,
    /// The type that the name below the one that is looked at begins with.
    below: u64,
    /// Number of the name that is looked at.
    name: u32,
    /// Always zero.
    reserved: u32,
    /// Not 0 if something in the path varies.
    varies: u64,
    /// Not 0 if something in the names from the root to the one that is looked at varies.
    varied: u64,
}

/// Fills in `scratch.found` for the path that `hashed` was left behind by. Returns whether something in it varies: 0 or 1.
#[inline(never)]
pub fn find(scratch: &mut FormScratch, hashed: &PathScratch, path: &PathWords) -> u32 {
    classify(scratch, path);
    let varies = u32::from(load(&scratch.varies) != 0);
    store(&mut scratch.found.varies, varies);
    if load(&scratch.varies) != 0 {
        write(scratch, hashed, path);
    }
    climb(scratch, hashed)
}

/// Finds out what varies in each name.
#[inline(never)]
fn classify(scratch: &mut FormScratch, path: &PathWords) -> u32 {
    store(&mut scratch.varies, 0);
    store(&mut scratch.name, 0);
    store(&mut scratch.below, 0);
    store(&mut scratch.classifier, Classifier::default());
    for index in 0..PATH_WORDS {
        if index as u32 >= load(&path.used) {
            break;
        }
        let word = load(&path.words[index]);
        let mut classifier = load(&scratch.classifier);
        classifier.word(word);
        store(&mut scratch.classifier, classifier);
        if has_nul(word) {
            let marks = load(&scratch.classifier).marks(load(&scratch.below));
            let name = load(&scratch.name);
            store(&mut scratch.marks[name as usize & (PATH_STEPS - 1)], marks);
            store(&mut scratch.name, name + 1);
            store(&mut scratch.below, marks.leading);
            let varies = load(&scratch.varies) | marks.varies();
            store(&mut scratch.varies, varies);
            store(&mut scratch.classifier, Classifier::default());
        }
    }
    0
}

/// Hashes the form of each name in which something varies.
#[inline(never)]
fn write(scratch: &mut FormScratch, hashed: &PathScratch, path: &PathWords) -> u32 {
    store(&mut scratch.name, 0);
    store(&mut scratch.writer, Writer::default());
    let fresh = Hasher::new(key(hashed));
    store(&mut scratch.hasher, fresh);
    for index in 0..PATH_WORDS {
        if index as u32 >= load(&path.used) {
            break;
        }
        let word = load(&path.words[index]);
        let name = load(&scratch.name) as usize & (PATH_STEPS - 1);
        let marks = load(&scratch.marks[name]);
        if marks.first != 0 && marks.whole == 0 {
            let mut writer = load(&scratch.writer);
            let complete = writer.word(word, &marks);
            store(&mut scratch.writer, writer);
            if let Some(complete) = complete {
                let mut hasher = load(&scratch.hasher);
                hasher.word(complete);
                store(&mut scratch.hasher, hasher);
            }
        }
        if has_nul(word) {
            let mut form = load(&hashed.components[name]);
            if marks.varies() != 0 {
                let mut last = load(&scratch.writer).last();
                let whole = load(&scratch.marks[name].whole);
                if whole != 0 {
                    last = Kind::whole_word(whole);
                }
                let mut hasher = load(&scratch.hasher);
                hasher.word(last);
                form = hasher.finish(Subject::Component);
            }
            store(&mut scratch.forms[name], form);
            store(&mut scratch.name, name as u32 + 1);
            store(&mut scratch.writer, Writer::default());
            let fresh = Hasher::new(key(hashed));
            store(&mut scratch.hasher, fresh);
        }
    }
    0
}

/// Hashes the directories from the root on, and the whole form.
#[inline(never)]
fn climb(scratch: &mut FormScratch, hashed: &PathScratch) -> u32 {
    let fresh = Hasher::new(key(hashed));
    store(&mut scratch.hasher, fresh);
    store(&mut scratch.form_hasher, fresh);
    store(&mut scratch.varied, 0);
    store(&mut scratch.found.count, load(&hashed.count));
    for index in 0..PATH_STEPS {
        let count = load(&hashed.count);
        if index as u32 >= count {
            break;
        }
        let name = (count - 1 - index as u32) as usize & (PATH_STEPS - 1);
        let mut hasher = load(&scratch.hasher);
        store(
            &mut scratch.found.directories[index],
            hasher.finish(Subject::Subtree),
        );
        hasher.word(load(&hashed.components[name]));
        store(&mut scratch.hasher, hasher);
        store(&mut scratch.found.directory_forms[index], 0);
        if load(&scratch.varies) != 0 {
            let mut hasher = load(&scratch.form_hasher);
            if load(&scratch.varied) != 0 {
                store(
                    &mut scratch.found.directory_forms[index],
                    hasher.finish(Subject::Subtree),
                );
            }
            hasher.word(load(&scratch.forms[name]));
            store(&mut scratch.form_hasher, hasher);
            let varied = load(&scratch.varied) | load(&scratch.marks[name]).varies();
            store(&mut scratch.varied, varied);
        }
    }
    let form = load(&scratch.form_hasher).finish(Subject::NormalForm);
    store(&mut scratch.found.form, form);
    load(&scratch.found.varies)
}
