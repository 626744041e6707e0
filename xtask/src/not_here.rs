//! What tests could not try on a kernel: collected while they run, listed again when they have ended.
//!
//! Input: a file to which tests append lines (`tests/src/support.rs`), named to them by an environment variable. Output:
//! the lines, each once, in the order they came. Failure: a file that cannot be made or read.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The variable that names the file to the tests.
const VARIABLE: &str = "DRIFTLOCK_NOT_ON_THIS_KERNEL";

/// What each line begins with.
pub const PREFIX: &str = "not on this kernel: ";

/// The file of one run of tests.
#[derive(Debug)]
pub struct NotHere {
    file: PathBuf,
}

impl NotHere {
    /// Starts an empty list in `directory`, which is made if it is not there.
    pub fn start(directory: &Path) -> Result<Self> {
        let file = directory.join("not-on-this-kernel");
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&file, ""))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self { file })
    }

    /// Names the file to a command.
    pub fn give(&self, command: &mut Command) {
        command.env(VARIABLE, &self.file);
    }

    /// What was collected.
    pub fn lines(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        Ok(parse(&text))
    }
}

/// The lines about what could not be tried, among others, each once and without its [`PREFIX`].
pub fn parse(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(PREFIX)) {
        if !found.iter().any(|other| other == line) {
            found.push(line.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_listed_once_and_others_are_not() {
        let text =
            "test a ... ok\nnot on this kernel: library: x: no LSM\nnot on this kernel: library: x: no LSM\n";
        assert_eq!(parse(text), ["library: x: no LSM"]);
    }

    #[test]
    fn a_list_starts_empty_whatever_an_earlier_run_left() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let list = NotHere::start(directory.path()).expect("made");
        std::fs::write(&list.file, format!("{PREFIX}one\n")).expect("written");
        assert_eq!(list.lines().expect("readable"), ["one"]);
        let again = NotHere::start(directory.path()).expect("made");
        assert!(again.lines().expect("readable").is_empty());
    }
}
