//! The profile store: every profile, mode and policy of this node, in one file that survives kill -9.
//!
//! Purpose: keep [`State`] in memory and in `profiles.redb` alike. Input: what the engine observed and what an operator
//! said. Output: profiles and modes. One process has the file open at a time.
//! Failure: a mutation is one transaction, on disk before memory changes and before the call returns; one that fails
//! changes nothing that can be seen. After a failed write the file is opened and read again before the next mutation,
//! because it is not known whether the failed one is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;
use redb::Database;

use crate::behaviour::ExecBehaviour;
use crate::image::ImageDigest;
use crate::profile::mode::{ExecInto, PolicyTable, SETTINGS_MAX, Scope};
use crate::profile::model::{
    self, BehaviourError, ContentHash, Evidence, ExecInEntry, ImageRecord, ObservationCounts, Profile,
    ProfileKey,
};
use crate::profile::rows::{self, Change, Header, LoadError, RowError, State, Writer};
use crate::text::ByteText;

mod file;
#[cfg(test)]
mod tests;

/// Most behaviours in one section of one profile. A container chooses the applets of a multi-call binary, and every
/// path where layers cannot be told, so a profile must end somewhere: what is new at the bound is not learned, which
/// [`Learned::Full`] says, and stays unknown.
pub const BEHAVIOURS_MAX: usize = 8192;
/// Most files that one profile accepts as drift.
pub const DRIFT_MAX: usize = 1024;
/// Most profiles. At the bound a new one is refused.
pub const PROFILES_MAX: usize = 16_384;
/// Most references, and most manifests, that are kept for one image; further ones are not recorded.
pub const REFERENCES_MAX: usize = 64;

/// Profiles, modes and policies, on disk.
#[derive(Debug)]
pub struct ProfileStore {
    path: PathBuf,
    /// `None` after a failed write, until it is opened again.
    database: Option<Database>,
    state: State,
}

/// A behaviour that was observed and is to be learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Whose it is.
    pub key: ProfileKey,
    /// Whose process did it.
    pub section: Section,
    /// What it did.
    pub behaviour: ExecBehaviour,
}

/// What became of an [`Observation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The profile holds it now: in the main section as permitted, in the other as a proposal.
    New,
    /// The profile held it already.
    Known,
    /// The section is full ([`BEHAVIOURS_MAX`]).
    Full,
    /// It is never learned.
    Refused(BehaviourError),
}

/// Windows in which a behaviour of a profile was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceGain {
    /// Whose it is.
    pub key: ProfileKey,
    /// In which section.
    pub section: Section,
    /// What was seen.
    pub behaviour: ExecBehaviour,
    /// In how many further windows.
    pub windows: u64,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be used.
    #[error("state directory `{}`: {operation}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others could replace the store.
    #[error(
        "state directory `{}` is writable by others than its owner (mode {mode:o}): make it 0700", path.display()
    )]
    DirectoryWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    #[error("profile store `{}`: another agent is running with this state directory", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "profile store `{}` has format {found}, this version knows up to {known}: run a newer driftlock", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// [`rows::FORMAT`].
        known: u64,
    },
    /// The file could not be opened, read or written.
    #[error("profile store `{}`: {operation}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// The file holds something that no version wrote.
    #[error("profile store `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RowError,
    },
    /// There is no such profile.
    #[error("there is no profile for image {} and role `{}`", key.digest, key.role)]
    NoProfile {
        /// What was asked for.
        key: ProfileKey,
    },
    /// It cannot be in a profile.
    #[error("profile {key}")]
    Behaviour {
        /// Whose it was to be.
        key: ProfileKey,
        /// Why not.
        source: BehaviourError,
    },
    /// A bound was reached.
    #[error("there is no room for more than {limit} {what}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// `pending` says that a container's image is not known; it is not a setting.
    #[error("mode `pending` cannot be set: choose learn, monitor or enforce")]
    PendingMode,
}

type Result<T> = std::result::Result<T, StoreError>;

// === impl ProfileStore: reading ===

