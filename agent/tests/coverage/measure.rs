//! What many splits say together.
//!
//! Input: a recording, a domain, from how many windows is learned. Output: [`Measured`]. Failure: `None` where nothing of the domain was seen.

use crate::recording::Recording;
use crate::split::{Outcome, SPLITS, outcome, real, shuffled};

/// The coverage from which on a profile is called complete if nobody says otherwise.
const ENOUGH: f64 = 0.99;

/// Of all splits of one size.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean share that was predicted to be unseen.
    pub predicted: f64,
    /// Mean share that was.
    pub real: f64,
    /// Root of the mean square of the difference of the two, split by split.
    pub error: f64,
    /// The first two after as many windows again.
    pub later: Option<(f64, f64)>,
    /// Where the windows are not shuffled: learned from the first, compared with those that came after.
    pub in_order: (f64, f64),
    /// Share of the splits that were said to be covered to 99 %.
    pub said_enough: f64,
    /// Of these: the mean share that was really unseen, and the largest.
    pub then_unseen: Option<(f64, f64)>,
}

/// Measures.
pub fn measure(recording: &Recording, domain: &str, size: usize) -> Option<Measured> {
    let seen = recording.seen.get(domain)?;
    let outcomes: Vec<Outcome> = (0..SPLITS)
        .filter_map(|seed| outcome(seen, &shuffled(recording.windows, seed), size))
        .collect();
    let in_order: Vec<u32> = (0..recording.windows).collect();
    let in_order = outcome(seen, &in_order, size)?;
    let enough: Vec<f64> = outcomes
        .iter()
        .filter(|one| 1.0 - one.predicted >= ENOUGH)
        .map(|one| one.real)
        .collect();
    let later: Vec<(f64, f64)> = outcomes.iter().filter_map(|one| one.later).collect();
    let squares = outcomes.iter().map(|one| (one.predicted - one.real).powi(2));
    Some(Measured {
        predicted: mean(outcomes.iter().map(|one| one.predicted))?,
        real: mean(outcomes.iter().map(|one| one.real))?,
        error: mean(squares)?.sqrt(),
        later: mean(later.iter().map(|one| one.0)).zip(mean(later.iter().map(|one| one.1))),
        in_order: (in_order.predicted, in_order.real),
        said_enough: real(enough.len() as u64) / real(outcomes.len() as u64),
        then_unseen: mean(enough.iter().copied()).zip(enough.iter().copied().reduce(f64::max)),
    })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len() as u64;
    (count > 0).then(|| values.sum::<f64>() / real(count))
}
