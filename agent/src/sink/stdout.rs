//! Standard output: a line per alert. What is written counts as received.

use tokio::io::{AsyncWriteExt as _, Stdout};

use super::transport::{Message, SentIsAcknowledged, Transport, TransportError, failed};

/// Standard output.
#[derive(Debug)]
pub struct StdoutTransport {
    stdout: Stdout,
    sent: SentIsAcknowledged,
}

impl Default for StdoutTransport {
    fn default() -> Self {
        Self {
            stdout: tokio::io::stdout(),
            sent: SentIsAcknowledged::default(),
        }
    }
}

impl Transport for StdoutTransport {
    const IN_FLIGHT_MAX: u64 = 1;

    async fn open(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let text: String = messages.iter().map(|message| message.line.as_str()).collect();
        // Whoever does not read it, keeps its alerts waiting and nothing else.
        self.stdout
            .write_all(text.as_bytes())
            .await
            .map_err(failed("write to", "standard output"))?;
        self.stdout
            .flush()
            .await
            .map_err(failed("write to", "standard output"))?;
        self.sent.sent(messages);
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        Ok(self.sent.acknowledged().await)
    }
}
