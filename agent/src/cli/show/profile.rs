//! `driftlock profile list`, `show`, `accept`.

use super::{count, image, mode_tone, or_dash};
use crate::cli::screen::{Screen, Tone, keep_whole, lines};
use crate::control::view::{AcceptView, BehaviourState, BehaviourView, ProfileSummary, ProfileView};

/// A row per profile.
#[must_use]
pub fn list(profiles: &[ProfileSummary], screen: Screen) -> String {
    if profiles.is_empty() {
        return "no profiles\n".to_owned();
    }
    let mut table = screen.table(&[
        "IMAGE", "DIGEST", "ROLE", "MODE", "RULES", "PROPOSED", "WINDOWS", "COVERAGE", "APPROVED",
    ]);
    keep_whole(&mut table, &[1, 4, 5, 8]);
    for profile in profiles {
        table.add_row([
            screen.cell(image(profile.references.first(), None), Tone::Plain),
            screen.cell(profile.digest.short(), Tone::Plain),
            screen.cell(&profile.role, Tone::Plain),
            screen.cell(or_dash(profile.mode), profile.mode.map_or(Tone::Plain, mode_tone)),
            screen.cell(profile.rules, Tone::Plain),
            screen.cell(
                profile.proposals,
                if profile.proposals > 0 {
                    Tone::Notable
                } else {
                    Tone::Plain
                },
            ),
            screen.cell(windows(profile), Tone::Plain),
            screen.cell(coverage(profile), Tone::Plain),
            screen.cell(if profile.approved { "yes" } else { "no" }, Tone::Plain),
        ]);
    }
    lines(&table)
}

/// A profile with all it holds.
#[must_use]
pub fn show(profile: &ProfileView, screen: Screen) -> String {
    let summary = &profile.summary;
    let mut table = screen.list();
    let mut row = |subject: &str, text: String| {
        table.add_row([subject.to_owned(), text]);
    };
    let references: Vec<_> = summary.references.iter().map(ToString::to_string).collect();
    row(
        "image",
        if references.is_empty() {
            "-".to_owned()
        } else {
            references.join(", ")
        },
    );
    row("digest", summary.digest.to_string());
    row("role", summary.role.to_string());
    row("mode", or_dash(summary.mode));
    row(
        "rules",
        format!(
            "{}, {}, generation {}",
            count(summary.rules, "rule"),
            count(summary.proposals, "proposal"),
            summary.generation
        ),
    );
    row(
        "learned from",
        format!(
            "{}, {} windows, coverage {}",
            count(summary.instances, "instance"),
            windows(summary),
            coverage(summary)
        ),
    );
    let scripts = if summary.scripts {
        "compared with the profile"
    } else {
        "judged by their layer alone"
    };
    row("scripts", scripts.to_owned());
    row("approved", if summary.approved { "yes" } else { "no" }.to_owned());
    if let Some(changed) = summary.changed {
        row("changed", changed.to_string());
    }
    format!("{}\n{}", lines(&table), behaviours(&profile.behaviours, screen))
}

/// What was accepted.
#[must_use]
pub fn accepted(accept: &AcceptView, screen: Screen) -> String {
    let roles: Vec<_> = accept.roles.iter().map(ToString::to_string).collect();
    let verb = if accept.already {
        "already permits"
    } else {
        "now permits"
    };
    format!(
        "{} ({}) {verb}\n{}",
        accept.digest.short(),
        roles.join(", "),
        behaviours(std::slice::from_ref(&accept.behaviour), screen)
    )
}

fn behaviours(behaviours: &[BehaviourView], screen: Screen) -> String {
    if behaviours.is_empty() {
        return "holds nothing\n".to_owned();
    }
    let mut table = screen.table(&[
        "FOR", "DOMAIN", "LAYER", "PATH", "APPLET", "STATE", "WINDOWS", "CONTENT",
    ]);
    keep_whole(&mut table, &[0, 1, 2, 5, 6]);
    for behaviour in behaviours {
        let (state, tone) = match behaviour.state {
            BehaviourState::Learned => ("learned", Tone::Plain),
            BehaviourState::Accepted => ("accepted", Tone::Good),
            BehaviourState::Proposed => ("proposed", Tone::Notable),
        };
        let contents: Vec<_> = behaviour
            .sha256
            .iter()
            .map(|hash| hash.get(..12).unwrap_or(hash))
            .collect();
        table.add_row([
            screen.cell(
                behaviour
                    .section
                    .map_or("all", agent_common::domain::Section::as_str),
                Tone::Plain,
            ),
            screen.cell(behaviour.domain, Tone::Plain),
            screen.cell(behaviour.layer, Tone::Plain),
            screen.cell(&behaviour.path, Tone::Plain),
            screen.cell(or_dash(behaviour.applet.as_ref()), Tone::Plain),
            screen.cell(state, tone),
            screen.cell(behaviour.windows, Tone::Plain),
            screen.cell(
                if contents.is_empty() {
                    "any".to_owned()
                } else {
                    contents.join(" ")
                },
                Tone::Plain,
            ),
        ]);
    }
    lines(&table)
}

fn windows(profile: &ProfileSummary) -> String {
    match profile.windows_lost {
        0 => profile.windows.to_string(),
        lost => format!("{} (+{lost} lost)", profile.windows),
    }
}

fn coverage(profile: &ProfileSummary) -> String {
    or_dash(profile.coverage.map(|share| format!("{:.1} %", share * 100.0)))
}
