//! The alerts of an agent, in the order in which they came.

use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::Agent;
use crate::environment;

/// What an agent printed so far. Lines are parsed when somebody asks for alerts, not as they come: whoever measures an agent must not
/// take the processor from it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    printed: Mutex<Printed>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    /// Lines that nobody has asked for yet.
    unparsed: Vec<String>,
    alerts: Vec<Value>,
    /// When each line that is JSON came; before it is parsed, when each line came.
    arrivals: Vec<Timestamp>,
    /// The first line that is no JSON.
    stray: Option<String>,
}

impl Alerts {
    /// Collects the lines of `output` until it ends.
    pub(super) fn collect(output: impl std::io::Read + Send + 'static) -> Arc<Self> {
        let alerts = Arc::new(Self::default());
        let collector = Arc::clone(&alerts);
        std::thread::spawn(move || collector.read(output));
        alerts
    }

    fn read(&self, output: impl std::io::Read) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let arrived = Timestamp::now();
            let mut printed = self.lock();
            printed.unparsed.push(line);
            printed.arrivals.push(arrived);
            drop(printed);
            self.came.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With everything parsed that came so far.
    fn parsed(&self) -> MutexGuard<'_, Printed> {
        let mut printed = self.lock();
        printed.parse();
        printed
    }
}

impl Printed {
    fn parse(&mut self) {
        for line in std::mem::take(&mut self.unparsed) {
            match serde_json::from_str(&line) {
                Ok(alert) => self.alerts.push(alert),
                Err(error) => {
                    eprintln!("the agent printed what is no JSON ({error}): {line}");
                    self.arrivals.remove(self.alerts.len());
                    self.stray.get_or_insert(line);
                }
            }
        }
    }
}

impl Agent {
    /// The alerts so far.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.alerts.parsed().alerts.clone()
    }

    /// When each of the alerts came, in their order, by the wall clock.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Timestamp> {
        self.alerts.parsed().arrivals.clone()
    }

    /// The first line it printed that is no JSON, and so no alert.
    #[must_use]
    pub fn stray_output(&self) -> Option<String> {
        self.alerts.parsed().stray.clone()
    }

    /// How many alerts there are so far: where to look from, for [`Agent::wait_for_alert`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.alerts.parsed().alerts.len()
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
        let mut printed = self.alerts.parsed();
        loop {
            if let Some(alert) = printed.alerts.iter().skip(mark).find(|alert| wanted(alert)) {
                return Some(alert.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let woken = self.alerts.came.wait_timeout(printed, left);
            printed = woken.unwrap_or_else(PoisonError::into_inner).0;
            printed.parse();
        }
    }
}
