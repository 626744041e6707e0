//! `cargo xtask test`: unit tests, then tests against this machine's kernel and real containers.
//!
//! Input: the sources and, if given, a file of tests or a part of their names. Output: cargo's and the tests' own, then what
//! they could not try on this kernel. Failure: what could not be set up or built, a filter that fits no test, else a test
//! that failed.
//!
//! The runner is cargo's: another one would have to be compiled on every new machine, which takes longer than the
//! unit tests and their build.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::not_here::{self, NotHere};
use crate::process;
use crate::setup::{self, Purpose, cargo, is_root, workspace};

/// Tells the unit tests the Python interpreter that has py-ocsf-models.
const OCSF_PYTHON: &str = "DRIFTLOCK_OCSF_PYTHON";

/// Tell the tests of what is deployed the programs that render it.
const HELM: &str = "DRIFTLOCK_HELM";
const KUSTOMIZE: &str = "DRIFTLOCK_KUSTOMIZE";

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only the tests of this file in tests/tests, or those whose name contains this.
    filter: Option<String>,
    /// Also the tests that are marked as ignored because they take long.
    #[arg(long)]
    full: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the tests load kernel programs and start containers: run this as root"
    );
    let tools = setup::run(&[Purpose::Test])?;
    let environment = Environment::build(&tools)?;
    // One failure hides no other, neither in a stage nor of the next stage.
    let unit_tests = ["--workspace", "--exclude", "tests"];
    let kernel_tests = arguments.kernel_tests();
    let mut options = Vec::new();
    if let (Some(filter), false) = (&arguments.filter, arguments.names_a_file()) {
        ensure!(
            is_in_a_name(filter, &unit_tests)? || is_in_a_name(filter, &kernel_tests)?,
            "no test's name contains `{filter}`, and there is no tests/tests/{filter}.rs"
        );
        options.push(filter.as_str());
    }
    if arguments.full {
        options.push("--include-ignored");
    }

    let unit = if arguments.names_a_file() {
        Ok(())
    } else {
        let mut unit = test(&unit_tests);
        unit.envs(tools.ocsf_python.iter().map(|python| (OCSF_PYTHON, python)));
        process::show(unit.arg("--").args(&options))
    };
    let mut kernel = test(&kernel_tests);
    environment.give(&mut kernel)?;
    kernel
        .envs(tools.helm.iter().map(|helm| (HELM, helm)))
        .envs(tools.kustomize.iter().map(|kustomize| (KUSTOMIZE, kustomize)));
    let not_here = NotHere::start(&workspace().join("target/kernel-tests"))?;
    not_here.give(&mut kernel);
    // One at a time: each has the machine's kernel to itself, and some measure it.
    kernel.args(["--", "--test-threads=1"]).args(&options);
    let kernel = process::pass_on(&mut kernel)?;
    for line in not_here.lines()? {
        eprintln!("{}{line}", not_here::PREFIX);
    }
    unit?;
    Ok(kernel)
}

impl Arguments {
    /// Whether the filter is the name of a file of tests against the kernel, which is then run as a whole.
    fn names_a_file(&self) -> bool {
        let is_file = |name: &String| {
            workspace()
                .join("tests/tests")
                .join(name)
                .with_extension("rs")
                .is_file()
        };
        self.filter.as_ref().is_some_and(is_file)
    }

    /// Which tests against the kernel are meant, in cargo's words.
    fn kernel_tests(&self) -> Vec<&str> {
        match &self.filter {
            Some(file) if self.names_a_file() => vec!["--package", "tests", "--test", file],
            _ => vec!["--package", "tests", "--tests"],
        }
    }
}

/// Whether a test among these has `filter` in its name. A filter that fits nothing would pass without a test.
fn is_in_a_name(filter: &str, tests: &[&str]) -> Result<bool> {
    let list = process::capture(test(tests).args(["--", "--list"]).arg(filter))?;
    Ok(list.lines().any(|line| line.ends_with(": test")))
}

/// `cargo test` for some tests.
fn test(tests: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]).args(tests);
    command
}
