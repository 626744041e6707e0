//! Sinks: where alerts go.
//!
//! Input: the spool's alerts. Output: each sink gets every alert that is grave enough for it, in their order, in its format. Each is a task
//! of its own ([`runner`]) with a way to its receiver ([`transport`]), so that one that hangs holds up no other. Failure: what a receiver
//! has not acknowledged stays in the spool and is sent again.
//!
//! | kind | counts as received |
//! |---|---|
//! | `stdout` | when it is written |
//! | `file` | when it is on disk |
//! | `unix` | when the peer has read it, and its connection has lived for two seconds since |
//! | `syslog` | when the peer's kernel has acknowledged its bytes, and the connection has lived for two seconds since |
//! | `webhook` | when the answer is of the class 2xx |
//! | `nats` | when the server has acknowledged it: it is in the stream |

mod file;
mod nats;
pub mod outage;
pub mod runner;
pub mod state;
mod stdout;
mod stream;
mod syslog;
mod tls;
pub mod transport;
mod unix;
mod webhook;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::alert::time::Time;
use crate::config::sinks::{SinkConfig, Target};
use crate::spool::reader::Reader;
use runner::Runner;
use state::SinkState;

/// A sink, as the command line shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkView {
    /// Its name in the configuration.
    pub name: String,
    /// `stdout`, `file`, `unix`, `syslog`, `webhook`, `nats`.
    pub kind: String,
    /// Alerts that it does not have yet.
    pub backlog: u64,
    /// Alerts that it has acknowledged since the start.
    pub delivered: u64,
    /// Alerts that are less grave than it wants, since the start.
    pub filtered: u64,
    /// Failures since the start.
    pub failures: u64,
    /// Alerts that it refused for good, since the start.
    pub refused: u64,
    /// Alerts that were given up at the spool's bound before it had them, since the start.
    pub dropped: u64,
    /// Since when nothing goes through; null while it works.
    pub failing_since: Option<Time>,
    /// Why.
    pub error: Option<String>,
}

/// The tasks of all sinks. They end when [`Sinks::stop`] was called and they have everything, or when this is dropped.
pub struct Sinks {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Sinks {
    /// Starts a task for each sink. `states` are in the order of `configs`.
    #[must_use]
    pub fn start(configs: &[SinkConfig], states: &[Arc<SinkState>], reader: &Reader) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (config, state) in configs.iter().zip(states) {
            let part = || (config.clone(), Arc::clone(state), reader.clone());
            let stopped = stopped.clone();
            match &config.target {
                Target::Stdout => spawn(&mut tasks, part(), stdout::StdoutTransport::default(), stopped),
                Target::File(target) => spawn(&mut tasks, part(), file::FileTransport::new(target), stopped),
                Target::Unix(target) => spawn(&mut tasks, part(), unix::UnixTransport::new(target), stopped),
                Target::Syslog(target) => {
                    spawn(&mut tasks, part(), syslog::SyslogTransport::new(target), stopped);
                }
                Target::Webhook(target) => spawn(
                    &mut tasks,
                    part(),
                    webhook::WebhookTransport::new(target),
                    stopped,
                ),
                Target::Nats(target) => spawn(&mut tasks, part(), nats::NatsTransport::new(target), stopped),
            }
        }
        Self { tasks, stop }
    }

    /// Waits until all sinks have everything that is in the spool now.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn spawn<T: transport::Transport + 'static>(
    tasks: &mut JoinSet<()>,
    (config, state, reader): (SinkConfig, Arc<SinkState>, Reader),
    transport: T,
    stop: watch::Receiver<bool>,
) {
    let runner = Runner {
        config,
        state,
        reader,
        transport,
    };
    tasks.spawn(runner.run(stop));
}
