//! How coverage grew with the windows that were observed, and how it is expected to go on.
//!
//! Input: a profile and a domain. Output: points of the curve. Failure: none where there is too little to tell. Pure.
//!
//! Of fewer windows than there were, the expected coverage follows from the sightings themselves (rarefaction: A. Chao and L. Jost,
//! Ecology 93, 2012, for incidences); of more, [`crate::profile::coverage`] extrapolates. At the number of windows that there
//! were both meet. What a rule for several paths holds for counts as known from the first window on.

use std::collections::BTreeMap;

use agent_common::domain::Domain;

use crate::profile::model::Profile;

/// Points on each side of what was observed.
const STEPS: u64 = 48;
/// Factors of a ratio that are multiplied one by one; a longer one is taken in the limit of many windows.
const FACTORS_MAX: u64 = 512;

/// Coverage by windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Curve {
    /// Windows that were observed.
    pub(super) windows: u64,
    /// Number of windows and coverage, up to what was observed.
    pub(super) observed: Vec<(f64, f64)>,
    /// From there on.
    pub(super) expected: Vec<(f64, f64)>,
}

impl Curve {
    /// `None` while there is too little to tell, as of the coverage itself.
    pub(super) fn of(profile: &Profile, domain: Domain) -> Option<Self> {
        let sightings = profile.sightings(domain);
        let windows = sightings.windows();
        let now = sightings.coverage()?;
        // Behaviours that no rule for several holds for, by the number of windows in which they were seen.
        let mut frequencies: BTreeMap<u64, u64> = BTreeMap::new();
        let mut all = 0.0;
        for (seen, is_covered) in profile.seen(domain).filter(|(seen, _)| *seen > 0) {
            all += real(seen);
            if !is_covered {
                *frequencies.entry(seen.min(windows)).or_default() += 1;
            }
        }
        let mut observed = vec![(0.0, 0.0)];
        let mut last = 0;
        for step in 1..STEPS {
            let some =
                u64::try_from(u128::from(windows) * u128::from(step) / u128::from(STEPS)).unwrap_or(windows);
            if some > last {
                last = some;
                observed.push((real(some), rarefied(&frequencies, all, windows, some)));
            }
        }
        observed.push((real(windows), now));
        let expected = (0..=STEPS).filter_map(|step| {
            let further = u64::try_from(u128::from(windows) * u128::from(step) / u128::from(STEPS)).ok()?;
            Some((real(windows) + real(further), sightings.coverage_after(further)?))
        });
        Some(Self {
            windows,
            observed,
            expected: expected.collect(),
        })
    }

    /// The coverage of as many windows as were observed.
    pub(super) fn now(&self) -> f64 {
        self.observed.last().map_or(0.0, |point| point.1)
    }

    /// The coverage that twice as many windows are expected to bring.
    pub(super) fn doubled(&self) -> f64 {
        self.expected.last().map_or(0.0, |point| point.1)
    }
}

/// The expected coverage of `some` of all windows.
fn rarefied(frequencies: &BTreeMap<u64, u64>, all: f64, windows: u64, some: u64) -> f64 {
    let unseen: f64 = frequencies
        .iter()
        .map(|(seen, how_many)| real(*seen) / all * real(*how_many) * missed(windows, *seen, some))
        .sum();
    (1.0 - unseen).clamp(0.0, 1.0)
}

/// The chance that `some` of the windows, without one in which it was seen, hold none of the others: C(T - Y, t) / C(T - 1, t).
fn missed(windows: u64, seen: u64, some: u64) -> f64 {
    if windows - seen < some {
        return 0.0;
    }
    let others = seen - 1;
    let (few, many) = (others.min(some), others.max(some));
    if few > FACTORS_MAX {
        return (1.0 - real(some) / real(windows)).powf(real(others));
    }
    (0..few)
        .map(|index| 1.0 - real(many) / (real(windows) - 1.0 - real(index)))
        .product()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are rounded, which a curve does not show"
)]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use agent_common::file::Layer;
    use proptest::prelude::*;

    use super::*;
    use crate::behaviour::{Behaviour, ExecBehaviour};
    use crate::profile::model::{Evidence, ProfileKey, Role};

    /// The curve of a profile with a program for each number of windows.
    fn curve(windows: u64, sightings: &[u64]) -> Option<Curve> {
        let key = ProfileKey {
            digest: format!("sha256:{}", "0".repeat(64)).parse().expect("a digest"),
            role: Role::new("/bin/x".into()).expect("a role"),
        };
        let mut profile = Profile::new(1, key);
        profile.counts.exec.windows = windows;
        for (index, seen) in sightings.iter().enumerate() {
            let program = ExecBehaviour {
                layer: Layer::Image,
                path: format!("/bin/{index}").as_str().into(),
                applet: None,
            };
            profile
                .main
                .insert(Behaviour::Exec(program), Evidence::of_windows(*seen));
        }
        Curve::of(&profile, Domain::Exec)
    }

    #[test]
    fn is_what_the_formulas_say() {
        // By hand: T = 4, seen 1, 2 and 4 times, U = 7. Of two windows: 1 - (1/7 * C(3,2)/C(3,2) + 2/7 * C(2,2)/C(3,2) + 4/7 * 0).
        let found = curve(4, &[1, 2, 4]).expect("enough");
        let at = |windows: f64| {
            let mut points = found.observed.iter().chain(&found.expected);
            points
                .find(|point| (point.0 - windows).abs() < 1e-9)
                .expect("a point")
                .1
        };
        assert!(
            (at(2.0) - (1.0 - 1.0 / 7.0 - 2.0 / 7.0 / 3.0)).abs() < 1e-12,
            "{found:?}"
        );
        // Q1 = Q2 = 1: each window leaves 3 / 5 of the unseen.
        assert!((at(4.0) - (1.0 - 0.6 / 7.0)).abs() < 1e-12);
        assert!((at(8.0) - (1.0 - 0.6_f64.powi(5) / 7.0)).abs() < 1e-12);
        assert_eq!(curve(1, &[1]), None);
        assert_eq!(curve(9, &[0]), None);
    }

    #[test]
    fn numbers_beyond_all_windows_are_no_harm() {
        for windows in [2, 600, 1 << 40, u64::MAX] {
            let found = curve(windows, &[1, 2, 3, windows / 2, windows, u64::MAX]).expect("enough");
            assert!(found.observed.len() <= 50 && found.expected.len() == 49);
        }
    }

    proptest! {
        /// From one point to the next it is known better, and no share is beyond all.
        #[test]
        fn rises(windows in 2..2000_u64, seen in prop::collection::vec(1..2000_u64, 1..60)) {
            let seen: Vec<u64> = seen.into_iter().map(|seen| seen.min(windows)).collect();
            let curve = curve(windows, &seen).expect("enough");
            let points: Vec<_> = curve.observed.iter().chain(&curve.expected).collect();
            for pair in points.windows(2) {
                prop_assert!(pair[0].0 <= pair[1].0 && (0.0..=1.0).contains(&pair[1].1));
            }
            for part in [&curve.observed[..curve.observed.len() - 1], &curve.expected] {
                for pair in part.windows(2) {
                    prop_assert!(pair[0].1 <= pair[1].1 + 1e-9, "{:?}", pair);
                }
            }
        }
    }
}
