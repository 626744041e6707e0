//! The maps of the kernel programs, typed, with the operations that the daemon needs.
//!
//! Failure: every operation names the map; what happens to the daemon's own state when one fails is the caller's to say.

use std::collections::HashSet;
use std::os::fd::AsFd as _;

use agent_common::container::Container;
use agent_common::file::{VERIFIED_ACCEPTED, Verified, VerifiedKey};
use agent_common::instance::{INSTANCES_MAX, Instance, Node};
use agent_common::record::{Checkpoint, EVENTS_BYTES};
use agent_common::rule::{BehaviourKey, Evidence, RuleKey, Seen};
use agent_common::settings::Settings;
use agent_common::syscall::Calls;
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, Queue, RingBuf};

use super::pin::PinDirectory;
use super::ring::RingPositions;

/// The maps that outlive the agent where it can pin them. Not among them is work space.
pub const NAMES: &[&str] = &[
    "CONTAINERS",
    "INSTANCES",
    "FREE_SLOTS",
    "TASKS",
    "KILLED",
    "RULES",
    "SEEN",
    "LEARN",
    "VERIFIED",
    "NODE",
    "CALLS",
    "EVENTS",
    "CHECKPOINT",
];

/// Flag of an insert that is to replace nothing (`include/uapi/linux/bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// Handles to all maps but the ring buffer, which belongs to its reader.
pub struct Maps {
    containers: HashMap<MapData, u64, Container>,
    instances: Array<MapData, Instance>,
    free_slots: Queue<MapData, u32>,
    rules: HashMap<MapData, RuleKey, u32>,
    seen: HashMap<MapData, BehaviourKey, Seen>,
    learn: HashMap<MapData, BehaviourKey, Evidence>,
    verified: HashMap<MapData, VerifiedKey, Verified>,
    node: Array<MapData, Node>,
    calls: HashMap<MapData, u32, Calls>,
}

/// A map operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The object has no such map.
    #[error("the kernel object has no map `{map}`")]
    Missing {
        /// The map's name.
        map: &'static str,
    },
    /// The kernel refused.
    #[error("cannot {operation} map `{map}`")]
    Operation {
        /// What was tried.
        operation: &'static str,
        /// The map's name.
        map: &'static str,
        /// Why not.
        source: MapError,
    },
}

type Result<T> = std::result::Result<T, MapsError>;

fn failed(operation: &'static str, map: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| MapsError::Operation {
        operation,
        map,
        source,
    }
}

/// `Ok(None)` where the kernel says that there is no such key.
fn optional<T>(result: std::result::Result<T, MapError>, map: &'static str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(failed("look up in", map)(source)),
    }
}

/// `Ok(false)` where the kernel says that there was no such key.
fn removed(result: std::result::Result<(), MapError>, map: &'static str) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) =>
        {
            Ok(false)
        }
        Err(source) => Err(failed("remove from", map)(source)),
    }
}

fn take<T>(ebpf: &mut Ebpf, map: &'static str) -> Result<T>
where
    T: TryFrom<Map, Error = MapError>,
{
    ebpf.take_map(map)
        .ok_or(MapsError::Missing { map })?
        .try_into()
        .map_err(failed("open", map))
}

/// The ring buffer of records. Reads from where its reader stands now.
pub fn events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>> {
    take(ebpf, "EVENTS")
}

/// Where the reader and the writers of the ring buffer stand. To be called before [`events`].
pub fn positions(ebpf: &Ebpf) -> Result<RingPositions> {
    let map = "EVENTS";
    let Some(Map::RingBuf(ring)) = ebpf.map(map) else {
        return Err(MapsError::Missing { map });
    };
    let positions = RingPositions::open(ring.fd().as_fd(), EVENTS_BYTES);
    positions.map_err(|error| failed("map", map)(MapError::IoError(error)))
}

/// How far the daemon has come with the records.
pub struct CheckpointMap(Array<MapData, Checkpoint>);

impl CheckpointMap {
    /// Takes it out of a loaded object.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        take(ebpf, "CHECKPOINT").map(Self)
    }

    /// What this daemon, or the one before it, has written last.
    pub fn get(&self) -> Result<Checkpoint> {
        self.0.get(&0, 0).map_err(failed("read", "CHECKPOINT"))
    }

    /// Writes it.
    pub fn set(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.0
            .set(0, checkpoint, 0)
            .map_err(failed("write to", "CHECKPOINT"))
    }
}

