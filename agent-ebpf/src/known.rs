//! Files that were opened before and conformed: opening one again costs no walk and no hash.
//!
//! Input: what tells a file, a name and a container's rules apart ([`Known`]). Output: whether the same was found to conform
//! before. Failure: none; what is not known is judged.
//!
//! A place is told by its dentry, which the kernel may use for another name later: so parent, hash and length of the name
//! belong to it. The parent may be renamed: that is a rename, which is judged itself. The inode belongs to it because a file can be replaced at
//! its place, and the upper dentry because overlayfs copies a file up without another inode. Rules are told by profile and
//! generation, so that nothing that was withdrawn is known any longer. Of what was once conforming nothing else can change: a
//! profile that grows only permits more.
//!
//! A table per CPU, in which each file has one place: no lock, and no line that CPUs share. Where a hook is preempted by
//! another that writes the same place, what it compares is no longer one entry; it is then known only if each part is what was
//! asked for, in which case it conforms.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

use crate::kernel::{Access, Inode};
use crate::volatile::{load, store};

/// Places per CPU. At the bound one file takes the place of another, which is judged anew.
const KNOWN_MAX: u32 = 2_048;

#[map]
static KNOWN_FILES: PerCpuArray<Known> = PerCpuArray::with_max_entries(KNOWN_MAX, 0);

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

/// The place where a file would be known.
#[inline(always)]
pub fn place(asked: &Known) -> Option<&'static mut Known> {
    // The hash of the name, which the kernel has mixed with the address of the parent (`d_name.hash`, fs/namei.c).
    let mixed = (asked.name as u32).wrapping_add(u32::from(asked.operation) * 0x9e37_79b9);
    let place = KNOWN_FILES.get_ptr_mut((mixed ^ mixed >> 16) % KNOWN_MAX)?;
    // SAFETY: the element lives as long as the map; see the module's head for who else writes it.
    Some(unsafe { &mut *place })
}

impl Known {
    /// Whether it is the same as `asked`, whose `upper`, `is_overlay` and `window` are not looked at.
    #[inline(always)]
    pub fn is<A: Access>(&self, asked: &Self, inode: Inode<A>) -> bool {
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
    pub fn become_known(&mut self, known: &Self) {
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
