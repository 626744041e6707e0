//! What a profile was learned from: containers, and observation windows per domain.

use agent_common::domain::Domain;
use serde::{Deserialize, Serialize};

/// What a profile was learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationCounts {
    /// Of domain exec.
    #[serde(flatten)]
    pub exec: WindowCounts,
    /// Of domain file. Not in rows that were written before it was watched.
    #[serde(default)]
    pub file: WindowCounts,
    /// Of domain cap. Not in rows that were written before it was watched.
    #[serde(default)]
    pub cap: WindowCounts,
    /// Of domain syscall. Not in rows that were written before it was watched.
    #[serde(default)]
    pub syscall: WindowCounts,
}

/// What was observed of one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowCounts {
    /// Container instances that were observed.
    pub instances: u64,
    /// Windows that count: observed without a lost record.
    pub windows: u64,
    /// Windows that do not count, because records were lost in them.
    pub lost_windows: u64,
    /// Records that were lost.
    pub lost_records: u64,
    /// Containers that were observed from their first program on. Not in rows that were written before it was counted.
    pub starts: u64,
    /// Containers whose end was observed. Likewise.
    pub ends: u64,
}

// === impl ObservationCounts ===

impl ObservationCounts {
    /// Adds `other`; counters stop at their maximum.
    pub fn add(&mut self, other: &Self) {
        self.exec.add(&other.exec);
        self.file.add(&other.file);
        self.cap.add(&other.cap);
        self.syscall.add(&other.syscall);
    }

    /// The windows of `domain`; none for one that is not learned.
    #[must_use]
    pub fn of(&self, domain: Domain) -> WindowCounts {
        match domain {
            Domain::Exec => self.exec,
            Domain::File => self.file,
            Domain::Cap => self.cap,
            Domain::Syscall => self.syscall,
            Domain::Library => WindowCounts::default(),
        }
    }

    /// The same, to be counted in; `None` for a domain that is not learned.
    pub fn of_mut(&mut self, domain: Domain) -> Option<&mut WindowCounts> {
        match domain {
            Domain::Exec => Some(&mut self.exec),
            Domain::File => Some(&mut self.file),
            Domain::Cap => Some(&mut self.cap),
            Domain::Syscall => Some(&mut self.syscall),
            Domain::Library => None,
        }
    }
}

// === impl WindowCounts ===

impl WindowCounts {
    /// Adds `other`; counters stop at their maximum.
    pub fn add(&mut self, other: &Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.windows = self.windows.saturating_add(other.windows);
        self.lost_windows = self.lost_windows.saturating_add(other.lost_windows);
        self.lost_records = self.lost_records.saturating_add(other.lost_records);
        self.starts = self.starts.saturating_add(other.starts);
        self.ends = self.ends.saturating_add(other.ends);
    }

    /// Adds one window, in which `lost` records were lost.
    pub fn count_window(&mut self, lost: u64) {
        self.add(&Self {
            windows: u64::from(lost == 0),
            lost_windows: u64::from(lost > 0),
            lost_records: lost,
            ..Self::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a row of an agent said that counted neither starts nor ends.
    const EARLIER: &str = r#"{"instances":2,"windows":7,"lost_windows":1,"lost_records":3,"file":{"instances":2,"windows":8,"lost_windows":0,"lost_records":0},"cap":{}}"#;

    #[test]
    fn an_earlier_row_is_read_with_nothing_seen_of_starts_and_ends() {
        let counts: ObservationCounts = serde_json::from_str(EARLIER).expect("reads");
        assert_eq!((counts.exec.windows, counts.file.windows), (7, 8));
        assert_eq!((counts.exec.starts, counts.exec.ends), (0, 0));
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut counts: ObservationCounts = serde_json::from_str(EARLIER).expect("reads");
        counts.exec.starts = 1;
        counts.cap.ends = 2;
        let text = serde_json::to_string(&counts).expect("is JSON");
        assert_eq!(
            serde_json::from_str::<ObservationCounts>(&text).expect("reads"),
            counts
        );
    }
}