/// What the programs were loaded with whose maps are pinned.
pub fn pinned_settings(pins: &PinDirectory) -> Result<Settings> {
    let open = || -> std::result::Result<Node, MapError> {
        let map = Map::from_map_data(MapData::from_pin(pins.map("NODE"))?)?;
        Array::<MapData, Node>::try_from(map)?.get(&0, 0)
    };
    Ok(open().map_err(failed("open the pinned", "NODE"))?.settings)
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            containers: take(ebpf, "CONTAINERS")?,
            instances: take(ebpf, "INSTANCES")?,
            free_slots: take(ebpf, "FREE_SLOTS")?,
            rules: take(ebpf, "RULES")?,
            seen: take(ebpf, "SEEN")?,
            learn: take(ebpf, "LEARN")?,
            verified: take(ebpf, "VERIFIED")?,
            node: take(ebpf, "NODE")?,
            calls: take(ebpf, "CALLS")?,
        })
    }

    /// Makes new maps ready: offers all slots, and notes for later agents what the programs were loaded with. To be called once,
    /// before anything is attached.
    pub fn prepare(&mut self, settings: &Settings) -> Result<()> {
        for slot in 0..INSTANCES_MAX {
            self.free_slots
                .push(slot, 0)
                .map_err(failed("push to", "FREE_SLOTS"))?;
        }
        let node = Node {
            settings: *settings,
            ..Node::default()
        };
        self.node.set(0, node, 0).map_err(failed("write to", "NODE"))
    }

    /// The policies of all containers' own cgroups, without those nested in them.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let entries = self.containers.iter().filter_map(|entry| match entry {
            Ok((cgroup, container)) => (container.container == cgroup).then_some(Ok(container)),
            Err(error) => Some(Err(error)),
        });
        entries
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "CONTAINERS"))
    }

    /// The profiles and generations of all rules.
    pub fn published(&self) -> Result<HashSet<(u32, u32)>> {
        let of = |key: std::result::Result<RuleKey, _>| key.map(|key| (key.profile, key.generation));
        let all: std::result::Result<_, _> = self.rules.keys().map(of).collect();
        all.map_err(failed("read", "RULES"))
    }

    /// Forgets what an earlier agent had in hand: nobody waits for its repeats any more. Returns how many there were.
    pub fn clear_seen(&mut self) -> Result<u64> {
        let entries: Vec<(BehaviourKey, Seen)> = self
            .seen
            .iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "SEEN"))?;
        for (key, _) in &entries {
            removed(self.seen.remove(key), "SEEN")?;
        }
        Ok(entries.iter().map(|(_, seen)| seen.repeats).sum())
    }

    /// The policy of a cgroup.
    pub fn container(&self, cgroup: u64) -> Result<Option<Container>> {
        optional(self.containers.get(&cgroup, 0), "CONTAINERS")
    }

    /// Sets the policy of a cgroup, in one update.
    pub fn set_container(&mut self, container: &Container) -> Result<()> {
        self.containers
            .insert(container.cgroup, container, 0)
            .map_err(failed("write to", "CONTAINERS"))
    }

    /// Forgets a cgroup. False if there was none.
    pub fn remove_container(&mut self, cgroup: u64) -> Result<bool> {
        removed(self.containers.remove(&cgroup), "CONTAINERS")
    }

    /// What the kernel programs found out about the container in `slot`.
    pub fn instance(&self, slot: u32) -> Result<Instance> {
        self.instances
            .get(&slot, 0)
            .map_err(failed("look up in", "INSTANCES"))
    }

    /// Takes a free slot for a container that already exists, and describes it. `None` if all are taken.
    pub fn take_slot(&mut self, instance: &Instance) -> Result<Option<u32>> {
        let Some(slot) = optional(self.free_slots.pop(0), "FREE_SLOTS")? else {
            return Ok(None);
        };
        self.instances
            .set(slot, instance, 0)
            .map_err(failed("write to", "INSTANCES"))?;
        Ok(Some(slot))
    }

    /// Gives a slot back when neither a record nor a process refers to its container any more.
    pub fn give_slot(&mut self, slot: u32) -> Result<()> {
        self.instances
            .set(slot, Instance::default(), 0)
            .map_err(failed("write to", "INSTANCES"))?;
        self.free_slots
            .push(slot, 0)
            .map_err(failed("push to", "FREE_SLOTS"))
    }

    /// Adds a rule.
    pub fn insert_rule(&mut self, key: &RuleKey, value: u32) -> Result<()> {
        self.rules
            .insert(key, value, 0)
            .map_err(failed("write to", "RULES"))
    }

    /// Adds a rule unless there is one with this key. False if there was.
    pub fn add_rule(&mut self, key: &RuleKey, value: u32) -> Result<bool> {
        match self.rules.insert(key, value, BPF_NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(rustix::io::Errno::EXIST.raw_os_error()) =>
            {
                Ok(false)
            }
            Err(source) => Err(failed("write to", "RULES")(source)),
        }
    }

    /// Removes all rules of these profiles and generations.
    pub fn remove_rules(&mut self, of: &HashSet<(u32, u32)>) -> Result<()> {
        let is_of = |key: &RuleKey| of.contains(&(key.profile, key.generation));
        let keys = self.rules.keys();
        let keys: Vec<RuleKey> = keys
            .filter(|key| !matches!(key, Ok(key) if !is_of(key)))
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "RULES"))?;
        for key in &keys {
            self.remove_rule(key)?;
        }
        Ok(())
    }

    /// Removes a rule. False if there was none.
    pub fn remove_rule(&mut self, key: &RuleKey) -> Result<bool> {
        removed(self.rules.remove(key), "RULES")
    }

    /// From now on the hooks count repeats of this behaviour instead of sending them.
    pub fn set_seen(&mut self, key: &BehaviourKey) -> Result<()> {
        self.seen
            .insert(key, Seen::default(), 0)
            .map_err(failed("write to", "SEEN"))
    }

    /// How often the behaviour was repeated since; `None` if it is not in hand (any more).
    pub fn seen(&self, key: &BehaviourKey) -> Result<Option<u64>> {
        Ok(optional(self.seen.get(key, 0), "SEEN")?.map(|seen| seen.repeats))
    }

    /// The hooks send this behaviour again.
    pub fn forget_seen(&mut self, key: &BehaviourKey) -> Result<bool> {
        removed(self.seen.remove(key), "SEEN")
    }

    /// Forgets what was in hand of one container. Returns how many entries it were.
    pub fn clear_seen_of(&mut self, container: u64) -> Result<usize> {
        let keys = keys_of(&self.seen, container, "SEEN")?;
        for key in &keys {
            removed(self.seen.remove(key), "SEEN")?;
        }
        Ok(keys.len())
    }

    /// Takes all evidence out of the map: in how many windows each behaviour was seen since the last call.
    ///
    /// Of an entry whose last window is `current_window`, that window stays, so that it is counted when it is over. The kernel programs do
    /// not change such an entry until then.
    pub fn drain_evidence(&mut self, current_window: u64) -> Result<Vec<(BehaviourKey, u64)>> {
        let mut drained = Vec::new();
        let keys: Vec<BehaviourKey> = self
            .learn
            .keys()
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "LEARN"))?;
        for key in keys {
            let Some(evidence) = optional(self.learn.get(&key, 0), "LEARN")? else {
                continue;
            };
            let (taken, left) = split(evidence, current_window);
            match left {
                None => drop(removed(self.learn.remove(&key), "LEARN")?),
                Some(left) if taken > 0 => {
                    let put = self.learn.insert(key, left, 0);
                    put.map_err(failed("write to", "LEARN"))?;
                }
                Some(_) => {}
            }
            if taken > 0 {
                drained.push((key, taken));
            }
        }
        Ok(drained)
    }

    /// The content of a file has been verified.
    pub fn set_verified(&mut self, key: &VerifiedKey, value: &Verified) -> Result<()> {
        self.verified
            .insert(key, value, 0)
            .map_err(failed("write to", "VERIFIED"))
    }

    /// Forgets the accepted contents of one container, other than those in `kept` (inode and device).
    pub fn retain_accepted_of(&mut self, container: u64, kept: &HashSet<(u64, u32)>) -> Result<()> {
        let entries: Vec<(VerifiedKey, Verified)> = self
            .verified
            .iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "VERIFIED"))?;
        let is_gone = |(key, value): &&(VerifiedKey, Verified)| {
            key.container == container
                && value.reason == VERIFIED_ACCEPTED
                && !kept.contains(&(key.inode, key.device))
        };
        for (key, _) in entries.iter().filter(is_gone) {
            removed(self.verified.remove(key), "VERIFIED")?;
        }
        Ok(())
    }

    /// Forgets what was verified for one container.
    pub fn clear_verified_of(&mut self, container: u64) -> Result<()> {
        let keys: Vec<VerifiedKey> = self
            .verified
            .keys()
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read", "VERIFIED"))?;
        for key in keys.iter().filter(|key| key.container == container) {
            removed(self.verified.remove(key), "VERIFIED")?;
        }
        Ok(())
    }

    /// Lets the hook look at each system call of the container in `slot` once more.
    pub fn look_at_calls(&mut self, slot: u32) -> Result<()> {
        self.calls
            .insert(slot, Calls::NONE, 0)
            .map_err(failed("write to", "CALLS"))
    }

    /// Forgets the system calls of the container in `slot`. False if there were none.
    pub fn remove_calls(&mut self, slot: u32) -> Result<bool> {
        removed(self.calls.remove(&slot), "CALLS")
    }

    /// Notes the domains whose LSM hooks refuse. Counters that the programs write meanwhile may lose an addition: it is done before
    /// containers are looked for.
    pub fn set_refuses(&mut self, refuses: u64) -> Result<()> {
        let node = Node {
            refuses,
            ..self.node()?
        };
        self.node.set(0, node, 0).map_err(failed("write", "NODE"))
    }

    /// What the kernel programs know about the node.
    pub fn node(&self) -> Result<Node> {
        self.node.get(&0, 0).map_err(failed("look up in", "NODE"))
    }
}

