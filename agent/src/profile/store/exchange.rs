//! Profile documents going out and coming in.
//!
//! Input: an image, or a document. Output: a document, or what an import changed. Failure: no room for further
//! profiles; then nothing is imported.

use super::accept::check;
use super::learn::Plan;
use super::{ProfileStore, Result};
use crate::image::ImageDigest;
use crate::profile::document::{ProfileDocument, RoleProfile};
use crate::profile::model::{self, Profile, ProfileKey, Role};
use crate::profile::rows::{Change, Header, SignedRow};
use crate::profile::signed::SignedDocument;

/// What an import did, by role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSummary {
    /// The image.
    pub digest: ImageDigest,
    /// Roles that had no profile, with the profile's new number.
    pub created: Vec<(Role, u32)>,
    /// Roles whose profile was replaced by another; the number stays.
    pub replaced: Vec<(Role, u32)>,
    /// Roles whose profile was the document's already.
    pub unchanged: Vec<(Role, u32)>,
    /// Roles that the document does not hold: their profile is gone, and the number is never used again.
    pub removed: Vec<(Role, u32)>,
}

impl ProfileStore {
    /// Everything that is exchanged of an image; `None` if nothing is known of it.
    #[must_use]
    pub fn export(&self, digest: &ImageDigest) -> Option<ProfileDocument> {
        let roles = self
            .profiles_of(digest)
            .map(|profile| (profile.key.role.clone(), RoleProfile::from(profile)));
        Some(ProfileDocument {
            digest: digest.clone(),
            image: self.image(digest)?.clone(),
            roles: roles.collect(),
        })
    }

    /// Makes what is known of an image what the document says, in one transaction: roles that the document does not
    /// hold are removed, and so is what the profiles of the others hold beyond it, and the signature of an earlier document.
    pub fn import(&mut self, document: &ProfileDocument) -> Result<ImportSummary> {
        self.import_with(document, None)
    }

    /// The same for a document with a signature, which is kept with `bytes`, those that `document` was read from. Whether the
    /// signature holds is not asked here.
    pub fn import_signed(
        &mut self,
        document: &ProfileDocument,
        bytes: &[u8],
        signed: SignedDocument,
    ) -> Result<ImportSummary> {
        let row = SignedRow {
            document: bytes.to_vec(),
            signed,
        };
        self.import_with(document, Some(Box::new(row)))
    }

    fn import_with(
        &mut self,
        document: &ProfileDocument,
        signed: Option<Box<SignedRow>>,
    ) -> Result<ImportSummary> {
        self.recover()?;
        check_content(document)?;
        let mut summary = ImportSummary {
            digest: document.digest.clone(),
            created: Vec::new(),
            replaced: Vec::new(),
            unchanged: Vec::new(),
            removed: Vec::new(),
        };
        let mut changes = Vec::new();
        for profile in self.profiles_of(&document.digest) {
            let named = (profile.key.role.clone(), profile.id);
            match document.roles.get(&profile.key.role) {
                Some(role) if RoleProfile::from(profile) == *role => summary.unchanged.push(named),
                Some(role) => {
                    changes.push(Change::Profile(profile.id, None));
                    rows(profile.id, profile.key.clone(), role, &mut changes);
                    summary.replaced.push(named);
                }
                None => {
                    changes.push(Change::Profile(profile.id, None));
                    summary.removed.push(named);
                }
            }
        }
        let mut plan = Plan::new(&self.state);
        for (role, profile) in &document.roles {
            let key = ProfileKey {
                digest: document.digest.clone(),
                role: role.clone(),
            };
            if self.profile(&key).is_none() {
                let id = plan.profile(&key)?;
                rows(id, key, profile, &mut plan.changes);
                summary.created.push((role.clone(), id));
            }
        }
        changes.append(&mut plan.changes);
        if self.image(&document.digest) != Some(&document.image) {
            changes.push(Change::Image(
                document.digest.clone(),
                Some(document.image.clone()),
            ));
        }
        if signed.is_some() || self.signed(&document.digest).is_some() {
            changes.push(Change::Signed(document.digest.clone(), signed));
        }
        self.commit("import", changes)?;
        let imported = self.state.profiles.values_mut();
        imported
            .filter(|profile| profile.key.digest == document.digest)
            .for_each(Profile::compact);
        Ok(summary)
    }
}

/// Refuses a document that was not read but made, with what may not be in a profile.
fn check_content(document: &ProfileDocument) -> Result<()> {
    for (role, profile) in &document.roles {
        let key = ProfileKey {
            digest: document.digest.clone(),
            role: role.clone(),
        };
        for behaviour in profile.main.keys().chain(profile.exec_in.keys()) {
            check(&key, model::check_learnable(behaviour))?;
        }
        for (layer, path) in profile.drift.keys() {
            check(&key, model::check_acceptable(*layer, path))?;
        }
    }
    Ok(())
}

/// The rows of a profile that has none.
fn rows(id: u32, key: ProfileKey, role: &RoleProfile, changes: &mut Vec<Change>) {
    let header = Header {
        approved: role.approved,
        scripts: role.scripts,
        counts: role.counts,
        ..Header::of(&Profile::new(id, key))
    };
    changes.push(Change::Profile(id, Some(header)));
    for (behaviour, evidence) in &role.main {
        changes.push(Change::Main(id, behaviour.clone(), Some(*evidence)));
    }
    for (behaviour, entry) in &role.exec_in {
        changes.push(Change::ExecIn(id, behaviour.clone(), Some(*entry)));
    }
    for (file, accepted) in &role.drift {
        changes.push(Change::Drift(id, file.clone(), Some(accepted.clone())));
    }
}
