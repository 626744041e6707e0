//! What every way to a receiver can do.
//!
//! Input: messages, in order. Output: up to which of them the receiver has them for good. Failure: [`TransportError`]; what was not
//! acknowledged is sent again, so that a receiver may see a message twice, always under the same id.

use std::error::Error;
use std::sync::Arc;

use crate::alert::head::AlertHead;

/// An alert on its way to one sink.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number in the spool; those of later ones are greater.
    pub number: u64,
    /// Which alert it is.
    pub head: AlertHead,
    /// The alert in the sink's format: one line with its newline.
    pub line: Arc<str>,
}

/// A receiver does not have what was sent.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A step failed; it may succeed later.
    #[error("cannot {operation} {subject}: {source}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On what.
        subject: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The receiver says of one message that it will not take it, whatever happens.
    #[error("refused: {reason}")]
    Refused {
        /// The message's number.
        number: u64,
        /// What it answered.
        reason: String,
    },
}

/// A way to a receiver. One task uses it, and calls `open`, then `send` and `acknowledged` in any order, `open` again after any failure.
/// Of a refusal everything before the refused message must have been told as acknowledged.
pub trait Transport: Send {
    /// How many messages that are sent and not acknowledged stop the next batch until some are acknowledged. There are at most as many, and
    /// one batch less one.
    const IN_FLIGHT_MAX: u64;

    /// Makes ready to send, in the place of what was open before. What was sent before and not acknowledged is forgotten: it comes again.
    fn open(&mut self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Sends messages in their order. Must return within bounded time, also when the receiver does not answer.
    fn send(&mut self, messages: &[Message]) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Waits until more is acknowledged than was told before, and tells the number up to which everything is. Does not return while
    /// nothing is outstanding. May be dropped at any moment and called again.
    fn acknowledged(&mut self) -> impl Future<Output = Result<u64, TransportError>> + Send;
}

/// What is acknowledged by having been sent: for transports whose `send` returns when the receiver has the messages.
#[derive(Debug, Default)]
pub struct SentIsAcknowledged {
    untold: Option<u64>,
}

impl SentIsAcknowledged {
    /// Everything up to this number was sent.
    pub fn sent(&mut self, messages: &[Message]) {
        self.untold = messages.last().map(|message| message.number).or(self.untold);
    }

    /// Tells it, once.
    pub async fn acknowledged(&mut self) -> u64 {
        match self.untold.take() {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// The error of who uses a transport that was not opened.
pub(super) fn not_open(subject: impl Into<String>) -> TransportError {
    failed("send to", subject)("no connection was made")
}

/// An error with all that led to it, in one line.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some say their cause themselves.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Makes an error of a step that failed.
pub(super) fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    operation: &'static str,
    subject: impl Into<String>,
) -> impl FnOnce(E) -> TransportError {
    let subject = subject.into();
    move |source| TransportError::Failed {
        operation,
        subject,
        source: source.into(),
    }
}
