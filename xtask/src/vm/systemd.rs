//! systemd as a virtual machine's process 1.
//!
//! Input: Debian's packages of systemd and of its message bus, as they are installed on this machine. Output: their files in the
//! machine's root file system, with a service that runs the tests. Failure: a package that is not installed, a file that cannot be
//! read.
//!
//! No package's scripts run, so users are made by `systemd-sysusers` at the machine's start, as in an image that is shipped without.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::disk::Tree;
use crate::process;

/// What the first root goes on with.
pub const PROGRAM: &str = "/lib/systemd/systemd";

/// Packages that hold what is needed.
const PACKAGES: [&str; 2] = ["systemd", "dbus"];
/// Packages that hold parts of it on some releases.
const PARTS: [&str; 2] = ["dbus-daemon", "dbus-system-bus-common"];

/// The service that runs the tests.
const SERVICE: &str = include_str!("guest/tests.service");
const UNITS: &str = "etc/systemd/system";
const SERVICE_NAME: &str = "driftlock-tests.service";

/// Below this packages have what is for people, apart from the bus's configuration.
const SHARED: &str = "/usr/share";
const BUS: &str = "/usr/share/dbus-1";

/// Adds systemd, its message bus and the service.
pub fn add_to(tree: &mut Tree) -> Result<()> {
    for package in PACKAGES {
        let list = list(package).with_context(|| format!("the package {package} is not installed"))?;
        add_files(tree, &list)?;
    }
    for list in PARTS.into_iter().filter_map(|package| list(package).ok()) {
        add_files(tree, &list)?;
    }
    // Empty: an identity is drawn at each start. Without the file it is a first start, at which questions are asked.
    tree.text("etc/machine-id", "");
    // Nobody logs in, and the console would be waited for: what finds devices, udev, is not here.
    tree.link_if_free(&format!("{UNITS}/getty.target"), "/dev/null");
    tree.text(&format!("{UNITS}/{SERVICE_NAME}"), SERVICE);
    tree.link_if_free(
        &format!("{UNITS}/multi-user.target.wants/{SERVICE_NAME}"),
        &format!("../{SERVICE_NAME}"),
    );
    Ok(())
}

/// The paths that a package has, one each line.
fn list(package: &str) -> Result<String> {
    process::capture(Command::new("dpkg").args(["-L", package]))
}

fn add_files(tree: &mut Tree, list: &str) -> Result<()> {
    for path in list.lines().filter(|path| is_needed(path)) {
        let file = Path::new(path);
        let subject = || format!("cannot read {path}");
        // What the administrator removed is not there.
        let Ok(found) = file.symlink_metadata() else {
            continue;
        };
        let mode = found.permissions().mode();
        if found.is_symlink() {
            let target = std::fs::read_link(file).with_context(subject)?;
            tree.link_if_free(path, &target.to_string_lossy());
        } else if found.is_dir() {
            tree.directory(path);
        } else if mode & 0o111 != 0 && mode & 0o004 != 0 {
            tree.program(file)?;
        } else if mode & 0o004 != 0 {
            tree.file(path, file);
        }
        // What is left is the bus's own way to start services, which only root may read and which systemd stands in for.
    }
    Ok(())
}

/// Whether a path that a package has is used by its programs. Lists begin with the root itself, and name what dpkg set aside.
fn is_needed(path: &str) -> bool {
    path.starts_with('/') && path != "/." && (!path.starts_with(SHARED) || path.starts_with(BUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manuals_and_notes_are_left_out() {
        assert!(is_needed("/usr/share/dbus-1/system.conf"));
        assert!(is_needed("/lib/systemd/systemd"));
        for path in ["/.", "/usr/share/man/man1/systemd.1.gz", "diverted by x to: /y"] {
            assert!(!is_needed(path), "{path}");
        }
    }

    #[test]
    fn files_links_and_programs_of_a_package_are_added_and_what_is_gone_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let unit = directory.path().join("a.service");
        std::fs::write(&unit, "[Unit]\n").expect("a file");
        std::os::unix::fs::symlink("a.service", directory.path().join("alias.service")).expect("a link");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let list = [at("a.service"), at("alias.service"), at("gone")].join("\n");
        let mut tree = Tree::default();
        add_files(&mut tree, &list).expect("readable");
        let text = format!("{tree:?}");
        assert!(text.contains("Link(\"a.service\")"), "{text}");
        assert!(text.contains("a.service\": File("), "{text}");
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn a_package_that_is_not_there_has_no_list() {
        assert!(list("no-package-has-this-name").is_err());
    }
}
