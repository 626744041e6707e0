//! The walk from a dentry to the root, and the hash of what it found.
//!
//! Input: a dentry, and a mount if mounts are to be crossed. Output: [`PathWords`] and its keyed hash.
//! Failure: a path with more components or bytes than there is room for is marked `PATH_TOO_LONG`; a name that cannot be
//! read gives zeros, which no rule matches.
//!
//! The loops keep their state in per-CPU memory and read it back in each round. What the verifier cannot know cannot
//! differ between two ways through the loop's body, so it needs to follow only one of them (needed by 5.10 to 6.18).

use agent_common::file::FileIdentity;
use agent_common::hash::{HashKey, Hasher, Subject};
use agent_common::path::{PATH_STEPS, PATH_TOO_LONG, PATH_WORDS, PathWords, has_nul};
use agent_common::record::exec::NAME_BYTES;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::kernel::{Access, Dentry, Link, Path, VfsMount, setting};
use crate::volatile::{load, store};

/// Work space of the walk and the hash.
#[repr(C)]
pub struct PathScratch {
    key: HashKey,
    /// Hashes of the components of the path that was hashed last, leaf first.
    pub components: [u64; PATH_WORDS],
    /// How many these are.
    pub count: u32,
    position: u32,
    /// Of a component that is put together by bytes.
    word: u64,
    hasher: Hasher,
    /// State after the last component: what an applet or an inode continues.
    path_hasher: Hasher,
}

/// Writes the path of `dentry` on `mount` to `out`, to the root of the mount namespace. Returns the flags.
#[inline(never)]
pub fn walk(out: &mut PathWords, dentry: u64, mount: u64) -> u32 {
    let mut at: Path = Path {
        mount: VfsMount::at(mount),
        dentry: Dentry::at(dentry),
    };
    store(&mut out.used, 0);
    store(&mut out.flags, PATH_TOO_LONG);
    for _ in 0..PATH_STEPS {
        let link = at.dentry.link_at_once();
        if at.dentry == at.mount.root() || at.dentry == link.parent {
            let above = at.mount.parent();
            if above == at.mount {
                store(&mut out.flags, 0);
                break;
            }
            at = Path {
                mount: above,
                dentry: at.mount.mountpoint(),
            };
            continue;
        }
        if !push(out, &link) {
            break;
        }
        at.dentry = link.parent;
    }
    load(&out.flags)
}

/// Writes the path of a dentry to `out`, to the root of its superblock, whatever is mounted where. Returns the flags.
#[inline(never)]
pub fn walk_in_superblock<A: Access>(out: &mut PathWords, dentry: Dentry<A>) -> u32 {
    let mut at = dentry;
    store(&mut out.used, 0);
    store(&mut out.flags, PATH_TOO_LONG);
    for _ in 0..PATH_STEPS {
        let link = at.link();
        if at == link.parent {
            store(&mut out.flags, 0);
            break;
        }
        if !push(out, &link) {
            break;
        }
        at = link.parent;
    }
    load(&out.flags)
}

/// Appends a name; false if there is no room for it.
#[inline(always)]
fn push<A>(out: &mut PathWords, link: &Link<A>) -> bool {
    let used = load(&out.used);
    if used as usize >= PATH_WORDS {
        return false;
    }
    let length = link.length & 0xff;
    let start = (used as usize) & (PATH_WORDS - 1);
    let last = (length / 8) as usize;
    let words = out.words.as_mut_ptr();
    // SAFETY: start < PATH_WORDS and last < COMPONENT_WORDS, so both the zeroed word and the name, which is at most 255
    // bytes, end inside `words`. The helper checks the kernel address.
    unsafe {
        words.add(start + last).write_volatile(0);
        bpf_probe_read_kernel(words.add(start).cast(), length, link.name as *const _);
    }
    let end = used + last as u32 + 1;
    store(&mut out.used, end);
    end as usize <= PATH_WORDS
}

