//! The agent's figures for Prometheus, and the facts that they are made of.
//!
//! Input: operational facts, as they happen ([`Metrics::tell`]), and the engine's own answer to `status` when somebody asks. Output: a page
//! of metrics over HTTP ([`server`]). Failure: none of the engine's work depends on it; an engine that does not answer is a figure.
//!
//! What the kernel programs and the engine count already is read when it is asked for ([`figures`]); only what nobody else counts is counted
//! here. No label has text that a container, an image or a client chose: labels are words of this program, and names of the
//! configuration. So the number of series is bounded by the program, whatever runs on the node; docs/metrics.md lists them.
//!
//! There is no registry that everybody reaches: [`Metrics`] is made in `run.rs` and handed on.

mod delivery;
pub mod fact;
mod figures;
mod page;
mod process;
pub mod server;
mod source;
mod text;

use std::hash::Hash;

use agent_common::domain::Domain;
use agent_common::rule::Action;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::alert::kind::AlertKind;
use crate::alert::severity::Severity;
use crate::canary::attempt::CanaryResult;
use crate::tag::Tag as _;
use fact::{Fact, KernelOperation, LossCause, StoreOperation, UntrackedCause};

/// A label: its name and one of the words that it can have.
type Label = (&'static str, &'static str);
/// Counters by labels of a fixed number.
type Counters<const LABELS: usize> = Family<[Label; LABELS], Counter>;

/// What facts have added up to. A handle: clones count into the same figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    alerts_raised: Counters<2>,
    alerts_by_severity: Counters<1>,
    records_lost: Counters<2>,
    store_failures: Counters<1>,
    kernel_failures: Counters<1>,
    images_unknown: Counters<1>,
    containers_untracked: Counters<1>,
    canaries: Counters<1>,
}

impl Metrics {
    /// All figures at zero. Every series is there from the start, so that the first of its kind is an increase.
    #[must_use]
    pub fn new() -> Self {
        let actions = |kind: &'static str| {
            let actions = Action::all().iter();
            actions.map(move |action| [("kind", kind), ("action", action.word())])
        };
        let causes = |domain: &'static str| {
            LossCause::ALL.map(|cause| [("domain", domain), ("cause", cause.as_str())])
        };
        let kinds = AlertKind::ALL.iter().flat_map(|kind| actions(kind.as_str()));
        let domains = Domain::ALL.iter().flat_map(|domain| causes(domain.as_str()));
        Self {
            alerts_raised: at_zero(kinds),
            alerts_by_severity: at_zero(Severity::ALL.map(|severity| [("severity", severity.as_str())])),
            records_lost: at_zero(domains),
            store_failures: at_zero(StoreOperation::ALL.map(|operation| [("operation", operation.as_str())])),
            kernel_failures: at_zero(
                KernelOperation::ALL.map(|operation| [("operation", operation.as_str())]),
            ),
            images_unknown: at_zero([false, true].map(|provisional| [fact::outcome(provisional)])),
            containers_untracked: at_zero(UntrackedCause::ALL.map(|cause| [("cause", cause.as_str())])),
            canaries: at_zero(CanaryResult::ALL.map(|result| [("result", result.as_str())])),
        }
    }

    /// Writes a fact to the log, and counts it.
    pub fn tell(&self, fact: &impl Fact) {
        fact.log();
        fact.count(self);
    }

    /// Enters the figures in the registry of one page.
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "driftlock_alerts_raised",
            "Alerts that went out, summaries of repeats among them",
            self.alerts_raised.clone(),
        );
        registry.register(
            "driftlock_alerts_by_severity",
            "The same alerts by how grave they are",
            self.alerts_by_severity.clone(),
        );
        registry.register(
            "driftlock_records_lost",
            "Records of the kernel programs that were lost: the ring buffer was full, or the quota of a container was used up",
            self.records_lost.clone(),
        );
        registry.register(
            "driftlock_store_failures",
            "Writes of the profile store that failed",
            self.store_failures.clone(),
        );
        registry.register(
            "driftlock_kernel_failures",
            "What the kernel did not take or tell",
            self.kernel_failures.clone(),
        );
        registry.register(
            "driftlock_container_images_unknown",
            "Containers of which it was not found out in time which image they have",
            self.images_unknown.clone(),
        );
        registry.register(
            "driftlock_containers_untracked",
            "Containers that are not watched because there was no room for them",
            self.containers_untracked.clone(),
        );
        registry.register(
            "driftlock_canaries",
            "Drifted executions that the agent tried itself, by what came of them",
            self.canaries.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counters of which these exist already.
fn at_zero<L: Clone + Eq + Hash + EncodeLabelSet>(labels: impl IntoIterator<Item = L>) -> Family<L, Counter> {
    let family = Family::<L, Counter>::default();
    for labels in labels {
        drop(family.get_or_create(&labels));
    }
    family
}
