//! The policy `unprofiled: hold`: a runtime's start waits until the kernel has the profiles of the containers that are about to begin.
//!
//! A runtime makes a container's cgroup first and starts its program by another execution of itself (`runc create`, `runc start`).
//! The second is asked about here, by a mark on the runtime's program. Which container it is for cannot be told before it runs,
//! so that it waits for all that are entered in the kernel, have executed nothing and have no policy yet; those that
//! come later do not prolong it.
//!
//! Input: the programs' paths, questions about them, the kernel's maps. Output: answers, and [`HoldCounts`]. Failure: what waits for
//! longer than the bound goes on or is refused, as configured, and its containers hold up nobody any more. A runtime that
//! creates and starts in one execution (`runc run`) is not held before its program.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use super::group::{Group, Notice};
use super::policy::KernelMaps;
use super::protocol::{Hold, HoldCounts};
use crate::alert::time::since_boot;

/// Where runtimes are installed: by distributions, by container engines' own packages, and by Kubernetes distributions.
const DIRECTORIES: &[&str] = &[
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/libexec/crio",
    "/opt/containerd/bin",
    "/var/lib/rancher/k3s/data/current/bin",
    "/var/lib/rancher/rke2/bin",
];
/// Runtimes that start a container by an execution of its own.
const NAMES: &[&str] = &["runc", "crun", "youki"];
/// How often programs are looked for again: an upgrade puts another file in their place.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Most starts that are held at once; further ones go on, and are counted with those that reached the bound.
const HELD_MAX: usize = 1_024;

/// The starts that are held.
pub(super) struct Holds {
    policy: Hold,
    programs: Vec<Program>,
    next_look: Duration,
    held: Vec<Held>,
    /// Containers that are not waited for, or were in vain.
    given_up: HashSet<u64>,
    pub(super) counts: HoldCounts,
}

/// A runtime's program that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    file: FileId,
}

/// A file of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// A start that waits.
struct Held {
    notice: Notice,
    since: Duration,
    waits_for: Vec<u64>,
}

/// What becomes of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    GoesOn,
    AtBound,
}

impl Holds {
    /// Containers that are there already are not waited for: among them are what dead ones left, which nobody will start.
    pub(super) fn new(policy: Hold, maps: &KernelMaps) -> Self {
        Self {
            policy,
            programs: Vec::new(),
            next_look: Duration::ZERO,
            held: Vec::new(),
            given_up: maps.beginning(),
            counts: HoldCounts::default(),
        }
    }

    /// Whether any start waits.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Has the kernel ask about the runtimes' programs, from time to time anew.
    pub(super) fn look_for_programs(&mut self, group: &Group) {
        let now = since_boot();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_AGAIN;
        let root = host_root();
        let wanted: Vec<PathBuf> = if self.policy.programs.is_empty() {
            default_programs().collect()
        } else {
            self.policy.programs.clone()
        };
        let mut programs: Vec<Program> = Vec::new();
        for path in wanted {
            let Some((file, descriptor)) = open_program(root.as_ref(), &path) else {
                continue;
            };
            // The same file may have several names (/usr/sbin may be /usr/bin), and is marked already at most looks.
            if programs.iter().any(|program| program.file == file) {
                continue;
            }
            let is_marked = self.programs.iter().any(|program| program.file == file);
            if is_marked || group.ask_about_file(descriptor.as_fd()).is_ok() {
                programs.push(Program { path, file });
            }
        }
        self.programs = programs;
        self.counts.programs = self.programs.iter().map(|program| program.path.clone()).collect();
    }

    /// Whether this is a runtime's program.
    pub(super) fn is_program(&self, file: BorrowedFd<'_>) -> bool {
        FileId::of(file).is_some_and(|file| self.programs.iter().any(|program| program.file == file))
    }

    /// Takes a question about a runtime's program: it is answered, or waits.
    pub(super) fn take(&mut self, notice: Notice, maps: &KernelMaps, group: &Group) -> Result<(), Errno> {
        let beginning = maps.beginning();
        self.given_up.retain(|container| beginning.contains(container));
        let waits_for: Vec<u64> = beginning.difference(&self.given_up).copied().collect();
        if waits_for.is_empty() {
            return group.answer(&notice, true);
        }
        self.counts.held += 1;
        if self.held.len() >= HELD_MAX {
            return self.end_at_bound(&notice, group);
        }
        self.held.push(Held {
            notice,
            since: since_boot(),
            waits_for,
        });
        Ok(())
    }

