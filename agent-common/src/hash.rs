//! The keyed hash of paths: SipHash-1-3 (Aumasson and Bernstein, "`SipHash`: a fast short-input PRF") under a secret
//! drawn at each load, so that an attacker who chooses paths cannot choose collisions.
//!
//! Input is a sequence of 64-bit words. A path component is its bytes, NUL-terminated and zero-padded to whole words
//! (little endian): the first word with a NUL byte ends it, so the encoding is prefix-free and needs no length.
//! A path is hashed over its components' hashes from the root to the leaf; the hash of every directory on the way
//! is therefore a by-product. The kernel programs and the daemon run this same code.
#![allow(
    clippy::inline_always,
    reason = "in the kernel programs a call costs the verifier a frame and the hook time"
)]

use crate::file::FileIdentity;

/// The secret. Both halves come from the system's random source at each load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct HashKey {
    /// First half.
    pub k0: u64,
    /// Second half.
    pub k1: u64,
}

/// What is hashed; keeps hashes of different things apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Subject {
    /// The words of one component (or applet).
    Component = 0xff,
    /// The components of a path.
    Path = 0xfe,
    /// The components of a path, then an applet.
    PathAndApplet = 0xfd,
    /// The components of a path, then inode number, size and change time: one content at one place.
    Content = 0xfc,
    /// The forms of the components of a path ([`crate::normal_form`]).
    NormalForm = 0xfb,
    /// The components of a directory, or their forms: everything below it.
    Subtree = 0xfa,
}

/// A SipHash-1-3 state.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Hasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Hasher {
    /// A state that has seen no word yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: HashKey) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    /// Takes in one word.
    #[inline(always)]
    pub const fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Takes in one word if `mask` is all ones; none if it is 0. Without a branch, of which a verifier would follow both ways.
    #[inline(always)]
    pub const fn word_if(&mut self, word: u64, mask: u64) {
        let mut after = *self;
        after.word(word);
        self.v0 ^= (self.v0 ^ after.v0) & mask;
        self.v1 ^= (self.v1 ^ after.v1) & mask;
        self.v2 ^= (self.v2 ^ after.v2) & mask;
        self.v3 ^= (self.v3 ^ after.v3) & mask;
    }

    /// The hash of the words so far, as a hash of `subject`.
    #[inline(always)]
    #[must_use]
    pub const fn finish(mut self, subject: Subject) -> u64 {
        self.v2 ^= subject as u64;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline(always)]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13);
        self.v1 ^= self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16);
        self.v3 ^= self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21);
        self.v3 ^= self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17);
        self.v1 ^= self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

/// Hash of one component or applet: `bytes` without NUL.
#[must_use]
pub fn component(key: HashKey, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(key);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hasher.word(u64::from_le_bytes(word));
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    hasher.word(u64::from_le_bytes(last));
    hasher.finish(Subject::Component)
}

/// Hash of an absolute path, with the applet of a multi-call binary if there is one.
/// Empty components (doubled slashes) do not count; `.` and `..` are ordinary names here: resolve them first.
#[must_use]
pub fn path(key: HashKey, path: &[u8], applet: Option<&[u8]>) -> u64 {
    let mut hasher = Hasher::new(key);
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        hasher.word(component(key, name));
    }
    match applet {
        None => hasher.finish(Subject::Path),
        Some(applet) => {
            hasher.word(component(key, applet));
            hasher.finish(Subject::PathAndApplet)
        }
    }
}

/// Hash of one content at one place: a path as [`path`] takes it, then the inode's number, size and change time. What the
/// kernel programs give for the repeats of drift.
#[must_use]
pub fn content(key: HashKey, path: &[u8], file: &FileIdentity) -> u64 {
    let mut hasher = Hasher::new(key);
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        hasher.word(component(key, name));
    }
    for word in [
        file.inode,
        file.size_bytes,
        file.changed_s.cast_unsigned(),
        u64::from(file.changed_ns),
    ] {
        hasher.word(word);
    }
    hasher.finish(Subject::Content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey {
        k0: 0x0706_0504_0302_0100,
        k1: 0x0f0e_0d0c_0b0a_0908,
    };

    #[test]
    fn component_is_siphash_1_3_with_its_own_last_word() {
        // SipHash-1-3 of eight bytes differs from the published form only in the length word, which the
        // encoding makes unnecessary: the empty component is one zero word.
        let mut hasher = Hasher::new(KEY);
        hasher.word(0);
        assert_eq!(component(KEY, b""), hasher.finish(Subject::Component));
    }

    #[test]
    fn subjects_are_kept_apart() {
        assert_ne!(
            path(KEY, b"/bin/busybox/ls", None),
            path(KEY, b"/bin/busybox", Some(b"ls"))
        );
        assert_ne!(path(KEY, b"/bin", None), path(KEY, b"/bin", Some(b"")));
    }

    #[test]
    fn every_byte_and_the_split_matter() {
        let base = path(KEY, b"/usr/bin/nginx", None);
        for other in [
            &b"/usr/bin/nginy"[..],
            b"/usr/binnginx",
            b"/nginx/bin/usr",
            b"/usr/bin/nginx/x",
            b"/",
        ] {
            assert_ne!(base, path(KEY, other, None), "{}", other.escape_ascii());
        }
        assert_eq!(base, path(KEY, b"//usr/bin//nginx/", None));
    }

    #[test]
    fn a_content_is_a_place_and_an_inode() {
        let file = FileIdentity {
            inode: 1,
            size_bytes: 2,
            changed_s: 3,
            changed_ns: 4,
            device: 5,
        };
        let base = content(KEY, b"/tmp/x", &file);
        let other = FileIdentity {
            changed_ns: 5,
            ..file
        };
        assert_ne!(base, content(KEY, b"/tmp/x", &other));
        assert_ne!(base, content(KEY, b"/tmp/y", &file));
        // The device may differ from boot to boot, and is not hashed by the kernel programs either.
        assert_eq!(base, content(KEY, b"/tmp/x", &FileIdentity { device: 6, ..file }));
    }

    #[test]
    fn the_key_matters() {
        let other = HashKey {
            k0: KEY.k0,
            k1: KEY.k1 ^ 1,
        };
        assert_ne!(path(KEY, b"/bin/sh", None), path(other, b"/bin/sh", None));
    }
}
