//! Rules for more than one path, as text: what a profile document holds and what a reviewer reads.
//!
//! Input: a [`Pattern`], or its text. Output: the other. Each pattern has one text, and each text one pattern. Failure:
//! [`PatternTextError`], which says what in a text is wrong; also for a text that no path can match, so that no rule is there in vain.
//!
//! A text is an absolute path. `{decimal}`, `{hexadecimal}`, `{hexadecimal-pair}`, `{uuid}`, `{date}` and `{random}` stand for parts
//! that vary ([`Kind`]); `/**` at the end for everything below the directory before it. All else is literal, escaped as in
//! [`crate::text`], and a literal brace as `\{` or `\}`; a name that is literally `**` is `\**`.

use std::fmt::Write as _;

use agent_common::normal_form::{Form, Kind, Part, Pattern, PatternError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{escape, unescape};

/// The last name of a text that stands for everything below a directory.
const SUBTREE: &str = "**";

/// A rule for more than one path, with its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Pattern);

/// A text that is no rule for more than one path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no rule for paths: {problem}")]
pub struct PatternTextError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: PatternProblem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// It does not begin at the root.
    #[error("it does not begin with `/`")]
    NotAbsolute,
    /// A brace is neither escaped nor part of a type.
    #[error("a brace stands alone; write `\\{{` or `\\}}` for one that is meant literally")]
    Brace,
    /// There is no such type.
    #[error("there is no type `{0}`")]
    Type(String),
    /// A backslash begins nothing that is known, or something is escaped that need not be.
    #[error("a backslash begins no escape, or one that is not needed")]
    Escape,
    /// The rule itself.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl PathPattern {
    /// The rule.
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.0
    }
}

impl From<Pattern> for PathPattern {
    fn from(pattern: Pattern) -> Self {
        Self(pattern)
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (form, end) = match &self.0 {
            Pattern::Form(form) => (form, ""),
            Pattern::Subtree(directory) => (directory, "/**"),
        };
        formatter.pad(&(form_text(form) + end))
    }
}

impl std::str::FromStr for PathPattern {
    type Err = PatternTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| PatternTextError {
            text: text.to_owned(),
            problem,
        })
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text of a form, also of one in which nothing varies; empty for the root.
#[must_use]
pub fn form_text(form: &Form) -> String {
    let mut text = String::new();
    for name in form.names() {
        let start = text.len() + 1;
        text.push('/');
        for part in name {
            match part {
                Part::Literal(bytes) => {
                    text.push_str(&escape(bytes).replace('{', "\\{").replace('}', "\\}"));
                }
                Part::Varying(kind) => {
                    write!(text, "{{{}}}", kind.as_str()).expect("writing to a string cannot fail");
                }
            }
        }
        if text[start..] == *SUBTREE {
            text.insert(start, '\\');
        }
    }
    text
}

/// A piece of a name in a text.
enum Piece {
    Literal(Vec<u8>),
    Varying(Kind),
}

fn parse(text: &str) -> Result<PathPattern, PatternProblem> {
    let mut names: Vec<&str> = text
        .strip_prefix('/')
        .ok_or(PatternProblem::NotAbsolute)?
        .split('/')
        .collect();
    let is_subtree = names.pop_if(|last| *last == SUBTREE).is_some();
    let names: Vec<Vec<Piece>> = names.into_iter().map(pieces).collect::<Result<_, _>>()?;
    let form = Form::from_names(names.iter().map(|pieces| {
        pieces.iter().map(|piece| match piece {
            Piece::Literal(bytes) => Part::Literal(bytes),
            Piece::Varying(kind) => Part::Varying(*kind),
        })
    }))?;
    let pattern = PathPattern(if is_subtree {
        Pattern::subtree(form)?
    } else {
        Pattern::form(form)?
    });
    if pattern.to_string() == text {
        Ok(pattern)
    } else {
        Err(PatternProblem::Escape)
    }
}