impl ProfileStore {
    /// Opens the store in the state directory, creating both if they are missing.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let path = file::prepare(state_dir)?;
        let (database, state) = file::open(&path)?;
        Ok(Self {
            path,
            database: Some(database),
            state,
        })
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every profile, by image digest and role.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.state.profiles.values()
    }

    /// The profile of a role of an image.
    #[must_use]
    pub fn profile(&self, key: &ProfileKey) -> Option<&Profile> {
        self.state.profiles.get(key)
    }

    /// The profile with a number, as the kernel's records carry it.
    #[must_use]
    pub fn profile_by_id(&self, id: u32) -> Option<&Profile> {
        self.state.by_id(id)
    }

    /// The profiles of an image, by role.
    pub fn profiles_of(&self, digest: &ImageDigest) -> impl Iterator<Item = &Profile> {
        self.state
            .profiles
            .values()
            .filter(move |profile| profile.key.digest == *digest)
    }

    /// Every image of which anything is known, by digest.
    pub fn images(&self) -> impl Iterator<Item = (&ImageDigest, &ImageRecord)> {
        self.state.images.iter()
    }

    /// What is known of an image.
    #[must_use]
    pub fn image(&self, digest: &ImageDigest) -> Option<&ImageRecord> {
        self.state.images.get(digest)
    }

    /// Modes and policies.
    #[must_use]
    pub fn policies(&self) -> &PolicyTable {
        &self.state.policies
    }
}

// === impl ProfileStore: learning ===

impl ProfileStore {
    /// The number of the profile for `key`, which is created empty if there is none.
    pub fn ensure(&mut self, key: &ProfileKey) -> Result<u32> {
        self.recover()?;
        let mut plan = Plan::new(&self.state);
        let id = plan.profile(key)?;
        let changes = plan.changes;
        self.commit("create profile", changes)?;
        Ok(id)
    }

    /// Learns a batch in one transaction; profiles that do not exist are created. The answers are in the order of
    /// the observations. What is new has no evidence yet: [`ProfileStore::add_windows`] brings that when the window
    /// is over.
    pub fn learn(&mut self, observations: &[Observation]) -> Result<Vec<Learned>> {
        self.recover()?;
        let mut plan = Plan::new(&self.state);
        let mut learned = Vec::with_capacity(observations.len());
        for observation in observations {
            learned.push(plan.learn(observation)?);
        }
        let changes = plan.changes;
        self.commit("learn", changes)?;
        Ok(learned)
    }

    /// Adds evidence, and what was observed, in one transaction: what a closed window brings. Evidence for a behaviour
    /// that its profile does not hold is ignored, because it may have been removed meanwhile; counts of a profile
    /// that does not exist, too.
    pub fn add_windows(
        &mut self,
        evidence: &[EvidenceGain],
        counts: &[(ProfileKey, ObservationCounts)],
    ) -> Result<()> {
        self.recover()?;
        let mut headers: BTreeMap<u32, Header> = BTreeMap::new();
        for (key, gain) in counts {
            if let Some(profile) = self.profile(key) {
                let header = headers.entry(profile.id).or_insert_with(|| Header::of(profile));
                header.counts.add(gain);
            }
        }
        let mut gains: BTreeMap<(u32, Section, &ExecBehaviour), u64> = BTreeMap::new();
        for gain in evidence {
            if let Some(profile) = self.profile(&gain.key) {
                let windows = gains
                    .entry((profile.id, gain.section, &gain.behaviour))
                    .or_default();
                *windows = windows.saturating_add(gain.windows);
            }
        }
        let mut changes: Vec<Change> = headers
            .into_iter()
            .map(|(id, header)| Change::Profile(id, Some(header)))
            .collect();
        for ((id, section, behaviour), windows) in gains {
            let Some(profile) = self.state.by_id(id) else {
                continue;
            };
            match section {
                Section::Main => {
                    if let Some(held) = profile.exec.get(behaviour) {
                        let evidence = held.plus(windows);
                        changes.push(Change::Exec(id, behaviour.clone(), Some(evidence)));
                    }
                }
                Section::ExecIn => {
                    if let Some(held) = profile.exec_in.get(behaviour) {
                        let entry = ExecInEntry {
                            evidence: held.evidence.plus(windows),
                            ..*held
                        };
                        changes.push(Change::ExecIn(id, behaviour.clone(), Some(entry)));
                    }
                }
            }
        }
        self.commit("add windows", changes)
    }

    /// Adds to what a profile was learned from: [`ProfileStore::add_windows`] for one profile without evidence.
    pub fn count_windows(&mut self, key: &ProfileKey, gain: ObservationCounts) -> Result<()> {
        self.add_windows(&[], &[(key.clone(), gain)])
    }

