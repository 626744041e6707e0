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
mod report;
mod results;
mod suite;
mod systemd;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::environment::Environment;
use crate::not_here;
use crate::process;
use crate::setup::{self, Purpose, workspace};
use guest::{Disks, First};
use kernel::{Kernel, Series};
use qemu::{End, Setup};
use report::Row;
use results::Results;
use suite::Plan;

/// How long the tests that every kernel is given may take, the machine's start included. They take some four minutes.
const PATIENCE: Duration = Duration::from_mins(15);
/// The same for tests that were named: some, such as twenty restarts of the agent, take long without acceleration.
const PATIENCE_NAMED: Duration = Duration::from_hours(1);
/// Lines of the console that are shown of a machine that hung or panicked.
const CONSOLE_TAIL: usize = 40;

/// What each kernel can do, below the workspace.
const REPORT: &str = "docs/kernel-support.md";

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which kernel; `newest` is the newest that Debian has.
    #[arg(long, value_enum)]
    kernel: Choice,
    /// Words for the kernel's command line, such as "lsm=landlock,yama,bpf".
    #[arg(long, default_value = "", value_name = "WORDS")]
    append: String,
    /// With systemd as the machine's process 1, which makes the containers' cgroups.
    #[arg(long)]
    systemd: bool,
    /// Each instruction takes a nanosecond of the machine's time: what tests time there is then not what this machine was busy with.
    #[arg(long, requires = "test")]
    count_instructions: bool,
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

/// What is the same for all kernels.
struct Machine<'a> {
    environment: &'a Environment,
    first: First,
    disks: &'a Disks,
    /// Words for the kernel's command line.
    append: &'a str,
    counts_instructions: bool,
    /// How long the tests may take.
    patience: Duration,
}

/// What one kernel came to.
#[derive(Debug)]
struct Run {
    /// Its release, or that of its series if it cannot be had.
    kernel: String,
    results: Results,
    passed: bool,
    took: Duration,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tools = setup::run(&[Purpose::Vm])?;
    let environment = Environment::build(&tools)?;
    let executables = build::test_executables()?;
    let (first, suite) = if arguments.systemd {
        (First::Systemd, suite::WITH_SYSTEMD)
    } else {
        (First::Script, suite::SUITE)
    };
    let plan = Plan::new(&executables, suite, arguments.test.as_deref())?;
    let patience = if arguments.test.is_some() {
        PATIENCE_NAMED
    } else {
        PATIENCE
    };
    let disks = Disks::make(&workspace().join("target/vm"), &environment, &executables, first)?;
    let machine = Machine {
        environment: &environment,
        first,
        disks: &disks,
        append: &arguments.append,
        counts_instructions: arguments.count_instructions,
        patience,
    };

    // One kernel's failure hides no other's.
    let runs: Vec<Run> = arguments
        .kernel
        .series()
        .iter()
        .map(|&series| {
            let started = Instant::now();
            let (kernel, outcome) = match kernel::find(series) {
                Ok(kernel) => {
                    let outcome = on(&kernel, &machine, &plan);
                    (kernel.release, outcome)
                }
                Err(error) => (series.name().to_owned(), Err(error)),
            };
            let (results, verdict) = outcome.unwrap_or_else(|error| (Results::default(), Err(error)));
            let verdict = verdict.inspect_err(|error| eprintln!("error: {kernel}: {error:#}"));
            Run {
                kernel,
                results,
                passed: verdict.is_ok(),
                took: started.elapsed(),
            }
        })
        .collect();
    summary(&runs);
    if !runs.iter().all(|run| run.passed) {
        return Ok(ExitCode::FAILURE);
    }
    if arguments.is_the_whole_matrix() {
        write_report(&runs, &environment)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// Whether all kernels are asked for as they are, with all tests: what the page about kernels is made of.
    fn is_the_whole_matrix(&self) -> bool {
        self.kernel == Choice::All && self.append.is_empty() && !self.systemd && self.test.is_none()
    }
}

/// Says what each kernel came to.
fn summary(runs: &[Run]) {
    let word = |passed| if passed { "passed" } else { "FAILED" };
    for run in runs {
        eprintln!(
            "  {:<28} {:<8} {:>6} s",
            run.kernel,
            word(run.passed),
            run.took.as_secs()
        );
        for file in &run.results.files {
            let count = file.tests_passed.len();
            eprintln!(
                "    {:<26} {:<8} {:>6} s  {count} passed",
                file.name,
                word(file.passed),
                file.seconds
            );
            for test in &file.tests_failed {
                eprintln!("      FAILED {test}");
            }
        }
        for line in &run.results.not_here {
            eprintln!("    {}{line}", not_here::PREFIX);
        }
    }
}

/// Writes the page about kernels, this machine's own included.
fn write_report(runs: &[Run], environment: &Environment) -> Result<()> {
    // It fails where something is missing, and still says what there is.
    let doctor = Command::new(&environment.driftlock)
        .args(["doctor", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run driftlock")?;
    let own = Results {
        doctor: Some(
            serde_json::from_slice(&doctor.stdout).context("`driftlock doctor --json` printed no JSON")?,
        ),
        ..Results::default()
    };
    let release = process::capture(Command::new("uname").arg("-r"))?;
    // What a distribution adds to the number says nothing elsewhere.
    let release: Vec<&str> = release.trim().splitn(3, '.').take(2).collect();
    let release = format!("{} (this machine's)", release.join("."));
    let mut rows: Vec<Row<'_>> = runs
        .iter()
        .map(|run| Row {
            kernel: &run.kernel,
            results: &run.results,
        })
        .collect();
    rows.push(Row {
        kernel: &release,
        results: &own,
    });
    let file = workspace().join(REPORT);
    std::fs::write(&file, report::page(&rows)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("vm: wrote {REPORT}");
    Ok(())
}

/// Runs tests on a kernel: what is known of them, and whether they passed.
fn on(kernel: &Kernel, machine: &Machine<'_>, plan: &Plan) -> Result<(Results, Result<()>)> {
    let directory = workspace().join("target/vm").join(&kernel.release);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let initramfs = directory.join("initramfs");
    let archive = guest::initramfs(kernel, &machine.environment.busybox, plan, machine.first)?;
    std::fs::write(&initramfs, archive).with_context(|| format!("cannot write {}", initramfs.display()))?;

    eprintln!("vm: {}", kernel.release);
    let setup = Setup {
        kernel: &kernel.image,
        initramfs: &initramfs,
        disks: [&machine.disks.root, &machine.disks.tested],
        append: machine.append,
        counts_instructions: machine.counts_instructions,
    };
    let outcome = qemu::run(&setup, &directory, machine.patience)?;
    for warning in outcome.warnings() {
        eprintln!("  the kernel warns: {warning}");
    }
    let results = Results::parse(&outcome.kept, &outcome.output);
    for line in results.doctor.iter().flat_map(results::doctor_lines) {
        eprintln!("  doctor: {line}");
    }
    Ok((results, judge(&outcome, plan, machine.patience)))
}

fn judge(outcome: &qemu::Outcome, plan: &Plan, patience: Duration) -> Result<()> {
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
            patience.as_secs(),
            tail()
        ),
    }
}
