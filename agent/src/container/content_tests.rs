use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::*;
use crate::container::test_mount::{TestDirectory, TestMount};

/// SHA-256 of `abc` (FIPS 180-2, appendix B.1).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const DEVICE: u32 = 77;

fn upper(directory: &Path) -> Location<'_> {
    Location::Upper {
        directory,
        device: DEVICE,
    }
}

fn volume() -> Location<'static> {
    let pid = std::process::id();
    Location::Volume {
        pid,
        mount_namespace: root::mount_namespace(pid).expect("own namespace"),
    }
}

fn text(path: &Path) -> ByteText {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().into()
}

/// Hashes a file that nobody writes. What another test starts holds this test's files open between fork and exec.
pub(in crate::container) fn undisturbed(
    location: Location<'_>,
    path: &ByteText,
    expected: Option<&FileIdentity>,
    limits: &ContentLimits,
) -> Result<HashedFile, ContentError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match hash_file(location, path, expected, limits) {
            Err(ContentError::OpenForWriting { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            result => return result,
        }
    }
}

fn hash_in(directory: &Path, name: &str) -> Result<HashedFile, ContentError> {
    undisturbed(upper(directory), &name.into(), None, &ContentLimits::default())
}

fn recorded(path: &Path) -> FileIdentity {
    let metadata = std::fs::metadata(path).expect("metadata");
    FileIdentity {
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        changed_s: metadata.ctime(),
        changed_ns: metadata.ctime_nsec().try_into().expect("nanoseconds"),
        device: DEVICE,
    }
}

fn file(content: &[u8]) -> (TestDirectory, PathBuf) {
    let directory = TestDirectory::new();
    let path = directory.path().join("file");
    std::fs::write(&path, content).expect("write");
    (directory, path)
}

#[test]
fn hashes_the_recorded_file_and_no_other() {
    let (directory, path) = file(b"abc");
    let record = recorded(&path);
    let hash = || {
        undisturbed(
            upper(directory.path()),
            &"/file".into(),
            Some(&record),
            &ContentLimits::default(),
        )
    };
    let hashed = hash().expect("nobody writes");
    assert_eq!(hashed.sha256.to_string(), ABC);
    assert_eq!(hashed.identity, record);
    assert_eq!(hashed.privileges, Privileges::default());

    std::fs::write(&path, b"abd").expect("write");
    assert!(matches!(hash(), Err(ContentError::Changed { .. })));
    std::fs::remove_file(&path).expect("remove");
    std::fs::write(
        directory
            .path()
            .join("keeps the old inode number from being used again"),
        b"",
    )
    .expect("write");
    std::fs::write(&path, b"abc").expect("write");
    let error = hash().expect_err("another file");
    assert!(
        matches!(
            error,
            ContentError::Replaced { .. } | ContentError::Changed { .. }
        ),
        "{error}"
    );
}

#[test]
fn finds_a_file_of_a_volume_by_its_mount() {
    let (_directory, path) = file(b"abc");
    let hashed = undisturbed(volume(), &text(&path), None, &ContentLimits::default()).expect("nobody writes");
    assert_eq!(hashed.sha256.to_string(), ABC);
    let mut record = hashed.identity;
    undisturbed(volume(), &text(&path), Some(&record), &ContentLimits::default()).expect("the same file");
    record.device += 1;
    let error = undisturbed(volume(), &text(&path), Some(&record), &ContentLimits::default());
    assert!(matches!(error, Err(ContentError::Replaced { .. })), "{error:?}");
}

#[test]
fn a_process_elsewhere_shows_nothing_of_the_container() {
    let (_directory, path) = file(b"abc");
    let elsewhere = Location::Volume {
        pid: std::process::id(),
        mount_namespace: 1,
    };
    let error = undisturbed(elsewhere, &text(&path), None, &ContentLimits::default());
    assert!(
        matches!(error, Err(ContentError::NotInContainer { .. })),
        "{error:?}"
    );
}

#[test]
fn refuses_filesystems_that_answer_for_somebody_else() {
    let error = undisturbed(
        volume(),
        &"/proc/self/status".into(),
        None,
        &ContentLimits::default(),
    );
    assert!(
        matches!(&error, Err(ContentError::Crossing { filesystem, .. }) if *filesystem == "proc".into()),
        "{error:?}"
    );
}

