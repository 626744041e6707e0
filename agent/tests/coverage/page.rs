//! The tables of docs/coverage.md.
//!
//! Input: the recordings. Output: the page's part between its marks. Failure: a page that says otherwise.

use std::fmt::Write as _;

use crate::measure::{Measured, measure};
use crate::recording::{DOMAINS, NAMES, Recording};

/// The page, from this crate's directory.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/coverage.md");
/// What stands around the tables.
const MARKS: (&str, &str) = ("<!-- begin: coverage -->\n", "<!-- end: coverage -->\n");
/// Set to write the tables instead of comparing them.
const UPDATE: &str = "DRIFTLOCK_UPDATE_COVERAGE";
/// From how many windows is learned.
const SIZES: [usize; 4] = [10, 20, 40, 80];

/// Compares the page with what the recordings give, or writes it.
pub fn check() {
    let text = std::fs::read_to_string(PAGE).expect("the page is there");
    let (head, rest) = text.split_once(MARKS.0).expect("the page has the first mark");
    let (_, tail) = rest.split_once(MARKS.1).expect("the page has the second mark");
    let current = format!("{head}{}{}{}{tail}", MARKS.0, tables(), MARKS.1);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(PAGE, &current).expect("writes the page");
        return;
    }
    assert!(
        text == current,
        "docs/coverage.md is not what the recordings give: run `{UPDATE}=1 cargo test -p agent --test coverage` and review the difference"
    );
}

fn tables() -> String {
    let mut estimates = String::from(
        "\n| recorded | domain | learned from | unseen, predicted | unseen, really | off by, single splits | after as many again, predicted | really | in order, predicted | really |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut enough = String::from(
        "\n| recorded | domain | learned from | said to be covered to 99 % | then unseen, mean | at most |\n|---|---|---|---|---|---|\n",
    );
    for recording in NAMES.map(Recording::read) {
        for domain in DOMAINS {
            for size in SIZES {
                let Some(found) = measure(&recording, domain, size) else {
                    continue;
                };
                let case = format!("| {} | {domain} | {size} |", recording.name);
                row(&mut estimates, &case, &found);
                if let Some((mean, most)) = found.then_unseen {
                    let said = percent(found.said_enough);
                    writeln!(
                        enough,
                        "{case} {said} of the splits | {} | {} |",
                        percent(mean),
                        percent(most)
                    )
                    .expect("writing to a string cannot fail");
                }
            }
        }
    }
    format!("{estimates}{enough}\n")
}

fn row(table: &mut String, case: &str, found: &Measured) {
    let later = found.later.map_or_else(
        || "- | -".to_owned(),
        |(predicted, real)| format!("{} | {}", percent(predicted), percent(real)),
    );
    writeln!(
        table,
        "{case} {} | {} | {} | {later} | {} | {} |",
        percent(found.predicted),
        percent(found.real),
        percent(found.error),
        percent(found.in_order.0),
        percent(found.in_order.1),
    )
    .expect("writing to a string cannot fail");
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
