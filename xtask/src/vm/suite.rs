//! Which tests run in a virtual machine: files of `tests/tests`, the very executables that run on this machine too.
//!
//! Input: the executables, and if given what the command line asks for. Output: a [`Plan`]. Failure: a file that is
//! wanted and not there, a name that no test has.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process;

/// The files that run if none is named: what each kernel must show, in less than five minutes together.
pub const FILES: [&str; 4] = ["exec_drift", "thousand_starts", "forgeries", "generation"];

/// Which of the executables run, in this order, each with the words that it is called with.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan(Vec<(String, Vec<String>)>);

impl Plan {
    /// The files of [`FILES`]; if `wanted` names a file that one alone; else every test whose name contains `wanted`.
    pub fn new(executables: &[(String, PathBuf)], wanted: Option<&str>) -> Result<Self> {
        let files: Vec<&str> = executables.iter().map(|(name, _)| name.as_str()).collect();
        match wanted {
            None => Self::of_files(&files, &FILES),
            Some(file) if files.contains(&file) => Self::of_files(&files, &[file]),
            Some(part) => {
                let mut tests = Vec::new();
                for (file, executable) in executables {
                    let list = process::capture(Command::new(executable).arg("--list"))?;
                    tests.push((file.as_str(), parse_list(&list)));
                }
                Self::of_tests(&tests, part)
            }
        }
    }

    fn of_files(there: &[&str], wanted: &[&str]) -> Result<Self> {
        for file in wanted {
            ensure!(
                there.contains(file),
                "tests/tests/{file}.rs is to run and is not there"
            );
        }
        Ok(Self(
            wanted
                .iter()
                .map(|file| ((*file).to_owned(), Vec::new()))
                .collect(),
        ))
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
        for file in FILES {
            let path = workspace().join("tests/tests").join(file).with_extension("rs");
            assert!(path.is_file(), "{}", path.display());
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let plan = Plan::of_files(&["a", "b"], &["b"]).expect("there");
        assert_eq!((plan.len(), plan.to_text().as_str()), (1, "b\n"));
        let error = Plan::of_files(&["a"], &["a", "c"]).expect_err("c is not there");
        assert!(error.to_string().contains("tests/tests/c.rs"), "{error}");
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