/// The keyed hash of `path`. Leaves the state behind it in `scratch` for [`with_applet`] and [`with_content`].
#[inline(never)]
pub fn hash(scratch: &mut PathScratch, path: &PathWords) -> u64 {
    store(&mut scratch.key.k0, setting!(hash_key.k0));
    store(&mut scratch.key.k1, setting!(hash_key.k1));
    store(&mut scratch.count, 0);
    let fresh = Hasher::new(key(scratch));
    store(&mut scratch.hasher, fresh);
    for index in 0..PATH_WORDS {
        if index as u32 >= load(&path.used) {
            break;
        }
        let word = load(&path.words[index]);
        let mut hasher = load(&scratch.hasher);
        hasher.word(word);
        if has_nul(word) {
            let count = load(&scratch.count) as usize;
            store(
                &mut scratch.components[count & (PATH_WORDS - 1)],
                hasher.finish(Subject::Component),
            );
            store(&mut scratch.count, count as u32 + 1);
            hasher = Hasher::new(key(scratch));
        }
        store(&mut scratch.hasher, hasher);
    }
    let fresh = Hasher::new(key(scratch));
    store(&mut scratch.path_hasher, fresh);
    for index in 0..PATH_STEPS as u32 {
        let count = load(&scratch.count);
        if index >= count {
            break;
        }
        let component = load(&scratch.components[(count - 1 - index) as usize & (PATH_WORDS - 1)]);
        let mut hasher = load(&scratch.path_hasher);
        hasher.word(component);
        store(&mut scratch.path_hasher, hasher);
    }
    load(&scratch.path_hasher).finish(Subject::Path)
}

/// The keyed hash of the path that was hashed last, with `applet`: the words of a name.
#[inline(never)]
pub fn with_applet<const N: usize>(scratch: &mut PathScratch, applet: &[u64; N]) -> u64 {
    let fresh = Hasher::new(key(scratch));
    store(&mut scratch.hasher, fresh);
    for word in applet {
        let word = load(word);
        let mut hasher = load(&scratch.hasher);
        hasher.word(word);
        store(&mut scratch.hasher, hasher);
        if has_nul(word) {
            break;
        }
    }
    let component = load(&scratch.hasher).finish(Subject::Component);
    let mut hasher = load(&scratch.path_hasher);
    hasher.word(component);
    hasher.finish(Subject::PathAndApplet)
}

/// The keyed hash of the path that was hashed last, with a name behind it that may have several components: as text, as it was
/// typed. Links and `..` in it are taken for names.
#[inline(never)]
pub fn with_name(scratch: &mut PathScratch, name: &[u8; NAME_BYTES]) -> u64 {
    store(&mut scratch.position, 0);
    store(&mut scratch.word, 0);
    let fresh = Hasher::new(key(scratch));
    store(&mut scratch.hasher, fresh);
    for byte in name {
        if take_byte(scratch, load(byte)) == 0 {
            break;
        }
    }
    load(&scratch.path_hasher).finish(Subject::Path)
}

/// Takes one byte of a name in; 0 if it was the last. A function of its own: with so much in registers the caller's loop would keep its count on
/// the stack, where the verifier of 5.10 and 6.1 takes any two counts for the same, and the loop for an endless one.
#[inline(never)]
fn take_byte(scratch: &mut PathScratch, byte: u8) -> u32 {
    let position = load(&scratch.position);
    if byte != 0 && byte != b'/' {
        let word = load(&scratch.word) | u64::from(byte) << ((position & 7) * 8);
        store(&mut scratch.word, word);
        store(&mut scratch.position, position + 1);
        if position & 7 == 7 {
            let mut hasher = load(&scratch.hasher);
            hasher.word(word);
            store(&mut scratch.hasher, hasher);
            store(&mut scratch.word, 0);
        }
        return 1;
    }
    if position != 0 {
        let mut hasher = load(&scratch.hasher);
        hasher.word(load(&scratch.word));
        let component = hasher.finish(Subject::Component);
        let mut path_hasher = load(&scratch.path_hasher);
        path_hasher.word(component);
        store(&mut scratch.path_hasher, path_hasher);
        let fresh = Hasher::new(key(scratch));
        store(&mut scratch.hasher, fresh);
        store(&mut scratch.position, 0);
        store(&mut scratch.word, 0);
    }
    u32::from(byte)
}

/// The keyed hash of the path that was hashed last, with one inode's state.
#[inline(always)]
pub fn with_content(scratch: &PathScratch, file: &FileIdentity) -> u64 {
    let mut hasher = load(&scratch.path_hasher);
    let words = [
        file.inode,
        file.size_bytes,
        file.changed_s as u64,
        u64::from(file.changed_ns),
    ];
    for word in words {
        hasher.word(word);
    }
    hasher.finish(Subject::Content)
}

/// The secret, once a path was hashed.
#[inline(always)]
pub fn key(scratch: &PathScratch) -> HashKey {
    HashKey {
        k0: load(&scratch.key.k0),
        k1: load(&scratch.key.k1),
    }
}
