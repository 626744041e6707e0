//! How much of an image's future behaviour its profile already holds, and how fast that grows, estimated from what it was
//! learned from.
//!
//! Input: in how many observation windows each behaviour was seen, and how many windows there were. Output: the sample
//! coverage, the estimated share of future sightings that fall on behaviours which are known: now, and after further windows.
//! Failure: `None` while there is too little to tell.
//!
//! The estimators are those of A. Chao and L. Jost, "Coverage-based rarefaction and extrapolation", Ecology 93, 2012, in the form
//! for incidences of A. Chao and others, "Rarefaction and extrapolation with Hill numbers", Ecological Monographs 84, 2014. How well
//! they predict recorded behaviour is measured in `agent/tests/coverage`, with the figures in docs/coverage.md.

use agent_common::domain::Domain;
use agent_common::file::Layer;

use crate::behaviour::{Behaviour, FileBehaviour};
use crate::profile::model::Profile;

/// Fewest windows from which anything is said: the estimate compares what was seen once with what was seen twice.
const WINDOWS_MIN: u64 = 2;
/// Further windows are predicted up to this many times as many as there were. Beyond twice the sample the published estimators are
/// known to be unreliable.
const FURTHER_TIMES_MAX: u64 = 2;

/// What is known of how often behaviours were seen: all that the estimates depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    /// Observation windows that count.
    windows: u64,
    /// Behaviours that were seen in one window, and in two.
    once: u64,
    twice: u64,
    /// Sightings: of each behaviour the windows in which it was seen, added up.
    all: u64,
}

// === impl Sightings ===

impl Sightings {
    /// Of `windows` observation windows, each behaviour was seen in as many as `seen` says.
    #[must_use]
    pub fn new(windows: u64, seen: impl IntoIterator<Item = u64>) -> Self {
        let mut sightings = Self {
            windows,
            ..Self::default()
        };
        for windows in seen {
            sightings.add(windows);
        }
        sightings
    }

    fn add(&mut self, windows: u64) {
        self.once += u64::from(windows == 1);
        self.twice += u64::from(windows == 2);
        self.add_covered(windows);
    }

    /// Adds a behaviour that a rule for several holds for: that it was seen seldom says nothing of what the profile lacks.
    const fn add_covered(&mut self, windows: u64) {
        self.all = self.all.saturating_add(windows);
    }

    /// Whether nothing was seen at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// Observation windows that count.
    #[must_use]
    pub const fn windows(&self) -> u64 {
        self.windows
    }

    /// The estimated share, 0 to 1, of future sightings that fall on behaviours which were seen. `None` with fewer than two windows,
    /// or if nothing was seen.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        self.coverage_after(0)
    }

    /// What [`Self::coverage`] is expected to be after `further` windows more. `None` where that is, and for more than twice as many
    /// windows as there were.
    #[must_use]
    pub fn coverage_after(&self, further: u64) -> Option<f64> {
        if self.windows < WINDOWS_MIN
            || self.is_empty()
            || further > self.windows.saturating_mul(FURTHER_TIMES_MAX)
        {
            return None;
        }
        let unseen = real(self.once) / real(self.all) * self.remains().powf(real(further) + 1.0);
        Some((1.0 - unseen).clamp(0.0, 1.0))
    }

    /// The fewest further windows after which the coverage is expected to be `share`, 0 to 1. `None` where there is too little to
    /// tell, and if it is not to be expected within twice as many windows as there were.
    #[must_use]
    pub fn windows_until(&self, share: f64) -> Option<u64> {
        let reached = |further| {
            self.coverage_after(further)
                .is_some_and(|coverage| coverage >= share)
        };
        let (mut below, mut at_most) = (0, self.windows.saturating_mul(FURTHER_TIMES_MAX));
        if reached(below) {
            return Some(0);
        }
        if !reached(at_most) {
            return None;
        }
        // What is expected grows with the windows: halve until the first of them is left.
        while at_most - below > 1 {
            let middle = below + (at_most - below) / 2;
            if reached(middle) {
                at_most = middle;
            } else {
                below = middle;
            }
        }
        Some(at_most)
    }

    /// By which factor the unseen share is expected to shrink with each window: what was seen once against what was seen twice. Without
    /// anything seen twice, the corrected form of the paper; but that says of a single behaviour seen once that nothing is left unseen,
    /// which the recordings contradict. There Turing's older estimate stands, as the share of the other windows.
    fn remains(&self) -> f64 {
        let (once, twice) = (real(self.once), real(self.twice));
        let before = real(self.windows) - 1.0;
        match (self.once, self.twice) {
            (0, _) => 0.0,
            (1, 0) => before / (before + 1.0),
            (_, 0) => before * (once - 1.0) / (before * (once - 1.0) + 2.0),
            _ => before * once / (before * once + 2.0 * twice),
        }
    }
}

