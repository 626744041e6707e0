//! `driftlock status`: what matters first, then what can be done and what holds per domain, how far
//! the profiles are that are learned, then the rest.

use std::time::Duration;

use super::attention::{self, causes, counts, lost};
use super::{canary, count, learned, mode_tone, or_dash, sinks, tier_tone, tier_word};
use crate::cli::screen::{Screen, Tone, duration, keep_whole, lines};
use crate::control::view::{CountersView, PoliciesView, StatusView, Tier};

/// The agent's state.
#[must_use]
pub fn text(status: &StatusView, screen: Screen) -> String {
    let headline = attention::headline(status);
    let mut text = format!("{}\n", screen.paint(&headline.text, headline.tone));
    let mut points = screen.list();
    for point in attention::points(status) {
        points.add_row([screen.cell("!", point.tone), screen.cell(point.text, Tone::Plain)]);
    }
    text += &lines(&points);
    text += "\n";
    text += &domains(status, screen);
    text += "\n";
    if !status.sinks.is_empty() {
        text += &sinks::table(&status.sinks, screen);
        text += "\n";
    }
    let learning = learned::of_node(&status.learning, status.learning_left_out, screen);
    if !learning.is_empty() {
        text += &learning;
        text += "\n";
    }
    text + &details(status, screen)
}

/// A row per domain.
fn domains(status: &StatusView, screen: Screen) -> String {
    let mut table = screen.table(&["DOMAIN", "DEFAULT", "CAN", "RECORDS", "LOST", "WHY"]);
    keep_whole(&mut table, &[0, 1, 2, 3, 4]);
    for tier in &status.tiers {
        let mut modes = status.default_modes.iter();
        let mode = modes
            .find(|mode| mode.domain == tier.domain)
            .map(|mode| mode.mode)
            // What is not watched has no mode that means anything.
            .filter(|_| tier.can > Tier::None);
        let mut counters = status.domain_counters.iter();
        let counters = counters
            .find(|of| of.domain == tier.domain)
            .filter(|_| tier.can > Tier::None);
        let lost = counters.map(|of| of.lost_ring.saturating_add(of.lost_quota));
        table.add_row([
            screen.cell(tier.domain, Tone::Plain),
            screen.cell(or_dash(mode), mode.map_or(Tone::Plain, mode_tone)),
            screen.cell(tier_word(tier.can), tier_tone(tier.can)),
            screen.cell(or_dash(counters.map(|of| of.generated)), Tone::Plain),
            screen.cell(
                or_dash(lost),
                if lost > Some(0) { Tone::Bad } else { Tone::Plain },
            ),
            screen.cell(&tier.reason, Tone::Plain),
        ]);
    }
    lines(&table)
}

/// A row per subject.
fn details(status: &StatusView, screen: Screen) -> String {
    let mut table = screen.list();
    keep_whole(&mut table, &[0]);
    let mut row = |subject: &str, text: String, tone: Tone| {
        table.add_row([screen.cell(subject, Tone::Plain), screen.cell(text, tone)]);
    };
    row(
        "containers",
        format!(
            "{}: {}; {} in {}",
            status.containers,
            counts(status),
            count(status.profiles, "profile"),
            status.store
        ),
        Tone::Plain,
    );
    row("records", records(&status.counters), lost_tone(&status.counters));
    row("denied", denied(&status.counters), Tone::Plain);
    row("kills", kills(&status.counters), kill_tone(&status.counters));
    row(
        "alerts",
        format!(
            "{} raised, {} now",
            status.alerts,
            count(status.readers, "reader")
        ),
        Tone::Plain,
    );
    row(
        "spool",
        sinks::spool(&status.spool),
        sinks::spool_tone(&status.spool),
    );
    row("policies", policies(&status.policies), Tone::Plain);
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
    // What is not attached was told at the top.
    let with_detail = status.hooks.iter().filter(|hook| hook.attached);
    for (hook, detail) in with_detail.filter_map(|hook| Some((hook, hook.detail.as_ref()?))) {
        row(
            "",
            format!("{} ({}): {detail}", hook.name, hook.target),
            Tone::Notable,
        );
    }
    row(
        "canary",
        canary::text(&status.canary),
        canary::tone(&status.canary),
    );
    row(
        "cgroups",
        format!(
            "{}, ids from {}: {}",
            status.cgroups.layout, status.cgroups.hierarchy, status.cgroups.reason
        ),
        Tone::Plain,
    );
    let uptime = duration(Duration::from_secs(status.uptime_s));
    row(
        "agent",
        format!(
            "driftlock {} (ABI {}) on {}, pid {}, for {uptime}",
            status.version, status.abi, status.node, status.pid
        ),
        Tone::Plain,
    );
    row(
        "",
        status.confinement.text.clone(),
        if status.confinement.confined {
            Tone::Plain
        } else {
            Tone::Notable
        },
    );
    lines(&table)
}

fn policies(policies: &PoliciesView) -> String {
    let signed = if policies.enforce_only_signed {
        format!(
            ", enforced is what is signed by {}",
            policies.trusted_keys.join(" or ")
        )
    } else {
        String::new()
    };
    format!(
        "exec_into: {}, unprofiled: {}, kill: [{}]{signed}",
        policies.exec_into,
        policies.unprofiled,
        policies.kill.join(", ")
    )
}

pub(super) fn lost_tone(counters: &CountersView) -> Tone {
    if lost(counters) > 0 || counters.untracked_tasks > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

fn records(counters: &CountersView) -> String {
    let lost = match lost(counters) {
        0 => "none lost".to_owned(),
        lost => format!("{lost} lost: {}", causes(counters)),
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
