//! The kernel's maps, as the answering process reads them: whose process it is, what holds for it, what was verified.
//!
//! Input: the directory in which the maps are pinned. Output: their values at the moment of the question. Nothing is written
//! but the count of repeats. Failure: a map that is not there is an error; a look-up that fails finds nothing, which leaves
//! a process outside of every container, or drift unverified.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use agent_common::container::{Container, SELF_TEST};
use agent_common::domain::{Domain, Mode};
use agent_common::file::{FileIdentity, VERIFIED_ACCEPTED, VERIFIED_AS_IMAGE, Verified, VerifiedKey};
use agent_common::hash::HashKey;
use agent_common::instance::{Instance, Node};
use agent_common::rule::{BehaviourKey, Seen};
use agent_common::task::{TASKS_PER_ELEMENT, TaskState, Tasks};
use aya::maps::{Array, HashMap, Map, MapData, MapError};

/// `BPF_EXIST` (include/uapi/linux/bpf.h): write only where there is an entry.
const BPF_EXIST: u64 = 2;

/// The maps.
pub(super) struct KernelMaps {
    containers: HashMap<MapData, u64, Container>,
    instances: Array<MapData, Instance>,
    tasks: Array<MapData, Tasks>,
    verified: HashMap<MapData, VerifiedKey, Verified>,
    seen: HashMap<MapData, BehaviourKey, Seen>,
    /// The secret of the path hash.
    pub(super) hash_key: HashKey,
}

/// A map cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open map {}", path.display())]
pub struct MapsError {
    path: PathBuf,
    source: MapError,
}

impl KernelMaps {
    /// Opens the maps by their pins.
    pub(super) fn open(directory: &Path) -> Result<Self, MapsError> {
        let node: Array<MapData, Node> = open(directory, "NODE")?;
        let node = node.get(&0, 0).map_err(|source| MapsError {
            path: directory.join("NODE"),
            source,
        })?;
        Ok(Self {
            containers: open(directory, "CONTAINERS")?,
            instances: open(directory, "INSTANCES")?,
            tasks: open(directory, "TASKS")?,
            verified: open(directory, "VERIFIED")?,
            seen: open(directory, "SEEN")?,
            hash_key: node.settings.hash_key,
        })
    }

    /// The policy of a container.
    pub(super) fn container(&self, cgroup: u64) -> Option<Container> {
        self.containers.get(&cgroup, 0).ok()
    }

    /// Containers that have executed nothing of their own and have no policy yet. At most as many as the map holds.
    pub(super) fn beginning(&self) -> HashSet<u64> {
        self.containers
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, container)| self.begins(container))
            .map(|(cgroup, _)| cgroup)
            .collect()
    }

    /// Whether this is one of them.
    pub(super) fn is_beginning(&self, cgroup: u64) -> bool {
        self.container(cgroup)
            .is_some_and(|container| self.begins(&container))
    }

    fn begins(&self, container: &Container) -> bool {
        let is_nested = container.container != container.cgroup;
        let has_begun = || {
            self.instances
                .get(&container.slot, 0)
                .is_ok_and(|instance| instance.first_exec != 0)
        };
        // With a profile it is known, even where the rules for drift alone hold.
        container.mode(Domain::Exec) == Mode::Pending
            && container.profile == 0
            && !is_nested
            && container.cgroup != SELF_TEST
            && !has_begun()
    }

    /// Whose process it is, as the kernel programs know it: the container's cgroup id, and the process's state. `None` if it is no
    /// container's, or still the runtime's.
    pub(super) fn task(&self, process: u32) -> Option<(u64, TaskState)> {
        let process = usize::try_from(process).ok()?;
        let element = u32::try_from(process / TASKS_PER_ELEMENT).ok()?;
        let task = self.tasks.get(&element, 0).ok()?.0[process % TASKS_PER_ELEMENT];
        let state = TaskState::from_raw(task.state()).filter(|_| task.is_held())?;
        let instance = self.instances.get(&task.slot(), 0).ok()?;
        task.can_be_of(instance.cgroup)
            .then_some((instance.cgroup, state))
    }

    /// Whether the daemon has verified the content of this inode for this container, and it is still the same.
    pub(super) fn is_verified(&self, container: u64, file: &FileIdentity, path_hash: u64) -> bool {
        let key = VerifiedKey {
            container,
            inode: file.inode,
            device: file.device,
            reserved: 0,
        };
        self.verified
            .get(&key, 0)
            .is_ok_and(|verified| vouches(&verified, file, path_hash))
    }

    /// Whether the daemon has this behaviour in hand already; if so, counts the repeat. Only this process counts behaviours
    /// of this kind.
    pub(super) fn is_seen(&mut self, key: &BehaviourKey) -> bool {
        let Ok(seen) = self.seen.get(key, 0) else {
            return false;
        };
        let more = Seen {
            repeats: seen.repeats.saturating_add(1),
        };
        // If the daemon has removed the entry meanwhile, it is told again.
        self.seen.insert(key, more, BPF_EXIST).is_ok()
    }
}

fn vouches(verified: &Verified, file: &FileIdentity, path_hash: u64) -> bool {
    verified.path_hash == path_hash
        && verified.file == *file
        && matches!(verified.reason, VERIFIED_AS_IMAGE | VERIFIED_ACCEPTED)
}

fn open<T: TryFrom<Map, Error = MapError>>(directory: &Path, name: &str) -> Result<T, MapsError> {
    let path = directory.join(name);
    MapData::from_pin(&path)
        .and_then(Map::from_map_data)
        .and_then(T::try_from)
        .map_err(|source| MapsError { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_write_ends_what_was_verified() {
        let file = FileIdentity {
            inode: 1,
            size_bytes: 2,
            changed_s: 3,
            changed_ns: 4,
            device: 5,
        };
        let verified = Verified {
            file,
            path_hash: 6,
            reason: VERIFIED_ACCEPTED,
            reserved: 0,
        };
        assert!(vouches(&verified, &file, 6));
        assert!(!vouches(&verified, &file, 7));
        let written = FileIdentity {
            changed_ns: 5,
            ..file
        };
        assert!(!vouches(&verified, &written, 6));
        let other = Verified {
            reason: 0,
            ..verified
        };
        assert!(!vouches(&other, &file, 6));
    }

    #[test]
    fn maps_that_are_not_pinned_are_an_error() {
        let directory = tempfile::tempdir().expect("directory");
        let error = KernelMaps::open(directory.path())
            .err()
            .expect("nothing is there");
        assert!(error.to_string().contains("NODE"), "{error}");
    }
}
