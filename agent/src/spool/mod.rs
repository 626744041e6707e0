//! The spool: no alert is raised before it is on disk, and none leaves it before every sink has it.
//!
//! Input: alerts of the engine, in batches; the sinks' acknowledgements. Output: alerts for the sinks ([`reader::Reader`]) and for the
//! readers of the control socket; the kernel's checkpoint, up to which records need not be read again after a crash. What comes together
//! is written together, in one transaction.
//!
//! Failure: while the disk takes nothing, alerts go to the sinks from memory, which is logged and counted, and they are written as soon as
//! it takes something; the checkpoint stays where it is. Bounds: the configuration's bytes on disk, and [`tail`]'s in memory; what is
//! given up at them is the configuration's to say, and counted. At [`BATCHES`] batches that wait the engine keeps its alerts.
//!
//! With no sink nothing is written: there is nobody that an alert could wait for.

pub mod reader;
mod store;
mod tail;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_common::record::Checkpoint;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::config::sinks::{AtLimit, SinkConfig, SpoolConfig};
use crate::control::feed::AlertFeed;
use crate::sink::SinkView;
use crate::sink::state::SinkState;
use reader::Reader;
pub use store::SpoolError;
use store::{Held, Store, Write, Written};
use tail::Tail;

/// Batches that may wait for the disk.
pub const BATCHES: usize = 16;
/// How often acknowledgements are written while no alert comes, and a failed write is tried again.
const IDLE: Duration = Duration::from_millis(500);

/// Alerts that go out together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the native format, each with its newline.
    pub lines: Vec<Arc<str>>,
    /// How far the engine has come with the records, once this batch is on disk.
    pub checkpoint: Option<Checkpoint>,
}

/// How the spool is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolView {
    /// Alerts that a sink does not have yet.
    pub alerts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most bytes.
    pub max_bytes: u64,
    /// What is given up at that bound: `drop-oldest`, `drop-newest`.
    pub at_limit: String,
    /// Alerts that were given up at a bound before all sinks had them, since the start.
    pub dropped: u64,
    /// Alerts that are in memory alone, because the disk took none.
    pub unsaved: u64,
    /// Writes that failed since the start.
    pub write_failures: u64,
    /// Why the latest write failed; null while the disk takes what comes.
    pub error: Option<String>,
}

/// What is told of the spool and its sinks.
#[derive(Debug)]
pub struct SpoolState {
    config: SpoolConfig,
    sinks: Vec<Arc<SinkState>>,
    held: Mutex<Held>,
    /// The number of the latest alert.
    last: AtomicU64,
    dropped: AtomicU64,
    unsaved: AtomicU64,
    write_failures: AtomicU64,
    error: Mutex<Option<String>>,
}

/// The spool.
pub struct Spool {
    store: Arc<Store>,
    tail: Arc<Mutex<Tail>>,
    news: watch::Sender<u64>,
    state: Arc<SpoolState>,
    feed: Arc<AlertFeed>,
    /// Moves the kernel's checkpoint.
    checkpoint: Box<dyn FnMut(Checkpoint) + Send>,
    /// What it is moved to by the next write that succeeds.
    next_checkpoint: Option<Checkpoint>,
}

impl Spool {
    /// Opens the spool of a state directory. `checkpoint` moves the kernel's checkpoint.
    pub fn open(
        state_dir: &Path,
        config: SpoolConfig,
        sinks: &[SinkConfig],
        feed: Arc<AlertFeed>,
        checkpoint: impl FnMut(Checkpoint) + Send + 'static,
    ) -> Result<Self, SpoolError> {
        let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
        let (store, held) = Store::open(state_dir, &names)?;
        let sinks = sinks
            .iter()
            // One that is new gets what comes from now on.
            .map(|sink| SinkState::new(sink, store.acknowledged(&sink.name).unwrap_or(held.last)))
            .map(Arc::new)
            .collect();
        if held.alerts > 0 {
            tracing::info!(alerts = held.alerts, spool = %store.path().display(), "alerts of an earlier agent wait for sinks");
        }
        let state = SpoolState {
            config,
            sinks,
            held: Mutex::new(held),
            last: AtomicU64::new(held.last),
            dropped: AtomicU64::default(),
            unsaved: AtomicU64::default(),
            write_failures: AtomicU64::default(),
            error: Mutex::default(),
        };
        Ok(Self {
            store: Arc::new(store),
            tail: Arc::new(Mutex::new(Tail::new(held.last))),
            news: watch::Sender::new(held.last),
            state: Arc::new(state),
            feed,
            checkpoint: Box::new(checkpoint),
            next_checkpoint: None,
        })
    }

