//! One try of the canary, and what came of it. Pure.
//!
//! Input: when it began, when its record was made and decided about, what became of its program. Output: an [`Outcome`], as soon as
//! there is one. Failure: none.
//!
//! All times are of the boot-time clock.

use std::time::Duration;

use agent_common::instance::Counters;
use serde::{Deserialize, Serialize};

use crate::kernel::tier::Exec;

/// How long a try may take, from its start until its record is decided about. What takes longer was not caught.
pub const WITHIN: Duration = Duration::from_secs(10);

/// What came of a try, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryResult {
    /// It was caught in time, and stopped as well as was proved at the start of the agent.
    Caught,
    /// It was caught in time, but its program was not stopped as well as was proved.
    NotStopped,
    /// Its program was executed, or refused, and that was not caught in time.
    Missed,
    /// It could not be tried, or it is not known what became of its program.
    Failed,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub result: CanaryResult,
    /// What became of its program; `None` if nobody knows.
    pub program: Option<Exec>,
    /// How long after it was made in the hook its record was decided about; `None` if it was not in time.
    pub from_hook: Option<Duration>,
    /// How long that was after the start of the try.
    pub from_start: Option<Duration>,
    /// Why it was not caught.
    pub reason: Option<String>,
}

/// A try that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    began: Duration,
    /// What the kernel programs had counted of its container.
    before: Counters,
    /// When its record was made, and when it was decided about.
    told: Option<(Duration, Duration)>,
    program: Option<Exec>,
}

// === impl CanaryResult ===

