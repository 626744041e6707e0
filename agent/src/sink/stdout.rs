//! Standard output: a line per alert. What is written counts as received.
//!
//! Failure: whoever does not read it keeps its alerts waiting, and nothing else.

use std::io::Write as _;

use super::transport::{Message, SentIsAcknowledged, Transport, TransportError, failed};

/// Standard output.
#[derive(Debug, Default)]
pub struct StdoutTransport {
    sent: SentIsAcknowledged,
}

impl Transport for StdoutTransport {
    const IN_FLIGHT_MAX: u64 = 1;

    async fn open(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let text: String = messages.iter().map(|message| &*message.line).collect();
        let write = move || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(failed("write to", "standard output"))?;
        self.sent.sent(messages);
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        Ok(self.sent.acknowledged().await)
    }
}
