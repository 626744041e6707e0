//! SIGHUP: the configuration is read again.
//!
//! Input: the signal, and how the configuration is read. Output: what may change while the agent runs holds ([`Change`]); what changed, and
//! what waits for a restart, is in the log by name. Failure: a configuration that cannot be read or used is refused as a whole, with the
//! error in the log, and the one before stays in force.
//!
//! Nothing is stopped for it: records, alerts and rules go on meanwhile.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::manager;
use crate::cli::logging::LogControl;
use crate::config::change::Change;
use crate::config::{Config, ConfigError};
use crate::engine::reconfigure::Reconfigure;

/// Reads the configuration as it was read at the start: flags, environment and file.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// What reads the configuration again.
pub struct Reloader {
    /// How it is read.
    read: ReadConfig,
    /// What holds.
    config: Config,
    /// Whom it is told.
    engine: mpsc::Sender<Reconfigure>,
    /// The level of the log.
    log: LogControl,
    hangup: Signal,
}

impl Reloader {
    /// From now on SIGHUP is waited for. `config` is what holds. Returns it and where other configurations come from.
    ///
    /// # Errors
    /// If the signal cannot be handled.
    pub fn new(
        read: ReadConfig,
        config: Config,
        log: LogControl,
    ) -> std::io::Result<(Self, mpsc::Receiver<Reconfigure>)> {
        let hangup = signal(SignalKind::hangup())?;
        let (engine, reconfigures) = mpsc::channel(1);
        let reloader = Self {
            read,
            config,
            engine,
            log,
            hangup,
        };
        Ok((reloader, reconfigures))
    }

    /// Reads the configuration again at each signal, for as long as the agent runs.
    pub async fn run(mut self) {
        while self.hangup.recv().await.is_some() {
            manager::reloading();
            self.reload().await;
            manager::ready();
        }
    }

    async fn reload(&mut self) {
        let wanted = match (self.read)() {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::error!(%error, "the configuration is refused as a whole; the one before stays in force");
                return;
            }
        };
        let Change {
            config,
            applied,
            restart,
        } = Change::between(&self.config, wanted);
        if !applied.is_empty() {
            let (done, holds) = oneshot::channel();
            // Both fail only if the agent ends, which then needs no configuration.
            let is_told = self.engine.send((config.clone(), done)).await.is_ok();
            if !is_told || holds.await.is_err() {
                return;
            }
            if let Err(error) = self.log.set_level(config.log_level) {
                tracing::error!(%error, "the level of the log stays as it is");
            }
            self.config = config;
        }
        tracing::info!(changed = ?applied, "the configuration was read again");
        if !restart.is_empty() {
            tracing::warn!(fields = ?restart, "what differs in these fields holds from the next start on");
        }
    }
}