#[test]
fn refuses_tmpfs_where_a_mapping_can_write_without_trace() {
    let directory = TestDirectory::new();
    let mount = TestMount::tmpfs(directory.path());
    std::fs::write(mount.path().join("file"), b"abc").expect("write");
    let error = hash_in(mount.path(), "/file").expect_err("tmpfs");
    assert!(
        matches!(
            error,
            ContentError::Filesystem {
                magic: 0x0102_1994,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn leads_out_of_the_layer_by_no_name() {
    let (directory, path) = file(b"abc");
    std::fs::create_dir(directory.path().join("upper")).expect("directory");
    let upper = directory.path().join("upper");
    std::os::unix::fs::symlink(&path, upper.join("link")).expect("link");
    std::os::unix::fs::symlink("..", upper.join("up")).expect("link");
    std::fs::hard_link(&path, upper.join("file")).expect("link");
    assert!(matches!(
        hash_in(&upper, "/link"),
        Err(ContentError::NotRegular { .. })
    ));
    for (name, errno) in [
        ("/up/file", Errno::LOOP),
        ("/../file", Errno::XDEV),
        ("/none", Errno::NOENT),
    ] {
        match hash_in(&upper, name) {
            Err(ContentError::File { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(errno.raw_os_error()), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    hash_in(&upper, "/file").expect("the file itself");
}

#[test]
fn neither_opens_nor_waits_for_what_is_no_file() {
    let directory = TestDirectory::new();
    rustix::fs::mknodat(CWD, directory.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).expect("pipe");
    assert!(matches!(
        hash_in(directory.path(), "/pipe"),
        Err(ContentError::NotRegular { .. })
    ));
    std::fs::create_dir(directory.path().join("directory")).expect("directory");
    assert!(matches!(
        hash_in(directory.path(), "/directory"),
        Err(ContentError::NotRegular { .. })
    ));
}

#[test]
fn keeps_to_the_bound() {
    let (directory, _path) = file(&vec![7; 2 * CHUNK_BYTES + 1]);
    let limits = |max_bytes| ContentLimits {
        max_bytes,
        ..ContentLimits::default()
    };
    let hash = |max_bytes| undisturbed(upper(directory.path()), &"/file".into(), None, &limits(max_bytes));
    assert!(hash(2 * CHUNK_BYTES as u64 + 1).is_ok());
    assert!(matches!(
        hash(2 * CHUNK_BYTES as u64),
        Err(ContentError::TooLarge { .. })
    ));
}

#[test]
fn a_writer_below_or_above_the_overlay_is_noticed() {
    let mount = TestMount::overlay(&["lower"]);
    std::fs::write(mount.path().join("file"), b"abc").expect("write");
    let hash = || hash_in(&mount.upper(), "/file");
    assert_eq!(hash().expect("nobody writes").sha256.to_string(), ABC);
    let writer = File::options()
        .append(true)
        .open(mount.path().join("file"))
        .expect("open");
    let error = hash_file(
        upper(&mount.upper()),
        &"/file".into(),
        None,
        &ContentLimits::default(),
    )
    .expect_err("a writer");
    assert!(
        matches!(error, ContentError::OpenForWriting { .. }) && error.is_retryable(),
        "{error}"
    );
    drop(writer);
    hash().expect("the writer has gone");
}

#[test]
fn a_program_that_runs_can_be_hashed() {
    let directory = TestDirectory::new();
    let program = directory.path().join("program");
    std::fs::copy("/bin/sleep", &program).expect("copy");
    let mut child = loop {
        match std::process::Command::new(&program).arg("60").spawn() {
            Ok(child) => break child,
            // Another test forked while the copy was open for writing here.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ExecutableFileBusy),
        }
    };
    let hashed = hash_in(directory.path(), "/program");
    child.kill().expect("kill");
    child.wait().expect("wait");
    let content = std::fs::read(&program).expect("read");
    assert_eq!(
        hashed.expect("nobody writes").sha256.0,
        <[u8; 32]>::from(Sha256::digest(content))
    );
}

#[test]
fn a_writer_that_comes_meanwhile_ends_it() {
    let (_directory, path) = file(&vec![7; 3 * CHUNK_BYTES]);
    let file = File::open(&path).expect("open");
    let looks = std::cell::Cell::new(0);
    let may_continue = || {
        looks.set(looks.get() + 1);
        looks.get() < 2
    };
    let error = Subject {
        path: &"/file".into(),
    }
    .hash(&file, &ContentLimits::default(), may_continue);
    assert!(
        matches!(error, Err(ContentError::OpenForWriting { .. })),
        "{error:?}"
    );
    assert_eq!(looks.get(), 2);
}

#[test]
fn waits_until_a_change_time_says_something() {
    let (directory, path) = file(b"abc");
    std::thread::sleep(Duration::from_millis(60));
    std::fs::write(&path, b"abc").expect("write");
    let impatient = ContentLimits {
        max_wait: Duration::ZERO,
        ..ContentLimits::default()
    };
    let young =
        undisturbed(upper(directory.path()), &"/file".into(), None, &impatient).expect("read as it is");
    assert!(!young.is_settled);
    assert_eq!(young.sha256.to_string(), ABC);
    let settled = hash_in(directory.path(), "/file").expect("waits");
    assert!(settled.is_settled);
    let changed = std::fs::metadata(&path).expect("metadata");
    let changed = UNIX_EPOCH
        + Duration::new(
            changed.ctime().try_into().expect("after 1970"),
            changed.ctime_nsec().try_into().expect("nanoseconds"),
        );
    assert!(SystemTime::now().duration_since(changed).expect("in the past") >= Duration::from_millis(50));
}
