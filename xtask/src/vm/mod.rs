//! `cargo xtask vm`: the tests against the kernel on other kernels, in a virtual machine.
//!
//! Input: which kernels, and if given which tests. Output: what each kernel can do and the tests' own output as it comes, and
//! at the end what each kernel came to. For all kernels and tests together also `docs/kernel-support.md`. Failure: what could
//! not be installed, fetched or built; else a test that failed, or a kernel that hung or panicked, with the end of its console.
//!
//! The tests are the executables of the `tests` package that `cargo xtask test` runs too ([`suite`]), with this machine's
//! container runtime.

mod disk;
mod guest;
mod initramfs;
mod kernel;
mod qemu;
mod results;
mod suite;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::environment::Environment;
use crate::not_here;
use crate::setup::{self, Purpose, workspace};
use guest::Disks;
use kernel::{Kernel, Series};
use qemu::{End, Setup};
use results::Results;
use suite::Plan;

/// How long one kernel's tests may take, its start included. Without acceleration they take a few minutes.
const PATIENCE: Duration = Duration::from_mins(15);
/// Lines of the console that are shown of a machine that hung or panicked.
const CONSOLE_TAIL: usize = 40;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which kernel; `newest` is the newest that Debian has.
    #[arg(long, value_enum)]
    kernel: Choice,
    /// Words for the kernel's command line, such as "lsm=landlock,yama,bpf".
    #[arg(long, default_value = "", value_name = "WORDS")]
    append: String,
    /// Only the tests of this file in tests/tests, or those whose name contains this.
    test: Option<String>,
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
    let tools = setup::run(&[Purpose::Vm])?;
    let environment = Environment::build(&tools)?;
    let executables = build::test_executables()?;
    let plan = Plan::new(&executables, arguments.test.as_deref())?;
    let disks = Disks::make(&workspace().join("target/vm"), &environment, &executables)?;

    // One kernel's failure hides no other's.
    let mut rows = Vec::new();
    for &series in arguments.kernel.series() {
        let started = Instant::now();
        let (name, outcome) = match kernel::find(series) {
            Ok(kernel) => {
                let outcome = on(&kernel, &environment, &disks, &plan, &arguments.append);
                (kernel.release, outcome)
            }
            Err(error) => (series.name().to_owned(), Err(error)),
        };
        let (results, verdict) = outcome.unwrap_or_else(|error| (Results::default(), Err(error)));
        let verdict = verdict.map_err(|error| eprintln!("error: {name}: {error:#}"));
        rows.push((name, results, verdict, started.elapsed()));
    }
    for (name, results, verdict, took) in &rows {
        let word = if verdict.is_ok() { "passed" } else { "FAILED" };
        eprintln!("  {name:<28} {word:<8} {:>6.1} s", took.as_secs_f64());
        for file in &results.files {
            let word = if file.passed { "passed" } else { "FAILED" };
            let count = file.tests_passed.len();
            eprintln!(
                "    {:<26} {word:<8} {:>6} s  {count} passed",
                file.name, file.seconds
            );
        }
        for line in &results.not_here {
            eprintln!("    {}{line}", not_here::PREFIX);
        }
    }
    Ok(if rows.iter().all(|(_, _, verdict, _)| verdict.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs tests on a kernel: what is known of them, and whether they passed.
fn on(
    kernel: &Kernel,
    environment: &Environment,
    disks: &Disks,
    plan: &Plan,
    append: &str,
) -> Result<(Results, Result<()>)> {
    let directory = workspace().join("target/vm").join(&kernel.release);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let initramfs = directory.join("initramfs");
    let archive = guest::initramfs(kernel, &environment.busybox, plan)?;
    std::fs::write(&initramfs, archive).with_context(|| format!("cannot write {}", initramfs.display()))?;

    eprintln!("vm: {}", kernel.release);
    let setup = Setup {
        kernel: &kernel.image,
        initramfs: &initramfs,
        disks: [&disks.root, &disks.tested],
        append,
    };
    let outcome = qemu::run(&setup, &directory, PATIENCE)?;
    for warning in outcome.warnings() {
        eprintln!("  the kernel warns: {warning}");
    }
    let results = Results::parse(&outcome.kept, &outcome.output);
    Ok((results, judge(&outcome, plan)))
}

fn judge(outcome: &qemu::Outcome, plan: &Plan) -> Result<()> {
    let tail = || outcome.console_tail(CONSOLE_TAIL);
    match outcome.end {
        End::Exit(0) => Ok(()),
        // What the kernel can do is found out before them, and can fail too.
        End::Exit(failed) => bail!(
            "{failed} failures, of `driftlock doctor` and {} files of tests",
            plan.len()
        ),
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
