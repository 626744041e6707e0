//! New images of known references: what they take over from the image before, and what of theirs changed.
//!
//! A container whose profile would begin empty, and whose image follows another, waits until the files that the profile before
//! names were compared in the layers of both images, by a thread of its own. Its profile then begins with what is the same.
//! Until that is approved, what departs from it is judged by the mode that holds, or learned if it is about what changed;
//! files that were not compared yet are compared then.
//!
//! Bounds: [`QUEUE`] comparisons wait at once, [`HELD_MAX`] events of an image wait for one, and a container waits at most
//! [`COMPARE_WITHIN`]. Failure: what cannot be compared in time is not taken over; later it counts as unchanged. A container
//! whose layers cannot be found out goes on as one of an image that follows no other.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_common::domain::{Domain, Mode, Section};
use agent_common::rule::Action;
use tokio::sync::mpsc;

use super::Engine;
use super::container::Tracked;
use super::content::{lineage, overlay};
use super::learn::Learning;
use crate::behaviour::Behaviour;
use crate::compare::{Deviation, DeviationKind};
use crate::container::content::ContentLimits;
use crate::container::likeness::{Budget, ImagePair, image_layers, still_there};
use crate::event::{Event, ProcessEvent, UseEvent};
use crate::image::ImageDigest;
use crate::metrics::fact::{StoreFailed, StoreOperation};
use crate::profile::inherit::{Inheritance, Likeness, image_file, image_files, is_about_change};
use crate::profile::model::{Profile, ProfileKey};
use crate::text::ByteText;

/// Most comparisons that wait for the thread.
const QUEUE: usize = 64;
/// Most events of containers of one image that wait for a comparison. Further ones are judged as about what is unchanged.
const HELD_MAX: usize = 1_024;
/// Most paths of one image whose comparison is remembered. At the bound all are forgotten, and compared again.
const REMEMBERED_MAX: usize = 16_384;
/// Most images whose comparisons are remembered. At the bound those for which nothing waits are forgotten.
const IMAGES_MAX: usize = 64;
/// How long a container waits for what its profile takes over.
const COMPARE_WITHIN: Duration = Duration::from_secs(10);
/// How long the files of a profile are compared; what is left then is not taken over.
const WHOLE_WITHIN: Duration = Duration::from_secs(4);
/// How long a single file is.
const FILE_WITHIN: Duration = Duration::from_secs(1);
/// Bytes that are read for one comparison, of both images together.
const BYTES_MAX: u64 = 2 << 30;
/// What is read of a file.
const LIMITS: ContentLimits = ContentLimits {
    max_bytes: 256 << 20,
    settled_after: Duration::ZERO,
    max_wait: Duration::ZERO,
};
/// How often the layers of a container are looked for, to take note of them.
const LOOKS_FOR_LAYERS: u32 = 8;

/// A container that waits for what its profile takes over.
pub(super) struct Awaited {
    /// The image before.
    pub(super) before: ImageDigest,
    /// When it goes on without.
    until: Duration,
    /// The thread has it.
    is_asked: bool,
}

/// Whether the layers of a container's image are on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LayersNoted {
    looks: u32,
    is_noted: bool,
}

/// Hands comparisons to the thread.
pub(super) struct Comparer {
    jobs: std::sync::mpsc::SyncSender<Job>,
}

/// Paths to compare in two images.
struct Job {
    image: ImageDigest,
    pair: Arc<ImagePair>,
    paths: Vec<ByteText>,
    /// The profile that is to begin with the answer.
    begins: Option<Begins>,
}

/// A profile that is to begin.
struct Begins {
    key: ProfileKey,
    /// The image before.
    before: ImageDigest,
}

/// What the thread found.
pub struct Compared {
    image: ImageDigest,
    begins: Option<Begins>,
    /// The two images have the same layers.
    is_same: bool,
    /// What was compared; `None` for what could not be read. What there was no time for is missing.
    found: HashMap<ByteText, Option<Likeness>>,
}

/// What is known of the images that follow others.
#[derive(Default)]
pub(super) struct Successions {
    images: HashMap<ImageDigest, Succession>,
    /// Profiles that are to begin with an answer that is under way.
    beginning: HashSet<ProfileKey>,
}

/// One image that follows another.
struct Succession {
    pair: Arc<ImagePair>,
    found: HashMap<ByteText, Option<Likeness>>,
    asked: HashSet<ByteText>,
    held: Vec<UseEvent>,
}

