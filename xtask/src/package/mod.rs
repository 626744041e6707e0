//! What is shipped: a container image and a Debian package, each made of the daemon's release build without a daemon or a network.
//!
//! Input: the binary, and the files in `deploy`. Output: archives below `target/package`, the same bytes for the same input. Failure: a tool
//! that is missing (`tar`, `gzip`, `sha256sum`, `ldd`, `dpkg-deb`: all of Debian's base), a file that cannot be written.

pub mod deb;
pub mod image;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::process;
use crate::setup::{self, Purpose, workspace};

/// What the command line says, of either.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// This binary instead of a release build of the sources.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the archive goes, instead of target/package.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Arguments {
    /// The binary that is shipped.
    fn binary(&self) -> Result<PathBuf> {
        if let Some(binary) = &self.binary {
            return Ok(binary.clone());
        }
        let tools = setup::run(&[Purpose::Build])?;
        build::kernel_programs(&tools)?;
        build::daemon(Profile::Release)
    }

    /// Where the archive goes.
    fn output(&self, name: &str) -> Result<PathBuf> {
        let output = self
            .output
            .clone()
            .unwrap_or_else(|| workspace().join("target/package").join(name));
        if let Some(directory) = output.parent() {
            std::fs::create_dir_all(directory)?;
        }
        Ok(output)
    }
}

/// A directory that is empty.
fn empty(name: &str) -> Result<PathBuf> {
    let directory = workspace().join("target/package").join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Puts a file into a tree, with its directories.
fn put(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let file = root.join(path);
    let directory = file.parent().context("a path without a directory")?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(std::fs::set_permissions(
        &file,
        std::fs::Permissions::from_mode(mode),
    )?)
}

/// Copies a file into a tree.
fn copy(root: &Path, path: &str, from: &Path, mode: u32) -> Result<()> {
    let content = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    put(root, path, &content, mode)
}

/// What a tree is as an archive, whoever made it and when.
fn tar(root: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ])
    .args(["--mode=u=rwX,go=rX", "--format=ustar", "--file"])
    .arg(archive)
    .arg("--directory")
    .arg(root);
    // The names at the top, so that no entry begins with `./`.
    let mut names: Vec<_> = std::fs::read_dir(root)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    process::hide("archive", tar.args(names)).map(drop)
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(file: &Path) -> Result<String> {
    let text = process::capture(Command::new("sha256sum").arg(file))?;
    let digest = text.split_whitespace().next().context("sha256sum says nothing")?;
    Ok(digest.to_owned())
}
