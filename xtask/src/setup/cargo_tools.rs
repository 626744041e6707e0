//! Tools that come as crates: built by `cargo install` at a fixed version into a directory of their own.
//!
//! Input: which tool. Output: the path of its program. Failure: the end of cargo's output. A program of exactly that
//! version on the search path is used instead; another version is not, as its verdicts would differ.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::path;
use crate::process;

/// A program from the crate registry.
#[derive(Debug, Clone)]
pub struct CargoTool {
    /// The crate's name.
    pub package: &'static str,
    /// The program's name.
    pub program: &'static str,
    /// The version that is wanted, exactly.
    pub version: &'static str,
    /// Further arguments to `cargo install`.
    pub arguments: Vec<String>,
    /// Set apart builds of one version by this (the LLVM that is linked, say). Empty if there is but one.
    pub variant: String,
}

impl CargoTool {
    /// A tool with its default features.
    pub fn new(package: &'static str, program: &'static str, version: &'static str) -> Self {
        Self {
            package,
            program,
            version,
            arguments: Vec::new(),
            variant: String::new(),
        }
    }

    /// The directory into which it is installed.
    fn directory(&self) -> Result<PathBuf> {
        let Self {
            package,
            version,
            variant,
            ..
        } = self;
        Ok(path::tools()?.join(format!("{package}-{version}{variant}")))
    }

    /// The program that setup built earlier.
    pub fn built(&self) -> Option<PathBuf> {
        let program = self.directory().ok()?.join("bin").join(self.program);
        self.has_version(&program).then_some(program)
    }

    /// The program on the search path, if it is of the wanted version.
    pub fn elsewhere(&self) -> Option<PathBuf> {
        path::on_path(self.program).filter(|program| self.has_version(program))
    }

    /// The program, wherever it is.
    pub fn find(&self) -> Option<PathBuf> {
        self.built().or_else(|| self.elsewhere())
    }

    /// Builds it.
    pub fn install(&self, step: &str, search_first: Option<&Path>) -> Result<PathBuf> {
        let mut command = cargo();
        command
            .args(["install", "--locked", self.package, "--version", self.version])
            .args(&self.arguments)
            .arg("--root")
            .arg(self.directory()?);
        if let Some(directory) = search_first {
            command.env("PATH", path_with(directory)?);
        }
        process::hide(step, &mut command)?;
        match self.built() {
            Some(program) => Ok(program),
            None => bail!(
                "{step}: built, but {} does not run or is not {}",
                self.program,
                self.version
            ),
        }
    }

    fn has_version(&self, program: &Path) -> bool {
        path::is_executable(program)
            && process::capture(Command::new(program).arg("--version"))
                .is_ok_and(|text| text.split_whitespace().any(|word| word == self.version))
    }
}

fn path_with(directory: &Path) -> Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        std::iter::once(directory.to_owned()).chain(std::env::split_paths(&old)),
    )?)
}

/// The cargo that runs this program, without what it told this program about itself.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let told_by_cargo = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "LD_LIBRARY_PATH"
        });
        if told_by_cargo {
            command.env_remove(name);
        }
    }
    command.current_dir(path::workspace());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_on_the_search_path_is_not_taken() {
        let mut tool = CargoTool::new("cargo", "cargo", "0.0.1");
        assert_eq!(tool.elsewhere(), None);
        tool.version = env!("CARGO_PKG_RUST_VERSION");
        assert_eq!(
            tool.elsewhere(),
            None,
            "1.95 is a prefix of cargo's version, not the version"
        );
    }
}
