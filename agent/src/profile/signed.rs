//! What a signature of a document vouches for, and whether a profile is still that.
//!
//! Purpose: the bytes that are signed are those of the document's file, evidence and all, so that `minisign` verifies the very file
//! that is reviewed and kept in git. What a node may enforce is what the profile permits, which is compared apart: evidence grows,
//! references are added, proposals come in, and none of that permits anything. Input: a document, its bytes, its signature; later
//! the profile. Output: [`SignedDocument`], and the domains in which the profile permits exactly what was signed. Failure: none; what
//! cannot be compared is not the same. Pure.

use std::collections::BTreeMap;

use agent_common::domain::{DOMAIN_SLOTS, Domain};
use sha2::{Digest as _, Sha256};

use crate::behaviour::Behaviour;
use crate::image::ImageDigest;
use crate::profile::document::{ProfileDocument, RoleProfile};
use crate::profile::model::{AcceptedDrift, Evidence, ExecInEntry, ImageRecord, Profile, Role};
use crate::signature::{Prehash, PublicKey, Signature, SignatureError};

/// Per domain, whether something holds in it.
pub type ByDomain = [bool; DOMAIN_SLOTS];

/// A document with its signature, as it was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDocument {
    signature: Signature,
    prehash: Prehash,
    /// What each role of the document permits.
    permissions: BTreeMap<Role, [Permissions; DOMAIN_SLOTS]>,
}

/// What a profile permits in one domain: SHA-256 of the canonical document that permits that and says nothing else. `None` if there
/// is no such document; then it is like no other.
type Permissions = Option<[u8; 32]>;

impl SignedDocument {
    /// `bytes` are those of the file that `document` was read from. Nothing is verified.
    #[must_use]
    pub fn new(document: &ProfileDocument, bytes: &[u8], signature: Signature) -> Self {
        let of_role = |(role, profile): (&Role, &RoleProfile)| {
            let of_domain = |domain| permissions(&document.digest, role, profile, domain);
            (role.clone(), by_domain(of_domain))
        };
        Self {
            signature,
            prehash: Prehash::of(bytes),
            permissions: document.roles.iter().map(of_role).collect(),
        }
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether one of `keys` made the signature, for the bytes that were imported.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), SignatureError> {
        self.signature.verify_by_any(keys, &self.prehash)
    }

    /// The domains in which `profile` permits exactly what the document permitted.
    #[must_use]
    pub fn unchanged(&self, profile: &Profile) -> ByDomain {
        let Some(signed) = self.permissions.get(&profile.key.role) else {
            return [false; DOMAIN_SLOTS];
        };
        let held = RoleProfile::from(profile);
        by_domain(|domain| {
            let signed = signed[domain as usize];
            let now = || permissions(&profile.key.digest, &profile.key.role, &held, domain);
            signed.is_some() && signed == now()
        })
    }
}

fn by_domain<T: Copy + Default>(of: impl Fn(Domain) -> T) -> [T; DOMAIN_SLOTS] {
    let mut all = [T::default(); DOMAIN_SLOTS];
    for &domain in Domain::ALL {
        all[domain as usize] = of(domain);
    }
    all
}

/// What is permitted in `domain`, without evidence, proposals, approval, notes and attributes of the image. What was accepted by its
/// content is executed or mapped: it belongs to those domains.
fn permissions(digest: &ImageDigest, role: &Role, profile: &RoleProfile, domain: Domain) -> Permissions {
    let is_of = |behaviour: &&Behaviour| behaviour.domain() == domain;
    let has_drift = matches!(domain, Domain::Exec | Domain::Library);
    let main = profile.main.keys().filter(is_of);
    let exec_in = profile.exec_in.iter().filter(|(_, entry)| entry.accepted);
    let exec_in = exec_in.map(|(behaviour, _)| behaviour).filter(is_of);
    let drift = profile.drift.iter().filter(|_| has_drift);
    let accepted = ExecInEntry {
        evidence: Evidence::default(),
        accepted: true,
    };
    let without_note = |accepted: &AcceptedDrift| AcceptedDrift {
        sha256: accepted.sha256.clone(),
        note: String::new(),
    };
    let permitted = RoleProfile {
        scripts: profile.scripts && domain == Domain::Exec,
        main: main
            .map(|behaviour| (behaviour.clone(), Evidence::default()))
            .collect(),
        exec_in: exec_in.map(|behaviour| (behaviour.clone(), accepted)).collect(),
        drift: drift
            .map(|(file, accepted)| (file.clone(), without_note(accepted)))
            .collect(),
        ..RoleProfile::default()
    };
    let document = ProfileDocument {
        digest: digest.clone(),
        image: ImageRecord::default(),
        roles: BTreeMap::from([(role.clone(), permitted)]),
    };
    Some(Sha256::digest(document.render().ok()?).into())
}

