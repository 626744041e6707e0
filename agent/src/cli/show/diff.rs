//! `driftlock profile diff`.

use agent_common::domain::Section;

use super::{count, or_dash};
use crate::cli::screen::{Screen, Tone, keep_whole, lines};
use crate::profile::diff::{BehaviourDiff, Change, DiffSide, ProfileDiff, RoleDiff, Said};

/// What differs, role by role. What is added would be permitted, which is worth a look; what is removed no longer would.
#[must_use]
pub fn text(diff: &ProfileDiff, screen: Screen) -> String {
    let side = |sign, side: &DiffSide| {
        let name = crate::text::escape(side.name.as_bytes());
        format!("{sign} {name} ({})\n", side.digest.short())
    };
    let mut text = side("---", &diff.from) + &side("+++", &diff.to);
    if diff.is_empty() {
        text += "both permit the same\n";
    }
    for role in &diff.roles {
        text += "\n";
        text += &self::role(role, screen);
    }
    text
}

fn role(role: &RoleDiff, screen: Screen) -> String {
    let number = |change| role.behaviours.iter().filter(|one| one.change == change).count() as u64;
    let what = match role.change {
        Change::Added => "only in the second",
        Change::Removed => "only in the first",
        Change::Changed => "in both",
    };
    let mut text = format!(
        "role {}, {what}: {} added, {} removed, {} changed\n",
        role.role,
        count(number(Change::Added), "behaviour"),
        number(Change::Removed),
        number(Change::Changed)
    );
    if let Some(descent) = &role.descent {
        let inherited = count(descent.inherited, "rule");
        let anew = descent.anew.len();
        text += &inherited;
        text += &format_args!(" inherited, {anew} seen anew because what they name changed\n").to_string();
    }
    for setting in role.settings.iter().filter(|_| role.change == Change::Changed) {
        let (from, to) = (or_dash(setting.from), or_dash(setting.to));
        text += &screen.paint(&format!("~ {}: {from} -> {to}\n", setting.name), Tone::Notable);
    }
    let mut table = screen.table(&["", "DOMAIN", "FOR", "LAYER", "SUBJECT", "MANNER", "HOW"]);
    keep_whole(&mut table, &[0, 1, 2, 3]);
    for one in &role.behaviours {
        let (sign, tone) = match one.change {
            Change::Added => ("+", Tone::Good),
            Change::Removed => ("-", Tone::Bad),
            Change::Changed => ("~", Tone::Notable),
        };
        table.add_row([
            screen.cell(sign, tone),
            screen.cell(one.parts.domain, tone),
            screen.cell(one.section.map_or("all", Section::as_str), tone),
            screen.cell(or_dash(one.parts.layer), tone),
            screen.cell(one.parts.subject(), tone),
            screen.cell(or_dash(one.parts.manner()), tone),
            screen.cell(how(one), tone),
        ]);
    }
    for rule in role.descent.iter().flat_map(|descent| &descent.anew) {
        let tone = Tone::Notable;
        table.add_row([
            screen.cell("*", tone),
            screen.cell(rule.parts.domain, tone),
            screen.cell(rule.section.as_str(), tone),
            screen.cell(or_dash(rule.parts.layer), tone),
            screen.cell(rule.parts.subject(), tone),
            screen.cell(or_dash(rule.parts.manner()), tone),
            screen.cell("seen anew: it changed", tone),
        ]);
    }
    if !table.is_empty() {
        text += &lines(&table);
    }
    text
}

/// What the documents say of a behaviour.
fn how(one: &BehaviourDiff) -> String {
    match (&one.from, &one.to) {
        (Some(from), Some(to)) => {
            let mut parts = Vec::new();
            if from.permitted != to.permitted {
                parts.push(format!("{} -> {}", word(from), word(to)));
            }
            let new = to
                .sha256
                .difference(&from.sha256)
                .map(|hash| format!("+{}", short(hash)));
            let gone = from
                .sha256
                .difference(&to.sha256)
                .map(|hash| format!("-{}", short(hash)));
            parts.extend(gone.chain(new));
            if from.note != to.note {
                parts.push("another note".to_owned());
            }
            parts.join(" ")
        }
        (Some(said), None) | (None, Some(said)) => {
            let contents: Vec<_> = said.sha256.iter().map(|hash| short(hash)).collect();
            if contents.is_empty() {
                word(said).to_owned()
            } else {
                contents.join(" ")
            }
        }
        (None, None) => String::new(),
    }
}

fn word(said: &Said) -> &'static str {
    if said.permitted { "permitted" } else { "proposed" }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
