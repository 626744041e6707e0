//! Learning: what was decided to be learned goes into the store, and only then into the kernel.
//!
//! A behaviour is committed before its rule exists. A crash in between makes the kernel send it again; the other order
//! could make it known to the kernel and to nobody else.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use agent_common::domain::{Mode, Section};
use agent_common::rule::{BehaviourKey, RuleKey, WINDOW_NS};

use super::Engine;
use super::container::Tracked;
use crate::behaviour::LEARNED_DOMAINS;
use crate::compare::Deviation;
use crate::event::UseEvent;
use crate::profile::model::{ObservationCounts, ProfileKey};
use crate::profile::store::{EvidenceGain, Learned, Observation};

/// What one batch of records has to teach.
#[derive(Default)]
pub(super) struct Learning(Vec<(UseEvent, Deviation)>);

impl Learning {
    pub(super) fn add(&mut self, event: &UseEvent, deviation: Deviation) {
        self.0.push((event.clone(), deviation));
    }
}

/// Number of the observation window at `now`.
pub(super) fn window(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) / WINDOW_NS
}

/// Adds to the evidence of the kernel what was seen once and learned in the window that has ended: the kernel counts only what
/// conforms.
fn with_first_sightings(
    evidence: Vec<(BehaviourKey, u64)>,
    learned_now: HashSet<BehaviourKey>,
) -> HashMap<BehaviourKey, u64> {
    let mut all: HashMap<BehaviourKey, u64> = learned_now.into_iter().map(|key| (key, 1)).collect();
    all.extend(evidence);
    all
}

impl Engine {
    /// Commits a batch in one transaction, then lets the kernel know.
    pub(super) fn learn(&mut self, learning: Learning) {
        let lessons: Vec<_> = learning
            .0
            .into_iter()
            .filter_map(|(event, deviation)| {
                let known = self.containers.get(&event.origin.container)?.known()?;
                let observation = Observation {
                    key: known.key.clone(),
                    section: event.section,
                    behaviour: deviation.learnable.clone()?,
                };
                Some((known.profile, observation, event, deviation))
            })
            .collect();
        if lessons.is_empty() {
            return;
        }
        let observations: Vec<_> = lessons
            .iter()
            .map(|(_, observation, ..)| observation.clone())
            .collect();
        let learned = match self.store.learn(&observations) {
            Ok(learned) => learned,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    behaviours = observations.len(),
                    "nothing was learned; the kernel will send it again"
                );
                return;
            }
        };
        let mut with_patterns = HashSet::new();
        let mut grown = HashSet::new();
        for ((profile, observation, event, deviation), learned) in lessons.into_iter().zip(learned) {
            if observation.behaviour.is_pattern() && matches!(learned, Learned::New) {
                with_patterns.insert(profile);
            }
            if matches!(learned, Learned::New) && observation.section == Section::Main {
                grown.insert(profile);
            }
            if matches!(learned, Learned::New) {
                let key = self.kernel.hash_key;
                let container = event.origin.container;
                self.learned_now
                    .insert(observation.behaviour.key(key, container, observation.section));
            }
            match learned {
                Learned::New | Learned::Known if observation.section == Section::Main => {
                    self.permit(profile, &event, &observation.behaviour);
                }
                // A proposal permits nothing, but need not be sent again.
                Learned::New | Learned::Known => self.take_in_hand(&event, &deviation),
                Learned::Full => {
                    self.counters.not_learned += 1;
                    self.report_full(&event, &deviation);
                }
                Learned::Refused(error) => {
                    tracing::warn!(%error, behaviour = %observation.behaviour, "not learned");
                    self.report(&event, &deviation, true);
                }
            }
        }
        for profile in with_patterns {
            self.look_for_patterns(profile);
        }
        for profile in grown {
            self.recheck_signature(profile);
        }
    }

    /// At the end of a window: how often each behaviour was seen, and whether the window counts.
    ///
    /// A window in which a container lost records of a domain does not count for that domain, neither for its behaviours nor
    /// for their number.
    pub(super) fn count_windows(&mut self, now: Duration) {
        let current = window(now);
        if current == self.last_window {
            return;
        }
        self.last_window = current;
        let evidence = match self.maps.drain_evidence(current) {
            Ok(evidence) => evidence,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no evidence for this window"
                );
                return;
            }
        };
        let mut counts: HashMap<ProfileKey, ObservationCounts> = HashMap::new();
        let mut has_lost = HashSet::new();
        for tracked in self.containers.values_mut() {
            let Ok(instance) = self.maps.instance(tracked.slot) else {
                continue;
            };
            for domain in LEARNED_DOMAINS {
                let lost = instance.counters[domain as usize].lost();
                let before = std::mem::replace(&mut tracked.lost_before_window[domain as usize], lost);
                let lost_now = lost.saturating_sub(before);
                if lost_now > 0 {
                    has_lost.insert((tracked.cgroup, domain as u8));
                }
                let Some(known) = tracked.known().filter(|_| tracked.mode(domain) == Mode::Learn) else {
                    continue;
                };
                let count = counts.entry(known.key.clone()).or_default();
                if let Some(count) = count.of_mut(domain) {
                    count.count_window(lost_now);
                }
            }
        }
        let evidence = with_first_sightings(evidence, std::mem::take(&mut self.learned_now));
        let evidence = evidence
            .into_iter()
            .filter(|(key, _)| !has_lost.contains(&(key.container, key.domain)));
        let gains = self.gains(evidence);
        let counts: Vec<_> = counts.into_iter().collect();
        if gains.is_empty() && counts.is_empty() {
            return;
        }
        if let Err(error) = self.store.add_windows(&gains, &counts) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the evidence of a window was not kept"
            );
        }
    }

    /// What windows bring, by profile: the containers of one image count together.
    fn gains(&self, evidence: impl Iterator<Item = (BehaviourKey, u64)>) -> Vec<EvidenceGain> {
        let mut seen: HashMap<u32, HashMap<RuleKey, u64>> = HashMap::new();
        for (key, windows) in evidence {
            let known = self.containers.get(&key.container).and_then(Tracked::known);
            let Some(known) = known else { continue };
            let rule = RuleKey {
                hash: key.hash,
                profile: known.profile,
                generation: 0,
                domain: key.domain,
                layer: key.layer,
                section: key.section,
                operation: key.operation,
                reserved: [0; 4],
            };
            *seen.entry(known.profile).or_default().entry(rule).or_default() += windows;
        }
        let profiles = seen
            .into_iter()
            .filter_map(|(profile, seen)| Some((self.store.profile_by_id(profile)?, seen)));
        profiles
            .flat_map(|(profile, seen)| {
                let behaviours = self.publisher.seen_behaviours(profile, &seen);
                behaviours
                    .into_iter()
                    .map(|(section, behaviour, windows)| EvidenceGain {
                        key: profile.key.clone(),
                        section,
                        behaviour,
                        windows,
                    })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_in_a_window_was_seen_in_it_once() {
        let key = |hash| BehaviourKey {
            hash,
            ..BehaviourKey::default()
        };
        // Seen again in the same window, the kernel counts it; seen before, it is not new.
        let kernel = vec![(key(1), 1), (key(2), 3)];
        let all = with_first_sightings(kernel, HashSet::from([key(1), key(3)]));
        assert_eq!(all, HashMap::from([(key(1), 1), (key(2), 3), (key(3), 1)]));
    }
}
