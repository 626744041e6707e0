//! The latest alerts in memory: what sinks read that keep up, and what could not be written.
//!
//! Bounds: [`SAVED_BYTES_MAX`] of what is on disk, too, of which the oldest goes; [`UNSAVED_BYTES_MAX`] of what the disk did
//! not take, of which what the configuration says goes, counted; and what is being written.

use std::collections::VecDeque;
use std::sync::Arc;

use super::reader::Entry;
use crate::config::sinks::AtLimit;

/// Bytes of alerts on disk that are kept in memory for the sinks that keep up.
const SAVED_BYTES_MAX: usize = 512 << 10;
/// Bytes of alerts that are in memory alone, while the disk takes none.
const UNSAVED_BYTES_MAX: usize = 8 << 20;

/// The latest alerts, with no gap but what was given up.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Of those, the bytes of what is not on disk.
    unsaved_bytes: usize,
    /// Everything after this number is here; what is up to it and missing here is on disk, or gone.
    complete_after: u64,
    /// Everything up to this number is on disk, or gone.
    saved: u64,
    last: u64,
}

impl Tail {
    /// An empty one of a spool in which `last` was the last.
    pub(super) fn new(last: u64) -> Self {
        Self {
            complete_after: last,
            saved: last,
            last,
            ..Self::default()
        }
    }

    /// The number of the latest.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Adds alerts that are not on disk yet.
    pub(super) fn add(&mut self, lines: impl IntoIterator<Item = Arc<str>>) {
        for line in lines {
            self.last += 1;
            self.bytes += line.len();
            self.unsaved_bytes += line.len();
            self.entries.push_back(Entry {
                number: self.last,
                line,
            });
        }
    }

    /// The disk did not take them: gives up what is beyond the bound. Returns the numbers of those.
    pub(super) fn not_saved(&mut self, at_limit: AtLimit) -> Vec<u64> {
        let mut given_up = Vec::new();
        while self.unsaved_bytes > UNSAVED_BYTES_MAX {
            let entry = match at_limit {
                AtLimit::DropNewest => self.entries.pop_back_if(|entry| entry.number > self.saved),
                AtLimit::DropOldest => self.oldest_unsaved(),
            };
            let Some(entry) = entry else { break };
            self.bytes -= entry.line.len();
            self.unsaved_bytes -= entry.line.len();
            given_up.push(entry.number);
        }
        given_up
    }

    /// What is not on disk.
    pub(super) fn unsaved(&self) -> Vec<Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.number > self.saved)
            .cloned()
            .collect()
    }

    /// How many are not on disk.
    pub(super) fn unsaved_count(&self) -> u64 {
        self.entries
            .iter()
            .rev()
            .take_while(|entry| entry.number > self.saved)
            .count() as u64
    }

    /// Everything is on disk.
    pub(super) fn all_saved(&mut self) {
        self.saved = self.last;
        self.unsaved_bytes = 0;
        while self.bytes > SAVED_BYTES_MAX {
            self.forget_first();
        }
    }

    /// The alerts after a number as [`super::store::Store::read`] gives them; `None` if some of them are on disk alone.
    pub(super) fn read(&self, after: u64, alerts: usize, bytes: usize) -> Option<Vec<Entry>> {
        if after < self.complete_after {
            return None;
        }
        let start = self.entries.partition_point(|entry| entry.number <= after);
        let mut size = 0;
        let mut found = Vec::new();
        for entry in self.entries.range(start..).take(alerts) {
            size += entry.line.len();
            found.push(entry.clone());
            if size >= bytes {
                break;
            }
        }
        Some(found)
    }

    /// Everything that is here, as [`Tail::read`] gives it.
    pub(super) fn read_from_start(&self, alerts: usize, bytes: usize) -> Vec<Entry> {
        self.read(self.complete_after, alerts, bytes).unwrap_or_default()
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.bytes -= first.line.len();
            self.complete_after = first.number;
        }
    }

    /// Takes the oldest out that is not on disk; the next is the oldest then.
    fn oldest_unsaved(&mut self) -> Option<Entry> {
        let position = self.entries.partition_point(|entry| entry.number <= self.saved);
        let entry = self.entries.remove(position)?;
        self.saved = entry.number;
        Some(entry)
    }
}
