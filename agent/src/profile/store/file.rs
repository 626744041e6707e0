//! The store's file: its place, its permissions, its lock, its format.
//!
//! Input: the state directory. Output: the open database and what is in it. Failure: a directory that others own or can
//! write, a file that another process has open, a format of a later version, a damaged file: each has its own error.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase as _};

use super::{Result, StoreError};
use crate::private_file;
use crate::profile::rows::{self, State};

/// Name of the file in the state directory.
pub(super) const FILE_NAME: &str = "profiles.redb";
/// Memory for cached pages. Everything is in [`State`] already, so that pages are read once; redb's own default is a gigabyte.
const CACHE_BYTES: usize = 512 << 10;

/// Creates the state directory if it is missing, and refuses one that others own or can write.
pub(super) fn prepare(state_dir: &Path) -> Result<PathBuf> {
    let failed = |operation| {
        let path = state_dir.to_owned();
        move |source: io::Error| StoreError::Directory {
            path,
            operation,
            source,
        }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(failed("create"))?;
    let metadata = std::fs::metadata(state_dir).map_err(failed("inspect"))?;
    let uid = metadata.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(StoreError::DirectoryOwner {
            path: state_dir.to_owned(),
            uid,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StoreError::DirectoryWritable {
            path: state_dir.to_owned(),
            mode,
        });
    }
    Ok(state_dir.join(FILE_NAME))
}

/// Opens the file, creating it if it is missing, and reads it.
pub(super) fn open(path: &Path) -> Result<(Database, State)> {
    let failed = |operation: &'static str, error: redb::Error| StoreError::Storage {
        path: path.to_owned(),
        operation,
        source: Box::new(error),
    };
    let file = private_file::open(path).map_err(|error| failed("open", redb::Error::Io(error)))?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_file(file)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Locked {
                path: path.to_owned(),
            },
            error => failed("open", error.into()),
        })?;
    check_format(path, &database)?;
    let transaction = database
        .begin_read()
        .map_err(|error| failed("read", error.into()))?;
    let state = State::load(&transaction).map_err(|error| StoreError::loading(path, error))?;
    Ok((database, state))
}

/// Refuses a later format; writes the format and all tables into a new file, and those that are missing into one of an
/// earlier format.
fn check_format(path: &Path, database: &Database) -> Result<()> {
    let found = write_format(database).map_err(|error| StoreError::Storage {
        path: path.to_owned(),
        operation: "read the format",
        source: Box::new(error),
    })?;
    if found > rows::FORMAT {
        return Err(StoreError::NewerFormat {
            path: path.to_owned(),
            found,
            known: rows::FORMAT,
        });
    }
    Ok(())
}

fn write_format(database: &Database) -> std::result::Result<u64, redb::Error> {
    match database.begin_read()?.open_table(rows::META) {
        Ok(meta) => {
            let found = meta.get(rows::FORMAT_KEY)?.map(|found| found.value());
            if let Some(found) = found.filter(|found| *found >= rows::FORMAT) {
                return Ok(found);
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    rows::create_tables(&transaction)?;
    transaction
        .open_table(rows::META)?
        .insert(rows::FORMAT_KEY, rows::FORMAT)?;
    transaction.commit()?;
    Ok(rows::FORMAT)
}
