//! What the log tells of a receiver that fails and works: the first failure at once, and then at most one line in [`LINE_EVERY`], however
//! often it changes.
//!
//! Input: each failure and each success, with the time. Output: the line that is to be logged now, or when one will be due. Failure: none.
//! Nothing is left out of what a line counts: what did not get a line of its own is in the next one. Metrics and `status` count every
//! failure for themselves.

use std::time::Duration;

use tokio::time::Instant;

use crate::alert::time::Time;

/// A line is logged at most so often.
pub const LINE_EVERY: Duration = Duration::from_mins(1);

/// How the way to a receiver is doing, and what of it was told.
#[derive(Debug, Default)]
pub struct Outage {
    /// Since when, and why, nothing goes through.
    failing: Option<Failing>,
    /// Whether the latest line said that nothing goes through.
    told_failing: bool,
    /// When the latest line was.
    line_at: Option<Instant>,
    /// Failures that no line has counted yet.
    failures: u64,
    /// How many outages began that no line has counted yet.
    outages: u64,
}

/// Since when, and why, nothing goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The first failure since the last success.
    pub since: Time,
    /// The latest one's words.
    pub error: String,
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since when, and why, nothing goes through; `None` if the receiver works.
    pub failing: Option<Failing>,
    /// Failures since the line before.
    pub failures: u64,
    /// How many outages began since the line before.
    pub outages: u64,
}

impl Outage {
    /// Since when, and why, nothing goes through.
    #[must_use]
    pub const fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// Something failed, for the reason `error`.
    pub fn fails(&mut self, error: String, wall: Time, now: Instant) -> Option<Line> {
        self.failures += 1;
        match &mut self.failing {
            Some(failing) => failing.error = error,
            none => {
                self.outages += 1;
                *none = Some(Failing { since: wall, error });
            }
        }
        self.tell(now)
    }

    /// Something went through.
    pub fn works(&mut self, now: Instant) -> Option<Line> {
        self.failing.take()?;
        self.tell(now)
    }

    /// When the next line may be logged; `None` while there is nothing to tell.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let line_at = self.line_at?;
        self.has_news().then(|| line_at + LINE_EVERY)
    }

    /// What is to be logged now; `None` if there is nothing to tell, or a line was logged just before.
    pub fn tell(&mut self, now: Instant) -> Option<Line> {
        let may_tell = self
            .line_at
            .is_none_or(|line_at| now.saturating_duration_since(line_at) >= LINE_EVERY);
        if may_tell { self.rest(now) } else { None }
    }

    /// What was not told yet, however soon after the line before: for when no more comes.
    pub fn rest(&mut self, now: Instant) -> Option<Line> {
        if !self.has_news() {
            return None;
        }
        self.line_at = Some(now);
        self.told_failing = self.failing.is_some();
        Some(Line {
            failing: self.failing.clone(),
            failures: std::mem::take(&mut self.failures),
            outages: std::mem::take(&mut self.outages),
        })
    }

    /// Whether the latest line tells no more how it is. One outage that goes on is told once, whatever fails meanwhile.
    const fn has_news(&self) -> bool {
        self.failing.is_some() != self.told_failing || self.outages > 0
    }
}

impl Line {
    /// Logs it, about the sink of this name.
    pub fn log(&self, sink: &str) {
        let (failures, outages) = (self.failures, self.outages);
        match &self.failing {
            // What is the usual case is said in few words.
            Some(Failing { error, .. }) if failures == 1 => {
                tracing::warn!(sink, error, "alerts wait for this sink");
            }
            Some(Failing { error, since }) => {
                tracing::warn!(sink, error, %since, failures, outages, "alerts wait for this sink");
            }
            None if failures == 0 => tracing::info!(sink, "alerts reach this sink again"),
            None => tracing::info!(sink, failures, outages, "alerts reach this sink again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn wall() -> Time {
        "2026-03-01T12:00:00Z".parse().expect("a date")
    }

    /// What a line says, in short: whether it fails, failures, outages.
    fn short(line: Option<&Line>) -> Option<(bool, u64, u64)> {
        line.map(|line| (line.failing.is_some(), line.failures, line.outages))
    }

    #[test]
    fn the_first_failure_is_told_at_once_and_a_long_outage_once() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.works(start), None, "nothing was wrong");
        let first = outage.fails("refused".to_owned(), wall(), start);
        assert_eq!(short(first.as_ref()), Some((true, 1, 1)));
        for second in 1..600 {
            assert_eq!(
                outage.fails("timed out".to_owned(), wall(), at(start, second)),
                None
            );
            assert_eq!(outage.due(), None);
        }
        assert_eq!(
            outage.failing().map(|failing| failing.error.as_str()),
            Some("timed out")
        );
        let end = outage.works(at(start, 600));
        assert_eq!(
            short(end.as_ref()),
            Some((false, 599, 0)),
            "all failures since the first"
        );
        assert_eq!((outage.failing(), outage.due()), (None, None));
    }

    #[test]
    fn what_changes_often_is_told_once_a_minute_and_nothing_is_left_out() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let (mut lines, mut failures, mut outages) = (0, 0, 0);
        // Fails every second second, and works in between.
        for second in 0..3_600 {
            let now = at(start, second);
            let line = if second % 2 == 0 {
                outage.fails("reset".to_owned(), wall(), now)
            } else {
                outage.works(now)
            };
            if let Some(line) = line {
                lines += 1;
                failures += line.failures;
                outages += line.outages;
            }
        }
        assert_eq!(lines, 60);
        let rest = outage.rest(at(start, 3_600)).expect("something is left");
        assert_eq!((failures + rest.failures, outages + rest.outages), (1_800, 1_800));
        assert_eq!(outage.rest(at(start, 3_600)), None);
    }

    #[test]
    fn a_short_outage_ends_with_a_line_when_one_is_due() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert!(outage.fails("reset".to_owned(), wall(), start).is_some());
        assert_eq!(outage.works(at(start, 1)), None);
        assert_eq!(outage.due(), Some(at(start, 60)));
        assert_eq!(outage.tell(at(start, 59)), None);
        assert_eq!(
            short(outage.tell(at(start, 60)).as_ref()),
            Some((false, 0, 0)),
            "the one failure was told"
        );
        assert_eq!(outage.due(), None);
        // A failure after that minute is one of its own.
        assert!(outage.fails("reset".to_owned(), wall(), at(start, 130)).is_some());
    }

    #[test]
    fn an_outage_that_was_over_before_its_line_is_counted() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert!(outage.fails("one".to_owned(), wall(), start).is_some());
        assert_eq!(outage.works(at(start, 1)), None);
        assert_eq!(outage.fails("two".to_owned(), wall(), at(start, 2)), None);
        let line = outage.tell(at(start, 60)).expect("there is a second outage");
        assert_eq!(short(Some(&line)), Some((true, 1, 1)));
        assert_eq!(line.failing.map(|failing| failing.error).as_deref(), Some("two"));
    }
}
