//! Files that were opened or executed before and conformed: doing so again costs no walk and no hash.
//!
//! Input: what tells a file, a name and a container's rules apart ([`Known`]). Output: whether the same was found to conform
//! before. Failure: none; what is not known is judged.
//!
//! A place is told by its dentry, which the kernel may use for another name later: so parent, hash and length of the name
//! belong to it. The parent may be renamed: that is a rename, which is judged itself. The inode belongs to it because a file can be replaced at
//! its place, and the upper dentry because overlayfs copies a file up without another inode. Of executions
//! only those of files of the image are known, whose directories overlayfs does not rename (`redirect_dir` is off unless somebody asks for
//! it). Rules are told by profile and
//! generation, so that nothing that was withdrawn is known any longer. Of what was once conforming nothing else can change: a
//! profile that grows only permits more.
//!
//! A table per CPU, in which each file has one of two places side by side, found by one look-up: no lock, and no line that CPUs
//! share. Where a hook is preempted by another that writes the same place, what it compares is no longer one entry; it is then
//! known only if each part is what was asked for, in which case it conforms.

use agent_common::container::Container;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

use crate::kernel::{Access, Inode};
use crate::volatile::{load, store};

/// Pairs of places per CPU. At the bound one file takes the place of the one that came before the last, which is judged anew.
const PAIRS_MAX: u32 = 1_024;

#[map]
static KNOWN_FILES: PerCpuArray<[Known; 2]> = PerCpuArray::with_max_entries(PAIRS_MAX, 0);

/// Stands for an execution where a use of a file has its [`agent_common::file::FileOperation`].
pub const EXECUTION: u8 = 0xff;

/// A use of a file that conforms.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Known {
    /// Addresses, as identities.
    pub dentry: u64,
    pub parent: u64,
    /// Hash and length of the name.
    pub name: u64,
    pub inode: u64,
    /// What follows the inode, if `is_overlay`: the upper dentry.
    pub upper: u64,
    /// Cgroup id.
    pub container: u64,
    pub profile: u32,
    pub generation: u32,
    /// Number of the window in which it was last counted, its low bits.
    pub window: u32,
    pub operation: u8,
    pub section: u8,
    pub is_overlay: u8,
    pub reserved: u8,
}

/// What is known of a file, if it is what was asked. `asked`'s `upper`, `is_overlay` and `window` are not looked at.
#[inline(always)]
pub fn find<A: Access>(asked: &Known, inode: Inode<A>) -> Option<&'static mut Known> {
    let (pair, first) = places(asked)?;
    if pair[first].is(asked, inode) {
        return Some(&mut pair[first]);
    }
    pair[first ^ 1].is(asked, inode).then(|| &mut pair[first ^ 1])
}

/// Remembers a use of a file. The one that has its first place moves to the second.
#[inline(always)]
pub fn remember(known: &Known) {
    let Some((pair, first)) = places(known) else {
        return;
    };
    let before = load(&pair[first]);
    // Of the same file only the window or the rules are new.
    if before.dentry != known.dentry || before.operation != known.operation {
        pair[first ^ 1].become_known(&before);
    }
    pair[first].become_known(known);
}

/// The two places that a file has, and which of them is its first.
#[inline(always)]
fn places(asked: &Known) -> Option<(&'static mut [Known; 2], usize)> {
    // The hash of the name, which the kernel has mixed with the address of the parent (`d_name.hash`, fs/namei.c).
    let mixed = (asked.name as u32).wrapping_add(u32::from(asked.operation) * 0x9e37_79b9);
    let place = mixed ^ mixed >> 16;
    let pair = KNOWN_FILES.get_ptr_mut(place / 2 % PAIRS_MAX)?;
    // SAFETY: the element lives as long as the map; see the module's head for who else writes it.
    Some((unsafe { &mut *pair }, place as usize % 2))
}

impl Known {
    /// What would be known of a use of a file by a container, whose rules it has. `name`: what its dentry says of its name.
    #[inline(always)]
    pub fn of(
        container: &Container,
        dentry: u64,
        inode: u64,
        name: (u64, u64),
        operation: u8,
        section: u8,
    ) -> Self {
        Self {
            dentry,
            parent: name.0,
            name: name.1,
            inode,
            upper: 0,
            container: container.cgroup,
            profile: container.profile,
            generation: container.generation,
            window: 0,
            operation,
            section,
            is_overlay: 0,
            reserved: 0,
        }
    }

    /// Whether it is the same as `asked`, whose `upper`, `is_overlay` and `window` are not looked at.
    #[inline(always)]
    fn is<A: Access>(&self, asked: &Self, inode: Inode<A>) -> bool {
        load(&self.dentry) == asked.dentry
            && load(&self.parent) == asked.parent
            && load(&self.name) == asked.name
            && load(&self.inode) == asked.inode
            && load(&self.container) == asked.container
            && load(&self.profile) == asked.profile
            && load(&self.generation) == asked.generation
            && load(&self.operation) == asked.operation
            && load(&self.section) == asked.section
            && (load(&self.is_overlay) == 0 || load(&self.upper) == inode.overlay_upper().0)
    }

    /// Takes the place. Without the dentry first, and with it last: who comes in between finds another file here.
    #[inline(always)]
    fn become_known(&mut self, known: &Self) {
        store(&mut self.dentry, 0);
        store(&mut self.parent, known.parent);
        store(&mut self.name, known.name);
        store(&mut self.inode, known.inode);
        store(&mut self.upper, known.upper);
        store(&mut self.container, known.container);
        store(&mut self.profile, known.profile);
        store(&mut self.generation, known.generation);
        store(&mut self.window, known.window);
        store(&mut self.operation, known.operation);
        store(&mut self.section, known.section);
        store(&mut self.is_overlay, known.is_overlay);
        store(&mut self.dentry, known.dentry);
    }
}
