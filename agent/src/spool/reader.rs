//! The spool as a sink sees it: alerts by number, from wherever it left off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::store::Store;
use super::tail::Tail;
use crate::alert::model::Alert;
use crate::sink::state::SinkState;

/// How long is waited after the file could not be read.
const READ_PAUSE: Duration = Duration::from_millis(500);

/// An alert of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; those of later ones are greater.
    pub number: u64,
    /// The alert in the native format, with its newline.
    pub line: Arc<str>,
}

/// Reads a spool.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) store: Arc<Store>,
    pub(super) tail: Arc<Mutex<Tail>>,
    pub(super) news: watch::Receiver<u64>,
}

impl Reader {
    /// The number of the latest alert, and its changes.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    /// The number of the latest alert.
    #[must_use]
    pub fn last(&self) -> u64 {
        *self.news.borrow()
    }

    /// The alerts after a number in their order: at most `alerts`, and none after `bytes` of them are reached. Empty if there are none:
    /// they were given up at the spool's bound. Waits while the file cannot be read.
    pub async fn read(&self, after: u64, alerts: usize, bytes: usize) -> Vec<Entry> {
        loop {
            if let Some(entries) = self.in_memory(after, alerts, bytes) {
                return entries;
            }
            let store = Arc::clone(&self.store);
            let read = tokio::task::spawn_blocking(move || store.read(after, alerts, bytes)).await;
            match read {
                Ok(Ok(entries)) if !entries.is_empty() => return entries,
                // What is not on disk is in memory, or gone.
                Ok(Ok(_)) => {
                    let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
                    return tail.read_from_start(alerts, bytes);
                }
                Ok(Err(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "alerts wait in the spool"
                    );
                }
                Err(error) => tracing::error!(%error, "alerts wait in the spool"),
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    /// One alert, if it is there and can be read.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<Alert> {
        let before = number.checked_sub(1)?;
        let found = self
            .in_memory(before, 1, 1)
            .or_else(|| self.store.read(before, 1, 1).ok())?;
        let entry = found.first().filter(|entry| entry.number == number)?;
        serde_json::from_str(&entry.line).ok()
    }

    /// Waits until `stop` says so and a sink has everything, or until nobody can say so any more.
    pub async fn drained(&self, state: &SinkState, stop: &mut watch::Receiver<bool>) {
        if stop.wait_for(|stop| *stop).await.is_err() {
            return;
        }
        while state.acknowledged() < self.last() && stop.has_changed().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn in_memory(&self, after: u64, alerts: usize, bytes: usize) -> Option<Vec<Entry>> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.read(after, alerts, bytes)
    }
}
