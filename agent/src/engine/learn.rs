//! Learning: what was decided to be learned goes into the store, and only then into the kernel.
//!
//! A behaviour is committed before its rule exists. A crash in between makes the kernel send it again; the other order
//! could make it known to the kernel and to nobody else.

use std::collections::HashMap;
use std::time::Duration;

use agent_common::domain::{Domain, Mode, Section};
use agent_common::rule::WINDOW_NS;

use super::Engine;
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
        for ((profile, observation, event, deviation), learned) in lessons.into_iter().zip(learned) {
            match learned {
                Learned::New | Learned::Known if observation.section == Section::Main => {
                    let grown = self.publisher.grow(
                        &mut self.maps,
                        profile,
                        observation.section,
                        &observation.behaviour,
                    );
                    Self::log_map_failure(grown);
                }
                // A proposal permits nothing, but need not be sent again.
                Learned::New | Learned::Known => self.take_in_hand(&event, &deviation),
                Learned::Full => {
                    self.counters.not_learned += 1;
                    self.report(&event, &deviation, true);
                }
                Learned::Refused(error) => {
                    tracing::warn!(%error, behaviour = %observation.behaviour, "not learned");
                    self.report(&event, &deviation, true);
                }
            }
        }
    }

    /// At the end of a window: how often each behaviour was seen, and whether the window counts.
    ///
    /// A window in which a container lost records does not count, neither for its behaviours nor for their number.
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
        let mut has_lost = std::collections::HashSet::new();
        for tracked in self.containers.values_mut() {
            let lost = match self.maps.instance(tracked.slot) {
                Ok(instance) => instance.counters[Domain::Exec as usize].lost(),
                Err(_) => continue,
            };
            let lost_now = lost.saturating_sub(std::mem::replace(&mut tracked.lost_before_window, lost));
            if lost_now > 0 {
                has_lost.insert(tracked.cgroup);
            }
            let Some(known) = tracked.known() else { continue };
            if tracked.mode(Domain::Exec) != Mode::Learn {
                continue;
            }
            let count = counts.entry(known.key.clone()).or_default();
            count.lost_records += lost_now;
            if lost_now > 0 {
                count.lost_windows += 1;
            } else {
                count.windows += 1;
            }
        }
        let gains: Vec<EvidenceGain> = evidence
            .into_iter()
            .filter(|(key, _)| !has_lost.contains(&key.container))
            .filter_map(|(key, windows)| {
                let known = self.containers.get(&key.container)?.known()?;
                let behaviour = self.publisher.behaviour(known.profile, &key)?.clone();
                let section = Section::from_raw(key.section)?;
                Some(EvidenceGain {
                    key: known.key.clone(),
                    section,
                    behaviour,
                    windows,
                })
            })
            .collect();
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
}
