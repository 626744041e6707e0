//! The spool on a real disk.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::config::sinks::Target;

const ROOM: SpoolConfig = SpoolConfig {
    max_bytes: 1 << 20,
    at_limit: AtLimit::DropOldest,
};

fn sink(name: &str) -> SinkConfig {
    SinkConfig {
        name: name.to_owned(),
        target: Target::Stdout,
        ..SinkConfig::stdout()
    }
}

/// A spool, and where its checkpoint stands.
fn open(directory: &Path, config: SpoolConfig, sinks: &[&str]) -> (Spool, Arc<AtomicU64>) {
    let checkpoint = Arc::new(AtomicU64::default());
    let moved = Arc::clone(&checkpoint);
    let sinks: Vec<_> = sinks.iter().map(|name| sink(name)).collect();
    let spool = Spool::open(directory, config, &sinks, AlertFeed::new(0), move |checkpoint| {
        moved.store(checkpoint.position, Ordering::Relaxed);
    });
    (spool.expect("opens"), checkpoint)
}

fn batch(lines: &[&str], position: u64) -> Vec<Batch> {
    vec![Batch {
        lines: lines.iter().map(|line| Arc::from(*line)).collect(),
        checkpoint: Some(Checkpoint {
            position,
            ..Checkpoint::default()
        }),
    }]
}

async fn read(reader: &Reader, after: u64) -> Vec<(u64, String)> {
    let entries = reader.read(after, 1_000, usize::MAX).await;
    entries
        .iter()
        .map(|entry| (entry.number, entry.line.to_string()))
        .collect()
}

fn numbered(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
    lines
        .iter()
        .map(|(number, line)| (*number, (*line).to_owned()))
        .collect()
}

#[tokio::test]
async fn what_is_not_acknowledged_is_there_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, checkpoint) = open(directory.path(), ROOM, &["a", "b"]);
    spool.write(batch(&["1", "2", "3"], 77));
    assert_eq!(checkpoint.load(Ordering::Relaxed), 77);
    spool.state.sinks()[0].acknowledge(3);
    spool.state.sinks()[1].acknowledge(1);
    spool.write(batch(&["4"], 78));
    // As after kill -9.
    drop(spool);

    let (spool, _) = open(directory.path(), ROOM, &["b", "a"]);
    let reader = spool.reader();
    assert_eq!(reader.last(), 4);
    let state = spool.state();
    let acknowledged: Vec<_> = state.sinks().iter().map(|sink| sink.acknowledged()).collect();
    assert_eq!(acknowledged, [1, 3]);
    assert_eq!(read(&reader, 1).await, numbered(&[(2, "2"), (3, "3"), (4, "4")]));
    assert_eq!(state.view().alerts, 3);
}

#[tokio::test]
async fn what_all_have_goes_and_numbers_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, _) = open(directory.path(), ROOM, &["a"]);
    spool.write(batch(&["1", "2"], 1));
    spool.state.sinks()[0].acknowledge(2);
    assert!(spool.has_to_write());
    spool.close();
    let (mut spool, _) = open(directory.path(), ROOM, &["a", "new"]);
    assert_eq!(lock(&spool.state.held).alerts, 0);
    assert_eq!(
        spool.state.sinks()[1].acknowledged(),
        2,
        "a new sink gets what comes"
    );
    spool.write(batch(&["3"], 1));
    assert_eq!(read(&spool.reader(), 2).await, numbered(&[(3, "3")]));
}

#[tokio::test]
async fn at_the_bound_the_oldest_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig { max_bytes: 4, ..ROOM };
    let (mut spool, _) = open(directory.path(), config, &["a", "b"]);
    for line in ["11", "22", "33", "44"] {
        spool.write(batch(&[line], 1));
        spool.state.sinks()[1].acknowledge(lock(&spool.tail).last());
    }
    let held = *lock(&spool.state.held);
    assert_eq!((held.alerts, held.bytes, held.oldest), (2, 4, 3));
    let state = spool.state();
    assert_eq!(state.view().dropped, 2);
    assert_eq!(state.sink_views()[0].dropped, 2);
    assert_eq!(state.sink_views()[1].dropped, 0);
    drop(spool);
    let (spool, _) = open(directory.path(), config, &["a", "b"]);
    assert_eq!(read(&spool.reader(), 0).await, numbered(&[(3, "33"), (4, "44")]));
}

#[tokio::test]
async fn at_the_bound_the_newest_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig {
        max_bytes: 4,
        at_limit: AtLimit::DropNewest,
    };
    let (mut spool, _) = open(directory.path(), config, &["a"]);
    for line in ["11", "22", "33"] {
        spool.write(batch(&[line], 1));
    }
    assert_eq!(read(&spool.reader(), 0).await, numbered(&[(1, "11"), (2, "22")]));
    assert_eq!(spool.state.view().dropped, 1);
    assert_eq!(spool.state.sink_views()[0].dropped, 1);
    spool.state.sinks()[0].acknowledge(1);
    spool.write(Vec::new());
    spool.write(batch(&["44"], 1));
    assert_eq!(read(&spool.reader(), 1).await, numbered(&[(2, "22"), (3, "44")]));
}

