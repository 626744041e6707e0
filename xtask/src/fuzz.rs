//! `cargo xtask fuzz`: the readers of what others wrote, fed with inputs that coverage leads on.
//!
//! Input: the targets in `agent/fuzz/src/bin`, their seeds in `agent/fuzz/seeds`, and what earlier runs found in `target/fuzz/corpus`.
//! Output: a table of executions, coverage and crashes; an input that made a target fail lies in `target/fuzz/failures`. Failure:
//! what cannot be built, or that a target failed.
//!
//! The instrumentation is LLVM's, which every rustc has; the engine is libFuzzer, built from the source that its crate brings.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::process;
use crate::setup::{self, Purpose, cargo, workspace};

/// What rustc is told: count each edge, remember what is compared, one unit of code so that none is lost in optimisation.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module\x1f-Cllvm-args=-sanitizer-coverage-level=4\x1f\
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters\x1f-Cllvm-args=-sanitizer-coverage-pc-table\x1f\
    -Cllvm-args=-sanitizer-coverage-trace-compares\x1f-Ccodegen-units=1\x1f--cfg=fuzzing";
/// Most memory of a target, MiB. What needs more has no bound.
const MEMORY_MIB: u32 = 1024;
/// Longest that one input may take, s.
const INPUT_SECONDS: u32 = 10;
/// Longest input, bytes: more than any record, and room for documents.
const INPUT_BYTES: u32 = 16 * 1024;
/// The page that `--write` writes to.
const PAGE: &str = "docs/fuzzing.md";
/// Lines of a failed target that are shown.
const LINES_SHOWN: usize = 40;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this target: a file of agent/fuzz/src/bin.
    target: Option<String>,
    /// How long, in all.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Also write the figures to docs/fuzzing.md.
    #[arg(long)]
    write: bool,
}

/// What docs/fuzzing.md begins with.
const HEAD: &str = "\
# Fuzzing

Written by `cargo xtask fuzz --write`: not by hand.

What others write, and a container or a client may choose, is read by code that is fed here with inputs that coverage leads on: libFuzzer's
engine, LLVM's instrumentation, one file for each target in `agent/fuzz/src/bin` that says what is read and what must hold. No input may
make a target panic, overflow a number, take 10 s or use 1 GiB. Each run begins with the seeds in `agent/fuzz/seeds`: the records
and views were recorded from a real kernel and a real agent by `tests/tests/records.rs`; what once made a target fail is put there, too.

| target | what is read | executions | edges | features | inputs kept | MiB |
|---|---|---|---|---|---|---|
";

