//! What of a profile may be enforced on a node that enforces only what is signed.
//!
//! Input: the store, and the keys of the configuration. Output: per profile the domains in which it permits what a trusted key has
//! signed; checks for `doctor`. Failure: none; what is not known to be signed is not enforced.

use agent_common::domain::{DOMAIN_SLOTS, Domain};

use super::Engine;
use super::container::Tracked;
use crate::control::view::{Check, ModeSource, SignatureView};
use crate::kernel::support;
use crate::profile::model::Profile;
use crate::profile::signed::ByDomain;

impl Engine {
    /// The domains in which the profile with this number may be enforced: all of them where no signature is asked for.
    pub(super) fn may_enforce(&mut self, profile: u32) -> ByDomain {
        if !self.config.trust.enforce_only_signed {
            return [true; DOMAIN_SLOTS];
        }
        if let Some(known) = self.signed.get(&profile) {
            return *known;
        }
        let signed = self.signed_domains(profile);
        self.signed.insert(profile, signed);
        signed
    }

    fn signed_domains(&self, profile: u32) -> ByDomain {
        let none = [false; DOMAIN_SLOTS];
        let Some(profile) = self.store.profile_by_id(profile) else {
            return none;
        };
        match self.store.signed(&profile.key.digest) {
            Some(signed) if signed.verify(&self.config.trust.keys).is_ok() => signed.unchanged(profile),
            _ => none,
        }
    }

    /// A profile has learned what it permits now: where that is not what was signed, it is not enforced from now on.
    pub(super) fn recheck_signature(&mut self, profile: u32) {
        let Some(before) = self.signed.get(&profile).copied() else {
            return;
        };
        // Learning adds, and what was added is not taken back without the profile being published anew.
        if !before.contains(&true) {
            return;
        }
        let now = self.signed_domains(profile);
        if now == before {
            return;
        }
        self.signed.insert(profile, now);
        if let Some(profile) = self.store.profile_by_id(profile) {
            tracing::warn!(profile = %profile.key, "learned what was not signed: it is reported upon, not enforced");
        }
        let its: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| tracked.known().is_some_and(|known| known.profile == profile))
            .map(|tracked| tracked.cgroup)
            .collect();
        for cgroup in its {
            self.apply_policy(cgroup);
        }
    }

    /// Who signed the document that a profile was imported from.
    pub(super) fn signature_view(&self, profile: &Profile) -> Option<SignatureView> {
        let signed = self.store.signed(&profile.key.digest)?;
        let problem = signed.verify(&self.config.trust.keys).err();
        let unchanged = signed.unchanged(profile);
        let changed = Domain::ALL.iter().filter(|domain| !unchanged[**domain as usize]);
        Some(SignatureView {
            key: signed.signature().key().to_string(),
            trusted: problem.is_none(),
            problem: problem.map(|problem| problem.to_string()),
            comment: signed.signature().trusted_comment().into(),
            changed: changed.map(ToString::to_string).collect(),
        })
    }
}

/// The domains of a container in which what was to be enforced is only reported, because nobody who is trusted signed it.
pub(super) fn unsigned_checks(tracked: &Tracked) -> Option<Check> {
    let unsigned: Vec<String> = Domain::ALL
        .iter()
        .filter(|domain| tracked.modes[**domain as usize].1 == ModeSource::Unsigned)
        .map(ToString::to_string)
        .collect();
    if unsigned.is_empty() {
        return None;
    }
    let id = tracked.id.as_ref().map_or("", |id| id.short());
    let reason = format!(
        "no trusted key has signed what its profile permits in {}, so that `enforce` only reports there: export it, review it, \
         `driftlock profile sign`, import it",
        unsigned.join(", ")
    );
    Some(support::container_check(id, reason))
}
