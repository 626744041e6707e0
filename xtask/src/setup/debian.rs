//! Debian packages: installed by `apt-get`, once per run after one `apt-get update`.
//!
//! Input: package names. Output: the packages are installed, or extracted into a directory. Failure: the end of
//! apt's output. Never removes a package: where one is in the way apt fails and says which.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::path::{is_root, on_path};
use crate::process;

/// How long another apt or dpkg may hold its lock before setup gives up (unattended upgrades take minutes).
const LOCK_PATIENCE: Duration = Duration::from_mins(10);
/// Pause between two attempts at a lock that apt itself does not wait for (that of the package lists).
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// What this run has done with apt so far.
#[derive(Debug, Default)]
pub struct Apt {
    lists_are_fresh: bool,
}

impl Apt {
    /// Why packages cannot be installed here, or `None` if they can.
    pub fn obstacle() -> Option<&'static str> {
        if on_path("apt-get").is_none() || on_path("dpkg").is_none() {
            return Some("this is no Debian-like machine: there is no apt-get");
        }
        if !is_root() {
            return Some("installing packages needs root");
        }
        None
    }

    /// Installs packages without what they merely recommend.
    pub fn install(&mut self, step: &str, packages: &[String]) -> Result<()> {
        self.refresh(step);
        for package in packages {
            require_candidate(package)?;
        }
        let mut command = apt_get("install");
        command
            .args(["--no-install-recommends", "--no-remove"])
            .args(packages);
        patiently(step, &mut command)
    }

    /// Installs the first of these packages that apt knows.
    pub fn install_one_of(&mut self, step: &str, packages: &[&str]) -> Result<()> {
        self.refresh(step);
        let package = known(packages).context("a need names no package")?;
        self.install(step, &[package.to_owned()])
    }

    /// Unpacks a package under `directory` without installing it, for one that would replace another.
    pub fn extract(&mut self, step: &str, package: &str, directory: &Path) -> Result<()> {
        self.refresh(step);
        require_candidate(package)?;
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        patiently(step, apt_get("download").arg(package).current_dir(directory))?;
        let archive = std::fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get downloaded no archive of {package}"))?;
        process::hide(step, Command::new("dpkg").arg("-x").arg(&archive).arg(directory))?;
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
    }

    /// Fetches the package lists, once. A source that fails is told and survived: what is needed may come from another.
    fn refresh(&mut self, step: &str) {
        if self.lists_are_fresh {
            return;
        }
        if let Err(error) = patiently(&format!("{step}: package lists"), &mut apt_get("update")) {
            eprintln!("  apt-get update failed, going on with the lists that are there:\n{error:#}");
        }
        self.lists_are_fresh = true;
    }
}

/// The first of these packages that apt knows; where it knows none (or is not there) the last.
pub fn known<'a>(packages: &[&'a str]) -> Option<&'a str> {
    let known = packages.iter().find(|package| candidate(package).is_some());
    known.or(packages.last()).copied()
}

/// The version that apt would install, `None` if it knows none.
fn candidate(package: &str) -> Option<String> {
    let policy = process::capture(
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .args(["policy", package]),
    )
    .ok()?;
    parse_candidate(&policy)
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn require_candidate(package: &str) -> Result<()> {
    if candidate(package).is_none() {
        bail!(
            "the package {package} is in none of this machine's package sources (Debian 12 has it in main, with the \
             suites bookworm and bookworm-security)"
        );
    }
    Ok(())
}

fn apt_get(verb: &str) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .args(["-q", "-y", "-o", "Dpkg::Use-Pty=0"])
        .arg(format!("-oDPkg::Lock::Timeout={}", LOCK_PATIENCE.as_secs()))
        .arg(verb);
    command
}

/// Runs apt, again and again while somebody else holds a lock.
fn patiently(step: &str, command: &mut Command) -> Result<()> {
    let started = Instant::now();
    loop {
        let outcome = process::watch(step, command)?;
        if outcome.status.success() {
            return Ok(());
        }
        let locked = outcome
            .lines
            .iter()
            .any(|line| line.starts_with("E: Could not get lock"));
        if !locked || started.elapsed() > LOCK_PATIENCE {
            bail!(
                "{step}: `{}` failed: {}\n{}",
                process::display(command),
                outcome.status,
                outcome.tail(30)
            );
        }
        eprintln!("  {step}: another package manager is at work, waiting for its lock");
        std::thread::sleep(LOCK_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apts_policy() {
        let policy = "tool:\n  Installed: (none)\n  Candidate: 1:2.3-4+deb12u1\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1:2.3-4+deb12u1"));
    }

    #[test]
    fn a_package_without_candidate_has_none() {
        assert_eq!(
            parse_candidate("tool:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(parse_candidate(""), None);
    }
}