/// What came of one target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    /// Inputs that were tried.
    executions: u64,
    /// Edges of the program that were taken.
    edges: u64,
    /// Edges with how often they were taken, and comparisons: what the engine calls features.
    features: u64,
    /// Inputs that are kept because each reaches something of its own.
    kept: u64,
    /// Most memory that was used, MiB.
    memory_mib: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::run(&[Purpose::Fuzz])?;
    let mut targets = targets()?;
    if let Some(wanted) = &arguments.target {
        targets.retain(|target| target == wanted);
        ensure!(!targets.is_empty(), "there is no agent/fuzz/src/bin/{wanted}.rs");
    }
    let binaries = build(&targets)?;
    let each = Duration::from_secs(arguments.seconds) / u32::try_from(targets.len()).unwrap_or(u32::MAX);
    let mut failed = Vec::new();
    let mut page = HEAD.to_owned();
    println!(
        "{:<12} {:>12} {:>10} {:>8} {:>10} {:>8} {:>8}",
        "target", "executions", "per second", "edges", "features", "kept", "MiB"
    );
    for target in &targets {
        let started = Instant::now();
        let (succeeded, lines) = fuzz(&binaries.join(target), target, each)?;
        let figures = Figures::read(&lines);
        println!(
            "{target:<12} {:>12} {:>10} {:>8} {:>10} {:>8} {:>8}",
            figures.executions,
            figures.executions / started.elapsed().as_secs().max(1),
            figures.edges,
            figures.features,
            figures.kept,
            figures.memory_mib
        );
        let _ = writeln!(
            page,
            "| {target} | {} | {} | {} | {} | {} | {} |",
            purpose(target)?,
            figures.executions,
            figures.edges,
            figures.features,
            figures.kept,
            figures.memory_mib
        );
        if !succeeded {
            let shown = lines.len().saturating_sub(LINES_SHOWN);
            for line in lines.iter().skip(shown) {
                eprintln!("    | {line}");
            }
            failed.push(target.as_str());
        }
    }
    println!("{} targets, {} failed", targets.len(), failed.len());
    ensure!(
        failed.is_empty(),
        "failed: {}; the inputs are in {}",
        failed.join(", "),
        directory("failures").display()
    );
    if arguments.write {
        let seconds = arguments.seconds;
        let _ = writeln!(page, "\nIn {seconds} s altogether; no target failed.");
        std::fs::write(workspace().join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a target reads: the first line of its file.
fn purpose(target: &str) -> Result<String> {
    let file = package().join("src/bin").join(target).with_extension("rs");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let first = text.lines().next().and_then(|line| line.strip_prefix("//! "));
    Ok(first
        .with_context(|| format!("{} does not say what it reads", file.display()))?
        .to_owned())
}

/// The names of all targets, sorted.
fn targets() -> Result<Vec<String>> {
    let directory = package().join("src/bin");
    let entries =
        std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Where the targets and their seeds lie.
pub fn package() -> PathBuf {
    workspace().join("agent/fuzz")
}

/// Where everything lies that is made here.
fn directory(name: &str) -> PathBuf {
    workspace().join("target/fuzz").join(name)
}

/// Builds the targets and returns the directory of their executables.
///
/// A target is named even though it is the host's, as otherwise the instrumentation would reach what runs during the build.
fn build(targets: &[String]) -> Result<PathBuf> {
    let host = build::host()?;
    let mut command = cargo();
    command
        .current_dir(package())
        .args([
            "build",
            "--locked",
            "--release",
            "--target",
            &host,
            "--target-dir",
        ])
        .arg(directory("build"))
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION);
    for target in targets {
        command.args(["--bin", target]);
    }
    process::show(&mut command).context("building what is fuzzed")?;
    Ok(directory("build").join(host).join("release"))
}

/// Runs one target. Returns whether it withstood, and the last lines that it printed.
fn fuzz(binary: &Path, target: &str, time: Duration) -> Result<(bool, VecDeque<String>)> {
    let (corpus, failures) = (
        directory("corpus").join(target),
        directory("failures").join(target),
    );
    for directory in [&corpus, &failures] {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    // In memory where the machine has such a place. A target ends without a chance to remove what it made.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let temporary = parent.join(format!("driftlock-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    let mut command = std::process::Command::new(binary);
    command
        .env("TMPDIR", &temporary)
        .arg(format!("-max_total_time={}", time.as_secs().max(1)))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-max_len={INPUT_BYTES}"))
        .arg(&corpus)
        .arg(package().join("seeds").join(target));
    let outcome = process::watch(target, &mut command);
    let removed = std::fs::remove_dir_all(&temporary);
    let outcome = outcome?;
    removed.with_context(|| format!("cannot remove {}", temporary.display()))?;
    Ok((outcome.status.success(), outcome.lines))
}

impl Figures {
    /// From what libFuzzer prints: `stat::NAME: VALUE` at its end, and lines with `cov: N ft: N corp: N/SIZE` all the time.
    fn read(lines: &VecDeque<String>) -> Self {
        let mut figures = Self::default();
        for line in lines {
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                let place = match word {
                    "stat::number_of_executed_units:" => &mut figures.executions,
                    "stat::peak_rss_mb:" => &mut figures.memory_mib,
                    "cov:" => &mut figures.edges,
                    "ft:" => &mut figures.features,
                    "corp:" => &mut figures.kept,
                    _ => continue,
                };
                let value = words.next().unwrap_or_default();
                let digits = value.split_once('/').map_or(value, |(count, _)| count);
                *place = digits.parse().unwrap_or(*place);
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_count() {
        let lines = VecDeque::from(
            [
                "#2\tINITED cov: 10 ft: 20 corp: 3/9b exec/s: 0 rss: 40Mb",
                "#900\tDONE   cov: 11 ft: 25 corp: 4/12Kb lim: 4096 exec/s: 300 rss: 60Mb",
                "stat::number_of_executed_units: 900",
                "stat::peak_rss_mb:              61",
            ]
            .map(str::to_owned),
        );
        let expected = Figures {
            executions: 900,
            edges: 11,
            features: 25,
            kept: 4,
            memory_mib: 61,
        };
        assert_eq!(Figures::read(&lines), expected);
    }

    #[test]
    fn every_target_has_seeds() {
        let targets = targets().expect("the package is there");
        assert!(!targets.is_empty());
        for target in targets {
            let seeds = package().join("seeds").join(&target);
            let count = std::fs::read_dir(&seeds).map_or(0, Iterator::count);
            assert!(count > 0, "{} is empty", seeds.display());
        }
    }
}