/// Whether something new is about what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is: it is learned.
    Yes,
    /// It is not, or that does not matter: the mode says what follows.
    No,
    /// It is being found out, and the event waits.
    Asked,
}

impl Comparer {
    /// Starts the thread. It ends when the comparer is dropped.
    pub(super) fn start() -> (Self, mpsc::Receiver<Compared>) {
        let (jobs, waiting) = std::sync::mpsc::sync_channel::<Job>(QUEUE);
        let (results, compared) = mpsc::channel(QUEUE);
        let work = move || {
            for job in waiting {
                if results.blocking_send(perform(job)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("likeness".to_owned())
            .spawn(work)
            .expect("a thread can be started");
        (Self { jobs }, compared)
    }

    fn submit(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }
}

fn perform(job: Job) -> Compared {
    let within = if job.begins.is_some() {
        WHOLE_WITHIN
    } else {
        FILE_WITHIN
    };
    let mut budget = Budget {
        until: Instant::now() + within,
        bytes: BYTES_MAX,
    };
    let mut found = HashMap::new();
    for path in job.paths {
        match job.pair.compare(&path, &mut budget) {
            Ok(Some(likeness)) => drop(found.insert(path, Some(likeness))),
            // Asked for again when it is used; a single file would be asked for forever.
            Ok(None) if job.begins.is_some() => {}
            Ok(None) => drop(found.insert(path, None)),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, %path, "not compared");
                found.insert(path, None);
            }
        }
    }
    Compared {
        image: job.image,
        begins: job.begins,
        is_same: job.pair.is_same(),
        found,
    }
}

impl Engine {
    /// Whether a container's profile is to begin with what that of an image before had: then its events wait.
    pub(super) fn await_inheritance(&mut self, cgroup: u64) {
        if !self.config.policies.inherit {
            return;
        }
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let Some(known) = tracked.known() else { return };
        let noted = self.store.on_node(&known.key.digest);
        let is_noted = noted.is_some_and(|noted| still_there(&noted.layers).is_some());
        let before = self.store.predecessor(&known.key, &known.references);
        let before = before.map(|profile| profile.key.digest.clone());
        let can_be_compared =
            |before: &ImageDigest| Some(still_there(&self.store.on_node(before)?.layers).is_some());
        let awaited = before
            .filter(|before| can_be_compared(before) == Some(true))
            .map(|before| Awaited {
                before,
                until: Self::now() + COMPARE_WITHIN,
                is_asked: false,
            });
        tracked.layers_noted = LayersNoted { looks: 0, is_noted };
        tracked.awaited = awaited;
    }

    /// The directories of the layers of a container's image, found by one of its processes or by `process`; takes note of them.
    fn layers_of(&mut self, cgroup: u64, process: Option<&ProcessEvent>) -> Option<Vec<PathBuf>> {
        let tracked = self.containers.get_mut(&cgroup)?;
        let instance = self.maps.instance(tracked.slot).ok()?;
        if instance.mount_namespace == 0 {
            return None;
        }
        let mut pids = process.map(lineage).unwrap_or_default();
        pids.extend(tracked.known().and_then(|known| known.info.init_pid));
        pids.extend((instance.init_pid != 0).then_some(instance.init_pid));
        pids.extend(super::container::processes(&self.layout.layout, tracked));
        let overlay = overlay(tracked, &pids, instance.mount_namespace)?;
        let layers = image_layers(&overlay).ok()?;
        let digest = tracked.known()?.key.digest.clone();
        match self.store.note_layers(&digest, &layers) {
            Ok(_) => tracked.layers_noted.is_noted = true,
            Err(error) => {
                self.metrics
                    .tell(&StoreFailed::new(StoreOperation::NoteLayers, &error).about(&digest.short()));
            }
        }
        still_there(&layers)
    }

    /// Takes note of the layers of a container's image if they are not on record: the image that follows will be compared with them.
    pub(super) fn note_layers(&mut self, cgroup: u64, process: &ProcessEvent) {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let noted = &mut tracked.layers_noted;
        if noted.is_noted
            || !self.config.policies.inherit
            || noted.looks >= LOOKS_FOR_LAYERS
            || tracked.known().is_none()
        {
            return;
        }
        tracked.layers_noted.looks += 1;
        self.layers_of(cgroup, Some(process));
    }

