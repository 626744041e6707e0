//! How far profiles are: coverage per domain, what it is expected to become, and what is missing until a profile is complete.
//!
//! Input: [`DomainProfileView`], [`LearningView`]. Output: tables. Failure: none. `status` and `profile show` say the same.

use comfy_table::Cell;

use super::{count, image, or_dash};
use crate::cli::screen::{Screen, Tone, keep_whole, lines, shorten};
use crate::control::view::{DomainProfileView, LearningView};
use crate::profile::completeness::{Amount, Condition, Expected, Subject};

/// Columns of an image's name and of a role, where the terminal has not room for any.
const NAME_COLUMNS: usize = 24;
/// Columns of the terminal below which they are half as wide, and roles give way.
const NARROW: u16 = 120;

/// A row per domain of one profile.
#[must_use]
pub fn of_profile(domains: &[DomainProfileView], screen: Screen) -> String {
    let mut table = screen.table(&[
        "DOMAIN", "RULES", "PROPOSED", "WINDOWS", "COVERAGE", "EXPECTED", "LEARNED",
    ]);
    keep_whole(&mut table, &[0, 1, 2]);
    for domain in domains {
        let mut cells = vec![
            screen.cell(domain.domain, Tone::Plain),
            screen.cell(domain.rules, Tone::Plain),
            screen.cell(domain.proposals, Tone::Plain),
        ];
        cells.extend(progress(domain, screen));
        table.add_row(cells);
    }
    lines(&table)
}

/// A row per profile and domain that is learned now; nothing if there is none.
#[must_use]
pub fn of_node(learning: &[LearningView], left_out: u64, screen: Screen) -> String {
    if learning.is_empty() {
        return String::new();
    }
    let is_narrow = screen.width.is_some_and(|width| width < NARROW);
    let mut heads = vec!["LEARNING", "DOMAIN", "WINDOWS", "COVERAGE", "EXPECTED", "LEARNED"];
    let mut columns = NAME_COLUMNS / 2;
    if !is_narrow {
        heads.insert(1, "ROLE");
        columns = NAME_COLUMNS;
    }
    let mut table = screen.table(&heads);
    keep_whole(&mut table, &[heads.len() - 5]);
    for profile in learning {
        let name = shorten(&image(profile.reference.as_ref(), Some(&profile.digest)), columns);
        for domain in &profile.domains {
            let mut cells = vec![screen.cell(&name, Tone::Plain)];
            if !is_narrow {
                cells.push(screen.cell(shorten(&profile.role.to_string(), columns), Tone::Plain));
            }
            cells.push(screen.cell(domain.domain, Tone::Plain));
            cells.extend(progress(domain, screen));
            table.add_row(cells);
        }
    }
    let more = match left_out {
        0 => String::new(),
        left_out => format!(
            "and {} more: see `driftlock profile list`\n",
            count(left_out, "profile")
        ),
    };
    format!("{}{more}", lines(&table))
}

/// Windows, coverage, what it is expected to become, and what is missing.
fn progress(domain: &DomainProfileView, screen: Screen) -> [Cell; 4] {
    let completeness = &domain.completeness;
    let tone = if completeness.complete {
        Tone::Good
    } else {
        Tone::Notable
    };
    [
        screen.cell(windows(domain.windows, domain.windows_lost), Tone::Plain),
        screen.cell(or_dash(domain.coverage.map(percent)), Tone::Plain),
        screen.cell(or_dash(completeness.expected.as_ref().map(expected)), Tone::Plain),
        screen.cell(learned(domain), tone),
    ]
}

/// `complete`, or what is missing.
fn learned(domain: &DomainProfileView) -> String {
    let completeness = &domain.completeness;
    if completeness.complete {
        return "complete".to_owned();
    }
    let missing: Vec<_> = completeness
        .missing()
        .map(|condition| missing(condition, completeness.expected.as_ref()))
        .collect();
    if missing.is_empty() {
        // An agent that knows of no conditions.
        return "-".to_owned();
    }
    format!("not yet: {}", missing.join(", "))
}

/// A condition that does not hold.
fn missing(condition: &Condition, expected: Option<&Expected>) -> String {
    let needed = amount(condition.needed);
    let is = condition.is.map(amount);
    let counted = |noun: &str| format!("{} of {needed} {noun}", or_dash(is.as_ref()));
    let seen = |noun: &str| match condition.is {
        Some(Amount::Count(0)) => format!("no {noun} seen"),
        _ => format!("{} of {needed} {noun}s seen", or_dash(is.as_ref())),
    };
    match condition.subject {
        Subject::Coverage => {
            let until = expected.map(|expected| match expected.windows_until_target {
                Some(windows) => format!(", {needed} expected after {}", count(windows, "more window")),
                None => format!(", {needed} not expected soon"),
            });
            format!(
                "coverage {} of {needed}{}",
                is.as_deref().unwrap_or("unknown"),
                until.unwrap_or_default()
            )
        }
        Subject::Instances => counted("instances"),
        Subject::Windows => counted("windows"),
        Subject::Starts => seen("start"),
        Subject::Ends => seen("end"),
        Subject::LostWindows => format!(
            "records lost in {} windows, at most {needed} may",
            or_dash(is.as_ref())
        ),
    }
}

/// `99.2 % after 40 more windows`.
fn expected(expected: &Expected) -> String {
    format!(
        "{} after {}",
        percent(expected.coverage),
        count(expected.windows, "more window")
    )
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(number) => number.to_string(),
        Amount::Share(share) => percent(share),
    }
}

/// `40 (+2 lost)`.
pub(super) fn windows(counted: u64, lost: u64) -> String {
    match lost {
        0 => counted.to_string(),
        lost => format!("{counted} (+{lost} lost)"),
    }
}

/// `98.7 %`. Never rounded up to a whole that is not there.
pub(super) fn percent(share: f64) -> String {
    let shown = (share * 1000.0).floor() / 10.0;
    format!("{shown:.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_up() {
        for (share, text) in [
            (0.9899, "98.9 %"),
            (0.9999, "99.9 %"),
            (1.0, "100.0 %"),
            (0.0, "0.0 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn each_condition_has_its_words() {
        let of = |subject, is, needed| {
            let condition = Condition {
                subject,
                is,
                needed,
                met: false,
            };
            missing(&condition, None)
        };
        let (none, one, three) = (Amount::Count(0), Amount::Count(1), Amount::Count(3));
        assert_eq!(
            [
                of(Subject::Coverage, None, Amount::Share(0.9)),
                of(Subject::Coverage, Some(Amount::Share(0.5)), Amount::Share(0.9)),
                of(Subject::Instances, Some(one), three),
                of(Subject::Starts, Some(none), one),
                of(Subject::Ends, Some(one), three),
                of(Subject::LostWindows, Some(three), none),
            ],
            [
                "coverage unknown of 90.0 %",
                "coverage 50.0 % of 90.0 %",
                "1 of 3 instances",
                "no start seen",
                "1 of 3 ends seen",
                "records lost in 3 windows, at most 0 may",
            ]
        );
    }
}