    /// How the spool and its sinks are doing.
    #[must_use]
    pub fn state(&self) -> Arc<SpoolState> {
        Arc::clone(&self.state)
    }

    /// What sinks read.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {
            store: Arc::clone(&self.store),
            tail: Arc::clone(&self.tail),
            news: self.news.subscribe(),
        }
    }

    /// Takes batches until the engine ends. Returns the spool, for the last acknowledgements. To be called in a thread of its own, where a slow
    /// disk holds up nobody else, within a runtime.
    #[must_use]
    pub fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Self {
        let runtime = Handle::current();
        let mut received = Vec::new();
        loop {
            let count = runtime.block_on(async {
                tokio::select! {
                    // First, because there is no time to wait for any more when the runtime ends.
                    biased;
                    count = batches.recv_many(&mut received, BATCHES) => Some(count),
                    () = tokio::time::sleep(IDLE), if self.has_to_write() => None,
                }
            });
            if count == Some(0) {
                return self;
            }
            self.write(std::mem::take(&mut received));
        }
    }

    /// Writes what the sinks have acknowledged since. Waits for the disk.
    pub fn close(mut self) {
        if self.has_to_write() {
            self.write(Vec::new());
        }
    }

    /// There is something that was acknowledged, or not written.
    fn has_to_write(&self) -> bool {
        let held = *lock(&self.state.held);
        let is_unsaved = self.state.unsaved.load(Ordering::Relaxed) > 0;
        is_unsaved || (held.alerts > 0 && self.state.acknowledged_by_all() >= held.oldest)
    }

    fn write(&mut self, batches: Vec<Batch>) {
        let mut lines = Vec::new();
        for batch in batches {
            lines.extend(batch.lines);
            self.next_checkpoint = batch.checkpoint.or(self.next_checkpoint);
        }
        // With no sink nobody waits for an alert, and a checkpoint alone need not wait for the disk.
        if self.state.sinks.is_empty() || (lines.is_empty() && !self.has_to_write()) {
            self.move_checkpoint();
            return self.raise(lines);
        }
        let at_limit = self.state.config.at_limit;
        let before = *lock(&self.state.held);
        let room = self.state.config.max_bytes.saturating_sub(before.bytes);
        let coming: u64 = lines.iter().map(|line| line.len() as u64).sum();
        if at_limit == AtLimit::DropNewest && coming > room {
            self.drop_newest(&mut lines, room);
        }
        let unsaved = {
            let mut tail = lock(&self.tail);
            tail.add(lines.iter().cloned());
            tail.unsaved()
        };
        let acknowledged: Vec<_> = self
            .state
            .sinks
            .iter()
            .map(|sink| (sink.name.clone(), sink.acknowledged()))
            .collect();
        let written = self.store.write(&Write {
            acknowledged: &acknowledged,
            remove_through: self.state.acknowledged_by_all(),
            append: &unsaved,
            max_bytes: self.state.config.max_bytes,
        });
        match written {
            Ok(written) => self.written(&written),
            Err(error) => self.not_written(&error),
        }
        self.raise(lines);
    }

    /// Leaves out the alerts that the spool has no room for.
    fn drop_newest(&self, lines: &mut Vec<Arc<str>>, mut room: u64) {
        let before = lines.len();
        lines.retain(|line| {
            let size = line.len() as u64;
            let fits = size <= room;
            room = if fits { room - size } else { 0 };
            fits
        });
        let dropped = (before - lines.len()) as u64;
        for sink in &self.state.sinks {
            sink.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        if self.state.dropped.fetch_add(dropped, Ordering::Relaxed) == 0 {
            tracing::error!(dropped, "the spool is full: alerts are given up as they come");
        }
    }

    fn written(&mut self, written: &Written) {
        *lock(&self.state.held) = written.held;
        self.state.give_up(&written.given_up);
        lock(&self.tail).all_saved();
        self.state.unsaved.store(0, Ordering::Relaxed);
        if lock(&self.state.error).take().is_some() {
            tracing::info!("the spool can be written again");
        }
        self.move_checkpoint();
    }

    fn move_checkpoint(&mut self) {
        if let Some(checkpoint) = self.next_checkpoint.take() {
            (self.checkpoint)(checkpoint);
        }
    }

    fn not_written(&mut self, error: &SpoolError) {
        self.state.write_failures.fetch_add(1, Ordering::Relaxed);
        let (given_up, unsaved) = {
            let mut tail = lock(&self.tail);
            (tail.not_saved(self.state.config.at_limit), tail.unsaved_count())
        };
        self.state.give_up(&given_up);
        self.state.unsaved.store(unsaved, Ordering::Relaxed);
        let source = format!("{error}: {}", error.source);
        if lock(&self.state.error).replace(source).is_none() {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "alerts are in memory alone: they are lost if the agent ends before a sink has them"
            );
        }
    }

    /// Tells everybody.
    fn raise(&self, lines: Vec<Arc<str>>) {
        for line in lines {
            self.feed.publish(line);
        }
        let last = lock(&self.tail).last();
        self.state.last.store(last, Ordering::Relaxed);
        self.news.send_replace(last);
    }
}

