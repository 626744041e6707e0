//! Learning: what was decided to be learned goes into the store, and only then into the kernel.
//!
//! A behaviour is committed before its rule exists. A crash in between makes the kernel send it again; the other order
//! could make it known to the kernel and to nobody else.

use std::collections::HashSet;

use agent_common::domain::Section;

use super::Engine;
use crate::compare::Deviation;
use crate::event::UseEvent;
use crate::metrics::fact::{StoreFailed, StoreOperation};
use crate::profile::store::{Learned, Observation};

/// What one batch of records has to teach.
#[derive(Default)]
pub(super) struct Learning(Vec<(UseEvent, Deviation)>);

impl Learning {
    pub(super) fn add(&mut self, event: &UseEvent, deviation: Deviation) {
        self.0.push((event.clone(), deviation));
    }
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
                self.metrics
                    .tell(&StoreFailed::new(StoreOperation::Learn, &error));
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
            if matches!(learned, Learned::New | Learned::Known) {
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
}
