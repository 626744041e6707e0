//! The canary's tries: when each begins, its record as it comes by, and what is told of it ([`crate::canary`]).
//!
//! Input: the passing of time, records of the canary's container, and what its process says. Output: a [`CanaryTried`] for each try, and a view
//! for `status`. Failure: without its process, which can be entered at the start alone, each try fails and says so; no other
//! try begins while one is open.
//!
//! The try runs beside the engine, in a process that a thread listens to: its record comes through the engine, behind whatever is there before.

use std::time::Duration;

use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};
use agent_common::instance::Counters;
use tokio::sync::mpsc;

use super::Engine;
use crate::alert::time::since_boot;
use crate::canary::attempt::{Attempt, CanaryResult, Outcome};
use crate::canary::process::{CanaryProcess, Heard};
use crate::compare::{Comparison, compare};
use crate::control::view::{CanaryTryView, CanaryView, Check};
use crate::decide::{Decision, decide};
use crate::event::{Event, Used};
use crate::kernel::error::chain;
use crate::kernel::maps::MapsError;
use crate::kernel::own::{self, OwnError};
use crate::kernel::support;
use crate::metrics::fact::CanaryTried;

/// The first try begins no later than this after the start.
const FIRST: Duration = Duration::from_secs(10);

/// What the engine has of the canary.
#[derive(Debug, Default)]
pub(super) struct Canary {
    process: Option<CanaryProcess>,
    /// What is heard of it.
    pub(super) heard: Option<mpsc::Receiver<Heard>>,
    /// Why there is no process.
    missing: String,
    /// It was told to try and has not answered.
    is_trying: bool,
    attempt: Option<Attempt>,
    /// When the canary began.
    began: Duration,
    /// When the next try is due.
    next: Duration,
    /// When the last try was over, and what came of it.
    last: Option<(Duration, Outcome)>,
    last_caught: Option<Duration>,
    /// How many tries came to which [`CanaryResult`], in the order of all of them.
    counts: [u64; CanaryResult::ALL.len()],
}

/// Enforced where the canary is caught; elsewhere nothing is looked at.
fn modes() -> [u8; DOMAIN_SLOTS] {
    let mut modes = [Mode::Off as u8; DOMAIN_SLOTS];
    modes[Domain::Exec as usize] = Mode::Enforce as u8;
    modes
}