impl SpoolState {
    /// How the sinks are doing, in the order of the configuration.
    #[must_use]
    pub fn sinks(&self) -> &[Arc<SinkState>] {
        &self.sinks
    }

    /// Alerts went for want of room: those that a sink has after all are not lost to it.
    fn give_up(&self, numbers: &[u64]) {
        let missed =
            |acknowledged: u64| numbers.iter().filter(|number| **number > acknowledged).count() as u64;
        for sink in &self.sinks {
            sink.dropped
                .fetch_add(missed(sink.acknowledged()), Ordering::Relaxed);
        }
        let dropped = missed(self.acknowledged_by_all());
        if dropped > 0 && self.dropped.fetch_add(dropped, Ordering::Relaxed) == 0 {
            tracing::error!(
                dropped,
                "there is no room for the alerts that wait for sinks: some are given up"
            );
        }
    }

    /// Up to which alert all sinks have everything.
    fn acknowledged_by_all(&self) -> u64 {
        let acknowledged = self.sinks.iter().map(|sink| sink.acknowledged());
        acknowledged.min().unwrap_or(u64::MAX)
    }

    /// As the command line shows it.
    pub fn view(&self) -> SpoolView {
        let last = self.last.load(Ordering::Relaxed);
        SpoolView {
            alerts: last.saturating_sub(self.acknowledged_by_all()),
            bytes: lock(&self.held).bytes,
            max_bytes: self.config.max_bytes,
            at_limit: self.config.at_limit.as_str().to_owned(),
            dropped: self.dropped.load(Ordering::Relaxed),
            unsaved: self.unsaved.load(Ordering::Relaxed),
            write_failures: self.write_failures.load(Ordering::Relaxed),
            error: lock(&self.error).clone(),
        }
    }

    /// The sinks, as the command line shows them.
    pub fn sink_views(&self) -> Vec<SinkView> {
        let last = self.last.load(Ordering::Relaxed);
        self.sinks.iter().map(|sink| sink.view(last)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
