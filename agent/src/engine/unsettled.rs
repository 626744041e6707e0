//! Which records the agent is not done with.
//!
//! Input: the position of the ring buffer's reader before each batch. Output: the checkpoint: the position before which everything is done
//! with (learned, left alone, or on its way to the spool in an alert), and marks at which records begin. Bound: batches that are held, of
//! which there are no more than what holds them.

use std::collections::VecDeque;

use agent_common::record::{CHECKPOINT_MARKS, Checkpoint, EVENTS_BYTES};

use crate::alert::hold::{HoldWatch, RecordHold};

/// Bytes between two marks: all of them together reach back once around the ring buffer.
const MARK_BYTES: u64 = EVENTS_BYTES as u64 / CHECKPOINT_MARKS as u64;

/// The batches that something may still hold.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// Position before it, in order.
    batches: VecDeque<(u64, HoldWatch)>,
    /// What is being handled.
    current: RecordHold,
    /// The checkpoint as it was asked for last, and its marks as they are now.
    checkpoint: Checkpoint,
}

impl Unsettled {
    /// Nothing was read since `checkpoint`.
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        Self {
            batches: VecDeque::new(),
            current: RecordHold::default(),
            checkpoint: *checkpoint,
        }
    }

    /// A batch begins at `position`.
    pub(super) fn begin(&mut self, position: u64) {
        let marks = &mut self.checkpoint.marks;
        if position >= marks[CHECKPOINT_MARKS - 1] + MARK_BYTES {
            marks.rotate_left(1);
            marks[CHECKPOINT_MARKS - 1] = position;
        }
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

    /// How far everything is done with. `reader` is where the reader stands.
    pub(super) fn checkpoint(&mut self, reader: u64) -> Checkpoint {
        while self.batches.front().is_some_and(|(_, watch)| !watch.is_held()) {
            self.batches.pop_front();
        }
        self.checkpoint.position = self.batches.front().map_or(reader, |(position, _)| *position);
        self.checkpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_settled() {
        let mut unsettled = Unsettled::new(&Checkpoint::default());
        unsettled.begin(0);
        let first = unsettled.current();
        unsettled.begin(100);
        let second = unsettled.current();
        unsettled.end();
        assert_eq!(unsettled.checkpoint(200).position, 0);
        drop(second);
        assert_eq!(unsettled.checkpoint(200).position, 0, "the first is held");
        let again = first.clone();
        drop(first);
        assert_eq!(unsettled.checkpoint(200).position, 0, "by another");
        drop(again);
        assert_eq!(unsettled.checkpoint(200).position, 200);
    }

    #[test]
    fn what_is_being_handled_is_held() {
        let mut unsettled = Unsettled::new(&Checkpoint::default());
        unsettled.begin(64);
        assert_eq!(unsettled.checkpoint(128).position, 64);
        unsettled.end();
        assert_eq!(unsettled.checkpoint(128).position, 128);
        assert!(!unsettled.current().is_some());
    }

    #[test]
    fn marks_reach_back_once_around() {
        let mut unsettled = Unsettled::new(&Checkpoint::default());
        for batch in 1..=1_000 {
            unsettled.begin(batch * 50_000);
        }
        let marks = unsettled.checkpoint(50_000_000).marks;
        assert!(marks.is_sorted());
        assert!(
            marks.iter().all(|mark| mark % 50_000 == 0),
            "each is where a batch began: {marks:?}"
        );
        assert!(
            marks[CHECKPOINT_MARKS - 1] - marks[0] >= u64::from(EVENTS_BYTES) - MARK_BYTES,
            "{marks:?}"
        );
    }
}
