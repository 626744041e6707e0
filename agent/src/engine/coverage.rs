//! The coverage that alerts tell, reckoned once for all alerts between two changes of the store.
//!
//! Input: a container's profile and a domain. Output: the estimated share, 0 to 1, as [`Profile::coverage`] has it. Failure: `None` where
//! there is no profile, or too little to tell. Bound: an entry for each profile and domain of which alerts were told, until the store changes.
//!
//! It is reckoned from every behaviour of the profile, which must not be the price of each alert of a storm.
//!
//! [`Profile::coverage`]: crate::profile::model::Profile::coverage

use std::collections::HashMap;

use agent_common::domain::Domain;

use super::Engine;

/// What was reckoned, by the profile's number and the domain.
#[derive(Debug, Default)]
pub(super) struct Coverages {
    /// [`crate::profile::store::ProfileStore::revision`] that it holds for.
    revision: u64,
    reckoned: HashMap<(u32, Domain), Option<f64>>,
}

impl Engine {
    /// The coverage of a container's profile.
    pub(super) fn coverage(&mut self, container: u64, domain: Domain) -> Option<f64> {
        let known = self.containers.get(&container)?.known()?;
        let revision = self.store.revision();
        if self.coverages.revision != revision {
            self.coverages.reckoned.clear();
            self.coverages.revision = revision;
        }
        let place = self.coverages.reckoned.entry((known.profile, domain));
        *place.or_insert_with(|| self.store.profile(&known.key)?.coverage(domain))
    }
}
