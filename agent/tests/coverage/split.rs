//! Splits of a recording: what is predicted from one part, and what the other part holds.
//!
//! Input: in which windows each behaviour was seen, and which windows are learned from. Output: [`Outcome`]. Failure: none; a split from which
//! nothing can be told has no outcome.

use driftlock::profile::coverage::Sightings;

use crate::recording::Set;

/// Random splits for each size.
pub const SPLITS: u64 = 100;

/// What one split gives.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Share of what is to come that was predicted to be unseen.
    pub predicted: f64,
    /// Share of the sightings in the held-out windows that was unseen.
    pub real: f64,
    /// The same two after as many windows again, if that leaves windows to hold out.
    pub later: Option<(f64, f64)>,
}

/// Learns from the first `size` of the windows in `order`, and holds out the others.
pub fn outcome(seen: &[Set], order: &[u32], size: usize) -> Option<Outcome> {
    let all = set(order);
    let learned = set(order.get(..size)?);
    let counts = seen.iter().map(|behaviour| behaviour.and(learned).len());
    let sightings = Sightings::new(learned.len(), counts);
    let later = order.get(..2 * size).map(set).and_then(|learned| {
        let expected = sightings.coverage_after(sightings.windows())?;
        Some((1.0 - expected, unseen(seen, learned, all)?))
    });
    Some(Outcome {
        predicted: 1.0 - sightings.coverage()?,
        real: unseen(seen, learned, all)?,
        later,
    })
}

/// Share of the sightings outside `learned` that fall on behaviours which were not seen in it.
fn unseen(seen: &[Set], learned: Set, all: Set) -> Option<f64> {
    let held_out = all.without(learned);
    let (mut unseen, mut sightings) = (0_u64, 0_u64);
    for behaviour in seen {
        let its = behaviour.and(held_out).len();
        sightings += its;
        if behaviour.and(learned).len() == 0 {
            unseen += its;
        }
    }
    (sightings > 0).then(|| real(unseen) / real(sightings))
}

fn set(windows: &[u32]) -> Set {
    Set(windows.iter().fold(0, |set, window| set | 1 << window))
}

/// All windows in an order that belongs to `seed`: Fisher and Yates, with the numbers of `SplitMix64`.
pub fn shuffled(windows: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..windows).collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = (mixed ^ (mixed >> 31)) % (last as u64 + 1);
        order.swap(last, usize::try_from(drawn).expect("at most the last index"));
    }
    order
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
pub fn real(count: u64) -> f64 {
    count as f64
}

#[test]
fn a_split_is_as_by_hand() {
    // Always, in windows 0 and 1, in 2 alone, in 3 alone.
    let seen = [Set(0b1111), Set(0b0011), Set(0b0100), Set(0b1000)];
    let found = outcome(&seen, &[0, 1, 2, 3], 3).expect("enough");
    // Q1 = 1, Q2 = 1, T = 3, U = 3 + 2 + 1: unseen 1/6 * (2 / 4). Held out: two sightings, one unseen.
    assert!((found.predicted - 1.0 / 12.0).abs() < 1e-12, "{found:?}");
    assert!((found.real - 0.5).abs() < 1e-12, "{found:?}");
    assert!(found.later.is_none(), "nothing is left to hold out");
    assert!(outcome(&seen, &[0, 1, 2, 3], 4).is_none(), "likewise");
}

#[test]
fn a_seed_gives_all_windows_in_an_order_of_its_own() {
    let mut order = shuffled(100, 7);
    assert_eq!(order, shuffled(100, 7));
    assert_ne!(order, shuffled(100, 8));
    order.sort_unstable();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}
