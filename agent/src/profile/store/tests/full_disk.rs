//! A disk that is full while the store learns: nothing is shown that is not kept, and it goes on when there is room.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::profile::model::BEHAVIOURS_MAX;

/// Names the state directory to the process whose files may not grow, and makes it one.
const STATE_DIR: &str = "DRIFTLOCK_TEST_FULL_STATE_DIR";
/// Largest file of that process, in the shell's unit of 512 bytes: 4 MiB, a few hundred behaviours.
const FILE_BLOCKS: u32 = 8192;

fn observations(batch: usize) -> Vec<Observation> {
    let name = "x".repeat(200);
    (0..20)
        .map(|number| Observation {
            key: key(1, "/init"),
            section: Section::Main,
            behaviour: behaviour(&format!("/{name}/{name}/{name}/{name}/{batch}-{number}")),
        })
        .collect()
}

/// Not a test of its own: what [`a_full_disk_loses_nothing_that_was_told`] runs under a limit.
#[test]
fn learns_until_nothing_fits() {
    let Some(directory) = std::env::var_os(STATE_DIR) else {
        return;
    };
    let directory = Path::new(&directory);
    let mut store = ProfileStore::open(directory).expect("opens");
    let (failed, error) = (0..BEHAVIOURS_MAX / 20)
        .find_map(|batch| Some((batch, store.learn(&observations(batch)).err()?)))
        .expect("the limit is reached before the profile's bound");
    assert!(
        matches!(
            error,
            StoreError::Storage {
                operation: "learn",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(failed > 1, "something fits");
    let held = |store: &ProfileStore| store.profile(&key(1, "/init")).expect("there").main.len();
    assert_eq!(held(&store), failed * 20, "what failed is not shown");

    let _ = store
        .learn(&observations(failed))
        .expect_err("still does not fit");
    assert_eq!(held(&store), failed * 20);

    let unlimited = Rlimit {
        current: None,
        ..getrlimit(Resource::Fsize)
    };
    setrlimit(Resource::Fsize, unlimited).expect("lifts the limit");
    let learned = store.learn(&observations(failed)).expect("fits again");
    assert_eq!(learned, vec![Learned::New; 20]);
    drop(store);
    let store = ProfileStore::open(directory).expect("opens");
    assert_eq!(held(&store), (failed + 1) * 20);
    println!("went on after {failed} batches");
}

#[test]
fn a_full_disk_loses_nothing_that_was_told() {
    let directory = tempfile::tempdir().expect("temporary directory");
    // A write beyond the limit is an error instead of a signal, as on a full disk.
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("trap '' XFSZ; ulimit -S -f {FILE_BLOCKS}; exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("profile::store::tests::full_disk::learns_until_nothing_fits")
        .env(STATE_DIR, directory.path())
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("went on after"),
        "{text}{complaint}"
    );
}
