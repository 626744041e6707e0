//! Whether the engine turns, for whoever has to know it without asking the engine.
//!
//! Input: each turn of [`Engine::run`](super::Engine::run), told when all of it is done. Output: how many there were. Failure: none; an
//! engine that hangs, or waits for an output that nobody reads, tells none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the engine, which counts, and by who looks.
#[derive(Debug, Default)]
pub struct Pulse {
    turns: AtomicU64,
    containers: AtomicU64,
}

/// What was seen of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Turns since the start. There are at least two in a second.
    pub turns: u64,
    /// Containers that the engine knows.
    pub containers: u64,
}

impl Pulse {
    /// A turn is over.
    pub fn turned(&self, containers: usize) {
        self.containers.store(containers as u64, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// How far the engine is.
    #[must_use]
    pub fn beat(&self) -> Beat {
        Beat {
            turns: self.turns.load(Ordering::Relaxed),
            containers: self.containers.load(Ordering::Relaxed),
        }
    }
}
