//! How a sink is doing: written by its task, read by `status` and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::SinkView;
use crate::alert::time::Time;
use crate::config::sinks::SinkConfig;

/// How a sink is doing. The counters are only ever incremented; they begin with the agent.
#[derive(Debug)]
pub struct SinkState {
    /// Its name in the configuration.
    pub name: String,
    /// `stdout`, `file`, ...
    pub kind: &'static str,
    /// The alert up to which it has everything, by the number in the spool.
    acknowledged: AtomicU64,
    /// Alerts that the receiver has.
    pub delivered: AtomicU64,
    /// Alerts that were not for it: less grave than it wants.
    pub filtered: AtomicU64,
    /// Times that the connection or a write failed.
    pub failures: AtomicU64,
    /// Alerts that the receiver refused for good.
    pub refused: AtomicU64,
    /// Alerts that were given up at the spool's bound before the receiver had them.
    pub dropped: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

/// Since when, and why, nothing goes through.
#[derive(Clone, Debug)]
struct Failing {
    /// The first failure since the last success.
    since: Time,
    /// The latest one's words.
    error: String,
}

impl SinkState {
    /// Of a sink that has everything up to `acknowledged`.
    #[must_use]
    pub fn new(config: &SinkConfig, acknowledged: u64) -> Self {
        Self {
            name: config.name.clone(),
            kind: config.target.kind(),
            acknowledged: AtomicU64::new(acknowledged),
            delivered: AtomicU64::default(),
            filtered: AtomicU64::default(),
            failures: AtomicU64::default(),
            refused: AtomicU64::default(),
            dropped: AtomicU64::default(),
            failing: Mutex::default(),
        }
    }

    /// The alert up to which it has everything, by the number in the spool.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// It has everything up to `number`. Never goes back.
    pub fn acknowledge(&self, number: u64) {
        self.acknowledged.fetch_max(number, Ordering::AcqRel);
    }

    /// Something went through. True if nothing did before.
    pub(super) fn works(&self) -> bool {
        self.failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some()
    }

    /// Something failed. True if it worked before.
    pub(super) fn fails(&self, error: String) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or_else(Time::now, |failing| failing.since);
        failing.replace(Failing { since, error }).is_none()
    }

    /// As the command line shows it. `last` is the number of the latest alert in the spool.
    pub fn view(&self, last: u64) -> SinkView {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failing = self
            .failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        SinkView {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            backlog: last.saturating_sub(self.acknowledged()),
            delivered: count(&self.delivered),
            filtered: count(&self.filtered),
            failures: count(&self.failures),
            refused: count(&self.refused),
            dropped: count(&self.dropped),
            failing_since: failing.as_ref().map(|failing| failing.since),
            error: failing.map(|failing| failing.error),
        }
    }
}
