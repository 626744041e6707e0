//! Which tests run in a virtual machine: files of `tests/tests`, the very executables that run on this machine too.
//!
//! Input: the executables, and if given what the command line asks for. Output: a [`Plan`]. Failure: a file that is
//! wanted and not there, a name that no test has.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// Files of `tests/tests`, each with names of its tests, or none for all of them.
pub type Suite = &'static [(&'static str, &'static [&'static str])];

/// What runs if nothing is named, in this order: files of `tests/tests`, and of each the tests that are to run, or none for
/// all of them. What each kernel must show, in some minutes together: each agent that is started takes one of them on
/// an emulated machine, as the verifier is emulated too. `cargo xtask vm --kernel SERIES FILE` runs any other file as a whole.
pub const SUITE: Suite = &[
    (
        "kernel_support",
        &["the_tier_of_exec_is_what_a_container_experiences"],
    ),
    ("normal_form", &[]),
    ("full_tier", &[]),
    ("library", &[]),
    ("file", &["docker::uses_of_files_are_learned_and_told"]),
    ("cap", &["what_is_enforced_is_refused_or_killed"]),
    ("syscall", &["docker::system_calls_are_learned_and_told"]),
];

/// The same for a machine with systemd: what is about the cgroups that systemd makes. The unit that is shipped is tried by name: `systemd_unit`.
pub const WITH_SYSTEMD: Suite = &[("layouts", &["docker::systemd"])];

/// Which of the executables run, in this order, each with the words that it is called with.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan(Vec<(String, Vec<String>)>);

impl Plan {
    /// What `suite` names; if `wanted` names a file that one alone; else every test whose name contains `wanted`.
    pub fn new(executables: &[(String, PathBuf)], suite: Suite, wanted: Option<&str>) -> Result<Self> {
        let mut there = Vec::new();
        for (file, executable) in executables {
            let list = process::capture(Command::new(executable).arg("--list"))?;
            there.push((file.as_str(), parse_list(&list)));
        }
        match wanted {
            None => Self::of_files(&there, suite),
            Some(file) if there.iter().any(|(name, _)| *name == file) => {
                Self::of_files(&there, &[(file, &[])])
            }
            Some(part) => Self::of_tests(&there, part),
        }
    }

    /// These files with these tests of theirs, which must be there.
    fn of_files(there: &[(&str, Vec<String>)], wanted: &[(&str, &[&str])]) -> Result<Self> {
        let mut chosen = Vec::new();
        for (file, tests) in wanted {
            let (_, known) = there
                .iter()
                .find(|(name, _)| name == file)
                .with_context(|| format!("tests/tests/{file}.rs is to run and is not there"))?;
            for test in *tests {
                ensure!(
                    known.iter().any(|name| name == test),
                    "the test {test} of tests/tests/{file}.rs is to run and is not there"
                );
            }
            chosen.push((
                (*file).to_owned(),
                tests.iter().map(|&test| test.to_owned()).collect(),
            ));
        }
        Ok(Self(chosen))
    }

    fn of_tests(there: &[(&str, Vec<String>)], part: &str) -> Result<Self> {
        let fits = |tests: &[String]| tests.iter().any(|test| test.contains(part));
        let chosen: Vec<_> = there
            .iter()
            .filter(|(_, tests)| fits(tests))
            .map(|(file, _)| ((*file).to_owned(), vec![part.to_owned()]))
            .collect();
        ensure!(
            !chosen.is_empty(),
            "no test's name contains `{part}`, and there is no tests/tests/{part}.rs"
        );
        Ok(Self(chosen))
    }

    /// How many files run.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As the machine reads it: a line for each file, with the words for it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (file, words) in &self.0 {
            text.push_str(file);
            for word in words {
                text.push(' ');
                text.push_str(word);
            }
            text.push('\n');
        }
        text
    }
}

/// The names in what an executable prints for `--list`.
fn parse_list(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::workspace;

    #[test]
    fn every_file_that_runs_by_itself_is_there() {
        for (file, tests) in SUITE.iter().chain(WITH_SYSTEMD) {
            let path = workspace().join("tests/tests").join(file).with_extension("rs");
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            for test in *tests {
                // One that is made for each runtime is a function below the runtime's name.
                let function = test.rsplit("::").next().unwrap_or(test);
                assert!(source.contains(&format!("fn {function}(")), "{file}: {test}");
            }
        }
    }

    #[test]
    fn a_file_or_test_that_is_not_there_is_an_error() {
        let there = [("a", parse_list("one: test\n")), ("b", parse_list("two: test\n"))];
        let plan = Plan::of_files(&there, &[("b", &[]), ("a", &["one"])]).expect("there");
        assert_eq!((plan.len(), plan.to_text().as_str()), (2, "b\na one\n"));
        for (wanted, told) in [
            (("c", [].as_slice()), "tests/tests/c.rs"),
            (("a", &["two"]), "two"),
        ] {
            let error = Plan::of_files(&there, &[wanted]).expect_err("not there");
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn a_test_is_chosen_in_its_file_and_an_unknown_name_is_an_error() {
        let there = [
            ("a", parse_list("one: test\ntwo: test\n\n2 tests, 0 benchmarks\n")),
            ("b", parse_list("three: test\n")),
        ];
        let plan = Plan::of_tests(&there, "tw").expect("there");
        assert_eq!(plan.to_text(), "a tw\n");
        assert!(Plan::of_tests(&there, "benchmarks").is_err());
    }
}
