//! What the engine knows, as metrics.
//!
//! Input: the engine's answer to `status`, or that there is none. Output: families. Failure: none; without an answer there is one figure,
//! which says so.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::delivery;
use super::page::{Page, flag, number};
use crate::control::view::{
    CanaryView, CountersView, DomainCountersView, LearningView, ModeCounts, StatusView, Tier,
};
use crate::profile::completeness::{Amount, Subject};

/// What can be done in a domain, as words.
const TIERS: [(Tier, &str); 4] = [
    (Tier::None, "none"),
    (Tier::Observe, "observe"),
    (Tier::Kill, "kill"),
    (Tier::Deny, "deny"),
];

/// The engine's answer; `None` if it gave none in time.
#[derive(Debug)]
pub(super) struct Figures(pub(super) Option<Arc<StatusView>>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(encoder);
        page.gauge(
            "driftlock_engine_answers",
            "Whether the engine answers; 0 means that nothing else is known of it",
            flag(self.0.is_some()),
        )?;
        let Some(status) = &self.0 else { return Ok(()) };
        build(&mut page, status)?;
        records(&mut page, &status.domain_counters, &status.counters)?;
        actions(&mut page, &status.domain_counters, &status.counters)?;
        containers(&mut page, status.modes)?;
        profiles(&mut page, status)?;
        kernel(&mut page, status)?;
        alerts(&mut page, status)?;
        canary(&mut page, &status.canary)?;
        delivery::spool(&mut page, &status.spool)?;
        delivery::sinks(&mut page, &status.sinks)
    }
}

fn build(page: &mut Page<'_>, status: &StatusView) -> Result<(), Error> {
    let abi = status.abi.to_string();
    page.gauges(
        "driftlock_build_info",
        "The agent's version, and that of its agreement with the kernel programs",
        [([("version", status.version.as_str()), ("abi", &abi)], 1.0)],
    )?;
    page.gauge(
        "driftlock_uptime_seconds",
        "How long the agent runs",
        number(status.uptime_s),
    )
}

fn records(
    page: &mut Page<'_>,
    domains: &[DomainCountersView],
    counters: &CountersView,
) -> Result<(), Error> {
    page.counters(
        "driftlock_records_generated",
        "Records that the kernel programs had to send",
        domains.iter().map(|of| (domain(of), of.generated)),
    )?;
    page.counters(
        "driftlock_records_submitted",
        "Records that reached the ring buffer",
        domains.iter().map(|of| (domain(of), of.submitted)),
    )?;
    page.counter(
        "driftlock_records_undecodable",
        "Records that made no sense to the agent",
        counters.undecodable,
    )?;
    page.counter(
        "driftlock_records_duplicate",
        "Records that two agents' programs sent of the same, while one took over from the other",
        counters.duplicate,
    )?;
    page.counter(
        "driftlock_records_unattributed",
        "Records whose container was never found out",
        counters.unattributed,
    )?;
    page.gauge(
        "driftlock_records_waiting",
        "Records that wait for their container's image now",
        number(counters.waiting),
    )
}

fn actions(
    page: &mut Page<'_>,
    domains: &[DomainCountersView],
    counters: &CountersView,
) -> Result<(), Error> {
    page.counters(
        "driftlock_kills",
        "Processes that a kill was sent to",
        domains.iter().map(|of| (domain(of), of.kills)),
    )?;
    page.counter(
        "driftlock_kills_confirmed",
        "Of those, the ones that were seen to have died by it",
        counters.kills_confirmed,
    )?;
    page.counter(
        "driftlock_kills_failed",
        "Kills that the kernel refused to send",
        counters.kills_failed,
    )?;
    page.counters(
        "driftlock_operations_denied",
        "Operations that were refused",
        domains.iter().map(|of| (domain(of), of.denied)),
    )?;
    page.counter(
        "driftlock_executions_unchecked",
        "Executions that could not be looked at before they happened, and were judged after",
        counters.unchecked,
    )?;
    page.counter(
        "driftlock_tasks_untracked",
        "Processes of which it could not be kept whose they are",
        counters.untracked_tasks,
    )
}

fn containers(page: &mut Page<'_>, modes: ModeCounts) -> Result<(), Error> {
    let counts = [
        ("learn", modes.learn),
        ("monitor", modes.monitor),
        ("enforce", modes.enforce),
        ("pending", modes.pending),
        ("unresolved", modes.unresolved),
        ("not_observable", modes.not_observable),
    ];
    page.gauges(
        "driftlock_containers",
        "Containers by the strictest of their modes, or by why they have none",
        counts.map(|(mode, count)| ([("mode", mode)], number(count))),
    )?;
    page.gauge(
        "driftlock_containers_provisional",
        "Of those that have a mode, the ones whose image is not known",
        number(modes.provisional),
    )
}

