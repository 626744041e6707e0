//! `cargo xtask deb`: the agent as a Debian package.
//!
//! Input: the binary, which also writes its manual pages and completions; `deploy`. Output: `driftlock_VERSION_ARCH.deb`. Failure: see [`super`].
//!
//! `dpkg-deb` makes the archive, in order and with the times that it is told, so that the same input gives the same bytes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Arguments, copy, empty, put};
use crate::process;
use crate::setup::workspace;

/// The package's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Scripts that dpkg runs, in `deploy/debian`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// Shells, the file that each reads, and what the binary calls it.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/driftlock"),
    ("fish", "usr/share/fish/vendor_completions.d/driftlock.fish"),
    ("zsh", "usr/share/zsh/vendor-completions/_driftlock"),
];

/// Makes the package; says where it is.
pub fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.binary()?;
    let output = arguments.output(&name()?)?;
    make(&binary, &output)?;
    eprintln!("deb: {}", output.display());
    Ok(())
}

/// How the package's file is called.
pub fn name() -> Result<String> {
    Ok(format!("driftlock_{VERSION}_{}.deb", architecture()?))
}

/// Makes the package of a binary.
pub fn make(binary: &Path, output: &Path) -> Result<()> {
    let root = empty("deb")?;
    lay_out(&root, binary)?;
    let control = control(VERSION, &architecture()?, size_kib(&root)?);
    put(&root, "DEBIAN/control", control.as_bytes(), 0o644)?;
    put(&root, "DEBIAN/conffiles", b"/etc/driftlock/config.yaml\n", 0o644)?;
    let scripts = workspace().join("deploy/debian");
    for script in SCRIPTS {
        copy(&root, &format!("DEBIAN/{script}"), &scripts.join(script), 0o755)?;
    }
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&root)
        .arg(output);
    process::hide("package", build.env("SOURCE_DATE_EPOCH", "0")).map(drop)
}

/// This machine's, as dpkg calls it.
fn architecture() -> Result<String> {
    let said = process::capture(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(said.trim().to_owned())
}

fn lay_out(root: &Path, binary: &Path) -> Result<()> {
    let deploy = workspace().join("deploy");
    copy(root, "usr/bin/driftlock", binary, 0o755)?;
    let unit = deploy.join("systemd/driftlock.service");
    copy(root, "lib/systemd/system/driftlock.service", &unit, 0o644)?;
    copy(
        root,
        "etc/driftlock/config.yaml",
        &deploy.join("config.yaml"),
        0o644,
    )?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(
            root,
            &format!("usr/share/doc/driftlock/{license}"),
            &workspace().join(license),
            0o644,
        )?;
    }
    let manuals = root.join("usr/share/man/man1");
    std::fs::create_dir_all(&manuals)?;
    process::hide(
        "manual pages",
        Command::new(binary).args(["man", "--dir"]).arg(&manuals),
    )?;
    for page in std::fs::read_dir(&manuals)? {
        let page = page?.path();
        process::hide("manual page", Command::new("gzip").args(["-9", "-n"]).arg(&page))?;
    }
    for (shell, path) in COMPLETIONS {
        let text = process::capture(Command::new(binary).args(["completions", shell]))?;
        ensure!(!text.is_empty(), "no completions for {shell}");
        put(root, path, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// What dpkg knows of the package.
fn control(version: &str, architecture: &str, size_kib: u64) -> String {
    format!(
        "Package: driftlock\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Driftlock's authors <driftlock@example.invalid>\n\
         Installed-Size: {size_kib}\nDepends: libc6 (>= 2.34), libgcc-s1\nSection: admin\nPriority: optional\n\
         Description: drift prevention and profiling for container nodes\n Driftlock learns what each container image executes, opens and \
         calls, and reports,\n refuses or kills what departs from that. The package installs a service and starts nothing.\n"
    )
}

/// How much room a tree takes.
fn size_kib(root: &Path) -> Result<u64> {
    let text = process::capture(Command::new("du").args(["-sk", "--apparent-size"]).arg(root))?;
    let number = text.split_whitespace().next().context("du says nothing")?;
    Ok(number.parse()?)
}
