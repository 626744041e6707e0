//! A recording: which behaviours were seen in which windows, as text.
//!
//! Input: what each window held. Output: lines `DOMAIN WINDOWS`, each followed by the behaviours that were seen in just these
//! windows, a line with a blank before it each; windows as numbers and ranges (`0-3,7`). Failure: none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behaviour {
    /// `exec`, `file`, `cap` or `syscall`.
    pub domain: &'static str,
    /// What it is, in printable ASCII.
    pub text: String,
}

impl Behaviour {
    /// The same with `from` in its text named `to`.
    pub fn renamed(self, from: &str, to: &str) -> Self {
        Self {
            text: self.text.replace(from, to),
            ..self
        }
    }
}

/// In which windows each behaviour was seen.
#[derive(Debug, Default)]
pub struct Windows(BTreeMap<Behaviour, Vec<u32>>);

impl Windows {
    /// Adds what window `number` held; numbers ascend.
    pub fn add(&mut self, number: u32, behaviours: BTreeSet<Behaviour>) {
        for behaviour in behaviours {
            self.0.entry(behaviour).or_default().push(number);
        }
    }

    /// The recording's text, of so many windows.
    pub fn to_text(&self, windows: u32) -> String {
        let mut groups: BTreeMap<(&str, &[u32]), Vec<&str>> = BTreeMap::new();
        for (behaviour, seen) in &self.0 {
            let group = groups.entry((behaviour.domain, seen)).or_default();
            group.push(&behaviour.text);
        }
        let mut text = format!("windows {windows}\n");
        for ((domain, seen), behaviours) in groups {
            writeln!(text, "{domain} {}", ranges(seen)).expect("writing to a string cannot fail");
            for behaviour in behaviours {
                writeln!(text, " {behaviour}").expect("writing to a string cannot fail");
            }
        }
        text
    }
}

/// Ascending numbers, those that follow each other as a range.
fn ranges(numbers: &[u32]) -> String {
    let mut text = String::new();
    for part in numbers.chunk_by(|left, right| left + 1 == *right) {
        let separator = if text.is_empty() { "" } else { "," };
        match part {
            [one] => write!(text, "{separator}{one}"),
            [first, .., last] => write!(text, "{separator}{first}-{last}"),
            [] => Ok(()),
        }
        .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_written_as_ranges() {
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        let program = |text: &str| Behaviour {
            domain: "exec",
            text: text.to_owned(),
        };
        let mut seen = Windows::default();
        seen.add(0, BTreeSet::from([program("/bin/ls"), program("/bin/cat")]));
        seen.add(
            1,
            BTreeSet::from([program("/bin/ls"), program("/bin/cat"), program("/bin/id")]),
        );
        assert_eq!(
            seen.to_text(2),
            "windows 2\nexec 0-1\n /bin/cat\n /bin/ls\nexec 1\n /bin/id\n"
        );
    }
}
