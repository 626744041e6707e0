//! Images that follow others: when they were seen, where their layers are, and what a new one's profile takes over.
//!
//! Input: what the engine found out about an image on this node, and how it compares with the one before. Output: the image
//! before, a profile that begins with what did not change, and the mode that goes on. Failure: no such profile, or the store
//! cannot be written; then nothing is taken over.

use std::collections::BTreeMap;

use agent_common::domain::{Domain, Mode, Section};

use super::{ProfileStore, Result};
use crate::image::ImageDigest;
use crate::profile::inherit::{Candidate, Inheritance, predecessor};
use crate::profile::mode::ModeSource;
use crate::profile::model::{
    self, Evidence, ExecInEntry, ImageLayer, ImageOnNode, ImageRecord, Profile, ProfileKey, REFERENCES_MAX,
    Succession,
};
use crate::profile::reference::same_repository;
use crate::profile::rows::{Change, Header};

/// Most images that a mode is looked for in, from each to the one before.
const ANCESTORS_MAX: usize = 16;

impl ProfileStore {
    /// Takes note of a container of an image with these references: it was seen later than all others of its repositories.
    /// Writes nothing if nothing is new. Of references at most [`REFERENCES_MAX`] are kept.
    pub fn see_image(&mut self, digest: &ImageDigest, references: &[String]) -> Result<()> {
        self.recover()?;
        let mut record = self.image(digest).cloned().unwrap_or_default();
        for reference in references {
            model::check_text("reference", reference)?;
            if record.references.len() < REFERENCES_MAX {
                record.references.insert(reference.clone());
            }
        }
        let mut changes = Vec::new();
        let seen = self.on_node(digest).map_or(0, |image| image.seen);
        if seen == 0 || self.rivals(digest, references).any(|rival| rival >= seen) {
            let all = self.state.on_node.values();
            let last = all.map(|image| image.seen).max().unwrap_or(0);
            let noted = ImageOnNode {
                seen: last.saturating_add(1),
                ..self.on_node(digest).cloned().unwrap_or_default()
            };
            changes.push(Change::OnNode(digest.clone(), Some(noted)));
        }
        if self.image(digest) != Some(&record) {
            changes.push(Change::Image(digest.clone(), Some(record)));
        }
        self.commit("note image", changes)
    }

    /// When the other images in the same repositories were seen.
    fn rivals(&self, digest: &ImageDigest, references: &[String]) -> impl Iterator<Item = u64> {
        let is_rival = move |record: &ImageRecord| {
            let mut theirs = record.references.iter();
            theirs.any(|theirs| references.iter().any(|own| same_repository(own, theirs)))
        };
        self.images()
            .filter(move |(other, record)| *other != digest && is_rival(record))
            .filter_map(|(other, _)| Some(self.on_node(other)?.seen))
    }

    /// What this node noted of an image.
    #[must_use]
    pub fn on_node(&self, digest: &ImageDigest) -> Option<&ImageOnNode> {
        self.state.on_node.get(digest)
    }

    /// Takes note of where the layers of an image are. Says whether that is new.
    pub fn note_layers(&mut self, digest: &ImageDigest, layers: &[ImageLayer]) -> Result<bool> {
        self.recover()?;
        let mut noted = self.on_node(digest).cloned().unwrap_or_default();
        if noted.layers == layers {
            return Ok(false);
        }
        noted.layers = layers.to_vec();
        self.commit("note layers", vec![Change::OnNode(digest.clone(), Some(noted))])?;
        Ok(true)
    }

    /// The profile from which that of `key` can begin: of the same role, of the image before. `None` if the profile has
    /// begun already, or if there is no image before that has one.
    #[must_use]
    pub fn predecessor(&self, key: &ProfileKey, references: &[String]) -> Option<&Profile> {
        if self
            .profile(key)
            .is_some_and(|own| !own.is_empty() || own.succession != Succession::None)
        {
            return None;
        }
        let of_role = |digest: &ImageDigest| {
            let key = ProfileKey {
                digest: digest.clone(),
                role: key.role.clone(),
            };
            self.profile(&key).filter(|profile| !profile.is_empty())
        };
        if let Some(before) = self
            .image(&key.digest)
            .and_then(|image| image.descends_from.as_ref())
        {
            return of_role(before);
        }
        let candidates = self
            .images()
            .filter(|(digest, record)| **digest != key.digest && record.provisional_of.is_none())
            .filter(|(digest, _)| of_role(digest).is_some())
            .map(|(digest, record)| Candidate {
                digest,
                references: &record.references,
                seen: self.on_node(digest).map_or(0, |image| image.seen),
            });
        of_role(predecessor(references, candidates)?)
    }

