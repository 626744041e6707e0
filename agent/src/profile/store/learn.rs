//! Learning: what observations add to profiles.
//!
//! Input: observed behaviours in batches, and what closed windows bring. Output: profiles that hold them. Failure:
//! what may not be learned, or has no room, is answered for that observation alone; the rest of the batch is learned.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::{Domain, Section};

use super::{PROFILES_MAX, ProfileStore, Result, full};
use crate::behaviour::Behaviour;
use crate::image::ImageDigest;
use crate::profile::model::{
    self, BehaviourError, Evidence, ExecInEntry, ImageRecord, ObservationCounts, Profile, ProfileKey,
    REFERENCES_MAX, WINDOWS_MAX,
};
use crate::profile::rows::{Change, Header, State};

/// A behaviour that was observed and is to be learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Whose it is.
    pub key: ProfileKey,
    /// Whose process did it.
    pub section: Section,
    /// What it did.
    pub behaviour: Behaviour,
}

/// What became of an [`Observation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The profile holds it now: in the main section as permitted, in the other as a proposal.
    New,
    /// The profile held it already.
    Known,
    /// The section is full ([`model::behaviours_max`]).
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
    pub behaviour: Behaviour,
    /// In how many further windows.
    pub windows: u64,
}
// === impl ProfileStore ===

impl ProfileStore {
    /// The number of the profile for `key`, which is created empty if there is none. One without behaviours begins now:
    /// `scripts` says whether it will tell of them.
    pub fn ensure(&mut self, key: &ProfileKey, scripts: bool) -> Result<u32> {
        self.recover()?;
        let mut plan = Plan::new(&self.state);
        let id = plan.profile(key)?;
        let begun = match self.state.by_id(id) {
            Some(profile) if !profile.main.is_empty() || profile.scripts == scripts => None,
            Some(profile) => Some(Header::of(profile)),
            None => Some(Header::of(&Profile::new(id, key.clone()))),
        };
        let mut changes = plan.changes;
        changes.extend(begun.map(|header| Change::Profile(id, Some(Header { scripts, ..header }))));
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
        let mut gains: BTreeMap<(u32, Section, &Behaviour), u64> = BTreeMap::new();
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
                    if let Some(held) = profile.main.get(behaviour) {
                        let evidence = held.plus(windows);
                        changes.push(Change::Main(id, behaviour.clone(), Some(evidence)));
                    }
                }
                Section::ExecIn => {
                    if let Some(held) = profile.exec_in.get(behaviour) {
                        let entry = ExecInEntry {
                            evidence: held.evidence.plus(windows),
                            ..held
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
        if let Some(reference) = reference {
            model::check_text("reference", reference)?;
        }
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
// === impl Plan ===

/// Changes that follow from observations, while they are collected.
pub(super) struct Plan<'a> {
    state: &'a State,
    next_id: u32,
    /// Profiles that the plan creates.
    created: BTreeMap<ProfileKey, u32>,
    /// Behaviours that the plan adds.
    added: BTreeMap<(u32, Section, Domain), Added>,
    pub(super) changes: Vec<Change>,
}

/// What a plan adds to one domain of one section.
struct Added {
    /// How many behaviours there were.
    held: usize,
    behaviours: BTreeSet<Behaviour>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self {
            state,
            next_id: state.next_id,
            created: BTreeMap::new(),
            added: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// The number of the profile for `key`, which the plan creates if there is none.
    pub(super) fn profile(&mut self, key: &ProfileKey) -> Result<u32> {
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
        let domain = behaviour.domain();
        let is_held = held.is_some_and(|profile| profile.contains(*section, behaviour));
        let added = self.added.entry((id, *section, domain)).or_insert_with(|| Added {
            held: held.map_or(0, |profile| profile.len(*section, domain)),
            behaviours: BTreeSet::new(),
        });
        if is_held || added.behaviours.contains(behaviour) {
            return Ok(Learned::Known);
        }
        if added.held + added.behaviours.len() >= model::behaviours_max(domain) {
            return Ok(Learned::Full);
        }
        let is_first = added.behaviours.is_empty();
        added.behaviours.insert(behaviour.clone());
        let evidence = Evidence {
            first_window: match domain {
                Domain::File => held.map_or(0, |profile| profile.counts.file.windows),
                _ => 0,
            },
            ..Evidence::default()
        };
        self.changes.push(match section {
            Section::Main => Change::Main(id, behaviour.clone(), Some(evidence)),
            Section::ExecIn => {
                let proposal = ExecInEntry {
                    evidence,
                    accepted: false,
                };
                Change::ExecIn(id, behaviour.clone(), Some(proposal))
            }
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
            windows: self.windows.saturating_add(windows).min(WINDOWS_MAX),
            ..self
        }
    }
}
