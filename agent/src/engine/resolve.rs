//! From a container's id to its image and role: looked up until it is found, then its policy is put in force and what
//! waited for it is judged.
//!
//! Failure: after [`RESOLVE_WITHIN`] nothing waits any more; a container of which all but the image is known gets a
//! provisional profile of its own; it is looked up further, less often.

use std::collections::HashSet;
use std::time::Duration;

use agent_common::domain::{DOMAIN_SLOTS, Mode};

use super::Engine;
use super::container::{Known, RESOLVE_WITHIN, RETRY_MAX, Resolution, Search, Tracked};
use super::learn::Learning;
use crate::behaviour::LEARNED_DOMAINS;
use crate::container::containerd::client;
use crate::container::error::RuntimeError;
use crate::container::runtimes::{Found, Placer, Question};
use crate::container::{ContainerId, ContainerInfo};
use crate::control::view::{Tier, TierView};
use crate::image::ImageDigest;
use crate::metrics::fact::{ContainerUnresolved, StoreFailed, StoreOperation};
use crate::profile::model::{ObservationCounts, ProfileKey, Role, WindowCounts};
use crate::profile::store::StoreError;

impl Engine {
    /// Looks up what is due.
    pub(super) fn resolve_pending(&mut self, now: Duration) {
        let due: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| tracked.search().is_some_and(|search| search.next <= now))
            .map(|tracked| tracked.cgroup)
            .collect();
        if due.is_empty() {
            return;
        }
        self.runtimes.refresh();
        let mut learning = Learning::default();
        for cgroup in due {
            self.resolve(cgroup, &mut learning);
        }
        self.learn(learning);
    }

    /// The container with this id, whose cgroup has this path.
    pub(super) fn find(&self, id: &ContainerId, cgroup_path: &[u8]) -> Result<Option<Found>, RuntimeError> {
        let directory = self.layout.layout.directory(cgroup_path);
        self.runtimes.find(id, Placer::of_cgroup(&directory)?)
    }

    /// Looks up a container's image; puts its policy in force and handles what waited for it.
    pub(super) fn resolve(&mut self, cgroup: u64, learning: &mut Learning) {
        let Some(tracked) = self.containers.get(&cgroup) else {
            return;
        };
        let found = match (&tracked.id, &tracked.path) {
            (Some(id), Some(path)) => self.find(id, path).map_err(|error| error.to_string()),
            (Some(_), None) => Err("its cgroup went before it was found".to_owned()),
            (None, _) => Err("its cgroup's name holds no container id".to_owned()),
        };
        match found {
            Ok(Some(Found { info: Some(info), .. })) if info.isolation.is_some() => {
                self.not_observable(cgroup, info, learning);
            }
            Ok(Some(Found {
                info,
                question: Some(question),
            })) => self.inquire(cgroup, info, question, learning),
            Ok(Some(Found {
                info: Some(info),
                question: None,
            })) => self.described(cgroup, info, learning),
            Ok(
                None
                | Some(Found {
                    info: None,
                    question: None,
                }),
            ) => {
                let reason = "no known runtime has a container of this id".to_owned();
                self.search_further(cgroup, reason, learning);
            }
            Err(reason) => self.search_further(cgroup, reason, learning),
        }
    }

    /// A container's processes are none of this kernel's: there is nothing to look up. What is seen in its cgroup is its
    /// sandbox's, of which only drift is told.
    fn not_observable(&mut self, cgroup: u64, info: ContainerInfo, learning: &mut Learning) {
        let (Some(tracked), Some(isolation)) = (self.containers.get_mut(&cgroup), info.isolation) else {
            return;
        };
        tracing::warn!(container = %info.id.short(), name = %info.name, isolation = isolation.as_str(), "not observable");
        tracked.resolution = Resolution::NotObservable(Box::new(info), isolation);
        self.handle_waiting(cgroup, learning);
    }

    /// Lets be asked what is not known of a container: its image, or all.
    fn inquire(
        &mut self,
        cgroup: u64,
        info: Option<ContainerInfo>,
        question: Question,
        learning: &mut Learning,
    ) {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let Some(search) = tracked.search_mut() else {
            return;
        };
        search.described = info.map(Box::new);
        if self.inquirer.ask(cgroup, question) {
            // The answer comes before that, or why there is none.
            search.next = Self::now() + 2 * client::WITHIN;
            if search.reason.is_empty() {
                "its runtime is being asked for its image".clone_into(&mut search.reason);
            }
            return;
        }
        let reason = "too many questions wait for the runtimes".to_owned();
        self.search_further(cgroup, reason, learning);
    }

    /// All that can be known of a container is known: puts its policy in force and handles what waited for it.
    pub(super) fn described(&mut self, cgroup: u64, info: ContainerInfo, learning: &mut Learning) {
        let Some(digest) = info.image.digest.clone() else {
            let reason = format!("{} does not tell the digest of its image's config", info.runtime);
            if let Some(search) = self.containers.get_mut(&cgroup).and_then(Tracked::search_mut) {
                search.described = Some(Box::new(info));
            }
            return self.search_further(cgroup, reason, learning);
        };
        match self.know(info, digest) {
            Ok(known) => {
                tracing::info!(container = %known.info.id.short(), name = %known.info.name, image = %known.key.digest.short(), role = %known.key.role, "container known");
                let resolution = Resolution::Known(Box::new(known));
                self.resolved(cgroup, resolution, learning);
                self.forget_provisional_profiles();
            }
            Err(error) => self.search_further(cgroup, error.to_string(), learning),
        }
    }

    /// Puts the policy in force that follows from what is known now, and handles what waited for it.
    fn resolved(&mut self, cgroup: u64, resolution: Resolution, learning: &mut Learning) {
        let now = Self::now();
        if let Some(tracked) = self.containers.get_mut(&cgroup) {
            let had_profile = tracked.known().is_some();
            tracked.resolution = resolution;
            if tracked.known().map(|known| known.profile) != Some(tracked.inherited_profile) {
                tracked.is_counted = [false; DOMAIN_SLOTS];
            }
            tracked.next_verification = Some((now, 0));
            if had_profile {
                tracked.watch.miss_starts();
                // What was in hand by the profile before may be news for this one.
                let cleared = self.maps.clear_seen_of(cgroup).map(drop);
                Self::log_map_failure(cleared);
            }
        }
        self.await_inheritance(cgroup);
        self.publish_known_contents(cgroup);
        self.apply_policy(cgroup);
        self.handle_waiting(cgroup, learning);
    }

    /// Gives a container whose image could not be found out a profile of its own, for as long as that is so.
    fn know_provisionally(&mut self, cgroup: u64, search: Search, learning: &mut Learning) {
        let Some(info) = search.described.as_deref().cloned() else {
            return;
        };
        let id = info.id;
        let key = ProfileKey {
            digest: ImageDigest::of_container(&id),
            role: role_of(&info),
        };
        match self
            .store
            .ensure_provisional(&key, self.sees_scripts(), id.as_str())
        {
            Ok(profile) => {
                self.metrics.tell(&ContainerUnresolved {
                    container: &id.short(),
                    reason: &search.reason,
                    provisional: true,
                });
                // Names may be of any image as long as nothing proves them.
                let references = Vec::new();
                let known = Known {
                    info,
                    key,
                    profile,
                    references,
                };
                self.resolved(cgroup, Resolution::Provisional(Box::new(known), search), learning);
            }
            Err(error) => {
                self.metrics
                    .tell(&StoreFailed::new(StoreOperation::ProvisionalProfile, &error).about(&key));
            }
        }
    }

    /// Forgets the provisional profiles of containers that are gone, or whose image is known by now.
    pub(super) fn forget_provisional_profiles(&mut self) {
        let in_use: HashSet<&ImageDigest> = self
            .containers
            .values()
            .filter_map(|tracked| match &tracked.resolution {
                Resolution::Provisional(known, _) => Some(&known.key.digest),
                _ => None,
            })
            .collect();
        // One that is still looked up may need its own again.
        let searched: HashSet<&str> = self
            .containers
            .values()
            .filter(|tracked| tracked.search().is_some())
            .filter_map(|tracked| tracked.id.as_ref().map(ContainerId::as_str))
            .collect();
        let stale: Vec<ImageDigest> = self
            .store
            .provisional()
            .filter(|(digest, container)| !in_use.contains(digest) && !searched.contains(container))
            .map(|(digest, _)| digest.clone())
            .collect();
        for digest in stale {
            match self.store.forget_provisional(&digest) {
                Ok(profiles) => {
                    for profile in profiles {
                        self.publisher.forget(profile);
                    }
                    self.publisher.retire(Self::now());
                }
                Err(error) => {
                    self.metrics.tell(
                        &StoreFailed::new(StoreOperation::ForgetProvisional, &error).about(&digest.short()),
                    );
                }
            }
        }
    }

    /// Takes note of a container's image and role in the store.
    fn know(&mut self, info: ContainerInfo, digest: ImageDigest) -> Result<Known, StoreError> {
        let role = role_of(&info);
        let key = match info.image.claimed_by {
            None => ProfileKey { digest, role },
            Some(user) => ProfileKey {
                digest: ImageDigest::of_user(user, &digest),
                role,
            },
        };
        let profile = self.store.ensure(&key, self.sees_scripts())?;
        let references: Vec<String> = info
            .image
            .reference
            .iter()
            .chain(&info.image.references)
            .map(ToString::to_string)
            .collect();
        self.store.see_image(&key.digest, &references)?;
        Ok(Known {
            info,
            key,
            profile,
            references,
        })
    }

    /// Counts a container as observed in the domains that are watched and learned in it, once in each.
    pub(super) fn count_instance(&mut self, cgroup: u64) {
        let tiers = self.tiers();
        let is_watched = |domain| {
            let mut tiers = tiers.iter();
            tiers.any(|tier: &TierView| tier.domain == domain && tier.can > Tier::None)
        };
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let Some(key) = tracked.known().map(|known| known.key.clone()) else {
            return;
        };
        let mut counts = ObservationCounts::default();
        let mut counted = tracked.is_counted;
        for domain in LEARNED_DOMAINS {
            let is_new =
                tracked.mode(domain) == Mode::Learn && !counted[domain as usize] && is_watched(domain);
            if let Some(count) = counts.of_mut(domain).filter(|_| is_new) {
                *count = ONE_INSTANCE;
                counted[domain as usize] = true;
            }
        }
        if counted == tracked.is_counted {
            return;
        }
        match self.store.count_windows(&key, counts) {
            Ok(()) => tracked.is_counted = counted,
            Err(error) => {
                self.metrics
                    .tell(&StoreFailed::new(StoreOperation::CountInstance, &error).about(&key));
            }
        }
    }

    /// It is looked up again later.
    pub(super) fn search_further(&mut self, cgroup: u64, reason: String, learning: &mut Learning) {
        let now = Self::now();
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let is_removed = tracked.is_removed();
        let Some(search) = tracked.search_mut() else {
            return;
        };
        search.next = now + search.retry;
        search.retry = (search.retry * 2).min(RETRY_MAX);
        search.reason = reason;
        let search = search.clone();
        if !matches!(tracked.resolution, Resolution::Pending(_))
            || (now.saturating_sub(search.since) < RESOLVE_WITHIN && !is_removed)
        {
            return;
        }
        if search.described.is_some() && !is_removed {
            return self.know_provisionally(cgroup, search, learning);
        }
        self.metrics.tell(&ContainerUnresolved {
            container: &tracked.name,
            reason: &search.reason,
            provisional: false,
        });
        // What it did so far was judged without a profile.
        tracked.watch.miss_starts();
        tracked.resolution = Resolution::Unresolved(search);
        self.handle_waiting(cgroup, learning);
    }
}

/// A container that is observed from now on.
const ONE_INSTANCE: WindowCounts = WindowCounts {
    instances: 1,
    windows: 0,
    lost_windows: 0,
    lost_records: 0,
    starts: 0,
    ends: 0,
};

/// A container without a command has no role of its own; `/` is no program's path.
fn role_of(info: &ContainerInfo) -> Role {
    Role::new(info.role.clone())
        .or_else(|_| Role::new("/".into()))
        .expect("one byte that is no NUL is a role")
}
