//! Points in time, as alerts and views show them: RFC 3339 in UTC with nine digits of the second.
//!
//! Input: nanoseconds of the kernel's boot-time clock, or a text. Output: [`Time`]. Failure: a text that is no date; a
//! date outside the range of the calendar (years -9999 to 9999) is taken as that range's end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// Now, by the wall clock.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }

    /// Hours, minutes and seconds (UTC), for lines that people read as they come.
    #[must_use]
    pub fn clock(self) -> String {
        self.0.strftime("%H:%M:%S").to_string()
    }

    /// As it is shown, with six digits of the second: as many as syslog takes (RFC 5424).
    #[must_use]
    pub fn to_micros(self) -> String {
        format!("{:.6}", self.0)
    }

    /// Milliseconds since the epoch; 0 before it.
    #[must_use]
    pub fn epoch_ms(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or_default()
    }

    /// Nanoseconds since the epoch; 0 before it, the largest number after the year 2554.
    #[must_use]
    pub fn epoch_ns(self) -> u64 {
        u64::try_from(self.0.as_nanosecond().max(0)).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.9}", self.0)
    }
}

impl std::str::FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What the wall clock showed when the boot-time clock was zero. Sampled anew from time to time, because the wall
/// clock can be set.
#[derive(Clone, Copy, Debug)]
pub struct BootClock {
    boot: Timestamp,
}

impl BootClock {
    /// Reads both clocks.
    #[must_use]
    pub fn sample() -> Self {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let since_boot = SignedDuration::new(boot.tv_sec, i32::try_from(boot.tv_nsec).unwrap_or_default());
        let now = Timestamp::now();
        Self {
            boot: now.checked_sub(since_boot).unwrap_or(Timestamp::MIN),
        }
    }

    /// The date of `time_ns` on the boot-time clock.
    #[must_use]
    pub fn date(self, time_ns: u64) -> Time {
        let since_boot =
            SignedDuration::try_from(Duration::from_nanos(time_ns)).unwrap_or(SignedDuration::MAX);
        Time(self.boot.checked_add(since_boot).unwrap_or(Timestamp::MAX))
    }
}

/// The boot-time clock, for everything that waits or expires.
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nine_digits_and_reads_them_back() {
        let time: Time = "2026-03-01T12:00:00.5Z".parse().expect("a date");
        assert_eq!(time.to_string(), "2026-03-01T12:00:00.500000000Z");
        let text = serde_json::to_string(&time).expect("json");
        assert_eq!(serde_json::from_str::<Time>(&text).expect("read back"), time);
        assert_eq!(time.clock(), "12:00:00");
        assert_eq!(time.to_micros(), "2026-03-01T12:00:00.500000Z");
        assert_eq!(
            (time.epoch_ms(), time.epoch_ns()),
            (1_772_366_400_500, 1_772_366_400_500_000_000)
        );
        assert!("yesterday".parse::<Time>().is_err());
    }

    #[test]
    fn dates_the_present_as_now() {
        let date =
            BootClock::sample().date(u64::try_from(since_boot().as_nanos()).expect("fits for 584 years"));
        let now = Time::now();
        assert!(
            now.since(date).max(date.since(now)) < Duration::from_secs(1),
            "{date} {now}"
        );
    }

    #[test]
    fn has_no_date_outside_the_calendar() {
        let clock = BootClock { boot: Timestamp::MAX };
        assert_eq!(clock.date(u64::MAX), Time(Timestamp::MAX));
        assert_eq!(
            (Time(Timestamp::MAX).epoch_ns(), Time(Timestamp::MIN).epoch_ns()),
            (u64::MAX, 0)
        );
    }
}