    /// Asks for what a container's profile is to begin with, if that is awaited and its layers can be found.
    pub(super) fn ask_for_inheritance(&mut self, cgroup: u64, process: Option<&ProcessEvent>) {
        let awaited = |tracked: &Tracked| {
            let awaited = tracked.awaited.as_ref().filter(|awaited| !awaited.is_asked)?;
            Some((awaited.before.clone(), tracked.known()?.key.clone()))
        };
        let Some((before, key)) = self.containers.get(&cgroup).and_then(awaited) else {
            return;
        };
        if !self.successions.beginning.contains(&key) {
            let Some(pair) = self.pair(cgroup, &before, process) else {
                return;
            };
            let Some(profile) = self.profile_before(&key, &before) else {
                return;
            };
            let job = Job {
                image: key.digest.clone(),
                pair,
                paths: image_files(profile).into_iter().collect(),
                begins: Some(Begins {
                    key: key.clone(),
                    before,
                }),
            };
            // At the bound the next tick tries again.
            if !self.comparer.submit(job) {
                return;
            }
            self.successions.beginning.insert(key);
        }
        if let Some(awaited) = self
            .containers
            .get_mut(&cgroup)
            .and_then(|tracked| tracked.awaited.as_mut())
        {
            awaited.is_asked = true;
        }
    }

    /// The two images of a container and of what it follows, by their layers.
    fn pair(
        &mut self,
        cgroup: u64,
        before: &ImageDigest,
        process: Option<&ProcessEvent>,
    ) -> Option<Arc<ImagePair>> {
        let now = self.layers_of(cgroup, process)?;
        let before = still_there(&self.store.on_node(before)?.layers)?;
        Some(Arc::new(ImagePair::new(before, now, LIMITS)))
    }

    /// Goes on with the containers that have waited long enough, and asks for those whose layers may be found by now.
    pub(super) fn end_awaits(&mut self, now: Duration) {
        let awaited: Vec<(u64, bool)> = self
            .containers
            .values()
            .filter_map(|tracked| Some((tracked.cgroup, tracked.awaited.as_ref()?.until <= now)))
            .collect();
        let mut learning = Learning::default();
        for (cgroup, is_over) in awaited {
            if is_over {
                tracing::warn!(
                    cgroup,
                    "the image could not be compared with the one before: nothing is taken over"
                );
                self.end_await(cgroup, &mut learning);
            } else {
                self.ask_for_inheritance(cgroup, None);
            }
        }
        self.learn(learning);
    }

    /// A container waits no longer for what its profile takes over.
    pub(super) fn end_await(&mut self, cgroup: u64, learning: &mut Learning) {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        if tracked.awaited.take().is_some() {
            self.apply_policy(cgroup);
            self.handle_waiting(cgroup, learning);
        }
    }

    /// Files were compared.
    pub(super) fn compared(&mut self, compared: Compared) {
        let mut learning = Learning::default();
        if let Some(begins) = &compared.begins {
            self.successions.beginning.remove(&begins.key);
            self.succeed(begins, &compared);
            let waits = |tracked: &&Tracked| {
                tracked.awaited.is_some() && tracked.known().is_some_and(|known| known.key == begins.key)
            };
            let waiting = self.containers.values().filter(waits);
            let waiting: Vec<u64> = waiting.map(|tracked| tracked.cgroup).collect();
            for cgroup in waiting {
                self.end_await(cgroup, &mut learning);
            }
        }
        if let Some(succession) = self.successions.images.get_mut(&compared.image) {
            succession.asked.retain(|path| !compared.found.contains_key(path));
            if succession.found.len() + compared.found.len() > REMEMBERED_MAX {
                succession.found.clear();
            }
            succession.found.extend(compared.found);
            for event in std::mem::take(&mut succession.held) {
                self.judge(&Event::Use(Box::new(event)), &mut learning);
            }
        }
        self.learn(learning);
    }

    /// Begins a profile with what was found to be the same.
    fn succeed(&mut self, begins: &Begins, compared: &Compared) {
        let Begins { key, before } = begins;
        let Some(old) = self.profile_before(key, before) else {
            return;
        };
        let inheritance = Inheritance::new(old, |path| compared.found.get(path).copied().flatten());
        if inheritance.is_empty() {
            return;
        }
        match self.store.succeed(key, before, &inheritance, compared.is_same) {
            Ok(taken) => {
                tracing::info!(image = %key.digest.short(), before = %before.short(), role = %key.role, rules = taken, left_out = inheritance.left_out, "the profile begins with what did not change");
                if let Some(number) = self.store.profile(key).map(|profile| profile.id) {
                    self.republish(number);
                }
            }
            Err(error) => {
                self.metrics
                    .tell(&StoreFailed::new(StoreOperation::Inherit, &error).about(key));
            }
        }
    }

