//! What is missing on a machine where packages cannot be installed: no Debian, or not root.
//!
//! Input: the purposes. Output: nothing if all is there or can be installed. Failure: the whole list at once, each
//! with what it is for and the packages that bring it.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::debian::{self, Apt};
use super::ebpf_toolchain::{self, Compiler};
use super::{COMPILER_PACKAGES, Purpose, llvm_packages, machine_needs, needs, owned};

/// Where packages cannot be installed: fails with everything that is missing at once, before anything is done.
pub fn refuse_what_cannot_be_installed(purposes: &[Purpose]) -> Result<()> {
    let Some(obstacle) = Apt::obstacle() else {
        return Ok(());
    };
    let missing = missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    let mut text = format!("setup cannot install what is missing: {obstacle}.\n\nMissing:\n");
    let mut packages: Vec<&str> = Vec::new();
    for lack in &missing {
        let _ = writeln!(
            text,
            "  {:<20} {} (Debian: {})",
            lack.name,
            lack.why,
            lack.packages.join(" ")
        );
        for package in &lack.packages {
            if !packages.contains(&package.as_str()) {
                packages.push(package);
            }
        }
    }
    let _ = write!(
        text,
        "\nOn Debian 12 or later, as root: apt-get install --no-install-recommends {}\nElsewhere install the same \
         by your system's means and run this command again; it looks for the things, not for the packages.",
        packages.join(" ")
    );
    bail!(text)
}

/// Something that is not there.
#[derive(Debug)]
struct Lack {
    name: String,
    why: String,
    packages: Vec<String>,
}

/// What of the packages' things is missing.
fn missing(purposes: &[Purpose]) -> Vec<Lack> {
    let lack = |name: &str, why: &str, packages: Vec<String>| Lack {
        name: name.into(),
        why: why.into(),
        packages,
    };
    let mut missing = Vec::new();
    let compiler = ebpf_toolchain::choose();
    if compiler.is_none() {
        let why = "a rustc with LLVM 21 to 23 and the library's source (rustup: component rust-src)";
        missing.push(lack("eBPF compiler", why, owned(&COMPILER_PACKAGES)));
    }
    if purposes.iter().any(|purpose| purpose.needs_linker()) {
        let linker = compiler.as_ref().and_then(Compiler::find_linker);
        let config = compiler.as_ref().and_then(Compiler::llvm_config);
        if linker.is_none() && config.is_none() {
            let major = compiler
                .as_ref()
                .map_or(ebpf_toolchain::DEBIAN_LLVM, |compiler| compiler.llvm);
            let why =
                format!("bpf-linker linked with LLVM {major}, or that LLVM with llvm-config to build it");
            missing.push(lack("bpf-linker", &why, llvm_packages(major)));
        }
    }
    for need in machine_needs(purposes) {
        if (need.probe)().is_none() {
            let package = debian::known(need.packages).map(str::to_owned);
            missing.push(lack(need.name, need.why, package.into_iter().collect()));
        }
    }
    if purposes.iter().any(|purpose| purpose.needs_containers()) && needs::busybox().is_none() {
        missing.push(lack(
            "static busybox",
            "goes into test images and virtual machines",
            owned(&[needs::BUSYBOX_PACKAGE]),
        ));
    }
    missing
}
