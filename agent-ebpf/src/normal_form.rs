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
    /// What varies in the name that is looked at.
    draft: Marks,
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
#[inline(always)]
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
    clear(&mut scratch.classifier);
    for index in 0..PATH_WORDS {
        if index as u32 >= load(&path.used) {
            break;
        }
        let word = load(&path.words[index]);
        take(&mut scratch.classifier, word);
        if has_nul(word) {
            mark(scratch);
        }
    }
    0
}

// Each step is a function of its own that works on memory, for the sake of the stack: 512 bytes for a hook and all that it
// calls. They return a number because the verifier of 5.10 knows no functions without one.

#[inline(never)]
fn take(classifier: &mut Classifier, word: u64) -> u32 {
    classifier.word(word);
    0
}

/// Notes what varies in the name that ends, and makes ready for the next.
#[inline(always)]
fn mark(scratch: &mut FormScratch) -> u32 {
    clear(&mut scratch.draft);
    whole(&scratch.classifier, load(&scratch.below), &mut scratch.draft);
    if load(&scratch.draft.whole) == 0 && scratch.classifier.may_have_parts() {
        identifiers(&scratch.classifier, &mut scratch.draft);
        hexadecimals(&scratch.classifier, &mut scratch.draft);
        tools(&scratch.classifier, &mut scratch.draft);
        drawn(&scratch.classifier, &mut scratch.draft);
        decimals(&scratch.classifier, &mut scratch.draft);
    }
    let name = load(&scratch.name);
    store(&mut scratch.name, name + 1);
    let leading = load(&scratch.draft.leading);
    store(&mut scratch.below, leading);
    let varies = load(&scratch.varies) | scratch.draft.varies();
    store(&mut scratch.varies, varies);
    scratch.marks[name as usize & (PATH_STEPS - 1)] = scratch.draft;
    clear(&mut scratch.classifier);
    0
}

#[inline(never)]
fn identifiers(classifier: &Classifier, draft: &mut Marks) -> u32 {
    classifier.mark_identifiers(draft);
    0
}

#[inline(never)]
fn hexadecimals(classifier: &Classifier, draft: &mut Marks) -> u32 {
    classifier.mark_hexadecimals(draft);
    0
}

#[inline(never)]
fn tools(classifier: &Classifier, draft: &mut Marks) -> u32 {
    classifier.mark_tools(draft);
    0
}

#[inline(never)]
fn drawn(classifier: &Classifier, draft: &mut Marks) -> u32 {
    classifier.mark_drawn(draft);
    0
}

#[inline(never)]
fn decimals(classifier: &Classifier, draft: &mut Marks) -> u32 {
    classifier.mark_decimals(draft);
    classifier.settle(draft);
    0
}

#[inline(never)]
fn whole(classifier: &Classifier, below: u64, draft: &mut Marks) -> u32 {
    classifier.mark_whole(below, draft);
    0
}

/// Hashes the form of each name in which something varies.
#[inline(never)]
fn write(scratch: &mut FormScratch, hashed: &PathScratch, path: &PathWords) -> u32 {
    store(&mut scratch.name, 0);
    scratch.writer = Writer::default();
    begin(&mut scratch.hasher, hashed);
    for index in 0..PATH_WORDS {
        if index as u32 >= load(&path.used) {
            break;
        }
        let word = load(&path.words[index]);
        let name = load(&scratch.name) as usize & (PATH_STEPS - 1);
        scratch.draft = scratch.marks[name];
        if load(&scratch.draft.first) != 0 {
            replace(scratch, word);
        }
        if has_nul(word) {
            end(scratch, hashed);
        }
    }
    0
}

/// Notes the hash of the form of the name that ends, and makes ready for the next.
#[inline(never)]
fn end(scratch: &mut FormScratch, hashed: &PathScratch) -> u32 {
    let name = load(&scratch.name) as usize & (PATH_STEPS - 1);
    let mut form = load(&hashed.components[name]);
    if scratch.draft.varies() != 0 {
        form = finish(scratch);
    }
    store(&mut scratch.forms[name], form);
    store(&mut scratch.name, name as u32 + 1);
    scratch.writer = Writer::default();
    begin(&mut scratch.hasher, hashed);
    0
}

/// Takes one word of a name into the hash of its form.
#[inline(never)]
fn replace(scratch: &mut FormScratch, word: u64) -> u32 {
    let (word, complete) = scratch.writer.word(word, &scratch.draft);
    scratch.hasher.word_if(word, complete);
    0
}

/// The hash of the form of the name whose words were taken in.
#[inline(never)]
fn finish(scratch: &mut FormScratch) -> u64 {
    let last = scratch.writer.last() | Kind::whole_word(scratch.draft.whole);
    scratch.hasher.word(last);
    scratch.hasher.finish(Subject::Component)
}

/// Hashes the directories from the root on, and the whole form.
#[inline(never)]
fn climb(scratch: &mut FormScratch, hashed: &PathScratch) -> u32 {
    begin(&mut scratch.hasher, hashed);
    begin(&mut scratch.form_hasher, hashed);
    store(&mut scratch.varied, 0);
    store(&mut scratch.found.count, load(&hashed.count));
    for index in 0..PATH_STEPS as u32 {
        if index >= load(&hashed.count) {
            break;
        }
        step(scratch, hashed, index);
    }
    let form = finish_form(&scratch.form_hasher);
    store(&mut scratch.found.form, form);
    load(&scratch.found.varies)
}

/// Notes the hashes of a directory: of as many names from the root on as `index` says. Then goes on to the next name.
#[inline(never)]
fn step(scratch: &mut FormScratch, hashed: &PathScratch, index: u32) -> u32 {
    let name = load(&hashed.count).wrapping_sub(1 + index) as usize & (PATH_STEPS - 1);
    let index = index as usize & (PATH_STEPS - 1);
    let directory = enter(&mut scratch.hasher, load(&hashed.components[name]));
    store(&mut scratch.found.directories[index], directory);
    store(&mut scratch.found.directory_forms[index], 0);
    if load(&scratch.varies) != 0 {
        let directory = enter(&mut scratch.form_hasher, load(&scratch.forms[name]));
        if load(&scratch.varied) != 0 {
            store(&mut scratch.found.directory_forms[index], directory);
        }
        let varied = load(&scratch.varied) | scratch.marks[name].varies();
        store(&mut scratch.varied, varied);
    }
    0
}

/// Makes a hasher new.
#[inline(never)]
fn begin(hasher: &mut Hasher, hashed: &PathScratch) -> u32 {
    *hasher = Hasher::new(key(hashed));
    0
}

/// The hash of the path's form.
#[inline(never)]
fn finish_form(hasher: &Hasher) -> u64 {
    hasher.finish(Subject::NormalForm)
}

/// The hash of the directory that the hasher has arrived at; then it goes on to `name`.
#[inline(never)]
fn enter(hasher: &mut Hasher, name: u64) -> u64 {
    let directory = hasher.finish(Subject::Subtree);
    hasher.word(name);
    directory
}

/// Makes memory of a work space zero, word by word: the compiler would call a function that does it byte by byte. `T` is made of
/// integers, and its size and its alignment are whole words.
#[inline(always)]
fn clear<T: Copy>(place: &mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let words: *mut u64 = core::ptr::from_mut(place).cast();
    for index in 0..size_of::<T>() / 8 {
        // SAFETY: the word lies in `place`, which a mutable reference makes valid for writes; zero is a value of integers.
        unsafe { words.add(index).write_volatile(0) }
    }
}
