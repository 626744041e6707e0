//! The agent's own log, on standard error.
//!
//! Input: level and format of the configuration. Output: the process's one subscriber, whose level can be set anew ([`LogControl`]).
//! Failure: [`init`] says no if there is one already.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Config, Level, LogFormat};

/// Where the kernel programs' own messages come from: the modules of their hooks.
const KERNEL_PROGRAMS: &str = "driftlock::program";
/// Libraries that say much: the one that loads them about each instruction, the others about each frame of a connection to a
/// runtime or sink.
const TALKATIVE: &[&str] = &[
    "aya_obj",
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "tokio_rustls",
    "tonic",
    "tower",
];

/// A library that says as an error what the sink that uses it says in its own words.
const SILENT: &str = "async_nats";

/// What writes the lines.
type Writer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets the log's level anew.
pub struct LogControl {
    targets: reload::Handle<Targets, Layered<Writer, Registry>>,
    kernel_log_level: Level,
}

impl LogControl {
    /// From now on the agent logs from `level` on.
    ///
    /// # Errors
    /// If nothing logs any more.
    pub fn set_level(&self, level: Level) -> Result<(), reload::Error> {
        self.targets.reload(targets(level, self.kernel_log_level))
    }
}

/// Starts logging. The kernel programs have a level of their own, which was chosen when they were loaded.
///
/// # Errors
/// If the process logs already.
pub fn init(config: &Config) -> Result<LogControl, Box<dyn std::error::Error + Send + Sync>> {
    let output: Writer = match config.log_format {
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
    let (filter, handle) = reload::Layer::new(targets(config.log_level, config.kernel_log_level));
    tracing_subscriber::registry()
        .with(output)
        .with(filter)
        .try_init()?;
    Ok(LogControl {
        targets: handle,
        kernel_log_level: config.kernel_log_level,
    })
}

/// Who is heard from which level on.
fn targets(level: Level, kernel_log_level: Level) -> Targets {
    let level = filter(level);
    let at_most = |most: LevelFilter| {
        if level == LevelFilter::TRACE {
            level
        } else {
            level.min(most)
        }
    };
    Targets::new()
        .with_default(level)
        .with_target(KERNEL_PROGRAMS, filter(kernel_log_level))
        .with_targets(
            TALKATIVE
                .iter()
                .map(|target| (*target, at_most(LevelFilter::WARN))),
        )
        .with_target(SILENT, at_most(LevelFilter::OFF))
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