/// The canary did not come to its container.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error(transparent)]
    Start(#[from] crate::canary::process::StartError),
    #[error(transparent)]
    Enter(#[from] OwnError),
}

impl Engine {
    /// Starts the canary's process and enters its container; the iteration over tasks that follows makes it that container's.
    pub(super) fn begin_canary(&mut self) {
        let Some(interval) = self.config.canary else {
            return;
        };
        let now = since_boot();
        self.canary.began = now;
        self.canary.next = now + interval.min(FIRST);
        let begun = CanaryProcess::start()
            .map_err(BeginError::from)
            .and_then(|(process, heard)| {
                own::enter(&mut self.maps, process.pid(), modes())?;
                Ok((process, heard))
            });
        match begun {
            Ok((process, heard)) => {
                self.canary.process = Some(process);
                self.canary.heard = Some(heard);
            }
            Err(error) => self.canary.missing = chain(&error),
        }
    }

    /// Ends the process and removes its container.
    pub(super) fn end_canary(&mut self) {
        self.canary.attempt = None;
        if self.canary.process.take().is_some() {
            "the canary was switched off".clone_into(&mut self.canary.missing);
            let left = own::leave(&mut self.maps);
            Self::log_map_failure(left);
        }
    }

    /// Begins a try that is due, and ends one that takes too long.
    pub(super) fn pass_canary(&mut self, now: Duration) {
        let Some(interval) = self.config.canary else {
            return self.end_canary();
        };
        self.conclude_canary(now);
        // A shorter interval may have been put in force.
        self.canary.next = self.canary.next.min(now + interval);
        if self.canary.attempt.is_some() || now < self.canary.next {
            return;
        }
        self.canary.next = now + interval;
        if let Err(reason) = self.try_canary(now) {
            self.tell_canary(now, Outcome::failed(reason));
        }
    }

    fn try_canary(&mut self, now: Duration) -> Result<(), String> {
        let before = self.canary_counters().map_err(|error| chain(&error))?;
        let canary = &mut self.canary;
        if canary.is_trying {
            return Err("its process has not answered yet".to_owned());
        }
        let process = canary.process.as_mut().ok_or_else(|| canary.missing.clone())?;
        process
            .try_now()
            .map_err(|error| format!("its process is not to be reached: {error}"))?;
        canary.is_trying = true;
        canary.attempt = Some(Attempt::new(now, before));
        Ok(())
    }

    /// A record of the agent's own container: of the canary if it is a try's, else of the self-test.
    pub(super) fn canary_recorded(&mut self, event: &Event) {
        let (Event::Use(event), Some(attempt)) = (event, &mut self.canary.attempt) else {
            return;
        };
        let Used::Exec(_) = &event.used else { return };
        // As any other; nothing is known of an image.
        let Comparison::Departs(deviation) = compare(event, None) else {
            return;
        };
        if let Decision::Alert { .. } = decide(&deviation, event.mode, Mode::Enforce, event.action) {
            let now = since_boot();
            attempt.tell(Duration::from_nanos(event.origin.time_ns), now);
            self.conclude_canary(now);
        }
    }

    /// The process has said what it saw, or is gone.
    pub(super) fn canary_heard(&mut self, heard: Heard) {
        let now = since_boot();
        match heard {
            Heard::Program(program) => {
                self.canary.is_trying = false;
                match (program, &mut self.canary.attempt) {
                    (Ok(program), Some(attempt)) => attempt.end(program),
                    (Err(reason), Some(_)) => return self.tell_canary(now, Outcome::failed(reason)),
                    (_, None) => {}
                }
                self.conclude_canary(now);
            }
            Heard::Ended => {
                if self.canary.process.is_none() {
                    return;
                }
                let is_open = self.canary.attempt.is_some();
                self.end_canary();
                "its process has ended; the next start of the agent brings another"
                    .clone_into(&mut self.canary.missing);
                if is_open {
                    self.tell_canary(now, Outcome::failed(self.canary.missing.clone()));
                }
            }
        }
    }

    fn conclude_canary(&mut self, now: Duration) {
        let Some(attempt) = &self.canary.attempt else {
            return;
        };
        let proved = self.kernel.proved().outcome.map(|outcome| outcome.exec);
        let counted = self.canary_counters().unwrap_or_default();
        if let Some(outcome) = attempt.outcome(now, proved, &counted) {
            self.tell_canary(now, outcome);
        }
    }

    fn tell_canary(&mut self, now: Duration, outcome: Outcome) {
        self.metrics.tell(&CanaryTried { outcome: &outcome });
        let canary = &mut self.canary;
        canary.attempt = None;
        canary.counts[outcome.result as usize] += 1;
        if outcome.result == CanaryResult::Caught {
            canary.last_caught = Some(now);
        }
        canary.last = Some((now, outcome));
    }

    fn canary_counters(&self) -> Result<Counters, MapsError> {
        let instance = own::instance(&self.maps)?;
        Ok(instance.counters[Domain::Exec as usize])
    }

    pub(super) fn canary_view(&self) -> CanaryView {
        let now = Self::now();
        let canary = &self.canary;
        let count = |result: CanaryResult| canary.counts[result as usize];
        let ago_s = |then: Duration| now.saturating_sub(then).as_secs();
        CanaryView {
            interval_s: self.config.canary.map_or(0, |interval| interval.as_secs()),
            caught: count(CanaryResult::Caught),
            not_stopped: count(CanaryResult::NotStopped),
            missed: count(CanaryResult::Missed),
            failed: count(CanaryResult::Failed),
            caught_ago_s: ago_s(canary.last_caught.unwrap_or(canary.began)),
            last: canary.last.as_ref().map(|(then, outcome)| CanaryTryView {
                result: outcome.result,
                program: outcome.program,
                from_hook_us: outcome.from_hook.map(micros),
                from_start_us: outcome.from_start.map(micros),
                reason: outcome.reason.clone(),
                ago_s: ago_s(*then),
            }),
        }
    }

    /// Whether the last try was caught; nothing while there was none.
    pub(super) fn canary_check(&self) -> Option<Check> {
        if self.config.canary.is_none() {
            return Some(support::canary_check(None));
        }
        let (_, outcome) = self.canary.last.as_ref()?;
        Some(support::canary_check(Some(outcome)))
    }
}

/// All that fit; a try takes seconds at most.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
