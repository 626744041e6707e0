//! What is in a virtual machine: its first root, its disks, and what is told to its first process.
//!
//! Input: the kernel's modules, this machine's container runtime, what was built. Output: files below `target/vm`. Failure: a
//! program that is not on this machine, a disk that cannot be made.
//!
//! The disk with the container runtime changes rarely; the one with what is tested changes with each build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::disk::Tree;
use super::initramfs::{Archive, Mode};
use super::kernel::Kernel;
use super::suite::Plan;
use super::systemd;
use crate::environment::Environment;
use crate::process;
use crate::setup::{is_executable, on_path};

/// The first process, before and after the disks are mounted.
const INIT: &str = include_str!("guest/init.sh");
const RUN: &str = include_str!("guest/run.sh");

/// What the tests call, and what that calls. The machine's other programs are busybox's.
const PROGRAMS: [&str; 13] = [
    "bash",
    "containerd",
    "containerd-shim-runc-v2",
    "docker",
    "dockerd",
    "ldd",
    "mount",
    "nsenter",
    "runc",
    "tar",
    "touch",
    "umount",
    "unshare",
];

/// What a test uses if it is there.
const OPTIONAL_PROGRAMS: [&str; 2] = ["/usr/bin/docker-init", "/usr/libexec/docker/docker-init"];

/// Mount points and the like.
const DIRECTORIES: [&str; 9] = [
    "dev",
    "driftlock",
    "etc",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "var/lib",
];

/// Modules in the order in which they are loaded. What a kernel has built in, it has no module for.
const MODULES: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "overlay",
];

/// The room on the first disk: for the runtime, and for the images and containers of the tests.
const ROOT_SIZE: &str = "4G";
/// The room on the second: for the tests' executables.
const TESTED_SIZE: &str = "1G";

/// What a machine goes on with once its disks are mounted: its process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The script that runs the tests.
    Script,
    /// This machine's systemd, of which that script is a service.
    Systemd,
}

impl First {
    /// As the first root's script reads it: the program and its words.
    fn command(self) -> &'static str {
        match self {
            Self::Script => "/usr/bin/busybox sh /run/run.sh",
            Self::Systemd => systemd::PROGRAM,
        }
    }

    /// The image of the root file system.
    fn image(self) -> &'static str {
        match self {
            Self::Script => "root.ext4",
            Self::Systemd => "root-systemd.ext4",
        }
    }
}

/// The disks, the same for all kernels.
#[derive(Debug)]
pub struct Disks {
    /// The root file system.
    pub root: PathBuf,
    /// The agent, the programs for containers and the tests.
    pub tested: PathBuf,
}

impl Disks {
    /// Makes them in `directory`, as far as they changed.
    pub fn make(
        directory: &Path,
        environment: &Environment,
        executables: &[(String, PathBuf)],
        first: First,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let disks = Self {
            root: directory.join(first.image()),
            tested: directory.join("tested.ext4"),
        };
        root(environment, executables, first)?.image(&disks.root, ROOT_SIZE)?;
        tested(environment, executables)?.image(&disks.tested, TESTED_SIZE)?;
        Ok(disks)
    }
}

fn root(environment: &Environment, executables: &[(String, PathBuf)], first: First) -> Result<Tree> {
    let mut tree = Tree::root();
    for directory in DIRECTORIES {
        tree.directory(directory);
    }
    tree.text(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    tree.text("etc/group", "root:x:0:\ndocker:x:100:\nnogroup:x:65534:\n");
    tree.text("etc/hosts", "127.0.0.1 localhost guest\n");
    for program in PROGRAMS {
        let file = on_path(program).with_context(|| format!("{program} is not on this machine"))?;
        tree.program(&file)?;
    }
    for program in OPTIONAL_PROGRAMS.map(Path::new) {
        if is_executable(program) {
            tree.program(program)?;
        }
    }
    tree.libraries_of(&environment.driftlock)?;
    for (_, executable) in executables {
        tree.libraries_of(executable)?;
    }
    for fixture in fixtures(environment)? {
        tree.libraries_of(&fixture)?;
    }
    if first == First::Systemd {
        systemd::add_to(&mut tree)?;
    }
    tree.file("usr/bin/busybox", &environment.busybox);
    let applets = process::capture(Command::new(&environment.busybox).arg("--list"))?;
    for applet in applets.lines() {
        tree.link_if_free(&format!("usr/bin/{applet}"), "/usr/bin/busybox");
    }
    Ok(tree)
}

fn tested(environment: &Environment, executables: &[(String, PathBuf)]) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("driftlock", &environment.driftlock);
    for (name, executable) in executables {
        tree.stripped(&format!("tests/{name}"), executable);
    }
    for fixture in fixtures(environment)? {
        let name = fixture.file_name().context("a file has a name")?;
        tree.file(&format!("fixtures/{}", name.to_string_lossy()), &fixture);
    }
    Ok(tree)
}

/// The programs and libraries that tests put into containers.
fn fixtures(environment: &Environment) -> Result<Vec<PathBuf>> {
    let directory = &environment.fixtures;
    let failed = || format!("cannot list {}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        // Beside them is what cargo notes about its work.
        let is_note = path.extension().is_some_and(|extension| extension == "d")
            || path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !is_note {
            found.push(path);
        }
    }
    Ok(found)
}

/// The first root, with the kernel's modules and what is to be run.
pub fn initramfs(kernel: &Kernel, busybox: &Path, plan: &Plan, first: First) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "modules"] {
        archive.directory(directory);
    }
    archive.console();
    archive.file("init", Mode::Program, INIT.as_bytes());
    archive.file("run.sh", Mode::Data, RUN.as_bytes());
    archive.file("first", Mode::Data, format!("{}\n", first.command()).as_bytes());
    archive.file("plan", Mode::Data, plan.to_text().as_bytes());
    let busybox = std::fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    archive.file("bin/busybox", Mode::Program, &busybox);
    for (number, name) in MODULES.iter().enumerate() {
        if let Some(module) = kernel.module(name)? {
            archive.file(&format!("modules/{number}-{name}.ko"), Mode::Data, &module);
        }
    }
    Ok(archive.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_good_shell() {
        for (name, script) in [("init", INIT), ("run", RUN)] {
            let mut shell = Command::new("sh");
            process::capture(shell.args(["-n", "-c", script]))
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}
