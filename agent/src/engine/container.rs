//! The containers: how they come to be known, which policy holds for them, and how they go.
//!
//! A container is entered in the kernel before anything is known about it: by the kernel programs when its cgroup
//! appears, or by the sweep if it was there before. Its image is then looked up; until that is known its events wait.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use agent_common::container::{Container, SELF_TEST};
use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};
use agent_common::instance::Instance;
use agent_common::record::cgroup::CgroupChange;

use super::inherit::{Awaited, LayersNoted};
use super::learn::Learning;
use super::window::Watch;
use super::{Engine, SWEEP};
use crate::alert::hold::RecordHold;
use crate::alert::time::Time;
use crate::container::layout::CgroupLayout;
use crate::container::overlay::Overlay;
use crate::container::runtimes::Found;
use crate::container::tree::{self, ContainerCgroup};
use crate::container::{ContainerId, ContainerInfo, Isolation, container_id_in, root};
use crate::control::view::ModeSource;
use crate::event::{CgroupEvent, Event};
use crate::metrics::fact::{ContainerUntracked, UntrackedCause};
use crate::profile::model::ProfileKey;
use crate::text::ByteText;

/// Most events of one container that wait for its image. Further ones are judged by what is known: drift is reported,
/// what is only unknown is counted as unattributed, and sent again when it is done again.
const WAITING_MAX: usize = 1_024;
/// As many of them are kept for programs: at its start a program opens many files.
const WAITING_FOR_EXEC: usize = 256;
/// How long a container may be looked up before its events wait no longer. It is looked up further, less often.
pub(super) const RESOLVE_WITHIN: Duration = Duration::from_secs(10);
/// How soon a container that was not found is looked up again, at first.
const RETRY: Duration = Duration::from_millis(20);
/// How soon at most.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(15);
/// Most parents whose path is remembered. At the bound all are forgotten.
const PARENTS_MAX: usize = 256;
/// How long a container that is gone is kept at least, for records about it that are still on their way.
const LINGER: Duration = Duration::from_secs(1);

/// How many events may wait for `event` to wait too.
pub(super) fn waiting_max(event: &Event) -> usize {
    match event {
        Event::Use(event) if matches!(event.domain(), Domain::File | Domain::Cap | Domain::Syscall) => {
            WAITING_MAX - WAITING_FOR_EXEC
        }
        _ => WAITING_MAX,
    }
}

/// One container.
pub(super) struct Tracked {
    pub(super) cgroup: u64,
    pub(super) slot: u32,
    /// The cgroup's name.
    pub(super) name: ByteText,
    /// Path of the cgroup in its hierarchy; `None` if it went before it was found.
    pub(super) path: Option<Vec<u8>>,
    /// The runtime's id, if the name holds one.
    pub(super) id: Option<ContainerId>,
    pub(super) resolution: Resolution,
    /// Events that wait.
    pub(super) waiting: VecDeque<(Event, RecordHold)>,
    /// The mode of each domain that is in the kernel, and where it comes from.
    pub(super) modes: [(Mode, ModeSource); DOMAIN_SLOTS],
    /// Why its pod's annotations are not followed as they stand.
    pub(super) not_followed: Option<String>,
    /// Its layers on disk, once they were needed.
    pub(super) overlay: Option<Overlay>,
    /// When accepted files are looked for next, and how often that was done.
    pub(super) next_verification: Option<(Duration, u32)>,
    /// It was told that it has made too many cgroups.
    pub(super) is_at_cgroup_limit: bool,
    /// When its cgroup went.
    pub(super) removed: Option<Duration>,
    /// What is followed from window to window.
    pub(super) watch: Watch,
    /// Number of the profile that an earlier agent had put in force; 0 if there was none.
    pub(super) inherited_profile: u32,
    /// It waits for what its profile takes over from that of the image before.
    pub(super) awaited: Option<Awaited>,
    /// Whether it is on record where its image's layers are.
    pub(super) layers_noted: LayersNoted,
    /// By domain: what is about what changed since the image before is learned, whatever the mode.
    pub(super) learns_changes: [bool; DOMAIN_SLOTS],
    /// By domain: it was counted as an instance that its profile is learned from.
    pub(super) is_counted: [bool; DOMAIN_SLOTS],
    /// By domain.
    pub(super) told: [Told; DOMAIN_SLOTS],
}

