//! What Driftlock costs, measured with real containers.
//!
//! Input: what is measured, and how often. Output: a [`report::Report`]: ratios of what something costs with the agent and without it,
//! and what the agent itself takes. Failure: what could not be set up or did not succeed; a cost above its goal is no failure but
//! stands in the report.

pub mod alerts;
pub mod alternate;
pub mod calls;
pub mod compile;
pub mod compiler;
pub mod exec;
pub mod footprint;
mod ground;
mod hooks;
mod load;
pub mod paths;
pub mod program;
pub mod programs;
pub mod ratios;
pub mod report;
pub mod scale;
pub mod statistics;

use std::time::Instant;

use anyhow::ensure;

use self::report::Report;
use crate::environment::Environment;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The start of a program.
    Exec,
    /// Single system calls: open with close, and one that is nobody's business.
    Calls,
    /// Compiling a C program with hundreds of headers.
    Compile,
    /// A hundred containers with profiles of a thousand rules.
    Scale,
    /// Alerts: from the kernel to a sink, and what a storm of them takes.
    Alerts,
    /// What the typed normal form does to paths: no cost, and so not among [`Self::ALL`].
    Paths,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds without and with the agent.
    pub rounds: u32,
    /// How often a sample does what is measured.
    pub sample: u32,
}

/// How a part that costs something is measured.
type Measure = fn(Options, &Progress) -> anyhow::Result<Report>;

impl Part {
    /// All that cost something, in the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Exec, Self::Calls, Self::Compile, Self::Scale, Self::Alerts];

    /// Measures. What `rounds` and `sample` do not say is as the part's own usual. Says on standard error how far it is.
    pub fn run(self, rounds: Option<u32>, sample: Option<u32>) -> anyhow::Result<Report> {
        let (usual, measure): (Options, Measure) = match self {
            Self::Exec => (exec::USUAL, exec::run),
            Self::Calls => (calls::USUAL, calls::run),
            Self::Compile => (compile::USUAL, compile::run),
            Self::Scale => (scale::USUAL, scale::run),
            Self::Alerts => (alerts::USUAL, alerts::run),
            Self::Paths => return paths::run(),
        };
        let options = Options {
            rounds: rounds.unwrap_or(usual.rounds),
            sample: sample.unwrap_or(usual.sample),
        };
        Environment::read()?;
        ensure!(
            options.rounds > 0 && options.sample > 0,
            "nothing to measure: rounds and sample are at least 1"
        );
        measure(options, &Progress(Instant::now()))
    }
}

/// Says on standard error how far a measurement is.
#[derive(Debug)]
struct Progress(Instant);

impl Progress {
    fn say(&self, what: &str) {
        eprintln!("[{:5.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}