fn profiles(page: &mut Page<'_>, status: &StatusView) -> Result<(), Error> {
    page.gauge(
        "driftlock_profiles",
        "Profiles in the store",
        number(status.profiles),
    )?;
    page.gauge(
        "driftlock_profiles_learning",
        "Profiles that containers are learning now",
        number(status.learning.len() as u64 + status.learning_left_out),
    )?;
    let progress = Progress::of(&status.learning);
    page.gauges(
        "driftlock_profiles_learning_complete",
        "Of the first 64 of them, those that meet every condition in a domain that they learn",
        progress
            .complete
            .into_iter()
            .map(|(domain, count)| ([("domain", domain)], number(count))),
    )?;
    page.gauges(
        "driftlock_profiles_learning_unmet",
        "Of the first 64 of them, those that do not meet a condition yet, by domain and condition",
        progress.unmet.into_iter().map(|((domain, condition), count)| {
            ([("domain", domain), ("condition", condition)], number(count))
        }),
    )?;
    page.gauges(
        "driftlock_profiles_learning_least_coverage_ratio",
        "The least coverage among the first 64 of them, as far as there is enough to estimate it",
        progress
            .least_coverage
            .into_iter()
            .map(|(domain, share)| ([("domain", domain)], share)),
    )
}

fn kernel(page: &mut Page<'_>, status: &StatusView) -> Result<(), Error> {
    let tiers = status.tiers.iter().flat_map(|tier| {
        TIERS.map(|(can, word)| {
            let labels = [("domain", tier.domain.as_str()), ("can", word)];
            (labels, flag(tier.can == can))
        })
    });
    page.gauges(
        "driftlock_tier",
        "What can be done about a deviation on this node: 1 for what holds",
        tiers,
    )?;
    // Several programs can have the name of what they are attached to.
    let mut attached = BTreeMap::<&str, bool>::new();
    for hook in &status.hooks {
        *attached.entry(&hook.name).or_insert(true) &= hook.attached;
    }
    page.gauges(
        "driftlock_hook_attached",
        "Whether the kernel programs of a hook are attached, all of them",
        attached
            .into_iter()
            .map(|(hook, attached)| ([("hook", hook)], flag(attached))),
    )
}

fn alerts(page: &mut Page<'_>, status: &StatusView) -> Result<(), Error> {
    let folding = status.folding;
    page.gauge(
        "driftlock_folds",
        "Alerts whose repeats are being counted now",
        number(folding.open),
    )?;
    let cut = [
        ("closed_early", folding.closed_early),
        ("kills_not_awaited", folding.kills_not_awaited),
        ("confirmations_forgotten", folding.confirmations_forgotten),
    ];
    page.counters(
        "driftlock_folds_cut_short",
        "What the folding of alerts gave up before its time because its tables were full",
        cut.map(|(what, count)| ([("what", what)], count)),
    )?;
    page.gauge(
        "driftlock_alert_readers",
        "Clients of the control socket that follow the alerts",
        number(status.readers),
    )
}

fn canary(page: &mut Page<'_>, canary: &CanaryView) -> Result<(), Error> {
    page.gauge(
        "driftlock_canary_interval_seconds",
        "Time from one canary to the next; 0 if there are none",
        number(canary.interval_s),
    )?;
    if canary.interval_s > 0 {
        page.gauge(
            "driftlock_canary_caught_age_seconds",
            "How long ago the last canary was caught; where none was, how long ago they began",
            number(canary.caught_ago_s),
        )?;
    }
    let last = canary.last.iter();
    let times = last.flat_map(|last| [("hook", last.from_hook_us), ("start", last.from_start_us)]);
    page.gauges(
        "driftlock_canary_seconds",
        "Time until the record of the last canary was decided about, if that was in time",
        times.filter_map(|(from, us)| Some(([("from", from)], number(us?) / 1e6))),
    )
}

fn domain(counters: &DomainCountersView) -> [(&'static str, &'static str); 1] {
    [("domain", counters.domain.as_str())]
}

/// How far the profiles are that are being learned, by domain.
#[derive(Debug, Default)]
struct Progress {
    complete: BTreeMap<&'static str, u64>,
    unmet: BTreeMap<(&'static str, &'static str), u64>,
    least_coverage: BTreeMap<&'static str, f64>,
}

impl Progress {
    fn of(learning: &[LearningView]) -> Self {
        let mut progress = Self::default();
        for of in learning.iter().flat_map(|profile| &profile.domains) {
            let domain = of.domain.as_str();
            *progress.complete.entry(domain).or_default() += u64::from(of.completeness.complete);
            for condition in &of.completeness.conditions {
                let unmet = progress
                    .unmet
                    .entry((domain, word(condition.subject)))
                    .or_default();
                *unmet += u64::from(!condition.met);
                if let (Subject::Coverage, Some(Amount::Share(share))) = (condition.subject, condition.is) {
                    let least = progress.least_coverage.entry(domain).or_insert(share);
                    *least = least.min(share);
                }
            }
        }
        progress
    }
}

const fn word(subject: Subject) -> &'static str {
    match subject {
        Subject::Coverage => "coverage",
        Subject::Instances => "instances",
        Subject::Windows => "windows",
        Subject::Starts => "starts",
        Subject::Ends => "ends",
        Subject::LostWindows => "lost_windows",
    }
}