    /// Records a reference, and the digest of a manifest if there is one, of an image. Writes nothing if both are
    /// known, or if the image has [`REFERENCES_MAX`] of them already.
    pub fn add_reference(
        &mut self,
        digest: &ImageDigest,
        reference: Option<&str>,
        manifest: Option<&ImageDigest>,
    ) -> Result<()> {
        self.recover()?;
        let mut record = self.image(digest).cloned().unwrap_or_default();
        if let Some(reference) = reference
            && record.references.len() < REFERENCES_MAX
        {
            record.references.insert(reference.to_owned());
        }
        if let Some(manifest) = manifest
            && record.manifests.len() < REFERENCES_MAX
        {
            record.manifests.insert(manifest.clone());
        }
        if self.image(digest) == Some(&record) {
            return Ok(());
        }
        self.commit("add reference", vec![Change::Image(digest.clone(), Some(record))])
    }
}

// === impl ProfileStore: an operator's words ===

impl ProfileStore {
    /// Permits `behaviour` to processes that enter the container from outside, whether it was proposed or not. Says
    /// whether that changed anything.
    pub fn accept_exec_in(&mut self, key: &ProfileKey, behaviour: &ExecBehaviour) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        let held = profile.exec_in.get(behaviour);
        if held.is_some_and(|entry| entry.accepted) {
            return Ok(false);
        }
        check(key, model::check_learnable(behaviour))?;
        if held.is_none() && profile.exec_in.len() >= BEHAVIOURS_MAX {
            return Err(full("behaviours of one section", BEHAVIOURS_MAX));
        }
        let entry = ExecInEntry {
            evidence: held.map(|entry| entry.evidence).unwrap_or_default(),
            accepted: true,
        };
        let change = Change::ExecIn(profile.id, behaviour.clone(), Some(entry));
        self.commit("accept", vec![change])?;
        Ok(true)
    }

    /// Permits `behaviour` to the container's own processes. Says whether that changed anything.
    pub fn accept_exec(&mut self, key: &ProfileKey, behaviour: &ExecBehaviour) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        if profile.exec.contains_key(behaviour) {
            return Ok(false);
        }
        check(key, model::check_learnable(behaviour))?;
        if profile.exec.len() >= BEHAVIOURS_MAX {
            return Err(full("behaviours of one section", BEHAVIOURS_MAX));
        }
        let change = Change::Exec(profile.id, behaviour.clone(), Some(Evidence::default()));
        self.commit("accept", vec![change])?;
        Ok(true)
    }

    /// Permits the file at `path` of `layer` while its content is `content`. A note that is not empty replaces the
    /// earlier one. Says whether that changed anything.
    pub fn accept_drift(
        &mut self,
        key: &ProfileKey,
        layer: Layer,
        path: &ByteText,
        content: ContentHash,
        note: &str,
    ) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        check(key, model::check_acceptable(layer, path))?;
        let file = (layer, path.clone());
        let held = profile.drift.get(&file);
        let mut accepted = held.cloned().unwrap_or_default();
        accepted.sha256.insert(content);
        if !note.is_empty() {
            note.clone_into(&mut accepted.note);
        }
        if held == Some(&accepted) {
            return Ok(false);
        }
        let contents: usize = profile.drift.values().map(|file| file.sha256.len()).sum();
        if contents >= DRIFT_MAX {
            return Err(full("accepted contents of one profile", DRIFT_MAX));
        }
        let change = Change::Drift(profile.id, file, Some(accepted));
        self.commit("accept drift", vec![change])?;
        Ok(true)
    }

    /// Takes a behaviour, or a proposal, out of a profile. Says whether it was there.
    pub fn forget_exec(
        &mut self,
        key: &ProfileKey,
        section: Section,
        behaviour: &ExecBehaviour,
    ) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        let change = match section {
            Section::Main if profile.exec.contains_key(behaviour) => {
                Change::Exec(profile.id, behaviour.clone(), None)
            }
            Section::ExecIn if profile.exec_in.contains_key(behaviour) => {
                Change::ExecIn(profile.id, behaviour.clone(), None)
            }
            _ => return Ok(false),
        };
        self.commit("forget", vec![change])?;
        Ok(true)
    }

    /// No longer permits the file at `path` of `layer`, whatever its content. Says whether it was permitted.
    pub fn forget_drift(&mut self, key: &ProfileKey, layer: Layer, path: &ByteText) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        let file = (layer, path.clone());
        if !profile.drift.contains_key(&file) {
            return Ok(false);
        }
        let change = Change::Drift(profile.id, file, None);
        self.commit("forget drift", vec![change])?;
        Ok(true)
    }

    /// Says that an operator has, or no longer has, approved what a profile permits. Says whether that changed anything.
    pub fn approve(&mut self, key: &ProfileKey, approved: bool) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        if profile.approved == approved {
            return Ok(false);
        }
        let header = Header {
            approved,
            ..Header::of(profile)
        };
        let change = Change::Profile(profile.id, Some(header));
        self.commit("approve", vec![change])?;
        Ok(true)
    }

    /// Removes a profile; its number is never used again. Says which number that was.
    pub fn remove(&mut self, key: &ProfileKey) -> Result<u32> {
        self.recover()?;
        let id = self.existing(key)?.id;
        self.commit("remove", vec![Change::Profile(id, None)])?;
        Ok(id)
    }

    /// Sets a mode, for one domain or (`None`) for every domain about which nothing was said at the same scope;
    /// no mode (`None`) takes the setting back. Says whether that changed anything.
    pub fn set_mode(&mut self, scope: Scope, domain: Option<Domain>, mode: Option<Mode>) -> Result<bool> {
        self.recover()?;
        if mode == Some(Mode::Pending) {
            return Err(StoreError::PendingMode);
        }
        let key = (scope, domain);
        let modes = &self.state.policies.modes;
        let held = modes.get(&key).copied();
        if held == mode {
            return Ok(false);
        }
        if held.is_none() && modes.len() >= SETTINGS_MAX {
            return Err(full("modes", SETTINGS_MAX));
        }
        self.commit("set mode", vec![Change::Mode(key, mode)])?;
        Ok(true)
    }

    /// Sets the policy for processes from outside; `None` takes it back. Says whether that changed anything.
    pub fn set_exec_into(&mut self, scope: Scope, policy: Option<ExecInto>) -> Result<bool> {
        self.recover()?;
        let policies = &self.state.policies.exec_into;
        let held = policies.get(&scope).copied();
        if held == policy {
            return Ok(false);
        }
        if held.is_none() && policies.len() >= SETTINGS_MAX {
            return Err(full("policies", SETTINGS_MAX));
        }
        self.commit("set policy", vec![Change::ExecInto(scope, policy)])?;
        Ok(true)
    }

    /// Removes the settings of containers that do not exist any more, by their full ids. Settings of a container
    /// outlive its restart, so this is for removed containers only.
    pub fn forget_containers(&mut self, ids: &BTreeSet<String>) -> Result<()> {
        self.recover()?;
        let is_gone = |scope: &Scope| matches!(scope, Scope::Container(id) if ids.contains(id));
        let policies = &self.state.policies;
        let modes = policies.modes.keys().filter(|(scope, _)| is_gone(scope));
        let exec_into = policies.exec_into.keys().filter(|scope| is_gone(scope));
        let changes = modes
            .map(|key| Change::Mode(key.clone(), None))
            .chain(exec_into.map(|scope| Change::ExecInto(scope.clone(), None)))
            .collect();
        self.commit("forget containers", changes)
    }

    fn existing(&self, key: &ProfileKey) -> Result<&Profile> {
        self.profile(key)
            .ok_or_else(|| StoreError::NoProfile { key: key.clone() })
    }
}

