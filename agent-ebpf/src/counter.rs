//! Counters in maps, which every CPU adds to.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use agent_common::domain::Domain;
use agent_common::instance::{Counters, Instance};

/// Adds to a counter that other CPUs add to as well.
#[inline(always)]
pub fn add(counter: &mut u64, amount: u64) {
    // SAFETY: the reference is to aligned memory of a map. (`AtomicU64` has no `fetch_add` on this target, because the
    // oldest instruction set knows only this one atomic operation.)
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}

/// The counters of one domain of a container.
#[inline(always)]
pub fn counters(instance: &mut Instance, domain: Domain) -> &mut Counters {
    &mut instance.counters[domain as usize]
}
