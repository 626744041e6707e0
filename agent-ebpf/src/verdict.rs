//! The verdict on a program: what the profile says about a behaviour, and what follows from it in the mode that holds.
//!
//! It is the same for every tier: what differs is the hook that asks and what it can do about the answer.
//! Failure: what cannot be compared is a deviation, never conforming. A miss is judged only after the generation was read
//! again: the rules may have been replaced since.

use agent_common::container::Container;
use agent_common::domain::Domain;
use agent_common::file::{FileIdentity, VERIFIED_ACCEPTED, VERIFIED_AS_IMAGE, VerifiedKey};
use agent_common::rule::{BehaviourKey, Evidence, RULE_ALLOW, RuleKey, WINDOW_NS};
use aya_ebpf::bindings::BPF_NOEXIST;

use crate::counter;
use crate::kernel::setting;
use crate::maps::{LEARN, RULES, SEEN, VERIFIED};
use crate::state;

/// What is looked up. The tags are raw numbers: the verifier would follow each value of an enumeration apart.
pub struct Question {
    pub domain: Domain,
    /// A [`agent_common::file::Layer`].
    pub layer: u8,
    /// A [`agent_common::domain::Section`].
    pub section: u8,
    /// See [`RuleKey::operation`].
    pub operation: u8,
    pub hash: u64,
}

/// Asks the rules. 0 if they do not hold it. `container` is brought up to date when its rules were replaced meanwhile.
#[inline(always)]
pub fn rule(container: &mut Container, question: &Question) -> u32 {
    let found = look_up(container, question, setting!(stale_generation));
    if found != 0 || setting!(no_reread) != 0 {
        return found;
    }
    // Replaced once more while we looked: once more. A third time within one exec does not happen at any rate at which
    // generations are published (each waits for a grace period).
    for _ in 0..2 {
        let Some(now) = state::container(container.cgroup) else {
            return 0;
        };
        let changed = now.generation != container.generation || now.profile != container.profile;
        if !changed && setting!(stale_generation) == 0 {
            return 0;
        }
        *container = now;
        let found = look_up(container, question, 0);
        if found != 0 {
            return found;
        }
    }
    0
}

/// Whether the rules hold it, for a further question about what was just asked with [`rule`].
#[inline(always)]
pub fn holds(container: &Container, question: &Question) -> bool {
    look_up(container, question, 0) == RULE_ALLOW
}

#[inline(always)]
fn look_up(container: &Container, question: &Question, stale: u32) -> u32 {
    let key = RuleKey {
        hash: question.hash,
        profile: container.profile,
        generation: container.generation.wrapping_sub(stale),
        domain: question.domain as u8,
        layer: question.layer,
        section: question.section,
        operation: question.operation,
        reserved: [0; 4],
    };
    // SAFETY: the map is not preallocated: an element is not reused before all programs that run now have ended.
    unsafe { RULES.get(key) }.copied().unwrap_or(0)
}

/// Why a file outside the image may run all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It may not: its content was not verified, or has changed since.
    None,
    /// Its content is the image's.
    AsImage,
    /// Its content was accepted at this path.
    Accepted,
}

/// Whether the daemon has verified the content of this inode for this container, and it is still the same.
#[inline(always)]
pub fn verification(container: u64, identity: &FileIdentity, path_hash: u64) -> Verification {
    let key = VerifiedKey {
        container,
        inode: identity.inode,
        device: identity.device,
        reserved: 0,
    };
    // SAFETY: the map is not preallocated, as for `RULES`.
    let Some(verified) = (unsafe { VERIFIED.get(key) }) else {
        return Verification::None;
    };
    let same = verified.path_hash == path_hash
        && verified.file.size_bytes == identity.size_bytes
        && verified.file.changed_s == identity.changed_s
        && verified.file.changed_ns == identity.changed_ns;
    match verified.reason {
        VERIFIED_AS_IMAGE if same => Verification::AsImage,
        VERIFIED_ACCEPTED if same => Verification::Accepted,
        _ => Verification::None,
    }
}

/// Whether the daemon has this behaviour in hand already; if so, counts the repeat.
#[inline(always)]
pub fn is_seen(key: &BehaviourKey) -> bool {
    match SEEN.get_ptr_mut(key) {
        Some(seen) => {
            // SAFETY: an element of the map; at worst the count of another behaviour that has just taken its place.
            counter::add(unsafe { &mut (*seen).repeats }, 1);
            true
        }
        None => false,
    }
}

/// Counts the window in which a behaviour of the profile was seen. At the map's bound it is not counted.
#[inline(always)]
pub fn count_window(key: &BehaviourKey, now_ns: u64) {
    let window = now_ns / WINDOW_NS;
    match LEARN.get_ptr_mut(key) {
        Some(evidence) => {
            // SAFETY: an element of a map that is not preallocated. Two hooks may both count the same window: the
            // count of windows is evidence, not a verdict.
            let evidence = unsafe { &mut *evidence };
            if evidence.last_window != window {
                evidence.last_window = window;
                counter::add(&mut evidence.windows, 1);
            }
        }
        None => {
            let _ = LEARN.insert(
                key,
                Evidence {
                    last_window: window,
                    windows: 1,
                },
                u64::from(BPF_NOEXIST),
            );
        }
    }
}