// === impl Profile ===

impl Profile {
    /// How often what the main section holds of `domain` was seen by the container's own processes.
    ///
    /// What was accepted without having been seen, or was learned in a window that is still open, does not count. Of files for
    /// which a rule for several paths holds, none counts as seen seldom.
    #[must_use]
    pub fn sightings(&self, domain: Domain) -> Sightings {
        let mut sightings = Sightings::new(self.counts.of(domain).windows, []);
        for (windows, is_covered) in self.seen(domain) {
            if is_covered {
                sightings.add_covered(windows);
            } else {
                sightings.add(windows);
            }
        }
        sightings
    }

    /// Of each behaviour of `domain` in the main section: in how many windows it was seen, and whether a rule for several holds for
    /// it.
    pub(crate) fn seen(&self, domain: Domain) -> impl Iterator<Item = (u64, bool)> {
        let rules = Layer::ALL.iter().flat_map(|layer| self.main.patterns(*layer));
        let rules: Vec<FileBehaviour> = rules.map(|(rule, _)| rule).collect();
        let of_domain = self.main.iter().filter(move |(held, _)| held.domain() == domain);
        of_domain.map(move |(behaviour, evidence)| {
            let is_covered = match &behaviour {
                Behaviour::File(file) => rules.iter().any(|rule| rule.covers(file)),
                _ => false,
            };
            (evidence.windows, is_covered || behaviour.is_pattern())
        })
    }

