//! The compiler and the linker for the kernel programs.
//!
//! Input: what is on the machine. Output: a rustc that has the library's source (core is built for the BPF target) and
//! a bpf-linker of the same LLVM. Failure: what is missing, and what to install.
//!
//! Tested for is the source, never the toolchain's name: a nightly without rust-src cannot do it, a stable compiler
//! with source can (`RUSTC_BOOTSTRAP`). The pair must agree on LLVM's major version because the linker reads the
//! bitcode that the compiler writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cargo_tools::CargoTool;
use super::path;
use crate::process;

/// bpf-linker's version.
const LINKER_VERSION: &str = "0.13.0";
/// LLVM's major versions that this bpf-linker can be built with: its features `llvm-N`.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;
/// LLVM's major version of Debian 12's `rustc-web`, to name packages before the compiler is there.
pub const DEBIAN_LLVM: u32 = 22;

/// A compiler that can build the kernel programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The compiler itself, never rustup's proxy.
    pub rustc: PathBuf,
    /// Its version, as `1.96.0`.
    pub release: String,
    /// The major version of its LLVM.
    pub llvm: u32,
}

impl Compiler {
    /// The compiler at this path, if it has the source and an LLVM that bpf-linker knows.
    fn probe(rustc: &Path, sysroot: &Path) -> Option<Self> {
        if !path::is_executable(rustc) || !sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
            return None;
        }
        let text = process::capture(Command::new(rustc).arg("-vV")).ok()?;
        let (release, llvm) = parse_version(&text)?;
        LINKER_LLVM.contains(&llvm).then(|| Self {
            rustc: rustc.to_owned(),
            release,
            llvm,
        })
    }

    /// This compiler's own clippy, if it is installed.
    pub fn clippy(&self) -> Option<PathBuf> {
        let directory = self.rustc.parent()?;
        let found = path::is_executable(&directory.join("clippy-driver"));
        Some(directory.join("cargo-clippy")).filter(|program| found && path::is_executable(program))
    }

    /// Whether this is the system's compiler, so that Debian's packages belong to it.
    pub fn is_the_systems(&self) -> bool {
        self.rustc.starts_with("/usr/bin")
    }

    /// The bpf-linker that is built for this compiler.
    pub fn linker(&self) -> CargoTool {
        let mut tool = CargoTool::new("bpf-linker", "bpf-linker", LINKER_VERSION);
        tool.arguments = [
            "--no-default-features".into(),
            "--features".into(),
            format!("llvm-{}", self.llvm),
        ]
        .into();
        tool.variant = format!("-llvm{}", self.llvm);
        tool
    }

    /// The bpf-linker that is there and fits.
    pub fn find_linker(&self) -> Option<PathBuf> {
        let tool = self.linker();
        tool.built().or_else(|| {
            tool.elsewhere()
                .filter(|program| linked_llvm(program) == Some(self.llvm))
        })
    }

    /// The directory to search first for `llvm-config` when the linker is built; empty if `PATH` has the right one.
    pub fn llvm_config(&self) -> Option<PathBuf> {
        let debian = PathBuf::from(format!("/usr/lib/llvm-{}/bin", self.llvm));
        let fits = |directory: &PathBuf| {
            let text =
                process::capture(Command::new(directory.join("llvm-config")).args(["--version", "--libdir"]));
            text.is_ok_and(|text| {
                let mut lines = text.lines();
                let major = lines.next().and_then(major);
                // The headers and libllvm's development link come with the package that the build needs.
                major == Some(self.llvm) && lines.next().is_some_and(|lib| Path::new(lib).is_dir())
            })
        };
        let on_path = path::on_path("llvm-config").and_then(|program| program.parent().map(Path::to_owned));
        std::iter::once(debian).chain(on_path).find(fits)
    }
}

/// All compilers on this machine that can build the kernel programs: the system's, then rustup's.
pub fn compilers() -> Vec<Compiler> {
    let system = (PathBuf::from("/usr/bin/rustc"), PathBuf::from("/usr"));
    std::iter::once(system)
        .chain(
            rustup_toolchains()
                .into_iter()
                .map(|root| (root.join("bin/rustc"), root)),
        )
        .filter_map(|(rustc, sysroot)| Compiler::probe(&rustc, &sysroot))
        .collect()
}

/// The compiler to use: one whose linker is there, else one whose linker can be built, else any.
pub fn choose() -> Option<Compiler> {
    let all = compilers();
    let ready = all.iter().find(|compiler| compiler.find_linker().is_some());
    let buildable = || all.iter().find(|compiler| compiler.llvm_config().is_some());
    ready.or_else(buildable).or_else(|| all.first()).cloned()
}

/// The root directories of rustup's toolchains, in the order of their names.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    let Some(Ok(entries)) = home.map(|home| std::fs::read_dir(home.join("toolchains"))) else {
        return Vec::new();
    };
    let mut roots: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    roots.sort();
    roots
}

/// Release and LLVM's major version from `rustc -vV`.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    Some((field("release:")?.to_owned(), major(field("LLVM version:")?)?))
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

/// The major version of the LLVM in a linker: of the shared library that it loads, else of the one built into it.
fn linked_llvm(program: &Path) -> Option<u32> {
    let libraries = process::capture(Command::new("ldd").arg(program)).unwrap_or_default();
    let after = |text: &str, mark: &str| {
        let digits: String = text
            .split(mark)
            .nth(1)?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok()
    };
    after(&libraries, "libLLVM.so.").or_else(|| {
        let mut grep = Command::new("grep");
        let text =
            process::capture(grep.args(["-aoEm1", r"LLVM[0-9]+\.[0-9]+\.[0-9]+"]).arg(program)).ok()?;
        after(&text, "LLVM")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_llvm_are_read_from_the_verbose_version() {
        let text = "rustc 1.96.0 (0 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_version(text), Some(("1.96.0".to_owned(), 22)));
    }

    #[test]
    fn a_compiler_without_the_library_source_is_none() {
        let rustc = path::on_path("rustc").expect("the tests were compiled by one");
        let sysroot = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(Compiler::probe(&rustc, sysroot.path()), None);
    }

    #[test]
    fn a_compiler_with_the_library_source_is_one_if_the_linker_knows_its_llvm() {
        let rustc = path::on_path("rustc").expect("the tests were compiled by one");
        let sysroot = tempfile::tempdir().expect("a temporary directory");
        let library = sysroot.path().join("lib/rustlib/src/rust/library");
        std::fs::create_dir_all(&library).expect("a directory in it");
        std::fs::write(library.join("Cargo.lock"), "").expect("a file in it");
        let text = process::capture(Command::new(&rustc).arg("-vV")).expect("rustc runs");
        let (release, llvm) = parse_version(&text).expect("it says its version");
        let expected = LINKER_LLVM.contains(&llvm).then(|| Compiler {
            rustc: rustc.clone(),
            release,
            llvm,
        });
        assert_eq!(Compiler::probe(&rustc, sysroot.path()), expected);
    }
}
