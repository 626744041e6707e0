//! One client of the control socket: what it asks, whether it may ask that, what it gets.
//!
//! Input: an accepted connection of a client that may ask. Output: the engine's answer, or alert lines. Failure: whatever is wrong is answered
//! as a [`Refusal`] where the client still listens; then the connection closes. No client is waited for without a limit
//! of time, except by a reader's own wish while it follows the alerts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::access::Right;
use super::feed::{AlertFeed, Reading, missed_line};
use super::line::{LineError, read_line};
use super::protocol::{Hello, PROTOCOL, Refusal, RefusalKind, Request, Response};

/// What the engine receives: a request, and where its answer goes. If the answer is not wanted any more, that end is
/// closed.
pub type EngineRequest = (Request, oneshot::Sender<Response>);

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a whole line of a client.
    pub read: Duration,
    /// For a client to take a part of its answer.
    pub write: Duration,
    /// For the engine.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(10),
            write: Duration::from_secs(10),
            answer: Duration::from_mins(1),
        }
    }
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) engine: mpsc::Sender<EngineRequest>,
    pub(super) feed: Arc<AlertFeed>,
    /// A permit for each document that is being received: they are long.
    pub(super) documents: Arc<Semaphore>,
    pub(super) timeouts: Timeouts,
}

/// A client that may ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Its user, for messages.
    pub(super) uid: u32,
    /// What it may do.
    pub(super) right: Right,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("cannot write to the client: {0}")]
    Write(std::io::Error),
    #[error("the client did not take its answer within {0:?}")]
    Stalled(Duration),
}

