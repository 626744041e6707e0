//! The spool's file: alerts by number, and up to which of them each sink has everything.
//!
//! Input: alerts in order, acknowledgements. Output: alerts from a number on. Failure: a write that fails changes nothing, and the file
//! is opened anew before the next; a file that cannot be read at all is set aside under another name, which is told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
};

use super::reader::Entry;
use crate::alert::time::Time;
use crate::private_file;

/// Name of the file in the state directory.
const FILE_NAME: &str = "spool.redb";
/// Memory for cached pages. What sinks read next is in the tail as a rule.
const CACHE_BYTES: usize = 512 << 10;
/// Alerts by number, in the native format.
const ALERTS: TableDefinition<'_, u64, &str> = TableDefinition::new("alerts");
/// By a sink's name, the number up to which it has everything.
const SINKS: TableDefinition<'_, &str, u64> = TableDefinition::new("sinks");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The greatest number that was ever given.
const LAST: &str = "last";
/// Bytes of all alerts.
const BYTES: &str = "bytes";

/// The spool cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct SpoolError {
    /// What was tried.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: Box<redb::Error>,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The greatest number that was ever given.
    pub(super) last: u64,
    /// How many alerts there are.
    pub(super) alerts: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The number of the oldest; 0 if there is none.
    pub(super) oldest: u64,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Written {
    /// What is in the file now.
    pub(super) held: Held,
    /// The alerts that went for want of room, by number, not for having been acknowledged.
    pub(super) given_up: Vec<u64>,
}

/// What one transaction does, in this order.
pub(super) struct Write<'a> {
    /// Sinks' acknowledgements.
    pub(super) acknowledged: &'a [(String, u64)],
    /// Alerts up to this number go.
    pub(super) remove_through: u64,
    /// Alerts that come.
    pub(super) append: &'a [Entry],
    /// Older alerts go until no more bytes than these are held.
    pub(super) max_bytes: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// `None` after a failed write, until it is opened again.
    database: RwLock<Option<Arc<Database>>>,
}

type Outcome<T> = Result<T, redb::Error>;

impl Store {
    /// Opens the spool of a state directory, and forgets the acknowledgements of all sinks but `sinks`.
    pub(super) fn open(state_dir: &Path, sinks: &[String]) -> Result<(Self, Held), SpoolError> {
        let path = state_dir.join(FILE_NAME);
        let opened = open(&path, sinks).or_else(|error| {
            if matches!(error, redb::Error::DatabaseAlreadyOpen) || !path.exists() {
                return Err(error);
            }
            let aside = path.with_extension(format!("redb.damaged-{}", Time::now().epoch_ms()));
            tracing::error!(%error, kept = %aside.display(), "the spool cannot be read: alerts that no sink had yet are in that file alone");
            std::fs::rename(&path, &aside).map_err(redb::Error::Io)?;
            open(&path, sinks)
        });
        match opened {
            Ok((database, held)) => Ok((
                Self {
                    path,
                    database: RwLock::new(Some(Arc::new(database))),
                },
                held,
            )),
            Err(source) => Err(SpoolError {
                operation: "open",
                path,
                source: Box::new(source),
            }),
        }
    }

    /// The file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does all or nothing of `write`, durably.
    pub(super) fn write(&self, write: &Write<'_>) -> Result<Written, SpoolError> {
        let written = self.database().and_then(|database| perform(&database, write));
        written.map_err(|source| {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
            SpoolError {
                operation: "write",
                path: self.path.clone(),
                source: Box::new(source),
            }
        })
    }

    /// The alerts after a number, at most so many, and none after `bytes` are reached.
    pub(super) fn read(&self, after: u64, alerts: usize, bytes: usize) -> Result<Vec<Entry>, SpoolError> {
        let found = self.database().and_then(|database| {
            let table = database.begin_read()?.open_table(ALERTS)?;
            let mut entries = Vec::new();
            let mut size = 0;
            for row in table.range(after.saturating_add(1)..)?.take(alerts) {
                let (number, line) = row?;
                size += line.value().len();
                entries.push(Entry {
                    number: number.value(),
                    line: line.value().into(),
                });
                if size >= bytes {
                    break;
                }
            }
            Ok(entries)
        });
        found.map_err(|source| SpoolError {
            operation: "read",
            path: self.path.clone(),
            source: Box::new(source),
        })
    }

    /// Up to which number a sink has everything; `None` if it was never there.
    pub(super) fn acknowledged(&self, sink: &str) -> Option<u64> {
        let look_up = || -> Outcome<Option<u64>> {
            let table = self.database()?.begin_read()?.open_table(SINKS)?;
            Ok(table.get(sink)?.map(|number| number.value()))
        };
        look_up().ok().flatten()
    }

    /// As after a failed write.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The open file; after a failed write it is opened again.
    fn database(&self) -> Outcome<Arc<Database>> {
        let open = self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(database) = open {
            return Ok(database);
        }
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*place {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(create(&self.path)?);
        *place = Some(Arc::clone(&database));
        Ok(database)
    }
}

fn create(path: &Path) -> Outcome<Database> {
    let file = private_file::open(path)?;
    Ok(Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_file(file)?)
}

fn open(path: &Path, sinks: &[String]) -> Outcome<(Database, Held)> {
    let database = create(path)?;
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    let held = {
        let mut known = transaction.open_table(SINKS)?;
        known.retain(|name, _| sinks.iter().any(|sink| sink == name))?;
        let alerts = transaction.open_table(ALERTS)?;
        let meta = transaction.open_table(META)?;
        let number = |key| -> Outcome<u64> { Ok(meta.get(key)?.map_or(0, |number| number.value())) };
        Held {
            last: number(LAST)?,
            alerts: alerts.len()?,
            bytes: number(BYTES)?,
            oldest: alerts.first()?.map_or(0, |(number, _)| number.value()),
        }
    };
    transaction.commit()?;
    Ok((database, held))
}

fn perform(database: &Database, write: &Write<'_>) -> Outcome<Written> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    // Containers choose what is written, so the commit must not rest on a checksum alone.
    transaction.set_two_phase_commit(true);
    let mut given_up = Vec::new();
    let held = {
        let mut sinks = transaction.open_table(SINKS)?;
        for (name, number) in write.acknowledged {
            sinks.insert(name.as_str(), number)?;
        }
        let mut alerts = transaction.open_table(ALERTS)?;
        let mut meta = transaction.open_table(META)?;
        let mut bytes = meta.get(BYTES)?.map_or(0, |bytes| bytes.value());
        let mut last = meta.get(LAST)?.map_or(0, |last| last.value());
        let mut oldest = 0;
        for entry in write.append {
            alerts.insert(entry.number, &*entry.line)?;
            bytes += entry.line.len() as u64;
            last = last.max(entry.number);
        }
        loop {
            let Some((number, size)) = alerts
                .first()?
                .map(|(number, line)| (number.value(), line.value().len() as u64))
            else {
                bytes = 0;
                break;
            };
            if number > write.remove_through && bytes <= write.max_bytes {
                oldest = number;
                break;
            }
            alerts.remove(number)?;
            if number > write.remove_through {
                given_up.push(number);
            }
            bytes = bytes.saturating_sub(size);
        }
        meta.insert(BYTES, bytes)?;
        meta.insert(LAST, last)?;
        Held {
            last,
            alerts: alerts.len()?,
            bytes,
            oldest,
        }
    };
    transaction.commit()?;
    Ok(Written { held, given_up })
}