fn pieces(name: &str) -> Result<Vec<Piece>, PatternProblem> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next().ok_or(PatternProblem::Escape)? {
                escaped @ ('{' | '}' | '*') => literal.push(escaped),
                other => literal.extend(['\\', other]),
            },
            '{' => {
                push_literal(&mut pieces, &mut literal)?;
                let (word, after) = rest.as_str().split_once('}').ok_or(PatternProblem::Brace)?;
                let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
                let kind = kind.ok_or_else(|| PatternProblem::Type(word.to_owned()))?;
                pieces.push(Piece::Varying(kind));
                rest = after.chars();
            }
            '}' => return Err(PatternProblem::Brace),
            other => literal.push(other),
        }
    }
    push_literal(&mut pieces, &mut literal)?;
    Ok(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &mut String) -> Result<(), PatternProblem> {
    if !literal.is_empty() {
        let bytes = unescape(literal).map_err(|_| PatternProblem::Escape)?;
        pieces.push(Piece::Literal(bytes));
        literal.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<PathPattern, PatternProblem> {
        text.parse().map_err(|error: PatternTextError| error.problem)
    }

    #[test]
    fn a_rule_is_its_text() {
        for text in [
            "/tmp/cc{random}.s",
            "/proc/{decimal}/task/{decimal}/comm",
            "/r/.git/objects/{hexadecimal-pair}/{hexadecimal}",
            "/x/\\{a\\}-{uuid}.json",
            "/x/\\xff\\\\{date}",
            "/x/\\**/a-{decimal}",
            "/tmp/go-build{decimal}/**",
            "/var/lib/postgresql/15/**",
            "/\\**/**",
            "/**",
        ] {
            let rule = read(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(rule.to_string(), text);
        }
        let rule = read("/tmp/cc{random}.s").expect("a rule");
        assert!(rule.pattern().holds_for(b"/tmp/ccZ1q2Xy.s"));
        assert!(!rule.pattern().holds_for(b"/tmp/ccache.s"));
        let rule = read("/var/lib/15/**").expect("a rule");
        assert!(rule.pattern().holds_for(b"/var/lib/15/main/1"));
        assert!(!rule.pattern().holds_for(b"/var/lib/16/main"));
        assert!(!rule.pattern().holds_for(b"/var/lib/15"));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, problem) in [
            ("tmp/{decimal}", PatternProblem::NotAbsolute),
            ("/tmp/{number}", PatternProblem::Type("number".to_owned())),
            ("/tmp/{decimal", PatternProblem::Brace),
            ("/tmp/}{decimal}", PatternProblem::Brace),
            ("/tmp/\\*{decimal}", PatternProblem::Escape),
            ("/tmp/\\n-{decimal}", PatternProblem::Escape),
            ("/tmp/a", PatternProblem::Pattern(PatternError::Exact)),
            ("/tmp//{decimal}", PatternProblem::Pattern(PatternError::Name)),
            ("/tmp/\\x2f-{decimal}", PatternProblem::Escape),
            (
                "/tmp/1{decimal}",
                PatternProblem::Pattern(PatternError::NeverMatches),
            ),
            (
                "/15/{decimal}/**",
                PatternProblem::Pattern(PatternError::NeverMatches),
            ),
        ] {
            assert_eq!(read(text), Err(problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_form_can_be_read_back(path in "(/([a-f0-9]{1,9}|[ -.:-~]{1,12}|\\PC{1,3}|tmp|-[0-9]{4}){1,3}){1,4}") {
            let form = Form::of_path(path.as_bytes());
            if form.varies() {
                let rule = PathPattern(Pattern::form(form).expect("a path has it"));
                prop_assert_eq!(read(&rule.to_string()), Ok(rule));
            }
        }

        #[test]
        fn a_text_that_is_read_is_the_only_one(text in "/([{}\\\\*a/-]|\\{decimal\\}|x2a){0,8}(/\\*\\*)?") {
            if let Ok(rule) = read(&text) {
                prop_assert_eq!(rule.to_string(), text);
            }
        }
    }
}