/// What was told of a container in one domain.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    /// When the last alert was.
    pub(super) at: Option<Time>,
    /// How many records had been lost by then.
    pub(super) lost: u64,
}

/// Whether it is known what a container is.
pub(super) enum Resolution {
    /// It is being looked up, and events wait.
    Pending(Search),
    /// It was looked up for long enough.
    Unresolved(Search),
    /// All is known but its image: it has a provisional profile of its own, and its image is looked up further.
    Provisional(Box<Known>, Search),
    /// It is known.
    Known(Box<Known>),
    /// Its processes are none of this kernel's.
    NotObservable(Box<ContainerInfo>, Isolation),
}

/// A look-up that has not succeeded yet.
#[derive(Clone)]
pub(super) struct Search {
    pub(super) since: Duration,
    /// When it is tried again.
    pub(super) next: Duration,
    /// How long it was waited for that.
    pub(super) retry: Duration,
    pub(super) reason: String,
    /// What is known already, where only the image is not.
    pub(super) described: Option<Box<ContainerInfo>>,
}

/// A container whose image and role are known.
pub(super) struct Known {
    pub(super) info: ContainerInfo,
    pub(super) key: ProfileKey,
    /// The profile's number.
    pub(super) profile: u32,
    /// All references of the image, for rules that name one.
    pub(super) references: Vec<String>,
}

impl Tracked {
    fn new(cgroup: u64, slot: u32, name: ByteText, path: Option<Vec<u8>>, now: Duration) -> Self {
        Self {
            cgroup,
            slot,
            path,
            id: container_id_in(name.as_bytes()),
            name,
            resolution: Resolution::Pending(Search {
                since: now,
                next: now,
                retry: RETRY,
                reason: String::new(),
                described: None,
            }),
            waiting: VecDeque::new(),
            modes: [(Mode::Pending, ModeSource::Default); DOMAIN_SLOTS],
            not_followed: None,
            overlay: None,
            next_verification: None,
            is_at_cgroup_limit: false,
            removed: None,
            watch: Watch::default(),
            inherited_profile: 0,
            awaited: None,
            layers_noted: LayersNoted::default(),
            learns_changes: [false; DOMAIN_SLOTS],
            is_counted: [false; DOMAIN_SLOTS],
            told: [Told::default(); DOMAIN_SLOTS],
        }
    }

    pub(super) fn known(&self) -> Option<&Known> {
        match &self.resolution {
            Resolution::Known(known) | Resolution::Provisional(known, _) => Some(known),
            Resolution::Pending(_) | Resolution::Unresolved(_) | Resolution::NotObservable(..) => None,
        }
    }

