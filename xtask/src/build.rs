//! `cargo xtask build`: the kernel programs, the daemon that holds them, the programs that run in test containers.
//!
//! Input: the sources. Output: `target/ebpf/driftlock.o`, `target/{debug,release}/driftlock`, and for tests the
//! static programs below `target/fixtures` and beside them kernel programs that nothing but a test loads. Failure: cargo's, which has drawn its messages on the terminal.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::setup::{self, Compiler, Purpose, Tools, cargo, workspace};

/// The target that the kernel programs are built for: little-endian, as all machines are that are supported.
const EBPF_TARGET: &str = "bpfel-unknown-none";
/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";
/// Kernel programs that a test loads, and never the daemon: the name of the binary, and of its object beside the fixtures.
const TEST_OBJECTS: [(&str, &str); 1] = [("path-check", "path-check.o")];
/// Would have the daemon's build script embed another object than the one that was just built, which it finds by itself.
const OBJECT_VARIABLE: &str = "DRIFTLOCK_EBPF_OBJECT";

/// Which build of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build, with debug assertions.
    Debug,
    /// What is shipped, and what the tests against real kernels use.
    Release,
}

/// The command: sets up, builds the kernel programs, then the daemon.
pub fn run(profile: Profile) -> Result<()> {
    let tools = setup::run(&[Purpose::Build])?;
    kernel_programs(&tools)?;
    let binary = daemon(profile)?;
    eprintln!("build: {}", binary.display());
    Ok(())
}