    /// Estimated share, 0 to 1, of what the container's own processes will be seen doing in `domain` that its main section holds.
    #[must_use]
    pub fn coverage(&self, domain: Domain) -> Option<f64> {
        self.sightings(domain).coverage()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are rounded, which an estimate does not feel"
)]
const fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use agent_common::file::FileOperation;
    use proptest::prelude::*;

    use super::*;
    use crate::behaviour::FilePattern;
    use crate::profile::model::{Evidence, ProfileKey, Role};

    fn of(windows: u64, seen: &[u64]) -> Sightings {
        Sightings::new(windows, seen.iter().copied())
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("enough to tell");
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn says_nothing_without_windows_or_sightings() {
        for sightings in [of(0, &[1]), of(1, &[1]), of(10, &[]), of(10, &[0, 0])] {
            assert_eq!(sightings.coverage(), None);
            assert_eq!(sightings.coverage_after(1), None);
            assert_eq!(sightings.windows_until(0.5), None);
        }
    }

    #[test]
    fn is_the_published_estimator() {
        // By hand: Q1 = 2, Q2 = 1, T = 10, U = 14: 1 - 2/14 * (18 / 20).
        near(of(10, &[1, 1, 2, 10]).coverage(), 1.0 - 2.0 / 14.0 * 0.9);
        // By hand, nothing seen twice: Q1 = 3, T = 5, U = 8: 1 - 3/8 * (8 / 10).
        near(of(5, &[1, 1, 1, 5]).coverage(), 1.0 - 3.0 / 8.0 * 0.8);
        assert_eq!(
            of(60, &[60, 60, 3]).coverage(),
            Some(1.0),
            "nothing was seen only once"
        );
    }

    #[test]
    fn a_single_behaviour_seen_once_is_not_taken_for_the_last() {
        // By hand: 1 / 31 * (9 / 10).
        near(of(10, &[10, 10, 10, 1]).coverage(), 1.0 - 0.9 / 31.0);
        near(
            of(10, &[10, 10, 10, 1]).coverage_after(10),
            1.0 - 0.9_f64.powi(11) / 31.0,
        );
    }

    #[test]
    fn what_is_expected_is_the_published_extrapolation() {
        // As above, with the factor once more for each further window.
        let sightings = of(10, &[1, 1, 2, 10]);
        near(sightings.coverage_after(3), 1.0 - 2.0 / 14.0 * 0.9_f64.powi(4));
        near(sightings.coverage_after(20), 1.0 - 2.0 / 14.0 * 0.9_f64.powi(21));
        assert_eq!(sightings.coverage_after(21), None, "nobody can tell that far");
    }

    #[test]
    fn tells_after_how_many_windows_a_share_is_expected() {
        let sightings = of(10, &[1, 1, 2, 10]);
        // 2/14 * 0.9^(n + 1) <= 0.05 from n = 9 on: 0.9^9 = 0.387, 0.9^10 = 0.349, and 0.05 * 7 = 0.35.
        assert_eq!(sightings.windows_until(0.95), Some(9));
        assert_eq!(sightings.windows_until(0.5), Some(0), "it is there");
        assert_eq!(sightings.windows_until(0.999), None, "not within 20 windows");
    }

    #[test]
    fn what_a_rule_for_several_paths_holds_for_is_not_seen_seldom() {
        let file = |pattern: FilePattern| {
            Behaviour::from(FileBehaviour {
                layer: Layer::Upper,
                pattern,
                operation: FileOperation::Read,
            })
        };
        let exact = |path: &str| file(FilePattern::Exact(path.into()));
        let key = ProfileKey {
            digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
            role: Role::new("/bin/app".into()).expect("a role"),
        };
        let mut profile = Profile::new(1, key);
        profile.counts.file.windows = 10;
        for (path, windows) in [("/tmp/1", 1), ("/tmp/2", 1), ("/etc/app.conf", 10)] {
            profile.main.insert(exact(path), Evidence::of_windows(windows));
        }
        // Q1 = 2, Q2 = 0, T = 10, U = 12.
        near(
            profile.coverage(Domain::File),
            1.0 - 2.0 / 12.0 * (9.0 / (9.0 + 2.0)),
        );
        let rule = "/tmp/{decimal}".parse().expect("a rule");
        profile
            .main
            .insert(file(FilePattern::Pattern(rule)), Evidence::default());
        assert_eq!(profile.coverage(Domain::File), Some(1.0));
        assert_eq!(profile.coverage(Domain::Exec), None, "nothing of it was seen");
    }

    proptest! {
        #[test]
        fn is_a_share_that_grows(windows: u64, seen: Vec<u64>) {
            let sightings = of(windows, &seen);
            if let Some(share) = sightings.coverage() {
                prop_assert!((0.0..=1.0).contains(&share), "{}", share);
                let later = sightings.coverage_after(windows).expect("as many again can be told");
                prop_assert!((share..=1.0).contains(&later), "{} after {}", later, share);
            }
        }

        #[test]
        fn the_first_window_that_is_enough_is_told(windows in 2_u64..500, seen: Vec<u8>, share in 0.0..1.0_f64) {
            let sightings = Sightings::new(windows, seen.into_iter().map(u64::from));
            if let Some(further) = sightings.windows_until(share) {
                prop_assert!(sightings.coverage_after(further) >= Some(share));
                prop_assert!(further == 0 || sightings.coverage_after(further - 1) < Some(share));
            } else if let Some(last) = sightings.coverage_after(2 * windows) {
                prop_assert!(last < share);
            }
        }
    }
}
