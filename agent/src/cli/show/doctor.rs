//! `driftlock doctor`.

use super::{tier_tone, tier_word};
use crate::cli::screen::{Screen, Tone, keep_whole, lines};
use crate::control::view::{CheckResult, CheckedBy, DoctorView};

/// In one line how it is, what can be done per domain, and a row per check, what is wrong first.
#[must_use]
pub fn text(doctor: &DoctorView, screen: Screen) -> String {
    let checked_by = match doctor.checked_by {
        CheckedBy::Agent => "checked by the running agent",
        CheckedBy::Command => "no agent runs; checked by this command",
    };
    let number = |wanted| {
        doctor
            .checks
            .iter()
            .filter(|check| check.result == wanted)
            .count()
    };
    let (missing, warnings, fine) = (
        number(CheckResult::Missing),
        number(CheckResult::Warn),
        number(CheckResult::Ok),
    );
    let (headline, tone) = match (missing, warnings) {
        (0, 0) => (format!("all of {fine} checks are as they should be"), Tone::Good),
        (0, _) => (
            format!("the agent can run; {warnings} of its checks warn, {fine} are fine"),
            Tone::Notable,
        ),
        _ => (
            format!("the agent cannot run: {missing} missing, {warnings} warn, {fine} fine"),
            Tone::Bad,
        ),
    };
    let mut text = format!("{}\n{checked_by}\n\n", screen.paint(&headline, tone));
    if !doctor.tiers.is_empty() {
        let mut table = screen.table(&["DOMAIN", "CAN", "WHY"]);
        keep_whole(&mut table, &[0, 1]);
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
    keep_whole(&mut table, &[1]);
    let mut checks: Vec<_> = doctor.checks.iter().collect();
    // What is equally grave stays in the order in which it was checked.
    checks.sort_by_key(|check| match check.result {
        CheckResult::Missing => 0,
        CheckResult::Warn => 1,
        CheckResult::Ok => 2,
    });
    for check in checks {
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