impl CanaryResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Caught, Self::NotStopped, Self::Missed, Self::Failed];

    /// The word in metrics, as it is in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::NotStopped => "not_stopped",
            Self::Missed => "missed",
            Self::Failed => "failed",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// A try that could not be made.
    #[must_use]
    pub const fn failed(reason: String) -> Self {
        Self {
            result: CanaryResult::Failed,
            program: None,
            from_hook: None,
            from_start: None,
            reason: Some(reason),
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// A try that begins at `began`, when the kernel programs had counted `before` of its container.
    #[must_use]
    pub const fn new(began: Duration, before: Counters) -> Self {
        Self {
            began,
            before,
            told: None,
            program: None,
        }
    }

    /// A record that was made at `made` was decided about at `decided`. One of an earlier try is left alone.
    pub fn tell(&mut self, made: Duration, decided: Duration) {
        if made >= self.began && self.told.is_none() {
            self.told = Some((made, decided));
        }
    }

    /// This is what became of its program.
    pub const fn end(&mut self, program: Exec) {
        self.program = Some(program);
    }

    /// What came of it; `None` while that is open. `proved`: what became of the program of the self-test, if it was made; `counted`: what the
    /// kernel programs have counted of its container now.
    #[must_use]
    pub fn outcome(&self, now: Duration, proved: Option<Exec>, counted: &Counters) -> Option<Outcome> {
        let is_over = now.saturating_sub(self.began) > WITHIN;
        let in_time = |(_, decided): &(Duration, Duration)| decided.saturating_sub(self.began) <= WITHIN;
        let told = self.told.filter(in_time);
        let (result, reason) = match (told, self.program) {
            (Some(_), Some(program)) => match proved.filter(|proved| !program.is_stopped_as_by(*proved)) {
                None => (CanaryResult::Caught, None),
                Some(proved) => {
                    let reason = format!(
                        "its program {}; the self-test's {}",
                        program.done(),
                        proved.done()
                    );
                    (CanaryResult::NotStopped, Some(reason))
                }
            },
            _ if !is_over => return None,
            (None, Some(_)) => (CanaryResult::Missed, Some(self.why_missed(counted).to_owned())),
            (_, None) => {
                let patience = WITHIN.as_secs();
                let reason = format!("its process did not say within {patience} s what became of it");
                (CanaryResult::Failed, Some(reason))
            }
        };
        Some(Outcome {
            result,
            program: self.program,
            from_hook: told.map(|(made, decided)| decided.saturating_sub(made)),
            from_start: told.map(|(_, decided)| decided.saturating_sub(self.began)),
            reason,
        })
    }

    /// Where its record stayed.
    const fn why_missed(&self, counted: &Counters) -> &'static str {
        if self.told.is_some() {
            "its record was decided about too late"
        } else if counted.generated <= self.before.generated {
            "no hook saw its execution"
        } else if counted.lost() > self.before.lost() {
            "its record was lost: the ring buffer was full"
        } else {
            "its record was made, and not decided about"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Duration = Duration::from_secs(100);

    fn after(ms: u64) -> Duration {
        BEGAN + Duration::from_millis(ms)
    }

    fn attempt(told: Option<(u64, u64)>, program: Option<Exec>) -> Attempt {
        let mut attempt = Attempt::new(BEGAN, Counters::default());
        if let Some((made, decided)) = told {
            attempt.tell(after(made), after(decided));
        }
        if let Some(program) = program {
            attempt.end(program);
        }
        attempt
    }

    fn outcome(attempt: &Attempt, ms: u64, proved: Exec) -> Option<Outcome> {
        attempt.outcome(after(ms), Some(proved), &Counters::default())
    }

    #[test]
    fn what_is_told_in_time_and_stopped_is_caught() {
        for (program, proved) in [
            (Exec::Denied, Exec::Denied),
            (Exec::Killed, Exec::Killed),
            (Exec::Ran, Exec::Ran),
            (Exec::Denied, Exec::Killed),
        ] {
            let outcome = outcome(&attempt(Some((2, 5)), Some(program)), 6, proved).expect("an outcome");
            assert_eq!(outcome.result, CanaryResult::Caught, "{program:?} {proved:?}");
            assert_eq!(outcome.from_hook, Some(Duration::from_millis(3)));
            assert_eq!(outcome.from_start, Some(Duration::from_millis(5)));
            assert_eq!(outcome.reason, None);
        }
    }

    #[test]
    fn what_is_stopped_less_than_was_proved_is_not_stopped() {
        for (program, proved) in [
            (Exec::Ran, Exec::Denied),
            (Exec::Ran, Exec::Killed),
            (Exec::Killed, Exec::Denied),
        ] {
            let outcome = outcome(&attempt(Some((2, 5)), Some(program)), 6, proved).expect("an outcome");
            assert_eq!(outcome.result, CanaryResult::NotStopped, "{program:?} {proved:?}");
            assert_eq!(outcome.program, Some(program));
        }
    }

    #[test]
    fn nothing_is_said_before_both_are_known_or_the_time_is_over() {
        for open in [
            attempt(None, None),
            attempt(Some((2, 5)), None),
            attempt(None, Some(Exec::Ran)),
        ] {
            assert_eq!(outcome(&open, 10_000, Exec::Denied), None, "{open:?}");
            assert!(outcome(&open, 10_001, Exec::Denied).is_some(), "{open:?}");
        }
    }

    #[test]
    fn a_miss_says_where_the_record_stayed() {
        let missed = attempt(None, Some(Exec::Denied));
        let counted = |generated, lost_ring| Counters {
            generated,
            lost_ring,
            ..Counters::default()
        };
        for (counted, reason) in [
            (counted(0, 0), "no hook saw"),
            (counted(1, 1), "was lost"),
            (counted(1, 0), "not decided about"),
        ] {
            let outcome = missed.outcome(after(10_001), Some(Exec::Denied), &counted);
            let outcome = outcome.expect("an outcome");
            assert_eq!(outcome.result, CanaryResult::Missed);
            assert!(outcome.reason.expect("a reason").contains(reason), "{reason}");
        }
    }

    #[test]
    fn what_comes_too_late_is_missed_whoever_notices_first() {
        let late = attempt(Some((2, 12_000)), Some(Exec::Killed));
        let outcome = outcome(&late, 12_000, Exec::Killed).expect("an outcome");
        assert_eq!((outcome.result, outcome.from_hook), (CanaryResult::Missed, None));
        assert!(outcome.reason.expect("a reason").contains("too late"));
    }

    #[test]
    fn a_record_of_an_earlier_try_is_not_this_ones() {
        let mut attempt = attempt(None, Some(Exec::Denied));
        attempt.tell(BEGAN.saturating_sub(Duration::from_millis(1)), after(1));
        assert_eq!(outcome(&attempt, 2, Exec::Denied), None);
        attempt.tell(after(1), after(3));
        attempt.tell(after(2), after(900));
        let outcome = outcome(&attempt, 900, Exec::Denied).expect("an outcome");
        assert_eq!(outcome.from_start, Some(Duration::from_millis(3)));
    }

    #[test]
    fn what_nobody_knows_is_no_miss() {
        let outcome = outcome(&attempt(None, None), 10_001, Exec::Denied).expect("an outcome");
        assert_eq!((outcome.result, outcome.program), (CanaryResult::Failed, None));
    }
}
