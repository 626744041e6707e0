//! `driftlock profile list`, `show`, `accept`.

use super::learned::{self, percent, windows};
use super::{count, image, mode_tone, or_dash};
use crate::cli::screen::{Screen, Tone, keep_whole, lines, shorten};
use crate::control::view::{
    AcceptView, BehaviourState, BehaviourView, ProfileSummary, ProfileView, RuleProposalView, SignatureView,
};

/// Columns of the terminal below which approval and windows give way; `profile show` has them.
const NARROW: u16 = 100;
/// Columns that the parts take that are short by nature, in a narrow terminal and in another one.
const TAKEN_NARROW: u16 = 51;
/// See [`TAKEN_NARROW`].
const TAKEN: u16 = 74;
/// Columns that a name has at least.
const ROOM_LEAST: usize = 8;

/// A row per profile.
#[must_use]
pub fn list(profiles: &[ProfileSummary], screen: Screen) -> String {
    if profiles.is_empty() {
        return "no profiles\n".to_owned();
    }
    let is_narrow = screen.width.is_some_and(|width| width < NARROW);
    let mut heads = vec!["IMAGE", "ROLE", "DIGEST", "MODE", "RULES", "PROPOSED", "COVERAGE"];
    if !is_narrow {
        heads.extend(["APPROVED", "WINDOWS"]);
    }
    let mut table = screen.table(&heads);
    keep_whole(&mut table, &(2..heads.len()).collect::<Vec<_>>());
    let taken = if is_narrow { TAKEN_NARROW } else { TAKEN };
    let room = screen.width.map_or(usize::MAX, |width| {
        (usize::from(width.saturating_sub(taken)) / 2)
            .saturating_sub(2)
            .max(ROOM_LEAST)
    });
    for profile in profiles {
        let proposals = if profile.proposals > 0 {
            Tone::Notable
        } else {
            Tone::Plain
        };
        let name = image(profile.references.first(), None);
        let mut cells = vec![
            screen.cell(shorten(&name, room), Tone::Plain),
            screen.cell(shorten(&profile.role.to_string(), room), Tone::Plain),
            screen.cell(profile.digest.short(), Tone::Plain),
            screen.cell(or_dash(profile.mode), profile.mode.map_or(Tone::Plain, mode_tone)),
            screen.cell(profile.rules, Tone::Plain),
            screen.cell(profile.proposals, proposals),
            screen.cell(coverage(profile.coverage), Tone::Plain),
        ];
        if !is_narrow {
            let approved = if profile.approved { "yes" } else { "no" };
            cells.push(screen.cell(approved, Tone::Plain));
            cells.push(screen.cell(windows(profile.windows, profile.windows_lost), Tone::Plain));
        }
        table.add_row(cells);
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
    row("learned from", count(summary.instances, "instance"));
    let scripts = if summary.scripts {
        "compared with the profile"
    } else {
        "judged by their layer alone"
    };
    row("scripts", scripts.to_owned());
    if let Some(signature) = &summary.signature {
        row("signature", signature_text(signature));
    }
    row("approved", if summary.approved { "yes" } else { "no" }.to_owned());
    if let Some(before) = &summary.follows {
        let and_now = if before.learns_changes {
            "; what changed is learned until `profile approve`"
        } else {
            ""
        };
        row(
            "follows",
            format!(
                "{}, from which it has {}{and_now}",
                before.digest.short(),
                count(before.inherited, "rule")
            ),
        );
    }
    if let Some(changed) = summary.changed {
        row("changed", changed.to_string());
    }
    format!(
        "{}\n{}\n{}{}",
        lines(&table),
        learned::of_profile(&summary.domains, screen),
        behaviours(&profile.behaviours, screen),
        proposals(&profile.rule_proposals, screen)
    )
}

/// Who signed, and whether that still holds.
fn signature_text(signature: &SignatureView) -> String {
    let state = match (&signature.problem, &signature.changed[..]) {
        (Some(problem), _) => format!("does not count: {problem}"),
        (None, []) => "holds".to_owned(),
        (None, changed) => format!(
            "no longer holds for {}: what is permitted there is not what was signed",
            changed.join(", ")
        ),
    };
    format!("key {}, {state} ({})", signature.key, signature.comment)
}

/// Rules for several paths that could be accepted, and what each would permit.
fn proposals(proposals: &[RuleProposalView], screen: Screen) -> String {
    if proposals.is_empty() {
        return String::new();
    }
    let mut table = screen.table(&["PROPOSED RULE", "LAYER", "MANNER", "FOR", "PERMITS"]);
    keep_whole(&mut table, &[1, 2]);
    for proposal in proposals {
        table.add_row([
            screen.cell(proposal.parts.subject(), Tone::Notable),
            screen.cell(or_dash(proposal.parts.layer), Tone::Plain),
            screen.cell(or_dash(proposal.parts.manner()), Tone::Plain),
            screen.cell(
                format!(
                    "{} first seen in {} windows",
                    count(proposal.paths, "path"),
                    proposal.windows
                ),
                Tone::Plain,
            ),
            screen.cell(proposal.allows.join("; "), Tone::Plain),
        ]);
    }
    format!("\n{}`profile accept --pattern` makes one a rule\n", lines(&table))
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
    let accepted = if accept.behaviours.is_empty() {
        "all that was proposed\n".to_owned()
    } else {
        behaviours(&accept.behaviours, screen)
    };
    format!(
        "{} ({}) {verb}\n{accepted}",
        accept.digest.short(),
        roles.join(", ")
    )
}

fn behaviours(behaviours: &[BehaviourView], screen: Screen) -> String {
    if behaviours.is_empty() {
        return "holds nothing\n".to_owned();
    }
    let mut table = screen.table(&[
        "FOR", "DOMAIN", "LAYER", "SUBJECT", "MANNER", "STATE", "WINDOWS", "CONTENT",
    ]);
    keep_whole(&mut table, &[0, 1, 2, 5, 6]);
    for behaviour in behaviours {
        let (state, tone) = match behaviour.state {
            BehaviourState::Learned => ("learned", Tone::Plain),
            BehaviourState::Inherited => ("inherited", Tone::Plain),
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
            screen.cell(behaviour.parts.domain, Tone::Plain),
            screen.cell(or_dash(behaviour.parts.layer), Tone::Plain),
            screen.cell(behaviour.parts.subject(), Tone::Plain),
            screen.cell(or_dash(behaviour.parts.manner()), Tone::Plain),
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
    lines(&table) + &supports(behaviours, screen)
}

/// What supports the rules for several paths, and what else they permit.
fn supports(behaviours: &[BehaviourView], screen: Screen) -> String {
    let mut table = screen.list();
    let supported = behaviours.iter().filter_map(|rule| Some((rule, rule.support?)));
    for (rule, support) in supported {
        let paths = count(support.paths, "path");
        let text = format!(
            "holds for {paths} that were seen, in {} windows, and permits every other one of this kind",
            support.windows
        );
        table.add_row([
            screen.cell(rule.parts.subject(), Tone::Plain),
            screen.cell(text, Tone::Notable),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{}", lines(&table))
}

fn coverage(share: Option<f64>) -> String {
    or_dash(share.map(percent))
}
