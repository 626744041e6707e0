//! How far the profiles are that containers are learning, as the command line shows it.
//!
//! Input: the containers, the store, and what is demanded. Output: views. Failure: none.

use std::collections::BTreeMap;

use agent_common::domain::{Domain, Mode};

use super::Engine;
use super::container::Tracked;
use crate::behaviour::LEARNED_DOMAINS;
use crate::control::view::{DomainProfileView, LearningView};
use crate::profile::completeness::Targets;
use crate::profile::model::{Profile, ProfileKey};

impl Engine {
    /// The profiles that containers are learning now, by image and role.
    pub(super) fn learning(&self) -> Vec<LearningView> {
        let mut containers: BTreeMap<&ProfileKey, Vec<&Tracked>> = BTreeMap::new();
        for tracked in self.containers.values().filter(|tracked| !tracked.is_removed()) {
            if let Some(known) = tracked.known() {
                containers.entry(&known.key).or_default().push(tracked);
            }
        }
        let views = containers.into_iter().filter_map(|(key, containers)| {
            let profile = self.store.profile(key)?;
            let is_learned = |domain: &&Domain| {
                let mut modes = containers.iter().map(|tracked| tracked.mode(**domain));
                modes.any(|mode| mode == Mode::Learn) && profile.tells_of(**domain)
            };
            let domains: Vec<_> = LEARNED_DOMAINS
                .iter()
                .filter(is_learned)
                .map(|domain| domain_profile(profile, *domain, &self.config.learned))
                .collect();
            let image = self.store.image(&key.digest);
            (!domains.is_empty()).then(|| LearningView {
                digest: key.digest.clone(),
                reference: image
                    .and_then(|image| image.references.first())
                    .map(|text| text.as_str().into()),
                role: key.role.as_text().clone(),
                containers: containers.len() as u64,
                domains,
            })
        });
        views.collect()
    }
}

/// What `profile` holds of `domain`, and how far that is from `targets`.
pub(super) fn domain_profile(profile: &Profile, domain: Domain, targets: &Targets) -> DomainProfileView {
    let main = profile.main.values_of(domain).count();
    let entries = profile.exec_in.values_of(domain);
    let (accepted, proposed): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.accepted);
    let counts = profile.counts.of(domain);
    DomainProfileView {
        domain,
        rules: (main + accepted.len()) as u64,
        proposals: proposed.len() as u64,
        instances: counts.instances,
        windows: counts.windows,
        windows_lost: counts.lost_windows,
        coverage: profile.coverage(domain),
        completeness: profile.completeness(domain, targets),
    }
}
