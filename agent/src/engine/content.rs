//! What drifted files hold: hashed by threads of their own, for the alert, and to let through what is the image's content
//! or what an operator has accepted.
//!
//! One thread reads files as they are, since alerts wait for it. Where something is to rest on the content, a second one reads the file once
//! more when its last change is old enough to vouch for it.
//!
//! Bounds: [`QUEUE`] checks wait at once for each thread; at the bound an alert goes out without hash. An alert waits for its hash at most
//! [`HOLD`]. A file that could not be vouched for stays drift.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use agent_common::file::{FileIdentity, Layer, VERIFIED_ACCEPTED, VERIFIED_AS_IMAGE, Verified, VerifiedKey};
use agent_common::hash;
use agent_common::rule::Action;
use tokio::sync::mpsc;

use super::Engine;
use super::container::Tracked;
use crate::alert::fold::FoldKey;
use crate::alert::model::{Alert, AlertNote};
use crate::alert::severity::{Circumstances, Subject, rate};
use crate::alert::time::since_boot;
use crate::compare::{Deviation, DeviationKind};
use crate::container::content::{ContentError, ContentLimits, HashedFile, Location, hash_file};
use crate::container::lowers::ImageMatch;
use crate::container::overlay::Overlay;
use crate::container::root;
use crate::event::{ProcessEvent, UseEvent};
use crate::profile::model::{ContentHash, ProfileKey};
use crate::text::ByteText;

/// Most checks that wait for a thread.
const QUEUE: usize = 256;
/// How long an alert waits for the hash of its file.
const HOLD: Duration = Duration::from_millis(700);
/// What is read at once.
const AT_ONCE: ContentLimits = ContentLimits {
    max_bytes: 256 << 20,
    settled_after: Duration::from_millis(50),
    max_wait: Duration::ZERO,
};
/// What is read to be vouched for, and waited for.
const VOUCHED: ContentLimits = ContentLimits {
    max_wait: Duration::from_millis(200),
    ..AT_ONCE
};
/// Most contents that are remembered for `profile accept` without a hash. At the bound all are forgotten.
const REMEMBERED_MAX: usize = 4_096;
/// Most files of one container that may run because they have the image's content: a container that copies up more must not use
/// up `VERIFIED` for the others. At the bound the file stays drift, which is told once in the log.
const AS_IMAGE_MAX: usize = 256;
/// When the files that an operator accepted are looked for in a new container: after each of these, from the last.
const VERIFY_AFTER: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// An alert that waits for the content of its file.
pub(super) struct Held {
    until: Duration,
    key: FoldKey,
    alert: Alert,
    process: ProcessEvent,
}

/// What was found out about contents, for later containers and for the operator.
#[derive(Default)]
pub(super) struct ContentMemory {
    next_check: u64,
    /// The content seen last at a place.
    last: HashMap<(ProfileKey, Layer, ByteText), ContentHash>,
    /// Inodes with an accepted content: a file that is mounted from the host is the same in each container.
    accepted: HashMap<(ProfileKey, Layer, ByteText), Vec<(FileIdentity, ContentHash)>>,
    /// By container: the inodes that have the image's content.
    as_image: HashMap<u64, HashSet<(u64, u32)>>,
}

/// Hands checks to the threads.
pub(super) struct ContentChecker {
    at_once: SyncSender<Check>,
    vouched: SyncSender<Check>,
}

struct Check {
    number: u64,
    container: u64,
    layer: Layer,
    path: ByteText,
    expected: Option<FileIdentity>,
    place: Place,
    /// It is for the thread that waits until a file can be vouched for.
    waits: bool,
}

/// Where a thread finds a file.
enum Place {
    Upper {
        overlay: Box<Overlay>,
        device: u32,
    },
    /// By any of these processes that still is in the mount namespace.
    Volume {
        pids: Vec<u32>,
        mount_namespace: u32,
    },
}