fn keys_of<V: aya::Pod>(
    map: &HashMap<MapData, BehaviourKey, V>,
    container: u64,
    name: &'static str,
) -> Result<Vec<BehaviourKey>> {
    map.keys()
        .filter(|key| !matches!(key, Ok(key) if key.container != container))
        .collect::<std::result::Result<_, _>>()
        .map_err(failed("read", name))
}

/// What of an entry of `LEARN` belongs to windows that are over, and what is left of it.
const fn split(evidence: Evidence, current_window: u64) -> (u64, Option<Evidence>) {
    if evidence.last_window != current_window {
        return (evidence.windows, None);
    }
    let open = Evidence {
        last_window: current_window,
        windows: 1,
    };
    (evidence.windows.saturating_sub(1), Some(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ceases_is_counted_with_each_window() {
        let evidence = |last_window, windows| Evidence { last_window, windows };
        assert_eq!(split(evidence(7, 1), 8), (1, None));
        assert_eq!(split(evidence(5, 3), 8), (3, None), "a window was missed");
        // Seen again before the last window was counted: only the open one stays.
        assert_eq!(split(evidence(8, 2), 8), (1, Some(evidence(8, 1))));
        assert_eq!(split(evidence(8, 1), 8), (0, Some(evidence(8, 1))));
    }
}
