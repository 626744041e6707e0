//! The task of one sink: reads the spool from where the receiver's acknowledgement stands, and sends.
//!
//! Input: the spool's alerts, in order. Output: messages to the transport; acknowledgements to the sink's state, from which the spool
//! takes what it need not keep. Failure: what fails is tried again after [`RETRY_FIRST`], and then after twice as long each time up to
//! [`RETRY_MAX`], for ever; everything that was not acknowledged is sent again. An alert that the receiver refuses for good is tried
//! [`REFUSALS_MAX`] times, then left out, counted and logged with its id.
//!
//! Bounds: [`BATCH_ALERTS`] and [`BATCH_BYTES`] at once, [`Transport::IN_FLIGHT_MAX`] that are not acknowledged.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::state::SinkState;
use super::transport::{Message, Transport, TransportError};
use crate::alert::format::AlertFormat;
use crate::alert::head::AlertHead;
use crate::alert::model::Alert;
use crate::config::sinks::SinkConfig;
use crate::spool::reader::{Entry, Reader};

/// Most alerts of one read.
const BATCH_ALERTS: usize = 256;
/// Bytes of native alerts from which on a read ends.
const BATCH_BYTES: usize = 1 << 20;
/// How long is waited after the first failure.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// How long is waited at most.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// After how long a connection counts as one that works although nothing was sent over it.
const CALM: Duration = Duration::from_secs(2);
/// How often an alert may be refused before it is left out.
const REFUSALS_MAX: u32 = 3;

/// A sink that is to run.
pub struct Runner<T> {
    /// How it is configured.
    pub config: SinkConfig,
    /// How it is doing.
    pub state: Arc<SinkState>,
    /// The alerts.
    pub reader: Reader,
    /// The way to the receiver.
    pub transport: T,
}

/// How far a connection has come.
struct Progress {
    /// The last alert that was read from the spool.
    read: u64,
    /// Those that were sent and not acknowledged.
    in_flight: VecDeque<u64>,
}

impl<T: Transport> Runner<T> {
    /// Runs until `stop` says so and everything that is in the spool by then is acknowledged, or until its sender is dropped.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (reader, state) = (self.reader.clone(), Arc::clone(&self.state));
        tokio::select! {
            () = reader.drained(&state, &mut stop) => {}
            () = self.retry() => {}
            () = state.tell_later() => {}
        }
        state.tell_rest();
    }

    /// Sends what comes; begins again after each failure.
    async fn retry(&mut self) {
        let mut pause = RETRY_FIRST;
        let mut refused = (0, 0);
        loop {
            let before = self.state.acknowledged();
            let Err(error) = self.deliver().await;
            if let TransportError::Refused { number, .. } = error {
                refused = if refused.0 == number {
                    (number, refused.1 + 1)
                } else {
                    (number, 1)
                };
                if refused.1 >= REFUSALS_MAX {
                    self.leave_out(number, &error);
                    continue;
                }
            }
            if self.state.acknowledged() > before {
                pause = RETRY_FIRST;
            }
            self.state.fails(error.to_string());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Sends what comes until something fails.
    async fn deliver(&mut self) -> Result<Infallible, TransportError> {
        // A receiver that is not there is noticed before there is anything to send.
        self.transport.open().await?;
        let mut progress = Progress {
            read: self.state.acknowledged(),
            in_flight: VecDeque::new(),
        };
        let mut news = self.reader.news();
        let calm = tokio::time::sleep(CALM);
        tokio::pin!(calm);
        loop {
            let may_send = (progress.in_flight.len() as u64) < T::IN_FLIGHT_MAX;
            let read = progress.read;
            tokio::select! {
                biased;
                number = self.transport.acknowledged() => {
                    let number = number?;
                    self.acknowledge(&mut progress, number);
                }
                () = later_than(&mut news, read), if may_send => self.send(&mut progress).await?,
                () = &mut calm, if !calm.is_elapsed() => self.calm_again(),
            }
        }
    }

    /// A connection has lasted. Where nothing waits, no acknowledgement will tell that it works again.
    fn calm_again(&self) {
        if self.state.acknowledged() >= self.reader.last() {
            self.state.works();
        }
    }

    /// Reads and sends what comes next.
    async fn send(&mut self, progress: &mut Progress) -> Result<(), TransportError> {
        let entries = self.reader.read(progress.read, BATCH_ALERTS, BATCH_BYTES).await;
        // Where there are none they were given up at the spool's bound.
        let last = entries.last().map_or(self.reader.last(), |entry| entry.number);
        let messages = messages(&self.config, &self.state, entries);
        progress.read = last;
        progress
            .in_flight
            .extend(messages.iter().map(|message| message.number));
        if messages.is_empty() {
            self.settle(progress);
            return Ok(());
        }
        let sent = self.transport.send(&messages).await;
        if sent.is_err() {
            // What came before the failure may be with the receiver.
            if let Ok(Ok(number)) = timeout(Duration::ZERO, self.transport.acknowledged()).await {
                self.acknowledge(progress, number);
            }
        }
        sent
    }

    /// The receiver has everything up to `number`.
    fn acknowledge(&self, progress: &mut Progress, number: u64) {
        while progress.in_flight.front().is_some_and(|first| *first <= number) {
            progress.in_flight.pop_front();
            self.state.delivered.fetch_add(1, Ordering::Relaxed);
        }
        self.state.works();
        self.state.acknowledge(number);
        self.settle(progress);
    }

    /// With nothing on its way, what was read and not sent is done, too.
    fn settle(&self, progress: &Progress) {
        if progress.in_flight.is_empty() {
            self.state.acknowledge(progress.read);
        }
    }

    fn leave_out(&self, number: u64, error: &TransportError) {
        self.state.refused.fetch_add(1, Ordering::Relaxed);
        let alert = self.reader.find(number).map(|alert| alert.id.to_string());
        tracing::error!(sink = self.config.name, alert, %error, "the receiver never takes this alert: it is left out");
        self.state.acknowledge(number);
    }
}

/// Waits for an alert after number `read`.
async fn later_than(news: &mut watch::Receiver<u64>, read: u64) {
    // The spool ends with the agent.
    if news.wait_for(|last| *last > read).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The alerts that are for this sink, in its format.
fn messages(config: &SinkConfig, state: &SinkState, entries: Vec<Entry>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(entries.len());
    for entry in entries {
        let (head, line) = match read(config.format, &entry) {
            Ok(read) => read,
            Err(error) => {
                // Written by a later version, perhaps.
                state.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(sink = config.name, %error, alert = &*entry.line, "an alert of the spool is not as agreed: it is left out");
                continue;
            }
        };
        if head.severity < config.min_severity {
            state.filtered.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        messages.push(Message {
            number: entry.number,
            head,
            line,
        });
    }
    messages
}

/// Which alert of the spool it is, and its line in a format.
fn read(format: AlertFormat, entry: &Entry) -> serde_json::Result<(AlertHead, Arc<str>)> {
    if format == AlertFormat::Driftlock {
        return Ok((serde_json::from_str(&entry.line)?, Arc::clone(&entry.line)));
    }
    let alert: Alert = serde_json::from_str(&entry.line)?;
    Ok((AlertHead::from(&alert), format.line(&alert).into()))
}
