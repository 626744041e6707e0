//! What tests and demonstration are told: where the things are that they run.
//!
//! Input: the tools that setup found. Output: everything built, and the environment variables that the `tests` package
//! reads. Failure: a build's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::setup::Tools;

/// The variables; made by [`Environment::build`].
#[derive(Debug)]
pub struct Environment {
    variables: [(&'static str, OsString); 3],
}

impl Environment {
    /// Builds the kernel programs, the daemon and the programs for containers.
    pub fn build(tools: &Tools) -> Result<Self> {
        build::kernel_programs(tools)?;
        let binary = build::daemon(Profile::Release)?;
        let fixtures = build::fixtures()?;
        let busybox = tools.busybox.clone().context("the images need a busybox")?;
        let variables = [
            ("DRIFTLOCK_BIN", binary.into()),
            ("DRIFTLOCK_FIXTURES", fixtures.into()),
            ("DRIFTLOCK_BUSYBOX", busybox.into()),
        ];
        Ok(Self { variables })
    }

    /// Gives them to a command.
    pub fn give(self, command: &mut Command) -> Result<()> {
        let old = std::env::var_os("PATH").unwrap_or_default();
        // dockerd lies in a directory that the search path may lack even for root, after a plain `su`.
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let path = std::env::join_paths(std::env::split_paths(&old).chain(system))?;
        command.env("PATH", path).envs(self.variables);
        Ok(())
    }
}
