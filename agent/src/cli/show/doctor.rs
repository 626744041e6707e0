//! `driftlock doctor`.

use super::{tier_tone, tier_word};
use crate::cli::screen::{Screen, Tone, lines};
use crate::control::view::{CheckResult, CheckedBy, DoctorView};

/// What can be done per domain, and a row per check.
#[must_use]
pub fn text(doctor: &DoctorView, screen: Screen) -> String {
    let mut text = match doctor.checked_by {
        CheckedBy::Agent => "checked by the running agent\n\n",
        CheckedBy::Command => "no agent runs; checked by this command\n\n",
    }
    .to_owned();
    if !doctor.tiers.is_empty() {
        let mut table = screen.table(&["DOMAIN", "CAN", "WHY"]);
        for tier in &doctor.tiers {
            table.add_row([
                screen.cell(tier.domain, Tone::Plain),
                screen.cell(tier_word(tier.can), tier_tone(tier.can)),
                screen.cell(&tier.reason, Tone::Plain),
            ]);
        }
        text += &lines(&table);
        text.push('\n');
    }
    let mut table = screen.table(&["CHECK", "RESULT", "FOUND"]);
    for check in &doctor.checks {
        let (result, tone) = match check.result {
            CheckResult::Ok => ("ok", Tone::Good),
            CheckResult::Warn => ("warn", Tone::Notable),
            CheckResult::Missing => ("missing", Tone::Bad),
        };
        let found = match &check.hint {
            Some(hint) => format!("{}\n-> {hint}", check.detail),
            None => check.detail.clone(),
        };
        table.add_row([
            screen.cell(&check.name, Tone::Plain),
            screen.cell(result, tone),
            screen.cell(found, Tone::Plain),
        ]);
    }
    text += &lines(&table);
    text
}
