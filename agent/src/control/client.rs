//! Asking the agent from the command line.
//!
//! Input: a socket and a request. Output: the typed answer, or alert lines. Failure: [`ClientError`], which says what
//! to do and which exit code it means. Everything is blocking; every wait has a limit, except for alerts to come.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{Hello, PROTOCOL, Refusal, Request, Response};

/// How long is waited for an answer: longer than the agent itself waits for its engine.
const ANSWER_WAIT: Duration = Duration::from_secs(75);
/// Longest answer in bytes that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// There is no answer, or it is a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers on {}: {source}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The caller may not connect.
    #[error("may not connect to {}: {source}", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The agent does not answer in time.
    #[error("the agent at {} did not answer within {} s", socket.display(), ANSWER_WAIT.as_secs())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection failed.
    #[error("the connection to {} failed: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What came makes no sense to this version.
    #[error("cannot understand what answers on {}: {message}", socket.display())]
    Unintelligible {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The agent refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was received cannot be handed on.
    #[error("cannot write: {0}")]
    Output(io::Error),
}

/// A connection on which the request was sent and not refused.
struct Answered {
    reader: BufReader<UnixStream>,
    value: serde_json::Value,
}

/// Whether somebody listens on the socket.
#[must_use]
pub fn is_running(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// Asks for a view.
///
/// # Errors
/// [`ClientError`].
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, ClientError> {
    let answered = send(socket, request)?;
    serde_json::from_value(answered.value).map_err(|error| ClientError::Unintelligible {
        socket: socket.to_owned(),
        message: error.to_string(),
    })
}

/// Reads alerts, calling `each` for every line without its newline, until the agent ends the stream or `each` breaks.
///
/// # Errors
/// [`ClientError`].
pub fn alerts(
    socket: &Path,
    follow: bool,
    last: Option<usize>,
    mut each: impl FnMut(&str) -> io::Result<ControlFlow<()>>,
) -> Result<(), ClientError> {
    let Answered { mut reader, .. } = send(socket, &Request::Alerts { follow, last })?;
    if follow {
        reader
            .get_ref()
            .set_read_timeout(None)
            .map_err(|source| broken(socket, source))?;
    }
    loop {
        let Some(line) = read_line(&mut reader).map_err(|source| broken(socket, source))? else {
            return Ok(());
        };
        if each(&line).map_err(ClientError::Output)?.is_break() {
            return Ok(());
        }
    }
}

fn send(socket: &Path, request: &Request) -> Result<Answered, ClientError> {
    let stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
            socket: socket.to_owned(),
            source,
        },
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted {
            socket: socket.to_owned(),
            source,
        },
        _ => broken(socket, source),
    })?;
    let limited = stream
        .set_read_timeout(Some(ANSWER_WAIT))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_WAIT)));
    limited.map_err(|source| broken(socket, source))?;

    let unintelligible = |message: String| ClientError::Unintelligible {
        socket: socket.to_owned(),
        message,
    };
    let text = |error: serde_json::Error| unintelligible(error.to_string());
    let mut lines = serde_json::to_vec(&Hello::own()).map_err(text)?;
    lines.push(b'\n');
    serde_json::to_writer(&mut lines, request).map_err(text)?;
    lines.push(b'\n');
    // An agent that refuses may close before it has read everything; what it said is still there to be read.
    let sent = (&stream).write_all(&lines);

    let mut reader = BufReader::new(stream);
    let mut next = || match read_line(&mut reader) {
        Ok(Some(line)) => Ok(line),
        Ok(None) => Err(broken(socket, io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(broken(socket, error)),
    };
    let first = match (next(), sent) {
        (Err(_), Err(error)) => return Err(broken(socket, error)),
        (first, _) => first?,
    };
    if let Ok(Response::Err(refusal)) = serde_json::from_str(&first) {
        return Err(refusal.into());
    }
    let hello: Hello = serde_json::from_str(&first).map_err(text)?;
    if hello.protocol != PROTOCOL {
        return Err(unintelligible(format!(
            "the agent {} speaks protocol {}, this is protocol {PROTOCOL}",
            crate::text::escape(hello.version.as_bytes()),
            hello.protocol
        )));
    }
    match serde_json::from_str(&next()?).map_err(text)? {
        Response::Ok(value) => Ok(Answered { reader, value }),
        Response::Err(refusal) => Err(refusal.into()),
    }
}

/// The next line without its newline; `None` at the end of the stream.
fn read_line(reader: &mut BufReader<UnixStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    reader.by_ref().take(ANSWER_BYTES_MAX).read_line(&mut line)?;
    if line.ends_with('\n') {
        line.pop();
        Ok(Some(line))
    } else if line.is_empty() {
        Ok(None)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the agent closed in the middle of a line, or the line is too long",
        ))
    }
}

fn broken(socket: &Path, source: io::Error) -> ClientError {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut { socket },
        _ => ClientError::Io { socket, source },
    }
}