    /// Answers those that need wait no longer.
    pub(super) fn release(&mut self, maps: &KernelMaps, group: &Group) -> Result<(), Errno> {
        let now = since_boot();
        for mut held in std::mem::take(&mut self.held) {
            // Each has its own bound: what another one waited for in vain may be the very container that this one starts.
            held.waits_for.retain(|container| maps.is_beginning(*container));
            let waited = now.saturating_sub(held.since);
            match fate(&held.waits_for, waited, self.policy.at_most()) {
                Fate::Waits => {
                    self.held.push(held);
                    continue;
                }
                Fate::GoesOn => group.answer(&held.notice, true)?,
                Fate::AtBound => {
                    self.given_up.extend(held.waits_for);
                    self.end_at_bound(&held.notice, group)?;
                }
            }
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.counts.longest_ms = self.counts.longest_ms.max(waited_ms);
        }
        Ok(())
    }

    fn end_at_bound(&mut self, notice: &Notice, group: &Group) -> Result<(), Errno> {
        self.counts.at_bound += 1;
        group.answer(notice, !self.policy.refuse)
    }
}

fn fate(waits_for: &[u64], waited: Duration, at_most: Duration) -> Fate {
    if waits_for.is_empty() {
        Fate::GoesOn
    } else if waited >= at_most {
        Fate::AtBound
    } else {
        Fate::Waits
    }
}

fn default_programs() -> impl Iterator<Item = PathBuf> {
    DIRECTORIES
        .iter()
        .flat_map(|directory| NAMES.iter().map(|name| Path::new(directory).join(name)))
}

/// The root directory of the host's first process, where this process has another one; else `None`.
fn host_root() -> Option<OwnedFd> {
    let of = |process: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{process}/root/"), flags, Mode::empty()).ok()
    };
    let hosts = of("1")?;
    let is_own = of("self").is_some_and(|own| FileId::of(own.as_fd()) == FileId::of(hosts.as_fd()));
    (!is_own).then_some(hosts)
}

/// Opens a program by its path on the host, symbolic links included.
fn open_program(root: Option<&OwnedFd>, path: &Path) -> Option<(FileId, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match root {
        Some(root) => openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT),
        None => openat(CWD, path, flags, Mode::empty()),
    };
    let descriptor = opened.ok()?;
    Some((FileId::of(descriptor.as_fd())?, descriptor))
}

impl FileId {
    fn of(file: BorrowedFd<'_>) -> Option<Self> {
        let found = fstat(file).ok()?;
        Some(Self {
            device: found.st_dev,
            inode: found.st_ino,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_waits_for_all_and_no_longer_than_the_bound() {
        let bound = Duration::from_secs(2);
        assert_eq!(fate(&[], Duration::ZERO, bound), Fate::GoesOn);
        assert_eq!(fate(&[1], Duration::from_millis(1_999), bound), Fate::Waits);
        assert_eq!(fate(&[1], bound, bound), Fate::AtBound);
        assert_eq!(fate(&[], bound, bound), Fate::GoesOn, "it became known in time");
    }

    #[test]
    fn a_program_is_found_through_links_inside_another_root() {
        let directory = tempfile::tempdir().expect("a directory");
        let bin = directory.path().join("usr/bin");
        std::fs::create_dir_all(&bin).expect("made");
        std::fs::write(bin.join("runc-1"), "x").expect("written");
        std::os::unix::fs::symlink("/usr/bin/runc-1", bin.join("runc")).expect("linked");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = openat(CWD, directory.path(), flags, Mode::empty()).expect("opened");
        let (linked, _) = open_program(Some(&root), Path::new("/usr/bin/runc")).expect("found");
        let (direct, _) = open_program(None, &bin.join("runc-1")).expect("found");
        assert_eq!(linked, direct);
        assert!(open_program(Some(&root), Path::new("/usr/bin/crun")).is_none());
    }
}
