//! The agent's own log, on standard error.
//!
//! Input: level and format of the configuration. Output: the process's one subscriber. Failure: [`init`] says no if
//! there is one already.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Config, Level, LogFormat};

/// Where the kernel programs' own messages come from: the modules of their hooks.
const KERNEL_PROGRAMS: &str = "driftlock::program";
/// Libraries that say much: the one that loads them about each instruction, the others about each frame of a connection to a
/// runtime.
const TALKATIVE: &[&str] = &["aya_obj", "h2", "hyper_util", "tonic", "tower"];

/// Starts logging. The kernel programs have a level of their own, which was chosen when they were loaded.
///
/// # Errors
/// If the process logs already.
pub fn init(config: &Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let level = filter(config.log_level);
    let of_libraries = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    let targets = Targets::new()
        .with_default(level)
        .with_target(KERNEL_PROGRAMS, filter(config.kernel_log_level))
        .with_targets(TALKATIVE.iter().map(|target| (*target, of_libraries)));
    let output: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            Box::new(fmt::layer().with_writer(std::io::stderr).with_ansi(colour))
        }
        LogFormat::Json => Box::new(
            fmt::layer()
                .with_writer(std::io::stderr)
                .json()
                .flatten_event(true),
        ),
    };
    Ok(tracing_subscriber::registry()
        .with(output)
        .with(targets)
        .try_init()?)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
