//! What tests and demonstration are told: where the things are that they run.
//!
//! Input: the tools that setup found. Output: everything built, and the environment variables that the `tests` package
//! reads. Failure: a build's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::package;
use crate::setup::{self, Tools, workspace};

/// Where the things are; made by [`Environment::build`].
#[derive(Debug)]
pub struct Environment {
    /// The `driftlock` binary under test, in release.
    pub driftlock: PathBuf,
    /// The directory of the static programs that run in containers.
    pub fixtures: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// The agent's container image.
    pub image: PathBuf,
    /// The agent's Debian package; `None` where there is no dpkg to make it.
    pub deb: Option<PathBuf>,
}

impl Environment {
    /// Builds the kernel programs, the daemon and the programs for containers.
    pub fn build(tools: &Tools) -> Result<Self> {
        build::kernel_programs(tools)?;
        let driftlock = build::daemon(Profile::Release)?;
        let image = workspace().join("target/package/driftlock-image.tar");
        package::image::make(&driftlock, &image)?;
        let deb = match setup::on_path("dpkg-deb") {
            Some(_) => {
                let deb = image.with_file_name(package::deb::name()?);
                package::deb::make(&driftlock, &deb)?;
                Some(deb)
            }
            None => None,
        };
        Ok(Self {
            driftlock,
            image,
            deb,
            fixtures: build::fixtures()?,
            busybox: tools.busybox.clone().context("the images need a busybox")?,
        })
    }

    /// Tells a command by its environment.
    pub fn give(self, command: &mut Command) -> Result<()> {
        let old = std::env::var_os("PATH").unwrap_or_default();
        // dockerd lies in a directory that the search path may lack even for root, after a plain `su`.
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let path = std::env::join_paths(std::env::split_paths(&old).chain(system))?;
        command
            .env("PATH", path)
            .env("DRIFTLOCK_BIN", self.driftlock)
            .env("DRIFTLOCK_FIXTURES", self.fixtures)
            .env("DRIFTLOCK_BUSYBOX", self.busybox)
            .env("DRIFTLOCK_IMAGE", self.image)
            .envs(self.deb.map(|deb| ("DRIFTLOCK_DEB", deb)));
        Ok(())
    }
}