/// What a thread found.
pub struct Checked {
    check: Check,
    /// The content, and for a file of the upper layer how it compares with the image's.
    result: Result<(HashedFile, Option<ImageMatch>), ContentError>,
}

impl ContentChecker {
    /// Starts the threads. They end when the checker is dropped; `None` is received of one that has ended.
    pub(super) fn start() -> (Self, mpsc::Receiver<Option<Checked>>) {
        let (results, found) = mpsc::channel(QUEUE);
        let checker = Self {
            at_once: thread("content", AT_ONCE, results.clone()),
            vouched: thread("content-vouched", VOUCHED, results),
        };
        (checker, found)
    }

    /// Has a file read as it is; false at the bound.
    fn read(&self, check: Check) -> bool {
        self.at_once.try_send(check).is_ok()
    }

    /// Has a file read when its last change is old enough; false at the bound.
    fn vouch(&self, check: Check) -> bool {
        self.vouched.try_send(check).is_ok()
    }
}

/// Tells that a thread has ended, however it did: the other one goes on, and nobody would notice.
struct Ending(mpsc::Sender<Option<Checked>>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody listens any more where the agent ends.
        let _ = self.0.blocking_send(None);
    }
}

/// Starts a thread that makes checks. Returns where it takes them from.
fn thread(name: &str, limits: ContentLimits, results: mpsc::Sender<Option<Checked>>) -> SyncSender<Check> {
    let (checks, waiting) = std::sync::mpsc::sync_channel::<Check>(QUEUE);
    let work = move || {
        let results = Ending(results);
        for check in waiting {
            let result = perform(&check, &limits);
            if results.0.blocking_send(Some(Checked { check, result })).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .expect("a thread can be started");
    checks
}

/// A process and its ancestors in the container, by their ids on the host.
pub(super) fn lineage(process: &ProcessEvent) -> Vec<u32> {
    let ancestors = process.ancestors.iter().map(|(pid, _)| *pid);
    std::iter::once(process.pid).chain(ancestors).collect()
}

/// Hashes a file, and compares one of the upper layer with the image's.
fn perform(check: &Check, limits: &ContentLimits) -> Result<(HashedFile, Option<ImageMatch>), ContentError> {
    let expected = check.expected.as_ref();
    match &check.place {
        Place::Upper { overlay, device } => {
            let location = Location::Upper {
                directory: &overlay.upper,
                device: *device,
            };
            let file = hash_file(location, &check.path, expected, limits)?;
            let comparison = overlay.compare_with_image(&check.path, &file, limits);
            let comparison = comparison.inspect_err(|error| {
                tracing::debug!(error = error as &dyn std::error::Error, path = %check.path, "not compared");
            });
            Ok((file, comparison.ok()))
        }
        Place::Volume {
            pids,
            mount_namespace,
        } => {
            let mut failed = None;
            for &pid in pids {
                let location = Location::Volume {
                    pid,
                    mount_namespace: *mount_namespace,
                };
                match hash_file(location, &check.path, expected, limits) {
                    Ok(file) => return Ok((file, None)),
                    Err(error) => failed = Some(error),
                }
            }
            Err(failed.unwrap_or(ContentError::NotInContainer { pid: 0 }))
        }
    }
}

impl Engine {
    /// Lets the content of a drifted file be looked at before its alert goes out; other alerts go out at once.
    pub(super) fn check_content_then_offer(
        &mut self,
        event: &UseEvent,
        deviation: &Deviation,
        key: FoldKey,
        alert: Alert,
    ) {
        let file = event.file().filter(|file| {
            deviation.kind == DeviationKind::Drift
                && matches!(file.layer, Layer::Upper | Layer::Volume)
                && !file.path.too_long
        });
        if let Some(file) = file
            && let Some(place) = self.place(event.origin.container, file.layer, Some(&event.process))
        {
            let number = self.memory.number();
            let check = Check {
                number,
                container: event.origin.container,
                layer: file.layer,
                path: file.path.text.clone(),
                expected: Some(file.identity),
                place,
                waits: false,
            };
            if self.checker.read(check) {
                let until = since_boot() + HOLD;
                let process = event.process.clone();
                self.held.insert(
                    number,
                    Held {
                        until,
                        key,
                        alert,
                        process,
                    },
                );
                return;
            }
        }
        self.offer(key, alert, Some(&event.process));
    }

    /// Where a file of a container can be read.
    fn place(&mut self, container: u64, layer: Layer, process: Option<&ProcessEvent>) -> Option<Place> {
        let tracked = self.containers.get_mut(&container)?;
        let instance = self.maps.instance(tracked.slot).ok()?;
        let mut pids = Vec::new();
        // Where an upper layer is does not change: a storm need not look for it again.
        if layer != Layer::Upper || tracked.overlay.is_none() {
            pids.extend(process.map(lineage).unwrap_or_default());
            pids.extend(tracked.known().and_then(|known| known.info.init_pid));
            pids.extend(super::container::processes(&self.layout.layout, tracked));
            pids.dedup();
        }
        match layer {
            Layer::Upper => {
                let overlay = overlay(tracked, &pids, instance.mount_namespace)?;
                Some(Place::Upper {
                    overlay: Box::new(overlay),
                    device: instance.root_device,
                })
            }
            Layer::Volume => Some(Place::Volume {
                pids,
                mount_namespace: instance.mount_namespace,
            }),
            _ => None,
        }
    }

    /// A content is known, or why it is not.
    pub(super) fn content_checked(&mut self, checked: Checked) {
        let Checked { check, result } = checked;
        let (file, comparison) = match result {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, path = %check.path, "content not known");
                if let Some(held) = self.held.remove(&check.number) {
                    self.offer_held(held);
                }
                return;
            }
        };
        let mut is_image = comparison.is_some_and(ImageMatch::is_equal);
        let mut is_accepted = false;
        if let Some(known) = self.containers.get(&check.container).and_then(Tracked::known) {
            let place = (known.key.clone(), check.layer, check.path.clone());
            is_accepted = self
                .store
                .profile(&known.key)
                .is_some_and(|profile| profile.accepts_drift(check.layer, &check.path, &file.sha256));
            self.memory.remember(place, &file, is_accepted);
        }
        let (number, container, path) = (check.number, check.container, check.path.clone());
        if !file.is_settled {
            let rests_on_it = is_image || is_accepted;
            let is_asked_again = !check.waits
                && (rests_on_it || check.layer == Layer::Volume)
                && self.checker.vouch(Check { waits: true, ..check });
            if is_asked_again && rests_on_it {
                return;
            }
            // It cannot be vouched for. That an alert tells what was read is another matter.
            is_accepted = false;
            is_image = false;
        }
        let held = self.held.remove(&number);
        let reason = match (is_image, is_accepted) {
            (true, _) => Some(VERIFIED_AS_IMAGE),
            (false, true) => Some(VERIFIED_ACCEPTED),
            (false, false) => None,
        };
        if let Some(reason) = reason {
            self.set_verified(container, &file.identity, &path, reason);
        }
        let Some(mut held) = held else { return };
        if is_accepted && held.alert.action.taken == Action::None {
            // Accepted, and it ran: nothing departs from the profile.
            let _ = self.maps.forget_seen(&held.key.behaviour);
            return;
        }
        if let Some(found) = held.alert.behaviour.file_mut() {
            found.sha256 = Some(file.sha256.to_string());
            found.note = match comparison {
                Some(ImageMatch::Equal) => Some(AlertNote::MetadataOnly),
                Some(ImageMatch::OtherContent | ImageMatch::MorePrivileged) => {
                    Some(AlertNote::ContentChanged)
                }
                Some(_) | None => found.note,
            };
            let rating = rate(Circumstances {
                kind: held.alert.kind,
                layer: found.layer,
                subject: Subject::Program,
                state: held.alert.process.state,
                metadata_only: is_image,
            });
            held.alert.severity = rating.severity;
            held.alert.attack = rating.attack.into_iter().map(Into::into).collect();
        }
        self.offer_held(held);
    }

    /// Sends the alerts that have waited long enough.
    pub(super) fn release_held(&mut self, now: Duration) {
        let mut due: Vec<u64> = self
            .held
            .iter()
            .filter(|(_, held)| held.until <= now)
            .map(|(number, _)| *number)
            .collect();
        due.sort_unstable();
        for number in due {
            if let Some(held) = self.held.remove(&number) {
                self.offer_held(held);
            }
        }
    }

    fn offer_held(&mut self, held: Held) {
        self.offer(held.key, held.alert, Some(&held.process));
    }

    fn set_verified(&mut self, container: u64, file: &FileIdentity, path: &ByteText, reason: u32) {
        let key = VerifiedKey {
            container,
            inode: file.inode,
            device: file.device,
            reserved: 0,
        };
        if reason == VERIFIED_AS_IMAGE && !self.memory.may_verify(container, file) {
            return;
        }
        let path_hash = hash::path(self.kernel.hash_key, path.as_bytes(), None);
        let verified = Verified {
            file: *file,
            path_hash,
            reason,
            reserved: 0,
        };
        let set = self.maps.set_verified(&key, &verified);
        Self::log_map_failure(set);
    }

    /// Lets a container run what is known to have an accepted content (the same inode in another container), and no
    /// longer what was accepted once and is not any more.
    pub(super) fn publish_known_contents(&mut self, container: u64) {
        let Some(known) = self.containers.get(&container).and_then(Tracked::known) else {
            return;
        };
        let Some(profile) = self.store.profile(&known.key) else {
            return;
        };
        let mut kept = HashSet::new();
        let mut publish = Vec::new();
        for ((layer, path), accepted) in &profile.drift {
            let place = (known.key.clone(), *layer, path.clone());
            for (identity, content) in self.memory.accepted.get(&place).into_iter().flatten() {
                if !accepted.sha256.contains(content) {
                    continue;
                }
                kept.insert((identity.inode, identity.device));
                // An upper file is one container's own.
                if *layer == Layer::Volume {
                    publish.push((*identity, path.clone()));
                }
            }
        }
        let retained = self.maps.retain_accepted_of(container, &kept);
        Self::log_map_failure(retained);
        for (identity, path) in publish {
            self.set_verified(container, &identity, &path, VERIFIED_ACCEPTED);
        }
    }

    /// Looks for the files that an operator accepted in containers that are new, or whose profile has changed.
    pub(super) fn verify_accepted(&mut self, now: Duration) {
        let due: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| {
                tracked.next_verification.is_some_and(|(due, _)| due <= now) && !tracked.is_removed()
            })
            .map(|tracked| tracked.cgroup)
            .collect();
        for container in due {
            self.verify_accepted_of(container, now);
        }
    }

    fn verify_accepted_of(&mut self, container: u64, now: Duration) {
        let Some(tracked) = self.containers.get_mut(&container) else {
            return;
        };
        let Some((_, times)) = tracked.next_verification else {
            return;
        };
        let next = VERIFY_AFTER.get(usize::try_from(times).unwrap_or(usize::MAX).saturating_add(1));
        tracked.next_verification = next.map(|after| (now + *after, times + 1));
        let Some(known) = tracked.known() else { return };
        let Some(profile) = self.store.profile(&known.key) else {
            return;
        };
        let files: Vec<(Layer, ByteText)> = profile.drift.keys().cloned().collect();
        for (layer, path) in files {
            let Some(place) = self.place(container, layer, None) else {
                continue;
            };
            let number = self.memory.number();
            // At the bound the next round tries again.
            self.checker.vouch(Check {
                number,
                container,
                layer,
                path,
                expected: None,
                place,
                waits: true,
            });
        }
    }

    /// The content that was last seen at a place.
    pub(super) fn last_content(
        &self,
        key: &ProfileKey,
        layer: Layer,
        path: &ByteText,
    ) -> Option<ContentHash> {
        self.memory.last.get(&(key.clone(), layer, path.clone())).copied()
    }
}

