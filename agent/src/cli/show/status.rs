//! `driftlock status`.

use std::time::Duration;

use super::{count, tier_text, tier_tone};
use crate::cli::screen::{Screen, Tone, duration, lines};
use crate::control::view::{CountersView, StatusView};

/// The agent's state, a line per subject.
#[must_use]
pub fn text(status: &StatusView, screen: Screen) -> String {
    let mut table = screen.list();
    let mut row = |subject: &str, text: String, tone: Tone| {
        table.add_row([screen.cell(subject, Tone::Plain), screen.cell(text, tone)]);
    };
    let uptime = duration(Duration::from_secs(status.uptime_s));
    row(
        "agent",
        format!(
            "driftlock {} (ABI {}), pid {}, for {uptime}",
            status.version, status.abi, status.pid
        ),
        Tone::Plain,
    );
    row("node", status.node.clone(), Tone::Plain);
    row(
        "mode",
        format!(
            "{} by default; exec_into: {}, unprofiled: {}",
            status.default_mode, status.policies.exec_into, status.policies.unprofiled
        ),
        Tone::Plain,
    );
    for tier in &status.tiers {
        row(tier.domain.as_str(), tier_text(tier), tier_tone(tier.can));
    }
    row(
        "cgroups",
        format!(
            "{}, ids from {}: {}",
            status.cgroups.layout, status.cgroups.hierarchy, status.cgroups.reason
        ),
        Tone::Plain,
    );
    let attached = status.hooks.iter().filter(|hook| hook.attached).count();
    row(
        "hooks",
        format!(
            "{attached} of {} attached, {}",
            status.hooks.len(),
            pinned(status)
        ),
        if attached == status.hooks.len() {
            Tone::Good
        } else {
            Tone::Bad
        },
    );
    for hook in status
        .hooks
        .iter()
        .filter(|hook| !hook.attached || hook.detail.is_some())
    {
        let state = if hook.attached { "attached" } else { "not attached" };
        let detail = hook.detail.as_deref().unwrap_or("no reason known");
        row(
            "",
            format!("{} ({}) {state}: {detail}", hook.name, hook.target),
            Tone::Notable,
        );
    }
    row(
        "containers",
        format!(
            "{}, {} in {}",
            count(status.containers, "container"),
            count(status.profiles, "profile"),
            status.store
        ),
        Tone::Plain,
    );
    row(
        "alerts",
        format!("{} sent, {} now", status.alerts, count(status.readers, "reader")),
        Tone::Plain,
    );
    row("records", records(&status.counters), lost_tone(&status.counters));
    row("denied", denied(&status.counters), Tone::Plain);
    row("kills", kills(&status.counters), kill_tone(&status.counters));
    lines(&table)
}

/// How many records were lost, for whatever reason.
pub(super) fn lost(counters: &CountersView) -> u64 {
    [
        counters.lost_ring,
        counters.lost_quota,
        counters.undecodable,
        counters.unattributed,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

pub(super) fn lost_tone(counters: &CountersView) -> Tone {
    if lost(counters) > 0 || counters.untracked_tasks > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

fn records(counters: &CountersView) -> String {
    let causes = [
        (counters.lost_ring, "ring full"),
        (counters.lost_quota, "over quota"),
        (counters.undecodable, "undecodable"),
        (counters.unattributed, "unattributed"),
    ];
    let causes = causes.iter().filter(|(number, _)| *number > 0);
    let causes: Vec<_> = causes
        .map(|(number, cause)| format!("{number} {cause}"))
        .collect();
    let lost = match lost(counters) {
        0 => "none lost".to_owned(),
        lost => format!("{lost} lost: {}", causes.join(", ")),
    };
    let mut parts = vec![format!(
        "{} generated, {} submitted, {lost}",
        counters.generated, counters.submitted
    )];
    if counters.waiting > 0 {
        parts.push(format!("{} waiting for their container", counters.waiting));
    }
    if counters.untracked_tasks > 0 {
        parts.push(format!("{} not tracked", count(counters.untracked_tasks, "task")));
    }
    parts.join("; ")
}

/// What of the hooks stays when the agent ends.
fn pinned(status: &StatusView) -> String {
    match status.hooks.iter().filter(|hook| hook.pinned).count() {
        0 => "none of them outlives the agent".to_owned(),
        all if all == status.hooks.len() => "all outlive the agent".to_owned(),
        some => format!("{some} outlive the agent"),
    }
}

fn denied(counters: &CountersView) -> String {
    match counters.unchecked {
        0 => counters.denied.to_string(),
        unchecked => format!(
            "{}; {} could not be looked at beforehand",
            counters.denied,
            count(unchecked, "execution")
        ),
    }
}

fn kills(counters: &CountersView) -> String {
    format!(
        "{} sent, {} confirmed, {} failed",
        counters.kills, counters.kills_confirmed, counters.kills_failed
    )
}

fn kill_tone(counters: &CountersView) -> Tone {
    if counters.kills_failed > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    }
}
