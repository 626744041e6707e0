//! The maps, under the names by which the daemon opens them. Their keys and values are defined in agent-common.

use agent_common::container::{CONTAINERS_MAX, Container};
use agent_common::file::{Verified, VerifiedKey};
use agent_common::instance::{INSTANCES_MAX, Instance, Node};
use agent_common::record::{Checkpoint, EVENTS_BYTES};
use agent_common::rule::{BehaviourKey, Evidence, LEARN_MAX, RULES_MAX, RuleKey, SEEN_MAX, Seen};
use agent_common::syscall::{CALLS_MAX, Calls};
use agent_common::task::{KILLED_MAX, TASKS_MAX, Tasks};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, Queue, RingBuf};

/// Cgroup id to container and policy.
#[map]
pub static CONTAINERS: HashMap<u64, Container> = HashMap::with_max_entries(CONTAINERS_MAX, 0);

/// Slot to what the programs found out about a container, and its counters.
#[map]
pub static INSTANCES: Array<Instance> = Array::with_max_entries(INSTANCES_MAX, 0);

/// Slots that no container has. The daemon fills it, `cgroup_mkdir` takes from it.
#[map]
pub static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(INSTANCES_MAX, 0);

/// Thread group id to whose process it is.
#[map]
pub static TASKS: Array<Tasks> = Array::with_max_entries(TASKS_MAX, 0);

/// Thread group id to the domain for which it was killed. Who removes an entry tells of the death: that can only one.
#[map]
pub static KILLED: HashMap<u32, u32> = HashMap::with_max_entries(KILLED_MAX, BPF_F_NO_PREALLOC);

/// What the profiles hold. Only the daemon writes it; grows on demand.
#[map]
pub static RULES: HashMap<RuleKey, u32> = HashMap::with_max_entries(RULES_MAX, BPF_F_NO_PREALLOC);

/// What the daemon has in hand already. Only the daemon makes entries.
#[map]
pub static SEEN: LruHashMap<BehaviourKey, Seen> = LruHashMap::with_max_entries(SEEN_MAX, 0);

/// In how many windows a behaviour was seen while learning.
#[map]
pub static LEARN: HashMap<BehaviourKey, Evidence> = HashMap::with_max_entries(LEARN_MAX, BPF_F_NO_PREALLOC);

/// Files outside the image whose content the daemon has verified. Most entries: as many as slots; at the bound the
/// daemon's insert fails and the file stays drift.
#[map]
pub static VERIFIED: HashMap<VerifiedKey, Verified> =
    HashMap::with_max_entries(INSTANCES_MAX, BPF_F_NO_PREALLOC);

/// System calls with which there is nothing to do, by a container's slot. Entries are made by the daemon; grows on demand.
#[map]
pub static CALLS: HashMap<u32, Calls> = HashMap::with_max_entries(CALLS_MAX, BPF_F_NO_PREALLOC);

/// The node itself: one element.
#[map]
pub static NODE: Array<Node> = Array::with_max_entries(1, 0);

/// Records.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

/// How far the daemon has come with them: one element, which no program looks at.
#[map]
pub static CHECKPOINT: Array<Checkpoint> = Array::with_max_entries(1, 0);