#[cfg(test)]
mod tests {
    use agent_common::domain::Section;
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Behaviours;
    use crate::profile::document::tests::document;
    use crate::profile::model::ProfileKey;
    use crate::signature::tests::secret;

    fn signed(document: &ProfileDocument) -> SignedDocument {
        let bytes = document.render().expect("a document");
        let signature = Signature::sign(&secret(), &Prehash::of(bytes.as_bytes()), "").expect("signed");
        SignedDocument::new(document, bytes.as_bytes(), signature)
    }

    fn profiles(document: &ProfileDocument) -> Vec<Profile> {
        let of_role = |(role, profile): (&Role, &RoleProfile)| {
            let key = ProfileKey {
                digest: document.digest.clone(),
                role: role.clone(),
            };
            Profile {
                scripts: profile.scripts,
                main: profile.main.clone().into_iter().collect(),
                exec_in: profile.exec_in.clone().into_iter().collect(),
                drift: profile.drift.clone(),
                ..Profile::new(1, key)
            }
        };
        document.roles.iter().map(of_role).collect()
    }

    /// Whether the profile is unchanged, per domain of `Domain::ALL`.
    fn unchanged(signed: &SignedDocument, profile: &Profile) -> Vec<bool> {
        let unchanged = signed.unchanged(profile);
        Domain::ALL
            .iter()
            .map(|domain| unchanged[*domain as usize])
            .collect()
    }

    proptest! {
        /// Evidence, approval, proposals and notes permit nothing.
        #[test]
        fn what_permits_nothing_breaks_no_signature(document in document(), windows: u64) {
            let signed = signed(&document);
            for mut profile in profiles(&document) {
                prop_assert!(unchanged(&signed, &profile).iter().all(|same| *same));
                profile.approved = !profile.approved;
                profile.counts.exec.windows = windows;
                let evidence = Evidence::of_windows(windows);
                profile.main = profile.main.keys().map(|behaviour| (behaviour, evidence)).collect();
                profile.drift.values_mut().for_each(|accepted| accepted.note.push('!'));
                let accepted = profile.exec_in.iter().filter(|(_, entry)| entry.accepted);
                let mut exec_in: Behaviours<_> =
                    accepted.map(|(behaviour, entry)| (behaviour, ExecInEntry { evidence, ..entry })).collect();
                let proposal = crate::profile::store::tests::behaviour("/a proposal");
                if !exec_in.contains_key(&proposal) {
                    exec_in.insert(proposal, ExecInEntry::default());
                }
                profile.exec_in = exec_in;
                prop_assert!(unchanged(&signed, &profile).iter().all(|same| *same));
            }
        }

        /// A permission more or less is noticed, in its domain alone.
        #[test]
        fn every_permission_counts(document in document(), which: prop::sample::Index) {
            let signed = signed(&document);
            for profile in profiles(&document) {
                let rules: Vec<(Section, Behaviour)> = profile.rules().collect();
                let mut less = profile.clone();
                let mut changed = None;
                if !rules.is_empty() {
                    let (section, behaviour) = which.get(&rules);
                    match section {
                        Section::Main => less.main.put(behaviour, None),
                        Section::ExecIn => less.exec_in.put(behaviour, None),
                    }
                    changed = Some(behaviour.domain());
                }
                let expected: Vec<bool> = Domain::ALL.iter().map(|domain| Some(*domain) != changed).collect();
                prop_assert_eq!(unchanged(&signed, &less), expected);

                let mut more = profile.clone();
                more.drift.clear();
                let has_drift = !profile.drift.is_empty();
                let expected: Vec<bool> = Domain::ALL
                    .iter()
                    .map(|domain| !has_drift || !matches!(domain, Domain::Exec | Domain::Library))
                    .collect();
                prop_assert_eq!(unchanged(&signed, &more), expected);
                more = profile;
                more.scripts = !more.scripts;
                let expected: Vec<bool> = Domain::ALL.iter().map(|domain| *domain != Domain::Exec).collect();
                prop_assert_eq!(unchanged(&signed, &more), expected);
            }
        }
    }
}
