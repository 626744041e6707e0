//! How a sink is doing: written by its task, read by `status` and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::SinkView;
use super::outage::{Line, Outage};
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
    /// Whether it works, and what the log was told of it.
    outage: Mutex<Outage>,
    /// Something is to be told, later.
    untold: Notify,
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
            outage: Mutex::default(),
            untold: Notify::new(),
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

    /// Something went through.
    pub(super) fn works(&self) {
        let mut outage = self.outage();
        let line = outage.works(Instant::now());
        self.log_or_leave(&outage, line);
    }

    /// Something failed.
    pub(super) fn fails(&self, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut outage = self.outage();
        let line = outage.fails(error, Time::now(), Instant::now());
        self.log_or_leave(&outage, line);
    }

    /// Logs what could not be told when it happened because a line was logged shortly before. Never ends.
    pub(super) async fn tell_later(&self) {
        loop {
            let due = self.outage().due();
            let Some(due) = due else {
                self.untold.notified().await;
                continue;
            };
            sleep_until(due).await;
            let line = self.outage().tell(Instant::now());
            line.inspect(|line| line.log(&self.name));
        }
    }

    /// Logs what was not told yet: the sink ends.
    pub(super) fn tell_rest(&self) {
        let line = self.outage().rest(Instant::now());
        line.inspect(|line| line.log(&self.name));
    }

    fn log_or_leave(&self, outage: &Outage, line: Option<Line>) {
        match line {
            Some(line) => line.log(&self.name),
            None if outage.due().is_some() => self.untold.notify_one(),
            None => {}
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the command line shows it. `last` is the number of the latest alert in the spool.
    pub fn view(&self, last: u64) -> SinkView {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failing = self.outage().failing().cloned();
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
