//! Which records the agent is not done with.
//!
//! Input: the position of the ring buffer's reader before each batch. Output: the position before which everything is done with: learned,
//! left alone, or on its way to the spool in an alert. Bound: batches that are held, of which there are no more than what holds them.

use std::collections::VecDeque;

use crate::alert::hold::{HoldWatch, RecordHold};

/// The batches that something may still hold.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Position before it, in order.
    batches: VecDeque<(u64, HoldWatch)>,
    /// What is being handled.
    current: RecordHold,
}

impl Unsettled {
    /// A batch begins at `position`.
    pub(super) fn begin(&mut self, position: u64) {
        let (hold, watch) = RecordHold::new();
        self.batches.push_back((position, watch));
        self.current = hold;
    }

    /// What is handled from now on came in this batch. Returns what was handled before.
    pub(super) fn resume(&mut self, hold: RecordHold) -> RecordHold {
        std::mem::replace(&mut self.current, hold)
    }

    /// What is made now holds this.
    pub(super) fn current(&self) -> RecordHold {
        self.current.clone()
    }

    /// Nothing that came as a record is handled any more.
    pub(super) fn end(&mut self) {
        self.current = RecordHold::default();
    }

    /// Everything before this position is done with. `reader` is where the reader stands.
    pub(super) fn settled(&mut self, reader: u64) -> u64 {
        while self.batches.front().is_some_and(|(_, watch)| !watch.is_held()) {
            self.batches.pop_front();
        }
        self.batches.front().map_or(reader, |(position, _)| *position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_settled() {
        let mut unsettled = Unsettled::default();
        unsettled.begin(0);
        let first = unsettled.current();
        unsettled.begin(100);
        let second = unsettled.current();
        unsettled.end();
        assert_eq!(unsettled.settled(200), 0);
        drop(second);
        assert_eq!(unsettled.settled(200), 0, "the first is held");
        let again = first.clone();
        drop(first);
        assert_eq!(unsettled.settled(200), 0, "by another");
        drop(again);
        assert_eq!(unsettled.settled(200), 200);
    }

    #[test]
    fn what_is_being_handled_is_held() {
        let mut unsettled = Unsettled::default();
        unsettled.begin(64);
        assert_eq!(unsettled.settled(128), 64);
        unsettled.end();
        assert_eq!(unsettled.settled(128), 128);
        assert!(!unsettled.current().is_some());
    }
}
