//! Another configuration while the agent runs.
//!
//! Input: a configuration that was checked, of which only what may change while the agent runs is new ([`crate::config::change`]). Output:
//! it holds, for every container. Failure: a container whose entry the kernel refuses keeps what it had, which is logged.
//!
//! No rule and no profile is touched: each container's entry is replaced in one update by what the new policies make of the same profile.

use tokio::sync::oneshot;

use super::Engine;
use crate::config::Config;

/// A configuration for the engine, and who is told that it holds.
pub type Reconfigure = (Config, oneshot::Sender<()>);

impl Engine {
    /// Puts another configuration in force.
    pub(super) fn reconfigure(&mut self, (config, done): Reconfigure) {
        self.config = config;
        // Asked again of the keys that are trusted now.
        self.signed.clear();
        self.apply_policies();
        // Whoever waited may have been told to end.
        let _ = done.send(());
    }
}
