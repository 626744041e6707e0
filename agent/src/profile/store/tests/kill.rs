//! kill -9 while the store learns: what was told as learned is there, every time.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Names the state directory to the process that is to be killed, and makes it one.
const STATE_DIR: &str = "DRIFTLOCK_TEST_KILL_STATE_DIR";
const KILLS: u64 = 25;

fn observations(batch: u64) -> [Observation; 3] {
    [0, 1, 2].map(|number| Observation {
        key: key(1, &format!("/role{}", (batch + number) % 4)),
        section: if number == 2 {
            Section::ExecIn
        } else {
            Section::Main
        },
        behaviour: behaviour(&format!("/bin/{batch}-{number}")),
    })
}

/// Not a test of its own: the process that [`what_was_told_survives_kill`] starts and kills.
#[test]
fn learns_until_it_is_killed() {
    let Some(directory) = std::env::var_os(STATE_DIR) else {
        return;
    };
    let mut store = ProfileStore::open(Path::new(&directory)).expect("opens after a kill");
    let first = store
        .profiles()
        .map(|profile| profile.main.len() as u64)
        .sum::<u64>();
    for batch in first.. {
        store.learn(&observations(batch)).expect("learns");
        println!("learned {batch}");
    }
}

#[test]
fn what_was_told_survives_kill() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut told = Vec::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("profile::store::tests::kill::learns_until_it_is_killed")
            .env(STATE_DIR, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut told = Vec::new();
            for line in output.lines() {
                let line = line.expect("is text");
                // The test runner's own words may stand before it on the first line.
                if let Some((_, batch)) = line.split_once("learned ") {
                    told.push(batch.parse::<u64>().expect("a number"));
                    let _ = sender.send(());
                }
            }
            told
        });
        receiver
            .recv_timeout(Duration::from_mins(1))
            .expect("learns at least once");
        // Spread over the length of several commits.
        std::thread::sleep(Duration::from_micros(kill * 1_237 % 20_000));
        child.kill().expect("is killed");
        child.wait().expect("ends");
        told.extend(reader.join().expect("reads"));

        let store = ProfileStore::open(directory.path()).expect("opens after a kill");
        for batch in &told {
            for Observation {
                key,
                section,
                behaviour,
            } in observations(*batch)
            {
                let profile = store.profile(&key).expect("was told");
                let is_held = match section {
                    Section::Main => profile.main.contains_key(&behaviour),
                    Section::ExecIn => profile.exec_in.contains_key(&behaviour),
                };
                assert!(is_held, "kill {kill}: {behaviour} was told as learned");
            }
        }
        // A batch is there as a whole or not at all.
        let main: usize = store.profiles().map(|profile| profile.main.len()).sum();
        let exec_in: usize = store.profiles().map(|profile| profile.exec_in.len()).sum();
        assert_eq!(main, exec_in * 2, "kill {kill}");
    }
    assert!(told.len() as u64 >= KILLS);
}
