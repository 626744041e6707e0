//! The alerts for everybody who reads them: those to come, and the latest.
//!
//! Input: alert lines of the engine. Output: for each reader the latest lines and a receiver of those to come, with
//! nothing missing or doubled between the two. Failure: a reader that does not keep up misses lines and is told how
//! many ([`missed_line`]); the engine never waits for a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::protocol::MISSED_SCHEMA;

/// How many lines a reader may lag behind. At the bound it misses the oldest.
pub const BACKLOG_LINES: usize = 4_096;

/// Where alert lines go.
#[derive(Debug)]
pub struct AlertFeed {
    sender: broadcast::Sender<Arc<str>>,
    /// The latest lines. Locked while a line is sent, so that a new reader gets each line once.
    latest: Mutex<VecDeque<Arc<str>>>,
    kept: usize,
    emitted: AtomicU64,
}

/// What a reader gets.
#[derive(Debug)]
pub struct Reading {
    /// The latest lines, the oldest first.
    pub latest: VecDeque<Arc<str>>,
    /// Those to come.
    pub to_come: broadcast::Receiver<Arc<str>>,
}

impl AlertFeed {
    /// One that keeps the latest `kept` lines.
    #[must_use]
    pub fn new(kept: usize) -> Arc<Self> {
        Arc::new(Self {
            sender: broadcast::Sender::new(BACKLOG_LINES),
            latest: Mutex::default(),
            kept,
            emitted: AtomicU64::new(0),
        })
    }

    /// Hands a line, with its newline, to all readers.
    pub fn publish(&self, line: Arc<str>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.kept > 0 {
            if latest.len() >= self.kept {
                latest.pop_front();
            }
            latest.push_back(Arc::clone(&line));
        }
        self.emitted.fetch_add(1, Ordering::Relaxed);
        // Nobody need be reading.
        let _ = self.sender.send(line);
    }

    /// Starts to read: with the `last` latest lines, or all that are kept.
    #[must_use]
    pub fn read(&self, last: Option<usize>) -> Reading {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = latest.len().saturating_sub(last.unwrap_or(usize::MAX));
        Reading {
            latest: latest.iter().skip(skipped).cloned().collect(),
            to_come: self.sender.subscribe(),
        }
    }

    /// How many lines were handed out since the start.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// How many readers there are now.
    pub fn readers(&self) -> u64 {
        self.sender.receiver_count() as u64
    }
}

/// The line that stands for `missed` lines that a reader missed.
#[must_use]
pub fn missed_line(missed: u64) -> String {
    format!("{{\"schema\":\"{MISSED_SCHEMA}\",\"missed\":{missed}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &VecDeque<Arc<str>>) -> Vec<&str> {
        lines.iter().map(|line| &**line).collect()
    }

    #[test]
    fn keeps_the_latest_and_no_more() {
        let feed = AlertFeed::new(2);
        for line in ["1\n", "2\n", "3\n"] {
            feed.publish(line.into());
        }
        assert_eq!(texts(&feed.read(None).latest), ["2\n", "3\n"]);
        assert_eq!(texts(&feed.read(Some(1)).latest), ["3\n"]);
        assert_eq!(texts(&feed.read(Some(0)).latest), Vec::<&str>::new());
        assert_eq!(feed.emitted(), 3);
        let feed = AlertFeed::new(0);
        feed.publish("1\n".into());
        assert!(feed.read(None).latest.is_empty());
    }

    #[test]
    fn a_reader_gets_each_line_once() {
        let feed = AlertFeed::new(2);
        feed.publish("1\n".into());
        let mut reading = feed.read(None);
        feed.publish("2\n".into());
        assert_eq!(texts(&reading.latest), ["1\n"]);
        assert_eq!(&*reading.to_come.try_recv().expect("a line"), "2\n");
        assert!(reading.to_come.try_recv().is_err());
        assert_eq!(feed.readers(), 1);
        drop(reading);
        assert_eq!(feed.readers(), 0);
    }
}
