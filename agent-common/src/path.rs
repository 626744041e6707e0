//! A path as the kernel programs take it from dentries: components from the leaf to the root, each NUL-terminated and
//! zero-padded to whole 64-bit words.
#![allow(
    clippy::inline_always,
    reason = "in the kernel programs a call costs the verifier a frame and the hook time"
)]

#[cfg(feature = "user")]
use crate::hash::{HashKey, Hasher, Subject};
use crate::plain_old_data;

/// Room for a path's components in words (512 bytes). A longer path is marked, never shortened silently.
pub const PATH_WORDS: usize = 64;
/// Most steps of a walk: components and mounts crossed. A deeper path is marked like a longer one.
pub const PATH_STEPS: usize = 32;
/// Words that one component can take: `NAME_MAX` (255) and its NUL.
pub const COMPONENT_WORDS: usize = 32;

/// A walked path. `words` has room for one component beyond the bound, so that a write that starts inside ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct PathWords {
    /// The components, leaf first; what lies behind `used` has no meaning.
    pub words: [u64; PATH_WORDS + COMPONENT_WORDS],
    /// Number of words in use; more than [`PATH_WORDS`] only if [`PATH_TOO_LONG`] is set.
    pub used: u32,
    /// `PATH_*` bits.
    pub flags: u32,
}

/// The path has more bytes or more components than there is room for: only its end (the leaf's side) is here.
pub const PATH_TOO_LONG: u32 = 1 << 0;

/// Whether a word holds a NUL byte (the exact test from "Bit Twiddling Hacks", S. E. Anderson: no false positive
/// below the first NUL).
#[inline(always)]
#[must_use]
pub const fn has_nul(word: u64) -> bool {
    word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080 != 0
}

impl PathWords {
    /// What a kernel program's walk gives for an absolute path without `.` and `..`: the daemon's own records.
    #[cfg(feature = "user")]
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        let mut walked = Self {
            words: [0; PATH_WORDS + COMPONENT_WORDS],
            used: 0,
            flags: PATH_TOO_LONG,
        };
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        for (step, name) in names.rev().enumerate() {
            let start = walked.used as usize;
            let words = name.len() / 8 + 1;
            // The walk needs a step for the root, too.
            if step + 1 >= PATH_STEPS || start >= PATH_WORDS || words > COMPONENT_WORDS {
                return walked;
            }
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut walked.words[start..start + words]);
            bytes[..name.len()].copy_from_slice(name);
            walked.used += u32::try_from(words).unwrap_or(0);
            if walked.used as usize > PATH_WORDS {
                return walked;
            }
        }
        walked.flags = 0;
        walked
    }

    /// The components from the leaf to the root, without their padding. `None` when the words are not a path.
    /// Of a path that is too long, only the components that are here.
    #[cfg(feature = "user")]
    #[must_use]
    pub fn components(&self) -> Option<impl DoubleEndedIterator<Item = &[u8]> + Clone> {
        let used = usize::try_from(self.used).ok()?.min(PATH_WORDS);
        let bytes: &[u8] = bytemuck::cast_slice(&self.words[..used]);
        // A component that does not end inside the used words would be cut: drop nothing, refuse instead.
        if used > 0 && !has_nul(self.words[used - 1]) && self.flags & PATH_TOO_LONG == 0 {
            return None;
        }
        Some(
            bytes
                .split(|byte| *byte == 0)
                .filter(|component| !component.is_empty()),
        )
    }

    /// The hash that [`crate::hash::path`] gives for the same path. For the daemon's checks; the kernel programs
    /// use their own loop over the same words, in the shape that their verifier accepts.
    #[cfg(feature = "user")]
    #[must_use]
    pub fn hash(&self, key: HashKey, applet: Option<&[u8]>) -> Option<u64> {
        let mut hasher = Hasher::new(key);
        for component in self.components()?.rev() {
            hasher.word(crate::hash::component(key, component));
        }
        Some(match applet {
            None => hasher.finish(Subject::Path),
            Some(applet) => {
                hasher.word(crate::hash::component(key, applet));
                hasher.finish(Subject::PathAndApplet)
            }
        })
    }
}

plain_old_data!(PathWords);
const _: () = assert!(size_of::<PathWords>() == (PATH_WORDS + COMPONENT_WORDS) * 8 + 8);

#[cfg(all(test, feature = "user"))]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_path_becomes_what_is_hashed() {
        let key = HashKey { k0: 1, k1: 2 };
        for path in [
            &b"/"[..],
            b"/bin/sh",
            b"/usr/lib/x86_64-linux-gnu/libc.so.6",
            b"/12345678/x",
        ] {
            let words = PathWords::of_path(path);
            assert_eq!(words.flags, 0, "{}", path.escape_ascii());
            assert_eq!(words.hash(key, None), Some(crate::hash::path(key, path, None)));
        }
    }

    #[test]
    fn what_has_no_room_is_marked() {
        let deep = b"/a".repeat(PATH_STEPS);
        assert_eq!(PathWords::of_path(&deep).flags, PATH_TOO_LONG);
        assert_eq!(PathWords::of_path(&deep[2..]).flags, 0);
        let long = [b"/".as_slice(), &b"x".repeat(255)].concat().repeat(3);
        let words = PathWords::of_path(&long);
        assert_eq!(words.flags, PATH_TOO_LONG);
        let kept: Vec<usize> = words.components().expect("its end").map(<[u8]>::len).collect();
        assert_eq!(kept, [255, 255]);
    }
}
