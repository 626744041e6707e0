//! What is fixed when the programs are loaded: read-only globals that the verifier sees as constants.

use crate::hash::HashKey;
use crate::plain_old_data;

/// Global `SETTINGS` of the kernel object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Settings {
    /// The secret of [`crate::hash`].
    pub hash_key: HashKey,
    /// [`CGROUP_V2`], or [`CGROUP_V1`]: where cgroup ids come from.
    pub cgroup_source: u32,
    /// `hierarchy_id` of the hierarchy that the ids come from (0 for v2).
    pub cgroup_hierarchy: u32,
    /// Index into `css_set.subsys` of a controller of that hierarchy; for [`CGROUP_V1`] only.
    pub cgroup_subsystem: u32,
    /// `CONTAINER_*` bits that a new container starts with, before the daemon has seen it.
    pub pending_flags: u32,
    /// How the registers are found with which the current process entered the kernel: [`REGISTERS_UNKNOWN`], [`REGISTERS_BY_HELPER`]
    /// or [`REGISTERS_ON_STACK`].
    pub registers: u32,
    /// 1: the first read of a container's generation is taken as one before it, as if a flip had come between read
    /// and lookup. For the test of that race.
    pub stale_generation: u32,
    /// 1: a miss is judged without reading the generation again. For the test that shows what the re-read is for.
    pub no_reread: u32,
    /// 1: the kernel has `bpf_get_current_task_btf` (5.11 and later), by which the task is read without helpers.
    pub has_typed_task: u32,
    /// Address of the kernel's function that asks for `CAP_SYS_ADMIN` to account memory, and the one behind its end; 0 if they
    /// are not known.
    pub memory_check: [u64; 2],
    /// A number for this load of the programs, never 0: records say by it which of two agents' programs sent them while one takes over from
    /// the other.
    pub load: u16,
    /// Always zero.
    pub reserved: [u16; 3],
}

/// Ids are those of the v2 hierarchy.
pub const CGROUP_V2: u32 = 2;
/// Ids are those of one v1 hierarchy.
pub const CGROUP_V1: u32 = 1;

plain_old_data!(Settings);
const _: () = assert!(size_of::<Settings>() == 72);

/// Not at all: on this architecture.
pub const REGISTERS_UNKNOWN: u32 = 0;
/// By `bpf_task_pt_regs` (Linux 5.15 and later).
pub const REGISTERS_BY_HELPER: u32 = 1;
/// At the end of the task's stack, where x86-64 keeps them (`task_pt_regs`, arch/x86/include/asm/processor.h).
pub const REGISTERS_ON_STACK: u32 = 2;
