//! What tests hold against Driftlock and comes as a Python package: in a virtual environment of its own, at fixed versions.
//!
//! Input: nothing. Output: the path of an interpreter that has the packages. Failure: the end of the installer's output.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::path;
use crate::process;

/// Reads findings of the Open Cybersecurity Schema Framework; its version names the environment.
pub const OCSF_MODELS: &str = "py-ocsf-models";
/// The version that is wanted, exactly.
pub const OCSF_MODELS_VERSION: &str = "0.10.0";

/// All that is installed, with what it needs itself.
const REQUIREMENTS: &[&str] = &[
    "py-ocsf-models==0.10.0",
    "annotated-types==0.8.0",
    "dnspython==2.9.2",
    "email-validator==2.2.0",
    "idna==3.20",
    "pydantic==2.14.3",
    "pydantic-core==2.50.4",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
];

/// The interpreter, if the packages are there.
pub fn find() -> Option<PathBuf> {
    let python = directory().ok()?.join("bin/python");
    has_the_models(&python).then_some(python)
}

/// Makes the environment anew and installs the packages from the package index.
pub fn install(step: &str) -> Result<PathBuf> {
    let directory = directory()?;
    process::hide(
        step,
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&directory),
    )?;
    let python = directory.join("bin/python");
    process::hide(
        step,
        Command::new(&python)
            .args(["-m", "pip", "install", "--no-deps", "--disable-pip-version-check"])
            .args(REQUIREMENTS),
    )?;
    match find() {
        Some(python) => Ok(python),
        None => bail!("{step}: installed, but {} cannot import it", python.display()),
    }
}

fn directory() -> Result<PathBuf> {
    Ok(path::tools()?.join(format!("{OCSF_MODELS}-{OCSF_MODELS_VERSION}")))
}

fn has_the_models(python: &Path) -> bool {
    const PROGRAM: &str = "import importlib.metadata as m; import py_ocsf_models.events.findings.detection_finding; \
                           print(m.version('py-ocsf-models'))";
    path::is_executable(python)
        && process::capture(Command::new(python).args(["-c", PROGRAM]))
            .is_ok_and(|version| version.trim() == OCSF_MODELS_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_version_is_the_one_that_is_installed() {
        assert_eq!(REQUIREMENTS[0], format!("{OCSF_MODELS}=={OCSF_MODELS_VERSION}"));
        assert!(REQUIREMENTS.iter().all(|requirement| requirement.contains("==")));
    }
}
