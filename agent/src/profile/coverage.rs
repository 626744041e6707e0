//! How much of an image's future behaviour its profile already holds, estimated from what it was learned from.
//!
//! Input: in how many observation windows each behaviour was seen, and how many windows there were. Output: the sample
//! coverage, the estimated share of future sightings that fall on behaviours which are known. Failure: `None` while there
//! is too little to tell.

use agent_common::domain::Domain;

use crate::profile::model::Profile;

/// Fewest windows from which anything is said: the estimate compares what was seen once with what was seen twice.
const WINDOWS_MIN: u64 = 2;

impl Profile {
    /// Estimated share, 0 to 1, of what the container's own processes will be seen doing in `domain` that its main section holds.
    ///
    /// What was accepted without having been seen, or was learned in a window that is still open, does not count.
    #[must_use]
    pub fn coverage(&self, domain: Domain) -> Option<f64> {
        let of_domain = self
            .main
            .iter()
            .filter(|(behaviour, _)| behaviour.domain() == domain);
        let sightings = of_domain.map(|(_, evidence)| evidence.windows);
        estimate(self.counts.of(domain).windows, sightings)
    }
}

/// The estimator of sample coverage for incidence data (A. Chao and L. Jost, "Coverage-based rarefaction and
/// extrapolation", Ecology 93, 2012; in the form for incidences of Chao and others, Ecological Monographs 84, 2014):
/// of `windows` samples, each species was found in as many as `sightings` says.
pub(super) fn estimate(windows: u64, sightings: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut once, mut twice, mut all) = (0_u64, 0_u64, 0_u64);
    for windows in sightings {
        once += u64::from(windows == 1);
        twice += u64::from(windows == 2);
        all = all.saturating_add(windows);
    }
    if windows < WINDOWS_MIN || all == 0 {
        return None;
    }
    let (samples, once, twice, all) = (real(windows), real(once), real(twice), real(all));
    // The share of the unseen that the things seen once stand for. Without anything seen twice, the corrected form.
    let (seen_again, correction) = if twice > 0.0 {
        ((samples - 1.0) * once, 2.0 * twice)
    } else {
        ((samples - 1.0) * (once - 1.0).max(0.0), 2.0)
    };
    Some((1.0 - once / all * (seen_again / (seen_again + correction))).clamp(0.0, 1.0))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are rounded, which an estimate does not feel"
)]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::estimate;

    fn of(windows: u64, sightings: &[u64]) -> Option<f64> {
        estimate(windows, sightings.iter().copied())
    }

    #[test]
    fn says_nothing_without_windows_or_sightings() {
        assert_eq!(of(0, &[1]), None);
        assert_eq!(of(1, &[1]), None);
        assert_eq!(of(10, &[]), None);
        assert_eq!(of(10, &[0, 0]), None);
    }

    #[test]
    fn is_the_published_estimator() {
        // By hand: Q1 = 2, Q2 = 1, T = 10, U = 14: 1 - 2/14 * (18 / 20).
        let found = of(10, &[1, 1, 2, 10]).expect("enough");
        assert!((found - (1.0 - 2.0 / 14.0 * 0.9)).abs() < 1e-12, "{found}");
        // By hand, nothing seen twice: Q1 = 3, T = 5, U = 8: 1 - 3/8 * (8 / 10).
        let found = of(5, &[1, 1, 1, 5]).expect("enough");
        assert!((found - (1.0 - 3.0 / 8.0 * 0.8)).abs() < 1e-12, "{found}");
        assert_eq!(of(60, &[60, 60, 3]), Some(1.0), "nothing was seen only once");
    }

    proptest! {
        #[test]
        fn is_a_share(windows: u64, sightings: Vec<u64>) {
            if let Some(share) = of(windows, &sightings) {
                prop_assert!((0.0..=1.0).contains(&share), "{}", share);
            }
        }
    }
}
