//! Provisional profiles: of containers whose image is not known. Each belongs to one container, and goes with it.
//!
//! Input: a key whose digest no image has ([`ImageDigest::of_container`]), and the container. Output: the profile's number;
//! when it is forgotten, the numbers that are gone. Failure: no room for further profiles, or the store cannot be written.

use super::learn::Plan;
use super::{ProfileStore, Result};
use crate::image::ImageDigest;
use crate::profile::model::{ImageRecord, Profile, ProfileKey};
use crate::profile::rows::{Change, Header};

impl ProfileStore {
    /// The number of the provisional profile for `key`, which is created empty if there is none; it tells of scripts if
    /// `scripts`. `container` is the id of the one container that it belongs to.
    pub fn ensure_provisional(&mut self, key: &ProfileKey, scripts: bool, container: &str) -> Result<u32> {
        self.recover()?;
        if let Some(profile) = self.profile(key) {
            return Ok(profile.id);
        }
        let mut plan = Plan::new(&self.state);
        let id = plan.profile(key)?;
        let mut changes = plan.changes;
        let record = ImageRecord {
            provisional_of: Some(container.to_owned()),
            ..ImageRecord::default()
        };
        changes.push(Change::Image(key.digest.clone(), Some(record)));
        let header = Header::of(&Profile::new(id, key.clone()));
        changes.push(Change::Profile(id, Some(Header { scripts, ..header })));
        self.commit("create provisional profile", changes)?;
        Ok(id)
    }

    /// The container whose provisional profiles have this digest; `None` if they are an image's.
    #[must_use]
    pub fn provisional_of(&self, digest: &ImageDigest) -> Option<&str> {
        self.image(digest)?.provisional_of.as_deref()
    }

    /// The digests of all provisional profiles, with the container that each belongs to.
    pub fn provisional(&self) -> impl Iterator<Item = (&ImageDigest, &str)> {
        self.images()
            .filter_map(|(digest, record)| Some((digest, record.provisional_of.as_deref()?)))
    }

    /// Removes the provisional profiles with this digest and all that is kept about it; their numbers are never used
    /// again. Says which they were; none if the digest is an image's.
    pub fn forget_provisional(&mut self, digest: &ImageDigest) -> Result<Vec<u32>> {
        self.recover()?;
        if self.provisional_of(digest).is_none() {
            return Ok(Vec::new());
        }
        let profiles: Vec<u32> = self.profiles_of(digest).map(|profile| profile.id).collect();
        let mut changes: Vec<Change> = profiles.iter().map(|id| Change::Profile(*id, None)).collect();
        changes.push(Change::Image(digest.clone(), None));
        self.commit("forget provisional profile", changes)?;
        Ok(profiles)
    }
}
