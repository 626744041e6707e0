//! Whether a profile may be called learned: what was observed of one domain, against what an operator demands.
//!
//! Input: a profile (which is one role of one image), a domain, and [`Targets`]. Output: [`Completeness`]: each condition with what is
//! and what is needed, and what further observation is expected to bring. Failure: none; a coverage that cannot be told is
//! not met. Pure: nothing in here knows the engine or a clock.

use agent_common::domain::Domain;
use serde::{Deserialize, Serialize};

use crate::profile::model::Profile;

/// What must have been observed of a domain for it to be complete. The defaults are those of the configuration's `learned:`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// Least estimated share, 0 to 1, of future behaviour that the profile holds.
    pub coverage: f64,
    /// Least number of container instances.
    pub instances: u64,
    /// Least number of observation windows without a lost record.
    pub windows: u64,
    /// Least number of instances that were observed from their first program on.
    pub starts: u64,
    /// Least number of instances whose end was observed.
    pub ends: u64,
    /// Most observation windows in which records were lost. They count for nothing, but what was lost may come in
    /// such windows alone.
    pub lost_windows: u64,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The sample coverage.
    Coverage,
    /// Container instances.
    Instances,
    /// Observation windows that count.
    Windows,
    /// Observed starts.
    Starts,
    /// Observed ends.
    Ends,
    /// Observation windows that lost records.
    LostWindows,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// That many.
    Count(u64),
    /// A share, 0 to 1.
    Share(f64),
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    pub subject: Subject,
    /// What is; null while there is too little to tell.
    pub is: Option<Amount>,
    /// What is needed: at least that much, of lost windows at most.
    pub needed: Amount,
    /// Whether it holds.
    pub met: bool,
}

/// What further observation is expected to bring.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Further observation windows: as many as there were.
    pub windows: u64,
    /// The coverage that is expected after them.
    pub coverage: f64,
    /// Further windows after which the target is expected to be met; 0 if it is, null if not within twice as many as there were.
    pub windows_until_target: Option<u64>,
}

/// How complete a profile is in one domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Completeness {
    /// All conditions hold.
    pub complete: bool,
    /// Each condition.
    pub conditions: Vec<Condition>,
    /// What as many windows again are expected to bring; null while there is too little to tell.
    pub expected: Option<Expected>,
}

// === impl Targets ===

impl Default for Targets {
    fn default() -> Self {
        Self {
            coverage: 0.99,
            instances: 3,
            windows: 40,
            starts: 1,
            ends: 1,
            lost_windows: 0,
        }
    }
}

// === impl Completeness ===

impl Completeness {
    /// Of what `profile` holds of `domain`.
    #[must_use]
    pub fn of(profile: &Profile, domain: Domain, targets: &Targets) -> Self {
        let counts = profile.counts.of(domain);
        let sightings = profile.sightings(domain);
        let coverage = sightings.coverage();
        // Where nothing was ever seen (a program that uses no capability) there is no share of it to estimate: the
        // windows in which nothing came are what speaks.
        let is_covered = coverage.map_or(
            sightings.is_empty() && counts.windows > 0 && counts.windows >= targets.windows,
            |coverage| coverage >= targets.coverage,
        );
        let conditions = vec![
            Condition {
                subject: Subject::Coverage,
                is: coverage.map(Amount::Share),
                needed: Amount::Share(targets.coverage),
                met: is_covered,
            },
            Condition::at_least(Subject::Instances, counts.instances, targets.instances),
            Condition::at_least(Subject::Windows, counts.windows, targets.windows),
            Condition::at_least(Subject::Starts, counts.starts, targets.starts),
            Condition::at_least(Subject::Ends, counts.ends, targets.ends),
            Condition {
                subject: Subject::LostWindows,
                is: Some(Amount::Count(counts.lost_windows)),
                needed: Amount::Count(targets.lost_windows),
                met: counts.lost_windows <= targets.lost_windows,
            },
        ];
        let expected = sightings
            .coverage_after(sightings.windows())
            .map(|coverage| Expected {
                windows: sightings.windows(),
                coverage,
                windows_until_target: sightings.windows_until(targets.coverage),
            });
        Self {
            complete: conditions.iter().all(|condition| condition.met),
            conditions,
            expected,
        }
    }

    /// The conditions that do not hold.
    pub fn missing(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().filter(|condition| !condition.met)
    }
}

// === impl Condition ===