#[tokio::test]
async fn while_the_disk_takes_nothing_sinks_read_from_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, checkpoint) = open(directory.path(), ROOM, &["a"]);
    spool.write(batch(&["1"], 1));
    // A file that cannot be opened again, as after a failed write.
    spool.store.fail();
    let (file, aside) = (
        directory.path().join("spool.redb"),
        directory.path().join("aside"),
    );
    std::fs::rename(&file, &aside).expect("moved");
    std::fs::create_dir(&file).expect("in its place");
    spool.write(batch(&["2"], 2));
    assert_eq!(checkpoint.load(Ordering::Relaxed), 1, "records are kept");
    let view = spool.state.view();
    assert_eq!((view.unsaved, view.write_failures), (1, 1));
    assert!(view.error.is_some());
    assert_eq!(read(&spool.reader(), 1).await, numbered(&[(2, "2")]));

    std::fs::remove_dir(&file).expect("removed");
    std::fs::rename(&aside, &file).expect("moved back");
    spool.write(Vec::new());
    let view = spool.state.view();
    assert_eq!((view.unsaved, view.error), (0, None));
    assert_eq!(checkpoint.load(Ordering::Relaxed), 2);
    drop(spool);
    let (spool, _) = open(directory.path(), ROOM, &["a"]);
    assert_eq!(read(&spool.reader(), 0).await, numbered(&[(1, "1"), (2, "2")]));
}

/// What waits for a disk that works is not what a disk does not take: only that has a bound in memory.
#[tokio::test]
async fn much_at_once_is_all_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig {
        max_bytes: 64 << 20,
        ..ROOM
    };
    let (mut spool, _) = open(directory.path(), config, &["a"]);
    let much = || {
        vec![Batch {
            lines: vec!["x".repeat(10_000).into(); 1_200],
            checkpoint: None,
        }]
    };
    spool.write(much());
    assert_eq!(spool.state.view().dropped, 0);
    assert_eq!(lock(&spool.state.held).alerts, 1_200);

    spool.store.fail();
    let (file, aside) = (
        directory.path().join("spool.redb"),
        directory.path().join("aside"),
    );
    std::fs::rename(&file, &aside).expect("moved");
    std::fs::create_dir(&file).expect("in its place");
    spool.write(much());
    let view = spool.state.view();
    assert_eq!(view.unsaved + view.dropped, 1_200, "{view:?}");
    assert!(view.unsaved * 10_000 <= 8 << 20, "{view:?}");

    std::fs::remove_dir(&file).expect("removed");
    std::fs::rename(&aside, &file).expect("moved back");
    spool.state.sinks()[0].acknowledge(1_200);
    spool.write(Vec::new());
    let after = spool.state.view();
    assert_eq!(after.dropped, view.dropped, "counted once");
    assert_eq!(spool.state.sink_views()[0].dropped, view.dropped);
    assert_eq!(lock(&spool.state.held).alerts, view.unsaved);
}

#[tokio::test]
async fn a_checkpoint_alone_is_not_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, checkpoint) = open(directory.path(), ROOM, &["a"]);
    let changed = || {
        let file = std::fs::metadata(directory.path().join("spool.redb"));
        file.and_then(|file| file.modified()).expect("a time")
    };
    let before = changed();
    for position in 1..=3 {
        spool.write(batch(&[], position));
        assert_eq!(checkpoint.load(Ordering::Relaxed), position);
    }
    assert_eq!(changed(), before);
    spool.write(batch(&["1"], 4));
    assert_ne!(changed(), before);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("spool.redb"), [7; 5000]).expect("written");
    let (mut spool, _) = open(directory.path(), ROOM, &["a"]);
    spool.write(batch(&["1"], 1));
    assert_eq!(read(&spool.reader(), 0).await, numbered(&[(1, "1")]));
    let aside = std::fs::read_dir(directory.path())
        .expect("read")
        .flatten()
        .any(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("spool.redb.damaged-")
        });
    assert!(aside, "what was there is kept");
}

#[tokio::test]
async fn more_than_memory_holds_is_read_from_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig {
        max_bytes: 16 << 20,
        ..ROOM
    };
    let (mut spool, _) = open(directory.path(), config, &["a"]);
    let line: Arc<str> = "x".repeat(10_000).into();
    for _ in 0..20 {
        spool.write(vec![Batch {
            lines: vec![Arc::clone(&line); 20],
            checkpoint: None,
        }]);
    }
    let reader = spool.reader();
    let mut numbers = Vec::new();
    while numbers.last() != Some(&400) {
        let after = numbers.last().copied().unwrap_or(0);
        let entries = reader.read(after, 7, usize::MAX).await;
        assert!(!entries.is_empty() && entries.len() <= 7);
        numbers.extend(entries.iter().map(|entry| entry.number));
    }
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
}