/// Builds the kernel programs into `target/ebpf/driftlock.o`.
pub fn kernel_programs(tools: &Tools) -> Result<()> {
    let compiler = tools
        .compiler
        .as_ref()
        .context("the kernel programs need a compiler")?;
    let linker = tools
        .linker
        .as_ref()
        .context("the kernel programs need a linker")?;
    let started = Instant::now();
    let mut command = kernel_cargo(compiler);
    command
        .arg("build")
        .args(kernel_arguments())
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker);
    process::show(&mut command).context("building the kernel programs")?;
    let built = without_debug_information(kernel_object("driftlock"), compiler)?;
    let object = workspace().join("target/ebpf/driftlock.o");
    let copied = copy_if_changed(&built, &object)?;
    let state = if copied { "new" } else { "unchanged" };
    eprintln!(
        "build: kernel programs {state}, {} ({:.1} s)",
        object.display(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The object without what its BTF was made from, which nobody reads any more and which is four fifths of it: the daemon has it in its
/// memory. Where the compiler's LLVM is not installed, with it.
fn without_debug_information(built: PathBuf, compiler: &Compiler) -> Result<PathBuf> {
    let strip = compiler
        .llvm_config()
        .map(|directory| directory.join("llvm-strip"));
    let Some(strip) = strip.filter(|program| program.is_file()) else {
        return Ok(built);
    };
    let small = built.with_extension("small.o");
    let mut command = Command::new(strip);
    command.arg("--strip-debug").arg("-o").arg(&small).arg(&built);
    process::show(&mut command).context("taking the debug information out of the kernel programs")?;
    Ok(small)
}

/// A cargo that compiles for the BPF target: in the kernel programs' directory, with their compiler.
pub fn kernel_cargo(compiler: &Compiler) -> Command {
    let mut command = cargo();
    command
        .current_dir(workspace().join("agent-ebpf"))
        .env("RUSTC", &compiler.rustc)
        // core is built from source, which cargo and rustc allow in releases only with this.
        .env("RUSTC_BOOTSTRAP", "1")
        // In place of the user's flags, which are meant for another target.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            ["-Cdebuginfo=2", "-Clink-arg=--btf"].join(FLAG_SEPARATOR),
        );
    command
}

/// What every cargo command for the kernel programs gets after its name.
pub fn kernel_arguments() -> Vec<String> {
    let directory = kernel_target_directory();
    [
        "--release",
        "--locked",
        "-Zbuild-std=core",
        "--target",
        EBPF_TARGET,
        "--target-dir",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([directory.to_string_lossy().into_owned()])
    .collect()
}

/// What cargo makes of a binary of the kernel programs.
fn kernel_object(binary: &str) -> PathBuf {
    kernel_target_directory()
        .join(EBPF_TARGET)
        .join("release")
        .join(binary)
}

fn kernel_target_directory() -> PathBuf {
    workspace().join("target/ebpf/build")
}

/// Builds the daemon with the kernel programs that [`kernel_programs`] made in it and returns its file.
pub fn daemon(profile: Profile) -> Result<PathBuf> {
    let target = workspace().join("target");
    let mut command = cargo();
    command
        .args(["build", "--locked", "--package", "agent", "--target-dir"])
        .arg(&target)
        .env_remove(OBJECT_VARIABLE);
    if profile == Profile::Release {
        command.arg("--release");
    }
    process::show(&mut command).context("building the daemon")?;
    let directory = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    let binary = target.join(directory).join("driftlock");
    ensure!(
        binary.is_file(),
        "cargo succeeded, but {} is not there",
        binary.display()
    );
    Ok(binary)
}

/// Builds the programs that run inside test containers and returns their directory: the static ones, a program and a
/// library that are linked dynamically, and what [`kernel_programs`] made for tests.
pub fn fixtures() -> Result<PathBuf> {
    let directory = fixtures_of("--bins", "target/fixtures", "-Ctarget-feature=+crt-static")?;
    let dynamic = fixtures_of("--examples", "target/fixtures-dynamic", "")?.join("examples");
    for name in ["dynamic", "libpreload.so"] {
        copy_if_changed(&dynamic.join(name), &directory.join(name))?;
    }
    for (binary, name) in TEST_OBJECTS {
        copy_if_changed(&kernel_object(binary), &directory.join(name))?;
    }
    Ok(directory)
}

/// Builds one kind of them.
///
/// A target is named even though it is the host's, as otherwise the flag for static linking would reach procedural
/// macros, which cannot be linked so.
fn fixtures_of(kind: &str, directory: &str, flags: &str) -> Result<PathBuf> {
    let target = host()?;
    let directory = workspace().join(directory);
    let mut command = cargo();
    command
        .args(["build", "--locked", "--package", "tests", kind])
        .args(["--no-default-features", "--features", "fixtures"])
        .args(["--profile", "fixtures", "--target", &target, "--target-dir"])
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    process::show(&mut command).context("building the programs for test containers")?;
    Ok(directory.join(target).join("fixtures"))
}

/// Builds the tests against the kernel and returns name and executable of each file of `tests/tests`, sorted by name.
pub fn test_executables() -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo();
    command
        .args(["test", "--locked", "--package", "tests", "--tests", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "building the tests: {}", output.status);
    let mut executables: Vec<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(test_executable)
        .collect();
    executables.sort();
    Ok(executables)
}

/// Name and executable, if cargo's message is about a file of tests that it built.
fn test_executable(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_file_of_tests = target["kind"].as_array()?.iter().any(|kind| kind == "test");
    let (name, executable) = (target["name"].as_str()?, message["executable"].as_str()?);
    is_file_of_tests.then(|| (name.to_owned(), executable.into()))
}

/// The target triple of this machine.
pub fn host() -> Result<String> {
    let text =
        process::capture(Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// Copies `from` to `to` unless they are equal, so that what depends on `to` is not built again. Says if it did.
fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let new = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    // Renamed into place: a build that reads it meanwhile sees the old or the new one, whole.
    let temporary = to.with_extension("new");
    std::fs::copy(from, &temporary).with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, to).with_context(|| format!("cannot replace {}", to.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_object_is_left_alone_and_a_changed_one_replaced() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to.o"));
        std::fs::write(&from, "one").expect("a file");
        assert!(copy_if_changed(&from, &to).expect("copied"));
        let before = to.metadata().and_then(|file| file.modified()).expect("a time");
        assert!(!copy_if_changed(&from, &to).expect("compared"));
        assert_eq!(
            to.metadata().and_then(|file| file.modified()).expect("a time"),
            before
        );
        std::fs::write(&from, "two").expect("a file");
        assert!(copy_if_changed(&from, &to).expect("copied"));
        assert_eq!(std::fs::read(&to).expect("a file"), b"two");
    }

    #[test]
    fn executables_of_files_of_tests_are_found_among_cargos_messages() {
        let message = |kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"x"}},"executable":"/t/x-1"}}"#
            )
        };
        assert_eq!(
            test_executable(&message("test")),
            Some(("x".to_owned(), PathBuf::from("/t/x-1")))
        );
        assert_eq!(test_executable(&message("lib")), None);
        assert_eq!(
            test_executable(r#"{"reason":"build-finished","success":true}"#),
            None
        );
    }

    #[test]
    fn a_missing_object_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let from = directory.path().join("absent");
        let error = format!(
            "{:#}",
            copy_if_changed(&from, &directory.path().join("to.o")).expect_err("absent")
        );
        assert!(error.contains("absent"), "{error}");
    }
}
