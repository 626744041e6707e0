//! What became of records and of the processes that were acted on, per domain and together.
//!
//! Input: what the kernel programs and the answering process counted, of the containers that are there and of those that are gone.
//! Output: counters. Failure: a container whose counters cannot be read adds nothing.

use agent_common::domain::{DOMAIN_SLOTS, Domain};
use agent_common::instance::Instance;

use super::Engine;
use super::container::Tracked;
use crate::control::view::{CountersView, DomainCountersView};

/// Counters by the domain's number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DomainCounters([CountersView; DOMAIN_SLOTS]);

impl DomainCounters {
    /// Adds what the kernel programs counted for a container.
    pub(super) fn add(&mut self, instance: &Instance) {
        for (view, counters) in self.0.iter_mut().zip(&instance.counters) {
            view.add(counters);
        }
    }

    /// Those of one domain.
    pub(super) fn of(&mut self, domain: Domain) -> &mut CountersView {
        &mut self.0[domain as usize]
    }

    /// All domains together.
    pub(super) fn total(&self) -> CountersView {
        let mut total = CountersView::default();
        for view in &self.0 {
            total.add_view(view);
        }
        total
    }

    /// Each domain apart.
    pub(super) fn views(&self) -> Vec<DomainCountersView> {
        Domain::ALL
            .iter()
            .map(|&domain| DomainCountersView::new(domain, &self.0[domain as usize]))
            .collect()
    }
}

impl Engine {
    /// Of one container.
    pub(super) fn counters_of(&self, tracked: &Tracked) -> DomainCounters {
        let mut counters = DomainCounters::default();
        if let Ok(instance) = self.maps.instance(tracked.slot) {
            counters.add(&instance);
        }
        self.add_answers(tracked.cgroup, counters.of(Domain::Exec));
        counters
    }

    /// Of all containers, also of those that are gone.
    pub(super) fn counters_of_all(&self) -> DomainCounters {
        let mut counters = self.counters.gone;
        for tracked in self.containers.values() {
            if let Ok(instance) = self.maps.instance(tracked.slot) {
                counters.add(&instance);
            }
            self.add_answers(tracked.cgroup, counters.of(Domain::Exec));
        }
        self.add_past_answers(counters.of(Domain::Exec));
        counters
    }
}