impl Condition {
    const fn at_least(subject: Subject, is: u64, needed: u64) -> Self {
        Self {
            subject,
            is: Some(Amount::Count(is)),
            needed: Amount::Count(needed),
            met: is >= needed,
        }
    }
}

// === impl Profile ===

impl Profile {
    /// How complete it is in `domain`.
    #[must_use]
    pub fn completeness(&self, domain: Domain, targets: &Targets) -> Completeness {
        Completeness::of(self, domain, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{Behaviour, ExecBehaviour};
    use crate::profile::model::{Evidence, ProfileKey, Role, WindowCounts};

    /// All that the defaults demand.
    const ENOUGH: WindowCounts = WindowCounts {
        instances: 3,
        windows: 40,
        lost_windows: 0,
        lost_records: 0,
        starts: 1,
        ends: 1,
    };

    fn profile(counts: WindowCounts, seen: &[u64]) -> Profile {
        let key = ProfileKey {
            digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
            role: Role::new("/bin/app".into()).expect("a role"),
        };
        let mut profile = Profile::new(1, key);
        profile.counts.exec = counts;
        for (number, windows) in seen.iter().enumerate() {
            let program = ExecBehaviour {
                layer: agent_common::file::Layer::Image,
                path: format!("/bin/{number}").as_str().into(),
                applet: None,
            };
            profile
                .main
                .insert(Behaviour::Exec(program), Evidence::of_windows(*windows));
        }
        profile
    }

    fn missing(counts: WindowCounts, seen: &[u64]) -> Vec<Subject> {
        let found = profile(counts, seen).completeness(Domain::Exec, &Targets::default());
        let missing: Vec<_> = found.missing().map(|condition| condition.subject).collect();
        assert_eq!(found.complete, missing.is_empty());
        missing
    }

    #[test]
    fn is_complete_only_when_every_condition_holds() {
        assert_eq!(missing(ENOUGH, &[40, 40]), []);
        assert_eq!(missing(ENOUGH, &[40, 1, 1]), [Subject::Coverage]);
        let with = |change: fn(&mut WindowCounts)| {
            let mut counts = ENOUGH;
            change(&mut counts);
            missing(counts, &[9, 9])
        };
        assert_eq!(with(|counts| counts.instances = 2), [Subject::Instances]);
        assert_eq!(with(|counts| counts.windows = 39), [Subject::Windows]);
        assert_eq!(with(|counts| counts.starts = 0), [Subject::Starts]);
        assert_eq!(with(|counts| counts.ends = 0), [Subject::Ends]);
        assert_eq!(with(|counts| counts.lost_windows = 1), [Subject::LostWindows]);
        assert_eq!(
            missing(WindowCounts::default(), &[]),
            [
                Subject::Coverage,
                Subject::Instances,
                Subject::Windows,
                Subject::Starts,
                Subject::Ends
            ]
        );
    }

    #[test]
    fn the_domains_are_told_apart() {
        let profile = profile(ENOUGH, &[10]);
        let targets = Targets::default();
        assert!(profile.completeness(Domain::Exec, &targets).complete);
        assert!(!profile.completeness(Domain::File, &targets).complete);
    }

    #[test]
    fn where_nothing_ever_came_the_windows_speak() {
        assert_eq!(missing(ENOUGH, &[]), []);
        let few = WindowCounts {
            windows: 39,
            ..ENOUGH
        };
        assert_eq!(missing(few, &[]), [Subject::Coverage, Subject::Windows]);
        let none_demanded = Targets {
            windows: 0,
            ..Targets::default()
        };
        let nothing = profile(WindowCounts { windows: 0, ..ENOUGH }, &[]);
        assert!(!nothing.completeness(Domain::Exec, &none_demanded).complete);
    }

    #[test]
    fn tells_what_is_and_what_is_needed() {
        let found = profile(
            WindowCounts {
                windows: 10,
                ..ENOUGH
            },
            &[1, 1, 2, 10],
        )
        .completeness(Domain::Exec, &Targets::default());
        let text = serde_json::to_string_pretty(&found).expect("is JSON");
        insta::assert_snapshot!(text);
        let read: Completeness = serde_json::from_str(&text).expect("reads");
        // The last digit of a fraction may differ.
        assert_eq!(read.conditions[1..], found.conditions[1..]);
        assert!(
            serde_json::from_str::<Completeness>("{}").is_ok(),
            "of an earlier agent"
        );
    }
}