    /// Begins the profile of `key`, or goes on with it, as the successor of that of the image `before`: with `inheritance`, as
    /// far as it does not hold it already and has room. `is_same`: the two images have the same files; then the approval
    /// of the one before counts for this one. Says how many rules were taken over.
    pub fn succeed(
        &mut self,
        key: &ProfileKey,
        before: &ImageDigest,
        inheritance: &Inheritance,
        is_same: bool,
    ) -> Result<usize> {
        self.recover()?;
        let profile = self.existing(key)?;
        let old = self.existing(&ProfileKey {
            digest: before.clone(),
            role: key.role.clone(),
        })?;
        let record = ImageRecord {
            descends_from: Some(before.clone()),
            ..self.image(&key.digest).cloned().unwrap_or_default()
        };
        let approved = is_same && old.approved && profile.main.is_empty();
        let header = Header {
            succession: if approved {
                Succession::Closed
            } else {
                Succession::Open
            },
            scripts: old.scripts,
            approved,
            ..Header::of(profile)
        };
        let mut changes = vec![
            Change::Image(key.digest.clone(), Some(record)),
            Change::Profile(profile.id, Some(header)),
        ];
        let mut room: BTreeMap<(Section, Domain), usize> = BTreeMap::new();
        let main = inheritance
            .main
            .iter()
            .map(|behaviour| (Section::Main, behaviour));
        let exec_in = inheritance
            .exec_in
            .iter()
            .map(|behaviour| (Section::ExecIn, behaviour));
        let mut taken = 0;
        for (section, behaviour) in main.chain(exec_in) {
            let domain = behaviour.domain();
            let left = room.entry((section, domain)).or_insert_with(|| {
                model::behaviours_max(domain).saturating_sub(profile.len(section, domain))
            });
            if *left == 0 || profile.contains(section, behaviour) {
                continue;
            }
            *left -= 1;
            taken += 1;
            changes.push(match section {
                Section::Main => Change::Main(profile.id, behaviour.clone(), Some(Evidence::INHERITED)),
                Section::ExecIn => {
                    let entry = ExecInEntry {
                        evidence: Evidence::INHERITED,
                        accepted: true,
                    };
                    Change::ExecIn(profile.id, behaviour.clone(), Some(entry))
                }
            });
        }
        // Within their bound, as they were in the profile before; one that was accepted here meanwhile stays.
        if profile.drift.is_empty() {
            for (file, accepted) in &inheritance.drift {
                changes.push(Change::Drift(profile.id, file.clone(), Some(accepted.clone())));
            }
        }
        self.commit("inherit", changes)?;
        Ok(taken)
    }

    /// The mode that holds in `domain` for a container of `key`, and why. Where nobody spoke of it or its image, and its profile
    /// succeeds another, what was said of the images before holds.
    #[must_use]
    pub fn mode_for(
        &self,
        container_id: &str,
        key: &ProfileKey,
        references: &[String],
        domain: Domain,
    ) -> (Mode, ModeSource) {
        let found = self
            .policies()
            .mode_for(container_id, Some(&key.digest), references, domain);
        if found.1 != ModeSource::Default
            || !self
                .profile(key)
                .is_some_and(|profile| profile.succession != Succession::None)
        {
            return found;
        }
        let before = self.image(&key.digest);
        before
            .and_then(|image| self.mode_of_image(image.descends_from.as_ref()?, domain))
            .map_or(found, |mode| (mode, ModeSource::Inherited))
    }

    /// What was said in `domain` of an image, or of a reference of it; if nothing, of the images before. `None` if of none.
    #[must_use]
    pub fn mode_of_image(&self, digest: &ImageDigest, domain: Domain) -> Option<Mode> {
        let before = |digest: &ImageDigest| self.image(digest)?.descends_from.clone();
        let images = std::iter::successors(Some(digest.clone()), before);
        images.take(ANCESTORS_MAX).find_map(|digest| {
            let names = self.image(&digest).map(|image| &image.references);
            let names: Vec<String> = names.into_iter().flatten().cloned().collect();
            let (mode, source) = self.policies().mode_for("", Some(&digest), &names, domain);
            matches!(source, ModeSource::Image | ModeSource::Reference).then_some(mode)
        })
    }
}
