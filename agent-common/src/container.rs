//! `CONTAINERS`: cgroup id to container, and the policy that holds for it.

use crate::domain::{DOMAIN_SLOTS, Domain, Mode};
use crate::plain_old_data;

/// Value of `CONTAINERS`, keyed by cgroup id. Written by the daemon as a whole, in one update, so that a hook
/// sees either the old or the new policy; the kernel programs only create entries for cgroups that appear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Container {
    /// The entry's own key. A preallocated hash reuses elements while they are read: a copy counts only if this
    /// equals the key that was asked for.
    pub cgroup: u64,
    /// Cgroup id of the container that this cgroup belongs to: its own id, or an ancestor's for a nested cgroup.
    pub container: u64,
    /// Index of the container in `INSTANCES`.
    pub slot: u32,
    /// Number of the profile whose rules hold, 0 for none.
    pub profile: u32,
    /// Generation of that profile's rules.
    pub generation: u32,
    /// `CONTAINER_*` bits.
    pub flags: u32,
    /// A [`Mode`] per [`Domain`], indexed by its number.
    pub modes: [u8; DOMAIN_SLOTS],
}

/// The entry is no container: cgroups created below it are containers, whatever their name.
pub const CONTAINER_PARENT: u32 = 1 << 0;
/// Policy `exec_into: deny`: what enters from outside and is not accepted is killed in enforce mode.
pub const CONTAINER_EXEC_INTO_DENY: u32 = 1 << 1;
/// Policy `unprofiled: deny-drift`: drift is killed while the container is pending.
pub const CONTAINER_UNPROFILED_DENY_DRIFT: u32 = 1 << 2;
/// The profile tells of scripts too: those of the image are compared with it, not only told from drift.
pub const CONTAINER_SCRIPTS_JUDGED: u32 = 1 << 3;

/// Policy `kill: [file]`: where a file's use cannot be denied in enforce mode, the process is killed.
pub const CONTAINER_KILL_FILE: u32 = 1 << 4;
/// Policy `kill: [cap]`: where the use of a capability cannot be denied in enforce mode, the process is killed.
pub const CONTAINER_KILL_CAP: u32 = 1 << 5;

/// The profile has rules for more than one path: normal forms and subtrees are looked up where the path itself is not held.
pub const CONTAINER_WIDE_RULES: u32 = 1 << 6;

/// Key of the container that the daemon's self-test takes place in; no cgroup has this id.
pub const SELF_TEST: u64 = u64::MAX;

impl Container {
    /// The mode of `domain`; [`Mode::Pending`] when the byte has no meaning, which judges drift only.
    #[must_use]
    pub const fn mode(&self, domain: Domain) -> Mode {
        match Mode::from_raw(self.modes[domain as usize]) {
            Some(mode) => mode,
            None => Mode::Pending,
        }
    }
}

/// Most cgroups that are known at once: containers, the cgroups nested in them, and parents.
/// At the bound a new cgroup has no entry; its tasks are still known by what they inherited at fork.
pub const CONTAINERS_MAX: u32 = 16_384;
/// Most cgroups that one container may add to `CONTAINERS` by creating cgroups of its own.
pub const NESTED_CGROUPS_MAX: u64 = 256;

plain_old_data!(Container);
const _: () = assert!(size_of::<Container>() == 40);