/// Serves one client to its end.
pub(super) async fn serve(
    stream: UnixStream,
    client: Client,
    shared: Shared,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ConnectionError> {
    let (reader, writer) = stream.into_split();
    let mut writer = Writer {
        stream: writer,
        unwritten: VecDeque::new(),
        timeout: shared.timeouts.write,
    };
    let mut reader = BufReader::new(reader);
    let request = match receive(&mut reader, &mut writer, client, &shared).await? {
        Ok(request) => request,
        Err(refusal) => return writer.refuse(refusal).await,
    };
    if Right::needed(&request) > client.right {
        tracing::warn!(uid = client.uid, "refused a change: this client may only read");
        return writer.refuse(may_only_read(client)).await;
    }
    match request {
        Request::Alerts { follow, last } => {
            alerts(reader, &mut writer, &shared.feed, follow, last, shutdown).await
        }
        request => {
            let response = ask_engine(request, &shared).await;
            writer.line(&response).await
        }
    }
}

fn may_only_read(client: Client) -> Refusal {
    Refusal::not_permitted(format!(
        "uid {} may ask the agent to show, not to change anything",
        client.uid
    ))
    .hint("run the command as root, or have `control.changers` of the agent's configuration name you")
}

/// Exchanges greetings and reads the request.
async fn receive(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut Writer,
    client: Client,
    shared: &Shared,
) -> Result<Result<Request, Refusal>, ConnectionError> {
    let hello = match receive_line(reader, None, shared.timeouts.read).await {
        Ok(line) => line,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match serde_json::from_slice::<Hello>(&hello) {
        Ok(Hello {
            protocol: PROTOCOL, ..
        }) => {}
        Ok(Hello { protocol, version }) => {
            let version = crate::text::escape(version.chars().take(40).collect::<String>().as_bytes());
            let message = format!(
                "the agent {} speaks protocol {PROTOCOL}, the command {version} protocol {protocol}",
                env!("CARGO_PKG_VERSION")
            );
            return Ok(Err(
                Refusal::invalid(message).hint("use the `driftlock` that the agent was started from")
            ));
        }
        Err(error) => {
            return Ok(Err(Refusal::invalid(format!(
                "the greeting makes no sense: {error}"
            ))));
        }
    }
    writer.line(&Hello::own()).await?;
    // Only who may change has a reason to send a document.
    let documents = (client.right == Right::Change).then_some(&*shared.documents);
    let line = match receive_line(reader, documents, shared.timeouts.read).await {
        Ok(line) => line,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let request = Request::parse(&line)
        .map_err(|error| Refusal::invalid(format!("the request makes no sense: {error}")));
    Ok(request)
}

async fn receive_line(
    reader: &mut BufReader<OwnedReadHalf>,
    documents: Option<&Semaphore>,
    limit: Duration,
) -> Result<Vec<u8>, Refusal> {
    match timeout(limit, read_line(reader, documents)).await {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(error @ LineError::TooLong { .. })) => Err(Refusal::invalid(error.to_string())),
        Ok(Err(error)) => Err(Refusal::failed(error.to_string())),
        Err(_) => Err(Refusal::failed(format!("no whole line came within {limit:?}"))),
    }
}

/// Hands the request to the engine. The engine's channel is bounded: while it is full the client waits here, and only
/// this one.
async fn ask_engine(request: Request, shared: &Shared) -> Response {
    let limit = shared.timeouts.answer;
    let (sender, receiver) = oneshot::channel();
    let answered = timeout(limit, async {
        shared.engine.send((request, sender)).await.ok()?;
        receiver.await.ok()
    });
    match answered.await {
        Ok(Some(response)) => response,
        Ok(None) => Refusal::failed("the agent is shutting down").into(),
        Err(_) => Refusal::failed(format!("the agent did not answer within {limit:?}"))
            .hint("see the agent's log for what it is busy with")
            .into(),
    }
}

/// Sends the latest alerts, and those to come if the client follows, until it closes or the agent ends.
async fn alerts(
    mut reader: BufReader<OwnedReadHalf>,
    writer: &mut Writer,
    feed: &AlertFeed,
    follow: bool,
    last: Option<usize>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ConnectionError> {
    let Reading {
        mut latest,
        mut to_come,
    } = feed.read(last);
    writer.line(&Response::Ok(serde_json::Value::Null)).await?;
    if !follow {
        drop(to_come);
        return writer.lines(&mut latest).await;
    }
    // A reader may pause as long as it likes: it then misses lines, and is told so. It ends by closing, or by sending
    // anything at all.
    let mut end = [0];
    let follow = async {
        while let Some(line) = latest.pop_front() {
            writer.bytes_patiently(line.as_bytes()).await?;
        }
        loop {
            match to_come.recv().await {
                Ok(line) => writer.bytes_patiently(line.as_bytes()).await?,
                Err(RecvError::Lagged(missed)) => {
                    writer.bytes_patiently(missed_line(missed).as_bytes()).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    };
    tokio::select! {
        result = follow => return result,
        _ = reader.read(&mut end) => return Ok(()),
        _ = shutdown.wait_for(|down| *down) => {}
    }
    // The engine has published its last: hand out what is left, as far as the reader takes it.
    writer.lines(&mut latest).await?;
    loop {
        match to_come.try_recv() {
            Ok(line) => writer.bytes(line.as_bytes()).await?,
            Err(TryRecvError::Lagged(missed)) => writer.bytes(missed_line(missed).as_bytes()).await?,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return writer.bytes(&[]).await,
        }
    }
}

/// The way to the client. A write that is given up in the middle is gone on with by the next one, so that no line is
/// ever cut by another.
struct Writer {
    stream: OwnedWriteHalf,
    unwritten: VecDeque<u8>,
    timeout: Duration,
}

impl Writer {
    async fn bytes_patiently(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.unwritten.extend(bytes);
        while !self.unwritten.is_empty() {
            let written = self.stream.write(self.unwritten.as_slices().0).await;
            self.unwritten.drain(..written.map_err(ConnectionError::Write)?);
        }
        Ok(())
    }

    async fn bytes(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let limit = self.timeout;
        timeout(limit, self.bytes_patiently(bytes))
            .await
            .map_err(|_| ConnectionError::Stalled(limit))?
    }

    async fn lines(&mut self, lines: &mut VecDeque<Arc<str>>) -> Result<(), ConnectionError> {
        while let Some(line) = lines.pop_front() {
            self.bytes(line.as_bytes()).await?;
        }
        Ok(())
    }

    async fn line(&mut self, document: &impl Serialize) -> Result<(), ConnectionError> {
        let mut line = serde_json::to_vec(document).expect("protocol documents have texts for keys");
        line.push(b'\n');
        self.bytes(&line).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), ConnectionError> {
        if refusal.kind != RefusalKind::NotPermitted {
            tracing::debug!(%refusal, "refused a request");
        }
        self.line(&Response::Err(refusal)).await
    }
}
