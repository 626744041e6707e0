//! The profile store: every profile, mode and policy of this node, in one file that survives kill -9.
//!
//! Purpose: keep what it holds in memory and in `profiles.redb` alike. Input: what the engine observed and what an operator
//! said. Output: profiles and modes. One process has the file open at a time.
//! Failure: a mutation is one transaction, on disk before memory changes and before the call returns; one that fails
//! changes nothing that can be seen. After a failed write the file is opened and read again before the next mutation,
//! because it is not known whether the failed one is on disk.

use std::path::{Path, PathBuf};

use redb::Database;

use crate::image::ImageDigest;
use crate::profile::mode::PolicyTable;
use crate::profile::model::{ImageRecord, Profile, ProfileKey};
use crate::profile::rows::{Change, State, Writer};
use crate::profile::signed::SignedDocument;

mod accept;
mod error;
mod exchange;
mod file;
mod inherit;
mod learn;
mod provisional;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub use error::StoreError;
pub use exchange::ImportSummary;
pub use learn::{EvidenceGain, Learned, Observation};

/// Most profiles. At the bound a new one is refused.
pub const PROFILES_MAX: usize = 16_384;

/// Profiles, modes and policies, on disk.
#[derive(Debug)]
pub struct ProfileStore {
    path: PathBuf,
    /// `None` after a failed write, until it is opened again.
    database: Option<Database>,
    state: State,
    /// How often what is in memory was changed.
    revision: u64,
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
            revision: 0,
        })
    }

    /// A number that is another one after each change of what is stored.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
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

    /// The signed document that what is known of an image was imported from, if it was signed.
    #[must_use]
    pub fn signed(&self, digest: &ImageDigest) -> Option<&SignedDocument> {
        self.state.signed.get(digest)
    }

    /// Modes and policies.
    #[must_use]
    pub fn policies(&self) -> &PolicyTable {
        &self.state.policies
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
            self.revision += 1;
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
        self.revision += 1;
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

fn full(what: &'static str, limit: usize) -> StoreError {
    StoreError::Full { what, limit }
}
