//! What the typed normal form does to paths that exist: how many collapse into one form, and which should not.
//!
//! Input: trees of this machine, the lists of files that its packages ship, and names that real tools draw. Output: a [`Report`].
//! Failure: a tree that cannot be read at its root, a tool that fails. A tool or a tree that is not there has a row that says so.

mod families;
mod report;
mod trees;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agent_common::normal_form::{Form, Part};

use super::report::Report;

/// Paths by their forms.
#[derive(Clone, Debug, Default)]
pub struct Forms {
    forms: BTreeMap<Form, Vec<Vec<u8>>>,
    paths: usize,
}

/// A form, and how many paths have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// As a rule has it, but for what a rule escapes.
    pub text: String,
    /// The number of paths.
    pub paths: usize,
    /// Two of them.
    pub examples: Vec<String>,
}

impl Forms {
    /// Of these paths, each of which counts once.
    #[must_use]
    pub fn of(paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut forms = Self::default();
        for path in paths {
            let same = forms.forms.entry(Form::of_path(&path)).or_default();
            if !same.contains(&path) {
                same.push(path);
                forms.paths += 1;
            }
        }
        forms
    }

    /// Number of paths.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.paths
    }

    /// Number of forms.
    #[must_use]
    pub fn forms(&self) -> usize {
        self.forms.len()
    }

    /// Number of paths that share their form with another.
    #[must_use]
    pub fn sharing(&self) -> usize {
        self.shared().map(|(_, paths)| paths.len()).sum()
    }

    /// The forms that most paths share, at most `count`.
    #[must_use]
    pub fn most_shared(&self, count: usize) -> Vec<Shared> {
        let mut shared: Vec<_> = self.shared().collect();
        shared.sort_by_key(|(_, paths)| std::cmp::Reverse(paths.len()));
        let shown = shared.into_iter().take(count).map(|(form, paths)| Shared {
            text: text(form),
            paths: paths.len(),
            examples: paths
                .iter()
                .take(2)
                .map(|path| path.escape_ascii().to_string())
                .collect(),
        });
        shown.collect()
    }

    /// The form that most paths have, whether or not they share it, and how many these are; `None` without paths.
    #[must_use]
    pub fn most_common(&self) -> Option<(String, usize)> {
        let (form, paths) = self.forms.iter().max_by_key(|(_, paths)| paths.len())?;
        Some((text(form), paths.len()))
    }

    fn shared(&self) -> impl Iterator<Item = (&Form, &Vec<Vec<u8>>)> {
        self.forms.iter().filter(|(_, paths)| paths.len() > 1)
    }
}

/// Measures everything.
///
/// # Errors
/// See the module.
pub fn run() -> anyhow::Result<Report> {
    report::report(&families::all()?, &trees::all()?, trees::shipped()?.as_ref())
}

fn text(form: &Form) -> String {
    let mut text = String::new();
    for name in form.names() {
        text.push('/');
        for part in name {
            match part {
                Part::Literal(bytes) => text.push_str(&bytes.escape_ascii().to_string()),
                Part::Varying(kind) => {
                    write!(text, "{{{}}}", kind.as_str()).expect("writing to a string cannot fail");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_by_form() {
        let paths = ["/run/1", "/run/22", "/run/22", "/run/x", "/etc/passwd"];
        let forms = Forms::of(paths.map(|path| path.as_bytes().to_vec()));
        assert_eq!((forms.paths(), forms.forms(), forms.sharing()), (4, 3, 2));
        assert_eq!(forms.most_common(), Some(("/run/{decimal}".to_owned(), 2)));
        let [shared] = forms.most_shared(5).try_into().expect("one form");
        assert_eq!(shared.examples, ["/run/1", "/run/22"]);
        assert_eq!(Forms::of([]).most_common(), None);
    }
}
