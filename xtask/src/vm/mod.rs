//! `cargo xtask vm`: tests on other kernels, in a virtual machine.
//!
//! Input: which kernels, and if given a part of the names of the tests wanted. Output: the tests' own, and at the end a
//! line per kernel. Failure: what could not be installed, fetched or built; else a test that failed, or a kernel that
//! hung or panicked, with the end of its console.
//!
//! The tests are scripts that run as root in the machine ([`TESTS`]), with the agent linked statically and busybox. No
//! container runtime is there: they make the container themselves.

mod initramfs;
mod kernel;
mod qemu;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::setup::{self, Purpose, workspace};
use initramfs::{Archive, Mode};
use kernel::{Kernel, Series};
use qemu::End;

/// How long one kernel's tests may take, its start included. Without acceleration they take 10 to 30 seconds.
const PATIENCE: Duration = Duration::from_mins(5);
/// Lines of the console that are shown of a machine that hung or panicked.
const CONSOLE_TAIL: usize = 40;

/// The tests: name and script, in the order in which they run.
const TESTS: [(&str, &str); 2] = [
    ("programs_load", include_str!("guest/programs_load.sh")),
    ("exec_drift", include_str!("guest/exec_drift.sh")),
];

/// The first process.
const INIT: &str = include_str!("guest/init.sh");

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which kernel; `newest` is the newest that Debian has.
    #[arg(long, value_enum)]
    kernel: Choice,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// The kernels that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    Newest,
    All,
}

impl Choice {
    fn series(self) -> &'static [Series] {
        match self {
            Self::V5_10 => &[Series::V5_10],
            Self::V6_1 => &[Series::V6_1],
            Self::V6_12 => &[Series::V6_12],
            Self::Newest => &[Series::Newest],
            Self::All => &Series::ALL,
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tests = chosen(arguments.filter.as_deref())?;
    let tools = setup::run(&[Purpose::Vm])?;
    let busybox = tools.busybox.as_ref().context("the machine needs a busybox")?;
    build::kernel_programs(&tools)?;
    let agent = build::static_daemon()?;
    let programs = [("bin/busybox", read(busybox)?), ("bin/driftlock", read(&agent)?)];

    // One kernel's failure hides no other's.
    let mut rows = Vec::new();
    for &series in arguments.kernel.series() {
        let started = Instant::now();
        let (name, verdict) = match kernel::find(series) {
            Ok(kernel) => {
                let verdict = on(&kernel, &programs, &tests);
                (kernel.release, verdict)
            }
            Err(error) => (series.name().to_owned(), Err(error)),
        };
        let verdict = verdict.map_err(|error| eprintln!("error: {name}: {error:#}"));
        rows.push((name, verdict, started.elapsed()));
    }
    for (name, verdict, took) in &rows {
        let word = if verdict.is_ok() { "passed" } else { "FAILED" };
        eprintln!("  {name:<28} {word:<8} {:>6.1} s", took.as_secs_f64());
    }
    Ok(if rows.iter().all(|(_, verdict, _)| verdict.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The tests whose names contain `filter`. None is an error: nothing would be tested, and that would pass.
fn chosen(filter: Option<&str>) -> Result<Vec<(&'static str, &'static str)>> {
    let wanted = |name: &str| filter.is_none_or(|part| name.contains(part));
    let tests: Vec<_> = TESTS.into_iter().filter(|(name, _)| wanted(name)).collect();
    if tests.is_empty() {
        let names = TESTS.map(|(name, _)| name).join(", ");
        bail!(
            "no test's name contains `{}`; there are {names}",
            filter.unwrap_or_default()
        );
    }
    Ok(tests)
}

/// Runs tests on a kernel.
fn on(kernel: &Kernel, programs: &[(&str, Vec<u8>)], tests: &[(&str, &str)]) -> Result<()> {
    let directory = workspace().join("target/vm").join(&kernel.release);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let initramfs = directory.join("initramfs");
    let archive = archive(kernel, programs, tests)?.finish();
    std::fs::write(&initramfs, archive).with_context(|| format!("cannot write {}", initramfs.display()))?;

    eprintln!("vm: {}", kernel.release);
    let outcome = qemu::run(&kernel.image, &initramfs, &directory, PATIENCE)?;
    for warning in outcome.warnings() {
        eprintln!("  the kernel warns: {warning}");
    }
    let tail = || outcome.console_tail(CONSOLE_TAIL);
    match outcome.end {
        End::Exit(0) => Ok(()),
        End::Exit(failed) => bail!("{failed} of {} tests failed", tests.len()),
        End::Died => bail!(
            "the machine ended before its tests did; the end of its console:\n{}",
            tail()
        ),
        End::Hung => bail!(
            "the tests did not end within {} s; the end of the console:\n{}",
            PATIENCE.as_secs(),
            tail()
        ),
    }
}

/// The machine's files.
fn archive(kernel: &Kernel, programs: &[(&str, Vec<u8>)], tests: &[(&str, &str)]) -> Result<Archive> {
    const DIRECTORIES: [&str; 10] = [
        "bin", "dev", "etc", "modules", "proc", "run", "sys", "tests", "tmp", "var",
    ];
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.console();
    archive.file("init", Mode::Program, INIT.as_bytes());
    for (name, content) in programs {
        archive.file(name, Mode::Program, content);
    }
    if let Some(module) = kernel.module("overlay")? {
        archive.file("modules/overlay.ko", Mode::Data, &module);
    }
    for (number, (name, script)) in tests.iter().enumerate() {
        archive.file(
            &format!("tests/{number}-{name}.sh"),
            Mode::Data,
            script.as_bytes(),
        );
    }
    Ok(archive)
}

fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn a_filter_that_matches_no_test_is_an_error() {
        assert_eq!(chosen(None).expect("all").len(), TESTS.len());
        assert_eq!(chosen(Some("drift")).expect("one")[0].0, "exec_drift");
        assert!(chosen(Some("no such test")).is_err());
    }

    #[test]
    fn the_scripts_are_good_shell() {
        for (name, script) in TESTS.iter().chain(&[("init", INIT)]) {
            let mut shell = std::process::Command::new("sh");
            process::capture(shell.args(["-n", "-c", script]))
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}