impl ContentMemory {
    /// The container is gone.
    pub(super) fn forget(&mut self, container: u64) {
        self.as_image.remove(&container);
    }

    /// Whether one more file of a container may be marked as the image's; notes it if so.
    fn may_verify(&mut self, container: u64, file: &FileIdentity) -> bool {
        let files = self.as_image.entry(container).or_default();
        let inode = (file.inode, file.device);
        if files.len() < AS_IMAGE_MAX || files.contains(&inode) {
            files.insert(inode);
            if files.len() == AS_IMAGE_MAX {
                tracing::warn!(
                    container,
                    files = AS_IMAGE_MAX,
                    "so many files with the image's content were copied up; further ones stay drift"
                );
            }
            return true;
        }
        false
    }

    fn number(&mut self) -> u64 {
        self.next_check += 1;
        self.next_check
    }

    fn remember(&mut self, place: (ProfileKey, Layer, ByteText), file: &HashedFile, is_accepted: bool) {
        if self.last.len() >= REMEMBERED_MAX {
            self.last.clear();
        }
        self.last.insert(place.clone(), file.sha256);
        if file.is_settled && (is_accepted || place.1 == Layer::Volume) {
            if self.accepted.len() >= REMEMBERED_MAX {
                self.accepted.clear();
            }
            let known = self.accepted.entry(place).or_default();
            known.retain(|(identity, _)| {
                (identity.device, identity.inode) != (file.identity.device, file.identity.inode)
            });
            // Of the files at one place the latest few: each new volume brings another one.
            if known.len() >= 16 {
                known.remove(0);
            }
            known.push((file.identity, file.sha256));
        }
    }
}

