//! What an operator says about a profile: accept, forget, approve, remove.
//!
//! Input: a profile and a behaviour or file. Output: whether that changed anything. Failure: no such profile, no
//! room, or a behaviour that can never be accepted.

use agent_common::domain::Section;
use agent_common::file::Layer;

use super::{ProfileStore, Result, StoreError, full};
use crate::behaviour::Behaviour;
use crate::profile::model::{
    self, BehaviourError, ContentHash, DRIFT_MAX, Evidence, ExecInEntry, Profile, ProfileKey, Succession,
};
use crate::profile::rows::{Change, Header};
use crate::text::ByteText;

impl ProfileStore {
    /// Permits `behaviours` to processes that enter the container from outside, whether they were proposed or not, in one
    /// transaction. Says how many that changed.
    pub fn accept_exec_in(&mut self, key: &ProfileKey, behaviours: &[Behaviour]) -> Result<usize> {
        self.recover()?;
        let profile = self.existing(key)?;
        let mut changes = Vec::new();
        let mut new = 0;
        for behaviour in behaviours {
            let held = profile.exec_in.get(behaviour);
            if held.is_some_and(|entry| entry.accepted) {
                continue;
            }
            check(key, model::check_learnable(behaviour))?;
            if held.is_none() {
                check_room(profile, Section::ExecIn, behaviour, new)?;
                new += 1;
            }
            let entry = ExecInEntry {
                evidence: held.map(|entry| entry.evidence).unwrap_or_default(),
                accepted: true,
            };
            changes.push(Change::ExecIn(profile.id, behaviour.clone(), Some(entry)));
        }
        let count = changes.len();
        self.commit("accept", changes)?;
        Ok(count)
    }

    /// Permits `behaviour` to the container's own processes. Says whether that changed anything.
    pub fn accept_main(&mut self, key: &ProfileKey, behaviour: &Behaviour) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        if profile.main.contains_key(behaviour) {
            return Ok(false);
        }
        check(key, model::check_learnable(behaviour))?;
        check_room(profile, Section::Main, behaviour, 0)?;
        let change = Change::Main(profile.id, behaviour.clone(), Some(Evidence::default()));
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
        model::check_text("note", note)?;
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
    pub fn forget(&mut self, key: &ProfileKey, section: Section, behaviour: &Behaviour) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        if !profile.contains(section, behaviour) {
            return Ok(false);
        }
        let change = match section {
            Section::Main => Change::Main(profile.id, behaviour.clone(), None),
            Section::ExecIn => Change::ExecIn(profile.id, behaviour.clone(), None),
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

    /// Says that an operator has, or no longer has, approved what a profile permits. From the first approval on the profile is
    /// one like others, even if it began with that of the image before. Says whether that changed anything.
    pub fn approve(&mut self, key: &ProfileKey, approved: bool) -> Result<bool> {
        self.recover()?;
        let profile = self.existing(key)?;
        if profile.approved == approved {
            return Ok(false);
        }
        let succession = match profile.succession {
            Succession::Open if approved => Succession::Closed,
            succession => succession,
        };
        let header = Header {
            approved,
            succession,
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

    /// The profile of `key`, which must exist.
    pub(super) fn existing(&self, key: &ProfileKey) -> Result<&Profile> {
        self.profile(key)
            .ok_or_else(|| StoreError::NoProfile { key: key.clone() })
    }
}

/// Whether there is room for `behaviour` beside `new` others.
fn check_room(profile: &Profile, section: Section, behaviour: &Behaviour, new: usize) -> Result<()> {
    let domain = behaviour.domain();
    let limit = model::behaviours_max(domain);
    if profile.len(section, domain) + new >= limit {
        return Err(full("behaviours of one section and domain", limit));
    }
    Ok(())
}

pub(super) fn check(key: &ProfileKey, result: std::result::Result<(), BehaviourError>) -> Result<()> {
    result.map_err(|source| StoreError::Behaviour {
        key: key.clone(),
        source,
    })
}