    /// The look-up that has not succeeded yet.
    pub(super) fn search(&self) -> Option<&Search> {
        match &self.resolution {
            Resolution::Pending(search)
            | Resolution::Unresolved(search)
            | Resolution::Provisional(_, search) => Some(search),
            Resolution::Known(_) | Resolution::NotObservable(..) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn search_mut(&mut self) -> Option<&mut Search> {
        match &mut self.resolution {
            Resolution::Pending(search)
            | Resolution::Unresolved(search)
            | Resolution::Provisional(_, search) => Some(search),
            Resolution::Known(_) | Resolution::NotObservable(..) => None,
        }
    }

    /// What its runtime says about it, as far as that is known.
    pub(super) fn info(&self) -> Option<&ContainerInfo> {
        match &self.resolution {
            Resolution::Known(known) | Resolution::Provisional(known, _) => Some(&known.info),
            Resolution::NotObservable(info, _) => Some(info),
            Resolution::Pending(search) | Resolution::Unresolved(search) => search.described.as_deref(),
        }
    }

    /// The mode of a domain that is in the kernel.
    pub(super) fn mode(&self, domain: Domain) -> Mode {
        self.modes[domain as usize].0
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.is_some()
    }
}

/// The agent's own cgroup in the hierarchy that ids come from.
pub(super) fn own_cgroup(layout: &CgroupLayout) -> Option<u64> {
    let path = layout.cgroup_of(std::process::id()).ok()??;
    tree::kernel_id(&layout.directory(&path)).ok()
}

/// The processes of a container, by what its runtime and its cgroup say now.
pub(super) fn processes(layout: &CgroupLayout, tracked: &Tracked) -> Vec<u32> {
    let Some(path) = &tracked.path else {
        return Vec::new();
    };
    tree::processes(&layout.directory(path)).unwrap_or_default()
}

impl Engine {
    /// A container's cgroup appeared or went.
    pub(super) fn cgroup_changed(&mut self, event: &CgroupEvent, learning: &mut Learning) {
        let cgroup = event.origin.container;
        match event.change {
            CgroupChange::Created => {
                if !self.containers.contains_key(&cgroup) {
                    let path = self.cgroup_path(event);
                    let watch = Watch::new(true);
                    self.enter(
                        cgroup,
                        event.origin.slot,
                        event.name.clone(),
                        path,
                        watch,
                        learning,
                    );
                }
            }
            CgroupChange::Untracked => {
                self.metrics.tell(&ContainerUntracked {
                    container: &event.name,
                    cause: UntrackedCause::Tables,
                });
            }
            CgroupChange::Removed => {
                let now = Self::now();
                if let Some(tracked) = self.containers.get_mut(&cgroup) {
                    tracked.removed.get_or_insert(now);
                    tracing::debug!(name = %tracked.name, "container gone");
                }
            }
        }
    }

    /// The path of a new cgroup. Runtimes create their containers in few places, so the parent is mostly known.
    fn cgroup_path(&mut self, event: &CgroupEvent) -> Option<Vec<u8>> {
        if !self.parents.contains_key(&event.parent) {
            let listing = self.layout.layout.containers().ok()?;
            let found = listing
                .found
                .into_iter()
                .find(|found| found.cgroup.id == event.origin.container)?;
            let end = found.cgroup.path.iter().rposition(|byte| *byte == b'/')?;
            if self.parents.len() >= PARENTS_MAX {
                self.parents.clear();
            }
            self.parents
                .insert(event.parent, found.cgroup.path[..end].to_vec());
        }
        let parent = self.parents.get(&event.parent)?;
        Some([parent.as_slice(), b"/", event.name.as_bytes()].concat())
    }

    /// Enters a container that the kernel has entered already.
    fn enter(
        &mut self,
        cgroup: u64,
        slot: u32,
        name: ByteText,
        path: Option<Vec<u8>>,
        watch: Watch,
        learning: &mut Learning,
    ) {
        let mut tracked = Tracked::new(cgroup, slot, name, path, Self::now());
        tracked.watch = watch;
        // An earlier agent may have left a policy in force.
        if let Ok(Some(entry)) = self.maps.container(cgroup) {
            tracked.inherited_profile = entry.profile;
            if entry.profile != 0
                && let Ok(instance) = self.maps.instance(slot)
            {
                tracked.watch.skip_lost(&instance);
            }
            for &domain in Domain::ALL {
                tracked.modes[domain as usize].0 = entry.mode(domain);
                // That agent counted it.
                tracked.is_counted[domain as usize] = entry.mode(domain) == Mode::Learn;
            }
        }
        self.containers.insert(cgroup, tracked);
        self.resolve(cgroup, learning);
    }

    /// Enters a container of whose beginning no record came.
    pub(super) fn enter_unseen(&mut self, cgroup: u64, slot: u32, learning: &mut Learning) {
        match self.maps.container(cgroup) {
            Ok(Some(entry)) if entry.slot == slot => {}
            _ => return,
        }
        let listing = self
            .layout
            .layout
            .containers()
            .map(|listing| listing.found)
            .unwrap_or_default();
        if let Some(found) = listing.into_iter().find(|found| found.cgroup.id == cgroup) {
            let watch = Watch::new(self.has_not_begun(slot));
            self.enter(
                cgroup,
                slot,
                found.container.as_str().into(),
                Some(found.cgroup.path),
                watch,
                learning,
            );
        }
    }

    /// Compares the containers that exist with those that are known.
    pub(super) fn sweep(&mut self) {
        let now = Self::now();
        self.last_sweep = now;
        let listing = match self.layout.layout.containers() {
            Ok(listing) => listing,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot list the containers' cgroups"
                );
                return;
            }
        };
        if listing.truncated {
            tracing::warn!("there are more cgroups than are looked at");
        }
        let mut learning = Learning::default();
        for found in &listing.found {
            if !self.containers.contains_key(&found.cgroup.id) {
                self.adopt(found, &mut learning);
            }
        }
        self.learn(learning);
        self.report_cgroup_limits();
        if listing.truncated {
            return;
        }
        self.enter_gone();
        self.forget_provisional_profiles();
        let existing: HashSet<u64> = listing.found.iter().map(|found| found.cgroup.id).collect();
        for tracked in self.containers.values_mut() {
            if tracked.removed.is_none() && !existing.contains(&tracked.cgroup) {
                tracked.removed = Some(now);
            }
        }
    }

