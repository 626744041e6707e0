use std::path::Path;

use redb::{Database, ReadableDatabase as _};

use super::*;
use crate::profile::rows;
use crate::profile::store::file;

#[test]
fn a_second_process_is_told_so() {
    let (store, _directory) = store();
    let directory = store.path().parent().expect("in a directory");
    let error = ProfileStore::open(directory).expect_err("is open");
    let text = error.to_string();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(
        text.contains("another agent is running") && text.contains(file::FILE_NAME),
        "{text}"
    );
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let (store, _directory) = store();
    let path = store.path().to_owned();
    drop(store);
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    transaction
        .open_table(rows::META)
        .expect("is there")
        .insert(rows::FORMAT_KEY, rows::FORMAT + 1)
        .expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    let error = ProfileStore::open(path.parent().expect("in a directory")).expect_err("later");
    assert!(matches!(error, StoreError::NewerFormat { found, .. } if found == rows::FORMAT + 1));
}

/// As the first version left it: without the tables of files and capabilities.
#[test]
fn a_store_of_the_first_format_is_opened_with_all_it_holds() {
    let (mut store, _directory) = store();
    store
        .learn(&[observation("/bin/a", Section::Main)])
        .expect("learns");
    let path = store.path().to_owned();
    drop(store);
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    for table in ["files", "capabilities"] {
        let handle = redb::UntypedTableHandle::clone(
            &transaction
                .list_tables()
                .expect("lists")
                .find(|handle| redb::TableHandle::name(handle) == table)
                .expect("is there"),
        );
        assert!(transaction.delete_table(handle).expect("deletes"));
    }
    transaction
        .open_table(rows::META)
        .expect("is there")
        .insert(rows::FORMAT_KEY, 1)
        .expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    let mut store = ProfileStore::open(path.parent().expect("in a directory")).expect("opens");
    let learned = store.learn(&[
        observation("/bin/a", Section::Main),
        Observation {
            behaviour: cap(13),
            ..observation("", Section::Main)
        },
    ]);
    assert_eq!(learned.expect("learns"), [Learned::Known, Learned::New]);
    drop(store);
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_read().expect("begins");
    let meta = transaction.open_table(rows::META).expect("is there");
    let format = meta.get(rows::FORMAT_KEY).expect("reads").expect("is there");
    assert_eq!(format.value(), rows::FORMAT);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(file::FILE_NAME);
    std::fs::write(&path, "not a store\n".repeat(1000)).expect("writes");
    let before = std::fs::read(&path).expect("reads");
    let error = ProfileStore::open(directory.path()).expect_err("no store");
    assert!(
        matches!(
            error,
            StoreError::Storage {
                operation: "open",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[test]
fn only_the_owner_can_read_it_and_a_shared_directory_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (store, directory) = store();
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(store.path()), 0o600);
    assert_eq!(mode(store.path().parent().expect("in a directory")), 0o700);

    let shared = directory.path().join("shared");
    std::fs::create_dir(&shared).expect("creates");
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).expect("sets");
    assert!(matches!(
        ProfileStore::open(&shared),
        Err(StoreError::DirectoryWritable { mode: 0o1777, .. })
    ));
    assert!(!shared.join(file::FILE_NAME).exists());

    let linked = directory.path().join("linked");
    std::fs::create_dir(&linked).expect("creates");
    symlink(directory.path().join("target"), linked.join(file::FILE_NAME)).expect("links");
    assert!(ProfileStore::open(&linked).is_err());
    assert!(!directory.path().join("target").exists());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let stranger = rustix::fs::Uid::from_raw(65_534);
    if let Err(error) = rustix::fs::chown(directory.path(), Some(stranger), None) {
        // Only root can give a directory away.
        assert_eq!(error, rustix::io::Errno::PERM);
        return;
    }
    assert!(matches!(
        ProfileStore::open(directory.path()),
        Err(StoreError::DirectoryOwner { uid: 65_534, .. })
    ));
}
