//! Paths, and rules for several paths, in `AppArmor`'s words for files.
//!
//! Input: a path, or a rule for several. Output: what stands between double quotes in a rule: `AppArmor`'s globs, in which every byte that
//! could mean anything is an escape. Failure: none. Some types of varying parts have no exact glob; theirs hold for more.

use std::fmt::Write as _;

use agent_common::normal_form::{Form, Kind, Part, Pattern};

use crate::behaviour::FilePattern;

/// A digit.
const DECIMAL: &str = "[0-9]";
/// A hexadecimal digit.
const HEXADECIMAL: &str = "[0-9a-fA-F]";
/// What tools draw: letters and digits, and with Python's names the underscore.
const DRAWN: &str = "[0-9a-zA-Z_]";

/// A glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// Its text, without quotes.
    pub(super) text: String,
    /// It holds for more than the rule that it was made of.
    pub(super) is_wider: bool,
}

impl Glob {
    /// The glob for one path.
    pub(super) fn of_path(path: &[u8]) -> Self {
        let mut text = String::new();
        push_literal(&mut text, path);
        Self {
            text,
            is_wider: false,
        }
    }

    /// The glob for what a use of files is about.
    pub(super) fn of(pattern: &FilePattern) -> Self {
        match pattern {
            FilePattern::Exact(path) => Self::of_path(path.as_bytes()),
            FilePattern::Pattern(rule) => match rule.pattern() {
                Pattern::Form(form) => Self::of_form(form),
                Pattern::Subtree(directory) => {
                    let mut glob = Self::of_form(directory);
                    glob.text.push_str("/**");
                    glob
                }
            },
        }
    }

    fn of_form(form: &Form) -> Self {
        let mut glob = Self {
            text: String::new(),
            is_wider: false,
        };
        for name in form.names() {
            glob.text.push('/');
            for part in name {
                match part {
                    Part::Literal(bytes) => push_literal(&mut glob.text, bytes),
                    Part::Varying(kind) => glob.push_varying(kind),
                }
            }
        }
        glob
    }

    /// `AppArmor` has no word for "one or more of these": the fewest that a type has (`agent_common::normal_form`), then anything.
    fn push_varying(&mut self, kind: Kind) {
        let (text, is_exact) = match kind {
            Kind::Decimal => (format!("{DECIMAL}*"), false),
            Kind::Hexadecimal => (HEXADECIMAL.repeat(8) + "*", false),
            Kind::HexadecimalPair => (HEXADECIMAL.repeat(2), true),
            Kind::Uuid => (
                [8, 4, 4, 4, 12]
                    .map(|digits| HEXADECIMAL.repeat(digits))
                    .join("-"),
                true,
            ),
            Kind::Date => (
                [4, 2, 2].map(|digits| DECIMAL.repeat(digits)).join("-") + "*",
                false,
            ),
            Kind::Random => (DRAWN.repeat(6) + "*", false),
        };
        self.text.push_str(&text);
        self.is_wider |= !is_exact;
    }
}

/// `bytes` with every byte as an escape that `AppArmor`'s language, its globs, its variables or its file format could take for something.
fn push_literal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'+' | b':' | b'=' | b'~' | b' ')
        {
            text.push(char::from(*byte));
        } else {
            write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> (String, bool) {
        let glob = Glob::of(&FilePattern::Pattern(text.parse().expect("a rule")));
        (glob.text, glob.is_wider)
    }

    #[test]
    fn what_could_mean_anything_is_escaped() {
        for (path, text) in [
            (&b"/usr/lib/libc.so.6"[..], "/usr/lib/libc.so.6"),
            (b"/a b", "/a b"),
            (b"/a\"b\\", "/a\\x22b\\x5c"),
            (b"/a*?[]{}^,", "/a\\x2a\\x3f\\x5b\\x5d\\x7b\\x7d\\x5e\\x2c"),
            (b"/@{x}\n\xff#", "/\\x40\\x7bx\\x7d\\x0a\\xff\\x23"),
        ] {
            assert_eq!(Glob::of_path(path).text, text);
        }
    }

    #[test]
    fn types_become_globs_and_say_whether_they_hold_for_more() {
        assert_eq!(
            rule("/proc/{decimal}/stat"),
            ("/proc/[0-9]*/stat".to_owned(), true)
        );
        assert_eq!(rule("/tmp/a b/**"), ("/tmp/a b/**".to_owned(), false));
        let (text, is_wider) = rule("/o/{hexadecimal-pair}/{hexadecimal}");
        assert_eq!(
            text,
            format!("/o/{}/{}*", HEXADECIMAL.repeat(2), HEXADECIMAL.repeat(8))
        );
        assert!(is_wider);
        let (text, is_wider) = rule("/x/{uuid}.json");
        assert_eq!(text.matches(HEXADECIMAL).count(), 32);
        assert!(text.contains("].json") && !is_wider, "{text}");
        assert_eq!(
            rule("/tmp/cc{random}.s").0,
            format!("/tmp/cc{}*.s", DRAWN.repeat(6))
        );
    }
}