    /// Enters what the kernel still has of containers that went while no agent ran, so that they are removed like others; and lets
    /// go of rules that only an earlier agent needed.
    fn enter_gone(&mut self) {
        if self.has_entered_gone && !self.publisher.has_inherited() {
            return;
        }
        let entries = match self.maps.containers() {
            Ok(entries) => entries,
            Err(error) => return Self::log_map_failure(Err(error)),
        };
        let now = Self::now();
        for entry in &entries {
            if entry.cgroup != SELF_TEST && !self.containers.contains_key(&entry.cgroup) {
                let name = format!("cgroup {}", entry.cgroup);
                let mut gone = Tracked::new(entry.cgroup, entry.slot, name.as_str().into(), None, now);
                gone.removed = Some(now);
                gone.resolution = Resolution::Unresolved(Search {
                    since: now,
                    next: Duration::MAX,
                    retry: RETRY_MAX,
                    reason: "it went while no agent ran".to_owned(),
                    described: None,
                });
                self.containers.insert(entry.cgroup, gone);
            }
        }
        let in_use = entries
            .iter()
            .map(|entry| (entry.profile, entry.generation))
            .collect();
        self.publisher.remove_inherited(&in_use, now);
        self.has_entered_gone = true;
    }

    /// Enters a container that was there before the programs were attached, or whose record was lost.
    fn adopt(&mut self, found: &ContainerCgroup, learning: &mut Learning) {
        let cgroup = found.cgroup.id;
        let name: ByteText = found.container.as_str().into();
        match self.maps.container(cgroup) {
            Ok(Some(entry)) => {
                let watch = Watch::new(self.has_not_begun(entry.slot));
                return self.enter(
                    cgroup,
                    entry.slot,
                    name,
                    Some(found.cgroup.path.clone()),
                    watch,
                    learning,
                );
            }
            Ok(None) => {}
            Err(error) => return Self::log_map_failure(Err(error)),
        }
        let nested = self
            .layout
            .layout
            .nested(&found.cgroup.path)
            .map(|listing| listing.found)
            .unwrap_or_default();
        let mut instance = self.describe_running(found);
        instance.nested_cgroups = nested.len() as u64;
        let slot = match self.maps.take_slot(&instance) {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                self.metrics.tell(&ContainerUntracked {
                    container: &name,
                    cause: UntrackedCause::Slots,
                });
                return;
            }
            Err(error) => return Self::log_map_failure(Err(error)),
        };
        let entry = Container {
            cgroup,
            container: cgroup,
            slot,
            flags: self.pending_flags(),
            modes: [Mode::Pending as u8; DOMAIN_SLOTS],
            ..Container::default()
        };
        let mut entries = vec![entry];
        for nested in nested {
            let mut entry = entry;
            entry.cgroup = nested.id;
            entries.push(entry);
        }
        for entry in entries {
            let set = self.maps.set_container(&entry);
            Self::log_map_failure(set);
        }
        // It was there before: what it did at its start was seen by nobody.
        let watch = Watch::new(false);
        self.enter(
            cgroup,
            slot,
            name,
            Some(found.cgroup.path.clone()),
            watch,
            learning,
        );
    }

    /// The first process of a container that runs: the one that its runtime names, else the oldest of those in its cgroup
    /// that have a mount namespace of their own.
    fn first_process(&self, found: &ContainerCgroup) -> Option<u32> {
        let layout = &self.layout.layout;
        if let Ok(Some(Found { info: Some(info), .. })) = self.find(&found.container, &found.cgroup.path) {
            // The id may be from an earlier run, and another process's by now.
            let is_its = |pid: &u32| {
                let cgroup = layout.cgroup_of(*pid).ok().flatten();
                cgroup.is_some_and(|cgroup| cgroup.starts_with(&found.cgroup.path))
            };
            return info.init_pid.filter(is_its).filter(|_| info.running);
        }
        let hosts = root::mount_namespace(1)
            .or_else(|_| root::mount_namespace(std::process::id()))
            .ok()?;
        let mut processes = tree::processes(&layout.directory(&found.cgroup.path)).ok()?;
        processes.sort_unstable();
        processes
            .into_iter()
            .find(|pid| root::mount_namespace(*pid).is_ok_and(|namespace| namespace != hosts))
    }

    /// What the kernel programs would have found out about a container that runs. Without a process that has the
    /// container's root they find it out themselves at its first exec.
    fn describe_running(&self, found: &ContainerCgroup) -> Instance {
        let mut instance = Instance {
            cgroup: found.cgroup.id,
            ..Instance::default()
        };
        let Some(pid) = self.first_process(found) else {
            return instance;
        };
        match root::root_filesystem(pid) {
            Ok(root) => {
                instance.root_device = root.device;
                instance.mount_namespace = root.mount_namespace;
                instance.first_exec = 1;
                instance.init_pid = pid;
            }
            Err(error) => {
                tracing::warn!(container = %found.container, error = &error as &dyn std::error::Error, "root unknown");
            }
        }
        instance
    }

    /// Forgets containers that are gone, once none of their processes is left anywhere.
    pub(super) fn remove_gone(&mut self, now: Duration) {
        let gone: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| {
                tracked
                    .removed
                    .is_some_and(|removed| now.saturating_sub(removed) >= LINGER)
            })
            .map(|tracked| tracked.cgroup)
            .collect();
        if gone.is_empty() {
            return;
        }
        let in_use = match self.kernel.slots_in_use() {
            Ok(in_use) => in_use,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "it is not known which containers are gone"
                );
                // Asked again later, not with each tick.
                for tracked in self.containers.values_mut() {
                    tracked.removed = tracked.removed.map(|_| now);
                }
                return;
            }
        };
        for cgroup in gone {
            let mut learning = Learning::default();
            self.end_await(cgroup, &mut learning);
            self.handle_waiting(cgroup, &mut learning);
            self.learn(learning);
            if let Err(error) = self.remove(cgroup, &in_use, now) {
                Self::log_map_failure(Err(error));
            }
        }
    }

    /// Forgets a container, unless its slot is `in_use`.
    fn remove(
        &mut self,
        cgroup: u64,
        in_use: &HashSet<u32>,
        now: Duration,
    ) -> Result<(), crate::kernel::maps::MapsError> {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return Ok(());
        };
        let instance = self.maps.instance(tracked.slot)?;
        if in_use.contains(&tracked.slot) {
            // Processes that left the cgroup live on, and are judged further.
            tracked.removed = Some(now + SWEEP);
            return Ok(());
        }
        self.depart(cgroup, &instance);
        let Some(tracked) = self.containers.get(&cgroup) else {
            return Ok(());
        };
        let slot = tracked.slot;
        self.maps.remove_container(cgroup)?;
        self.maps.clear_seen_of(cgroup)?;
        self.memory.forget(cgroup);
        self.maps.clear_verified_of(cgroup)?;
        self.maps.remove_calls(slot)?;
        self.maps.give_slot(slot)?;
        self.counters.gone.add(&instance);
        self.containers.remove(&cgroup);
        Ok(())
    }
}