/// The layers of a container's root filesystem, by any process that has that root.
pub(super) fn overlay(tracked: &mut Tracked, pids: &[u32], mount_namespace: u32) -> Option<Overlay> {
    if let Some(overlay) = &tracked.overlay {
        return Some(overlay.clone());
    }
    let info = tracked.known()?.info.clone();
    let found = pids.iter().find_map(|&pid| {
        let root = root::root_filesystem(pid).ok()?;
        if root.mount_namespace != mount_namespace {
            return None;
        }
        Overlay::of_container(root.overlay.as_ref()?, info.runtime, &info.storage)
            .map_err(|error| tracing::debug!(error = &error as &dyn std::error::Error, "layers not known"))
            .ok()
    })?;
    tracked.overlay = Some(found.clone());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_ended_is_told() {
        let (results, mut found) = mpsc::channel(1);
        let checks = thread("content", AT_ONCE, results.clone());
        drop(checks);
        assert!(found.blocking_recv().expect("the other thread goes on").is_none());
        drop(results);
    }

    #[test]
    fn one_container_cannot_have_all_files_verified() {
        let mut memory = ContentMemory::default();
        let file = |inode: usize| FileIdentity {
            inode: inode as u64,
            ..FileIdentity::default()
        };
        assert!((0..AS_IMAGE_MAX).all(|inode| memory.may_verify(1, &file(inode))));
        assert!(!memory.may_verify(1, &file(AS_IMAGE_MAX)));
        assert!(memory.may_verify(1, &file(0)), "it is known already");
        assert!(memory.may_verify(2, &file(AS_IMAGE_MAX)), "another container");
        memory.forget(1);
        assert!(memory.may_verify(1, &file(AS_IMAGE_MAX)));
    }
}
