//! From a container's id to its image and role: looked up until it is found, then its policy is put in force and what
//! waited for it is judged.
//!
//! Failure: after [`RESOLVE_WITHIN`] nothing waits any more; the container is looked up further, less often.

use std::time::Duration;

use super::Engine;
use super::container::{Known, RESOLVE_WITHIN, RETRY_MAX, Resolution, Search};
use super::learn::Learning;
use crate::container::containerd::Question;
use crate::container::containerd::client;
use crate::container::error::RuntimeError;
use crate::container::runtimes::{Found, Placer};
use crate::container::{ContainerId, ContainerInfo};
use crate::image::ImageDigest;
use crate::profile::model::{ObservationCounts, ProfileKey, Role};
use crate::profile::store::StoreError;

impl Engine {
    /// Looks up what is due.
    pub(super) fn resolve_pending(&mut self, now: Duration) {
        let due: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| match &tracked.resolution {
                Resolution::Pending(search) | Resolution::Unresolved(search) => search.next <= now,
                Resolution::Known(_) => false,
            })
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
            Ok(Some(Found {
                info,
                question: Some(question),
            })) => self.inquire(cgroup, info, question, learning),
            Ok(Some(Found { info, question: None })) => self.described(cgroup, info, learning),
            Ok(None) => {
                let reason = "no known runtime has a container of this id".to_owned();
                self.search_further(cgroup, reason, learning);
            }
            Err(reason) => self.search_further(cgroup, reason, learning),
        }
    }

    /// Lets the runtime be asked for the image of a container of which all else is known.
    fn inquire(&mut self, cgroup: u64, info: ContainerInfo, question: Question, learning: &mut Learning) {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let (Resolution::Pending(search) | Resolution::Unresolved(search)) = &mut tracked.resolution else {
            return;
        };
        search.described = Some(Box::new(info));
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
            return self.search_further(cgroup, reason, learning);
        };
        match self.know(info, digest) {
            Ok(known) => {
                tracing::info!(container = %known.info.id.short(), name = %known.info.name, image = %known.key.digest.short(), role = %known.key.role, "container known");
                let now = Self::now();
                if let Some(tracked) = self.containers.get_mut(&cgroup) {
                    tracked.resolution = Resolution::Known(Box::new(known));
                    tracked.next_verification = Some((now, 0));
                }
                self.publish_known_contents(cgroup);
                self.apply_policy(cgroup);
                self.handle_waiting(cgroup, learning);
            }
            Err(error) => self.search_further(cgroup, error.to_string(), learning),
        }
    }

    /// Takes note of a container's image and role in the store.
    fn know(&mut self, info: ContainerInfo, digest: ImageDigest) -> Result<Known, StoreError> {
        // A container without a command has no role of its own; `/` is no program's path.
        let role = Role::new(info.role.clone())
            .or_else(|_| Role::new("/".into()))
            .expect("one byte that is no NUL is a role");
        let key = ProfileKey { digest, role };
        let profile = self.store.ensure(&key, self.sees_scripts())?;
        let references: Vec<String> = info
            .image
            .reference
            .iter()
            .chain(&info.image.references)
            .map(ToString::to_string)
            .collect();
        for reference in &references {
            self.store.add_reference(&key.digest, Some(reference), None)?;
        }
        self.store.count_windows(
            &key,
            ObservationCounts {
                instances: 1,
                ..ObservationCounts::default()
            },
        )?;
        Ok(Known {
            info,
            key,
            profile,
            references,
        })
    }

    /// It is looked up again later.
    pub(super) fn search_further(&mut self, cgroup: u64, reason: String, learning: &mut Learning) {
        let now = Self::now();
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let (Resolution::Pending(search) | Resolution::Unresolved(search)) = &mut tracked.resolution else {
            return;
        };
        let retry = search.retry;
        let search = Search {
            since: search.since,
            next: now + retry,
            retry: (retry * 2).min(RETRY_MAX),
            reason,
            described: search.described.take(),
        };
        if now.saturating_sub(search.since) < RESOLVE_WITHIN && tracked.removed.is_none() {
            tracked.resolution = Resolution::Pending(search);
            return;
        }
        if matches!(tracked.resolution, Resolution::Pending(_)) {
            tracing::warn!(container = %tracked.name, reason = search.reason, "image unknown: only drift is told");
        }
        tracked.resolution = Resolution::Unresolved(search);
        self.handle_waiting(cgroup, learning);
    }
}
