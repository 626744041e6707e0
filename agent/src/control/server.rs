//! Listening on the control socket.
//!
//! Input: connections. Output: requests in the engine's bounded channel, alert lines to readers. Failure:
//! [`ServerError`] when the socket cannot be had, in particular when another agent answers on it; later, a client that
//! fails is logged and costs nobody else anything. Bounds: so many clients at once (one more is refused at once), the
//! length of a line, and the times of [`Timeouts`].
//!
//! The socket is its owner's alone (0600), and every client's user id is checked as well. A socket on which nobody
//! listens is what an agent left that was killed; it is replaced. That two agents start at the same time is excluded by
//! the lock of the store, which comes first.

use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::connection::{self, EngineRequest, Shared, Timeouts};
use super::feed::AlertFeed;
use super::protocol::{Refusal, Response};

/// How long a client may take at the end before it is cut off.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the server pauses when no connection can be accepted, as when the agent has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The socket. Its directory is created if it is missing.
    pub socket: PathBuf,
    /// Most clients at once.
    pub clients: usize,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another agent answers.
    #[error("another agent answers on {}", socket.display())]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// There is something that is no socket.
    #[error("{} exists and is no socket; it is left alone", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A step failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The control socket, bound.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    /// Device and inode of the socket's file: it is removed only while it is this server's.
    identity: (u64, u64),
    shared: Shared,
    clients: Arc<Semaphore>,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// The defaults for `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            clients: 64,
            timeouts: Timeouts::default(),
        }
    }
}

// === impl Server ===

impl Server {
    /// Takes the socket. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn bind(
        options: ServerOptions,
        engine: mpsc::Sender<EngineRequest>,
        feed: Arc<AlertFeed>,
    ) -> Result<Self, ServerError> {
        let socket = options.socket;
        make_room(&socket)?;
        let failed = |operation| {
            let path = socket.clone();
            move |source| ServerError::Io {
                operation,
                path,
                source,
            }
        };
        let listener = UnixListener::bind(&socket).map_err(failed("listen on"))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
            .map_err(failed("restrict"))?;
        let file = std::fs::symlink_metadata(&socket).map_err(failed("look at"))?;
        Ok(Self {
            listener,
            identity: (file.dev(), file.ino()),
            socket,
            shared: Shared {
                engine,
                feed,
                own_uid: rustix::process::geteuid().as_raw(),
                timeouts: options.timeouts,
            },
            clients: Arc::new(Semaphore::new(options.clients)),
        })
    }

    /// Serves until `stop` is ready, then gives readers a moment to take what was published, and removes the socket.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (down, shutdown) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &mut connections, &shutdown),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a client of the control socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        // From here on a new client finds nobody, and is not left waiting.
        self.remove_socket();
        drop(self.listener);
        let _ = down.send(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("cut off clients that did not take what was left for them");
        }
    }

    fn admit(&self, stream: UnixStream, connections: &mut JoinSet<()>, shutdown: &watch::Receiver<bool>) {
        let Ok(permit) = Arc::clone(&self.clients).try_acquire_owned() else {
            turn_away(&stream);
            return;
        };
        let (shared, shutdown) = (self.shared.clone(), shutdown.clone());
        connections.spawn(async move {
            if let Err(error) = connection::serve(stream, shared, shutdown).await {
                tracing::debug!(%error, "a client of the control socket failed");
            }
            drop(permit);
        });
    }

    /// Removes the socket unless another agent has put its own there.
    fn remove_socket(&self) {
        match std::fs::symlink_metadata(&self.socket) {
            Ok(file) if (file.dev(), file.ino()) == self.identity => {
                if let Err(error) = std::fs::remove_file(&self.socket) {
                    tracing::warn!(%error, socket = %self.socket.display(), "cannot remove the control socket");
                }
            }
            _ => {}
        }
    }
}

/// Tells a client that there are too many, as far as it can be told without waiting.
fn turn_away(stream: &UnixStream) {
    let refusal =
        Refusal::failed("the agent has as many clients as it takes").hint("end some `driftlock alerts`");
    if let Ok(mut line) = serde_json::to_vec(&Response::Err(refusal)) {
        line.push(b'\n');
        let _ = stream.try_write(&line);
    }
}

/// Makes sure that the socket can be created: its directory exists, and nobody listens there.
fn make_room(socket: &Path) -> Result<(), ServerError> {
    let failed = |operation, path: &Path, source| ServerError::Io {
        operation,
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = socket
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(|source| failed("create", directory, source))?;
    }
    match std::fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", socket, source)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ServerError::NotASocket {
                path: socket.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => Err(ServerError::InUse {
            socket: socket.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %socket.display(), "replacing the socket of an agent that was killed");
            std::fs::remove_file(socket).map_err(|source| failed("remove", socket, source))
        }
        Err(source) => Err(failed("connect to", socket, source)),
    }
}
