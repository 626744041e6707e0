//! The alerts of an agent, in the order in which they came.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::Agent;
use crate::environment;

/// The alerts that came so far.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    list: Mutex<Vec<Value>>,
    /// When each of them came.
    arrivals: Mutex<Vec<Timestamp>>,
    came: Condvar,
}

impl Alerts {
    /// Collects the lines of `output` until it ends. A line that is no JSON is kept in the file `stray`: a test asks for it.
    pub(super) fn collect(output: impl std::io::Read + Send + 'static, stray: PathBuf) -> Arc<Self> {
        let alerts = Arc::new(Self::default());
        let collector = Arc::clone(&alerts);
        std::thread::spawn(move || collector.read(output, &stray));
        alerts
    }

    fn read(&self, output: impl std::io::Read, stray: &Path) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let arrived = Timestamp::now();
            match serde_json::from_str(&line) {
                Ok(alert) => {
                    self.arrivals().push(arrived);
                    self.list().push(alert);
                    self.came.notify_all();
                }
                Err(error) => {
                    eprintln!("the agent printed what is no JSON ({error}): {line}");
                    let _ = std::fs::write(stray, line);
                }
            }
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Vec<Timestamp>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Value>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// The alerts so far.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.alerts.list().clone()
    }

    /// When each of the alerts came, in their order, by the wall clock.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Timestamp> {
        self.alerts.arrivals().clone()
    }

    /// How many alerts there are so far: where to look from, for [`Agent::wait_for_alert`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.alerts.list().len()
    }

    /// The first alert from `mark` on for which `wanted` holds, as soon as there is one; `None` if none comes in time, which is
    /// longer than `patience` on a slow machine ([`environment::patience`]).
    pub fn wait_for_alert(
        &self,
        mark: usize,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let deadline = Instant::now() + environment::patience(patience);
        let mut list = self.alerts.list();
        loop {
            if let Some(alert) = list.iter().skip(mark).find(|alert| wanted(alert)) {
                return Some(alert.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let woken = self.alerts.came.wait_timeout(list, left);
            list = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
