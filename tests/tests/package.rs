//! The Debian package, installed, installed again, removed and purged by the real dpkg in a root of its own.
//!
//! The root has a static busybox for the package's scripts and the libraries that the binary is linked with; that the packages which dpkg is told
//! to do without can be had, apt says of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tests::environment::Environment;
use tests::support;

/// Made by `cargo xtask test`.
const PACKAGE: &str = "DRIFTLOCK_DEB";
/// The one file that is the administrator's.
const CONFIG: &str = "etc/driftlock/config.yaml";
/// What the scripts of the package call, beside the agent itself.
const PROGRAMS: [&str; 3] = ["bin/sh", "bin/rm", "bin/["];

/// A root directory for dpkg.
struct Root {
    directory: TempDir,
}

impl Root {
    /// With an empty database, a shell, and the libraries of `binary`.
    fn create(binary: &Path) -> anyhow::Result<Self> {
        let root = Self {
            directory: tempfile::tempdir()?,
        };
        for directory in [
            "bin",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/dpkg/triggers",
            "var/log",
            "tmp",
        ] {
            fs::create_dir_all(root.path(directory))?;
        }
        for file in ["status", "available"] {
            fs::write(root.path("var/lib/dpkg").join(file), "")?;
        }
        fs::copy(&Environment::get().busybox, root.path("bin/busybox"))?;
        for program in PROGRAMS {
            symlink("busybox", root.path(program))?;
        }
        let libraries = Command::new("ldd").arg(binary).output()?;
        let libraries = String::from_utf8(libraries.stdout)?;
        let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for library in libraries {
            let place = root.path(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().context("no directory")?)?;
            fs::copy(library, place)?;
        }
        Ok(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Runs dpkg, with standard input closed: it asks nothing.
    fn dpkg(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("dpkg")
            .arg(format!("--root={}", self.directory.path().display()))
            .args(["--force-depends", "--no-pager"])
            .args(words)
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "dpkg {words:?}: {said}");
        Ok(said)
    }

    /// What dpkg knows of the package.
    fn status(&self) -> anyhow::Result<String> {
        let output = Command::new("dpkg-query")
            .arg(format!("--admindir={}", self.path("var/lib/dpkg").display()))
            .args(["--show", "--showformat=${db:Status-Abbrev}", "driftlock"])
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Everything that is there, but for dpkg's own.
    fn tree(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![self.directory.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let path = entry.path();
                let below = path.strip_prefix(self.directory.path())?;
                if below.starts_with("var/lib/dpkg") || below.starts_with("var/log") {
                    continue;
                }
                found.insert(below.to_owned());
                if entry.file_type()?.is_dir() {
                    waiting.push(path);
                }
            }
        }
        Ok(found)
    }
}

#[test]
fn the_package_comes_and_goes_without_a_trace() -> anyhow::Result<()> {
    let Some(package) = std::env::var_os(PACKAGE).map(PathBuf::from) else {
        support::not_on_this_kernel(
            "the Debian package",
            "DRIFTLOCK_DEB is not set; `cargo xtask test` makes it where there is a dpkg-deb",
        );
        return Ok(());
    };
    let package = package.to_str().context("a strange name")?;
    let shipped = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config.yaml"))?;
    let root = Root::create(&Environment::get().driftlock)?;
    let before = root.tree()?;

    root.dpkg(&["--install", package])?;
    ensure!(root.status()? == "ii", "{}", root.status()?);
    is_as_it_should_be(&root)?;
    ensure!(fs::read(root.path(CONFIG))? == shipped);

    // What the administrator wrote stays, and so do profiles until the package is purged.
    fs::write(root.path(CONFIG), "node: mine\n")?;
    fs::create_dir_all(root.path("var/lib/driftlock"))?;
    fs::write(root.path("var/lib/driftlock/profiles.redb"), "learned")?;
    root.dpkg(&["--install", package])?;
    ensure!(
        fs::read(root.path(CONFIG))? == b"node: mine\n",
        "the configuration was replaced"
    );

    root.dpkg(&["--remove", "driftlock"])?;
    ensure!(root.status()? == "rc", "{}", root.status()?);
    ensure!(!root.path("usr/bin/driftlock").exists());
    ensure!(root.path(CONFIG).exists() && root.path("var/lib/driftlock/profiles.redb").exists());

    root.dpkg(&["--purge", "driftlock"])?;
    ensure!(
        root.status()?.is_empty() || root.status()? == "un",
        "{}",
        root.status()?
    );
    let after = root.tree()?;
    ensure!(
        after == before,
        "left behind: {:?}, taken away: {:?}",
        after.difference(&before).collect::<Vec<_>>(),
        before.difference(&after).collect::<Vec<_>>()
    );
    Ok(())
}

/// The files are in their places, root's, readable for all and writable for nobody else; the unit starts what is there.
fn is_as_it_should_be(root: &Root) -> anyhow::Result<()> {
    let places = [
        ("usr/bin/driftlock", 0o755),
        ("lib/systemd/system/driftlock.service", 0o644),
        (CONFIG, 0o644),
        ("usr/share/man/man1/driftlock.1.gz", 0o644),
        ("usr/share/bash-completion/completions/driftlock", 0o644),
        ("usr/share/doc/driftlock/LICENSE-MIT", 0o644),
    ];
    for (place, mode) in places {
        let metadata = fs::metadata(root.path(place)).with_context(|| format!("no {place}"))?;
        ensure!(
            metadata.permissions().mode() & 0o7777 == mode && metadata.uid() == 0 && metadata.gid() == 0,
            "{place}: {metadata:?}"
        );
    }
    let unit = fs::read_to_string(root.path("lib/systemd/system/driftlock.service"))?;
    let program = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .and_then(|line| line.split(' ').next())
        .context("the unit starts nothing")?;
    ensure!(
        root.path(program.trim_start_matches('/')).is_file(),
        "{program} is not there"
    );
    let said = Command::new("chroot")
        .arg(root.directory.path())
        .args([program, "--version"])
        .output()?;
    ensure!(said.status.success(), "{program} does not run: {said:?}");
    let conffiles = fs::read_to_string(root.path("var/lib/dpkg/info/driftlock.conffiles"))?;
    ensure!(conffiles.trim() == format!("/{CONFIG}"), "{conffiles}");
    // Nothing is started on a new node, and nothing is enabled.
    ensure!(!root.path("etc/systemd").exists());
    Ok(())
}

/// What the package depends on are packages that apt knows.
#[test]
fn apt_knows_what_the_package_depends_on() -> anyhow::Result<()> {
    let Some(package) = std::env::var_os(PACKAGE) else {
        support::not_on_this_kernel(
            "the package's dependencies",
            "DRIFTLOCK_DEB is not set; `cargo xtask test` makes it where there is a dpkg-deb",
        );
        return Ok(());
    };
    let output = Command::new("apt-get")
        .args(["install", "--simulate", "--no-install-recommends"])
        .arg(&package)
        .env("LC_ALL", "C")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("Inst driftlock "),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
