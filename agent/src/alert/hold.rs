//! What an alert that is not out yet holds on to: the records that it was made of.
//!
//! Records are done with once nothing holds them any more; until then an agent that starts after this one has ended reads them again.

use std::sync::{Arc, Weak};

/// Holds a batch of records, or nothing.
#[derive(Clone, Debug, Default)]
pub struct RecordHold(Option<Arc<()>>);

/// Looks whether a batch of records is held.
#[derive(Debug)]
pub struct HoldWatch(Weak<()>);

impl RecordHold {
    /// Holds a batch, and gives what watches it.
    #[must_use]
    pub fn new() -> (Self, HoldWatch) {
        let held = Arc::new(());
        let watch = HoldWatch(Arc::downgrade(&held));
        (Self(Some(held)), watch)
    }

    /// Whether it holds anything.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl HoldWatch {
    /// Whether anybody holds the batch.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// It is no part of what an alert says.
impl PartialEq for RecordHold {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RecordHold {}
