//! `INSTANCES`: what the kernel programs themselves find out about a container, and its counters.

use crate::domain::DOMAIN_SLOTS;
use crate::plain_old_data;
use crate::settings::Settings;

/// Most containers at once. At the bound a new container is not tracked, which `UNTRACKED` counts.
pub const INSTANCES_MAX: u32 = 4_096;

/// Value of `INSTANCES`, indexed by slot. Written by the kernel programs; the daemon zeroes a slot before it
/// offers it in `FREE_SLOTS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Instance {
    /// Cgroup id of the container that owns the slot.
    pub cgroup: u64,
    /// Nested cgroups that `CONTAINERS` holds for this container.
    pub nested_cgroups: u64,
    /// Nested cgroups that were left out, because it has as many as one container may have.
    pub cgroups_left_out: u64,
    /// `s_dev` of the root filesystem; 0 until the first exec inside the container's root.
    pub root_device: u32,
    /// Inode number of the container's mount namespace; 0 until the first exec inside the container's root.
    pub mount_namespace: u32,
    /// Second (boot-time clock) that `quota_used` counts for.
    pub quota_second: u64,
    /// Records of ordinary novelty sent in that second.
    pub quota_used: u64,
    /// Records of drift sent in that second; their quota is their own.
    pub quota_drift_used: u64,
    /// 1 once the container's first program runs; what enters from outside after that is `exec_in`.
    pub first_exec: u32,
    /// Process id of the container's first process, where the daemon found the container already running; else 0.
    pub init_pid: u32,
    /// Counters per domain, indexed by the domain's number.
    pub counters: [Counters; DOMAIN_SLOTS],
}

/// Single value of `NODE`: what the kernel programs know about the node itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Node {
    /// Address of the dentry of the host's root directory, as process 1 has it: an identity, never dereferenced. It is of one superblock alone,
    /// and stays while process 1 has that root.
    pub root_dentry: u64,
    /// Containers that could not be tracked because there was no slot or no room.
    pub untracked_containers: u64,
    /// Records about cgroups that the ring buffer had no room for; the daemon's next sweep finds what they told.
    pub lost_cgroup_records: u64,
    /// A bit per [`crate::domain::Domain`] by its number: its LSM hooks were proved to refuse. Written by the daemon.
    pub refuses: u64,
    /// What the programs were loaded with: the next daemon's programs must hash by the same secret. Written once, before
    /// anything is attached.
    pub settings: Settings,
}

/// What became of a container's records and of the processes that were acted on. Only ever incremented, by
/// atomic additions; `generated = submitted + lost_ring + lost_quota` when no hook is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Counters {
    /// Records that a hook had to send.
    pub generated: u64,
    /// Records that reached the ring buffer.
    pub submitted: u64,
    /// Records lost because the ring buffer had no room.
    pub lost_ring: u64,
    /// Records not sent because the container's quota for the second was used up.
    pub lost_quota: u64,
    /// Processes that a kill was sent to.
    pub killed: u64,
    /// Of those, the ones seen to have died by it.
    pub kill_confirmed: u64,
    /// Kills that the kernel refused to send.
    pub kill_failed: u64,
    /// Operations that were refused.
    pub denied: u64,
    /// Executions that could not be looked at before they happened, for lack of work space. The program is judged after.
    pub unchecked: u64,
    /// Processes of a state that could not be kept, because their ids are beyond `TASKS`; they are judged by their cgroup and their parent
    /// at each exec.
    pub untracked_tasks: u64,
}

impl Counters {
    /// Records that were lost, whatever the cause.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_ring + self.lost_quota
    }
}

/// Records of ordinary novelty that one container may send in a second.
pub const QUOTA_PER_SECOND: u64 = 1_000;
/// Records of programs that a container may send beyond that in a second: whoever uses thousands of new files in it hides no program.
pub const QUOTA_PROGRAMS_PER_SECOND: u64 = 256;
/// Records of drift that one container may send in a second, apart from the above.
pub const QUOTA_DRIFT_PER_SECOND: u64 = 1_000;

plain_old_data!(Instance, Counters, Node);
const _: () = assert!(size_of::<Counters>() == 80);
const _: () = assert!(size_of::<Instance>() == 64 + DOMAIN_SLOTS * 80);