// === impl ProfileStore: transactions ===

impl ProfileStore {
    /// After a failed write: opens the file again and believes what is in it.
    fn recover(&mut self) -> Result<()> {
        if self.database.is_none() {
            let (database, state) = file::open(&self.path)?;
            self.database = Some(database);
            self.state = state;
        }
        Ok(())
    }

    /// Writes `changes` in one transaction, then makes them in memory.
    fn commit(&mut self, operation: &'static str, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = match &self.database {
            Some(database) => write(database, &changes),
            None => Err(redb::Error::PreviousIo),
        };
        if let Err(error) = written {
            // Dropping it releases the lock, so that `recover` can open it again.
            self.database = None;
            return Err(StoreError::Storage {
                path: self.path.clone(),
                operation,
                source: Box::new(error),
            });
        }
        for change in changes {
            self.state.apply(change);
        }
        Ok(())
    }
}

fn write(database: &Database, changes: &[Change]) -> std::result::Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    // Containers choose what is written, so the commit must not rest on a checksum alone.
    transaction.set_two_phase_commit(true);
    {
        let mut writer = Writer::open(&transaction)?;
        for change in changes {
            writer.write(change)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn check(key: &ProfileKey, result: std::result::Result<(), BehaviourError>) -> Result<()> {
    result.map_err(|source| StoreError::Behaviour {
        key: key.clone(),
        source,
    })
}

fn full(what: &'static str, limit: usize) -> StoreError {
    StoreError::Full { what, limit }
}

// === impl Plan ===

/// Changes that follow from observations, while they are collected.
struct Plan<'a> {
    state: &'a State,
    next_id: u32,
    /// Profiles that the plan creates.
    created: BTreeMap<ProfileKey, u32>,
    /// Behaviours that the plan adds.
    added: BTreeMap<(u32, Section), BTreeSet<ExecBehaviour>>,
    changes: Vec<Change>,
}

impl<'a> Plan<'a> {
    fn new(state: &'a State) -> Self {
        Self {
            state,
            next_id: state.next_id,
            created: BTreeMap::new(),
            added: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    fn profile(&mut self, key: &ProfileKey) -> Result<u32> {
        if let Some(profile) = self.state.profiles.get(key) {
            return Ok(profile.id);
        }
        if let Some(id) = self.created.get(key) {
            return Ok(*id);
        }
        if self.state.profiles.len() + self.created.len() >= PROFILES_MAX {
            return Err(full("profiles", PROFILES_MAX));
        }
        let id = self.next_id;
        // The last number stays unused, so that the one after it can always be named.
        self.next_id = id
            .checked_add(1)
            .filter(|next| *next < u32::MAX)
            .ok_or_else(|| full("profile numbers", u32::MAX as usize))?;
        self.changes.push(Change::NextId(self.next_id));
        if !self.state.images.contains_key(&key.digest) {
            self.changes
                .push(Change::Image(key.digest.clone(), Some(ImageRecord::default())));
        }
        let header = Header::of(&Profile::new(id, key.clone()));
        self.changes.push(Change::Profile(id, Some(header)));
        self.created.insert(key.clone(), id);
        Ok(id)
    }

    fn learn(&mut self, observation: &Observation) -> Result<Learned> {
        let Observation {
            key,
            section,
            behaviour,
        } = observation;
        if let Err(error) = model::check_learnable(behaviour) {
            return Ok(Learned::Refused(error));
        }
        let id = self.profile(key)?;
        let held = self.state.by_id(id);
        let is_held = held.is_some_and(|profile| match section {
            Section::Main => profile.exec.contains_key(behaviour),
            Section::ExecIn => profile.exec_in.contains_key(behaviour),
        });
        let added = self.added.entry((id, *section)).or_default();
        if is_held || added.contains(behaviour) {
            return Ok(Learned::Known);
        }
        if held.map_or(0, |profile| profile.len(*section)) + added.len() >= BEHAVIOURS_MAX {
            return Ok(Learned::Full);
        }
        let is_first = added.is_empty();
        added.insert(behaviour.clone());
        self.changes.push(match section {
            Section::Main => Change::Exec(id, behaviour.clone(), Some(Evidence::default())),
            Section::ExecIn => Change::ExecIn(id, behaviour.clone(), Some(ExecInEntry::default())),
        });
        // An approval covers what the operator saw.
        if let Some(profile) = held
            && profile.approved
            && *section == Section::Main
            && is_first
        {
            let header = Header {
                approved: false,
                ..Header::of(profile)
            };
            self.changes.push(Change::Profile(id, Some(header)));
        }
        Ok(Learned::New)
    }
}

impl Evidence {
    fn plus(self, windows: u64) -> Self {
        Self {
            windows: self.windows.saturating_add(windows),
        }
    }
}

impl StoreError {
    fn loading(path: &Path, error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => Self::Storage {
                path: path.to_owned(),
                operation: "read",
                source: Box::new(error),
            },
            LoadError::Row(source) => Self::Damaged {
                path: path.to_owned(),
                source,
            },
        }
    }
}