    /// Whether what departs from a profile that succeeds another is about what changed since. If that is not known yet, the event waits.
    pub(super) fn change(&mut self, event: &UseEvent, deviation: &Deviation) -> Change {
        let Some(behaviour) = deviation.learnable.as_ref().filter(|_| {
            deviation.kind == DeviationKind::Unknown
                && event.section == Section::Main
                && event.action == Action::None
        }) else {
            return Change::No;
        };
        let cgroup = event.origin.container;
        let Some(tracked) = self.containers.get(&cgroup) else {
            return Change::No;
        };
        let domain = event.domain();
        if !tracked.learns_changes[domain as usize] || tracked.mode(domain) == Mode::Learn {
            return Change::No;
        }
        let Some(key) = tracked.known().map(|known| known.key.clone()) else {
            return Change::No;
        };
        let subject = image_file(behaviour).cloned();
        // Who executes a program is another one than it.
        let program = event
            .exe()
            .filter(|exe| domain != Domain::Exec && !exe.too_long)
            .map(|exe| exe.text.clone());
        let is_known = self.successions.images.contains_key(&key.digest);
        if !is_known && !self.follow(cgroup, &key.digest, &event.process) {
            return Change::No;
        }
        let Some(succession) = self.successions.images.get_mut(&key.digest) else {
            return Change::No;
        };
        let found = |path: &Option<ByteText>| succession.found.get(path.as_ref()?).copied().flatten();
        if is_about_change(found(&subject), found(&program)) {
            return Change::Yes;
        }
        let paths = [&subject, &program].into_iter().flatten();
        let missing: Vec<ByteText> = paths
            .filter(|path| !succession.found.contains_key(*path))
            .cloned()
            .collect();
        if missing.is_empty() {
            // There was no time for it when the profile began.
            let is_same = found(&subject) == Some(Likeness::Same);
            return if is_same && self.was_permitted(&key, behaviour) {
                Change::Yes
            } else {
                Change::No
            };
        }
        if succession.held.len() >= HELD_MAX {
            return Change::No;
        }
        let paths: Vec<ByteText> = missing
            .into_iter()
            .filter(|path| !succession.asked.contains(path))
            .collect();
        if !paths.is_empty() {
            let job = Job {
                image: key.digest,
                pair: Arc::clone(&succession.pair),
                paths: paths.clone(),
                begins: None,
            };
            if !self.comparer.submit(job) {
                return Change::No;
            }
            succession.asked.extend(paths);
        }
        succession.held.push(event.clone());
        Change::Asked
    }

    /// The profile of the same role of the image before.
    fn profile_before(&self, key: &ProfileKey, before: &ImageDigest) -> Option<&Profile> {
        self.store.profile(&ProfileKey {
            digest: before.clone(),
            role: key.role.clone(),
        })
    }

    /// Whether the profile before permits a behaviour of the container's own.
    fn was_permitted(&self, key: &ProfileKey, behaviour: &Behaviour) -> bool {
        let before = self.store.image(&key.digest);
        let before = before.and_then(|image| image.descends_from.as_ref());
        before
            .and_then(|before| self.profile_before(key, before))
            .is_some_and(|before| before.permitting(Section::Main, behaviour).is_some())
    }

    /// Finds out where the layers of an image and of the one before are; false if they are not there.
    fn follow(&mut self, cgroup: u64, image: &ImageDigest, process: &ProcessEvent) -> bool {
        let before = self
            .store
            .image(image)
            .and_then(|image| image.descends_from.clone());
        let Some(pair) = before.and_then(|before| self.pair(cgroup, &before, Some(process))) else {
            return false;
        };
        if self.successions.images.len() >= IMAGES_MAX {
            self.successions
                .images
                .retain(|_, succession| !succession.held.is_empty());
        }
        let succession = Succession {
            pair,
            found: HashMap::new(),
            asked: HashSet::new(),
            held: Vec::new(),
        };
        self.successions.images.insert(image.clone(), succession);
        true
    }
}
