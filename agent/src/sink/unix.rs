//! A Unix stream socket that somebody else listens on: a line per alert. [`super::stream`] says what counts as received.

use std::path::PathBuf;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::stream::{Counted, IN_FLIGHT_MAX, SEND_MAX, Stream};
use super::transport::{Message, Transport, TransportError, failed, not_open};
use crate::config::sinks::UnixTarget;

/// A Unix socket.
#[derive(Debug)]
pub struct UnixTransport {
    path: PathBuf,
    stream: Option<Stream>,
}

impl UnixTransport {
    /// One for this target.
    #[must_use]
    pub fn new(target: &UnixTarget) -> Self {
        Self {
            path: target.path.clone(),
            stream: None,
        }
    }

    fn subject(&self) -> String {
        self.path.display().to_string()
    }
}

impl Transport for UnixTransport {
    const IN_FLIGHT_MAX: u64 = IN_FLIGHT_MAX;

    async fn open(&mut self) -> Result<(), TransportError> {
        self.stream = None;
        let subject = self.subject();
        let socket = timeout(SEND_MAX, UnixStream::connect(&self.path))
            .await
            .map_err(failed("connect to", &*subject))?
            .map_err(failed("connect to", &*subject))?;
        let (counted, below) = Counted::new(socket).map_err(failed("use the socket", &*subject))?;
        self.stream = Some(Stream::new(Box::new(counted), below, subject));
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let text: String = messages.iter().map(|message| &*message.line).collect();
        let subject = self.subject();
        let stream = self.stream.as_mut().ok_or_else(|| not_open(subject))?;
        stream.send(text.as_bytes(), last.number).await
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        match &mut self.stream {
            Some(stream) => stream.settled().await,
            None => Err(not_open(self.subject())),
        }
    }
}
