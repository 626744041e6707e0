//! Listening on the control socket.
//!
//! Input: connections. Output: requests in the engine's bounded channel, alert lines to readers. Failure:
//! [`ServerError`] when the socket cannot be had, in particular when another agent answers on it; later, a client that
//! fails is logged and costs nobody else anything. Bounds: so many clients at once ([`super::admission`]; one more is
//! refused at once), the length of a line, and the times of [`Timeouts`].
//!
//! The socket's file is open to no more users than a file can say ([`Access::socket_file`]), and every client's
//! credentials are checked as well, when it connects. A socket on which nobody listens is what an agent left that was killed; it is replaced. That two agents start at the same time is excluded by
//! the lock of the store, which comes first.

use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::access::Access;
use super::admission::Admission;
use super::connection::{self, Client, EngineRequest, Shared, Timeouts};
use super::feed::AlertFeed;
use super::peer;
use super::protocol::{Refusal, Response};

/// How long a client may take at the end before it is cut off.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the server pauses when no connection can be accepted, as when the agent has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Documents that are received at the same time; who sends one more waits.
const DOCUMENTS: usize = 2;
/// How often at most it is logged that clients were refused.
const REFUSALS_LOGGED: Duration = Duration::from_secs(10);

/// What the server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The socket. Its directory is created if it is missing.
    pub socket: PathBuf,
    /// Who may ask.
    pub access: Access,
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
    access: Access,
    clients: Arc<Admission>,
    refusals: Refusals,
}

/// Clients that were refused. A flood of them must not flood the log.
#[derive(Debug, Default)]
struct Refusals {
    since_logged: u64,
    logged: Option<Instant>,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// The defaults for `socket`: root and the agent's own user may ask.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            access: Access::only(rustix::process::geteuid().as_raw()),
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
        let restrict = |mode| std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode));
        restrict(0o600).map_err(failed("restrict"))?;
        let wanted = options.access.socket_file();
        if wanted.group.is_some() {
            chown(&socket, None, wanted.group).map_err(failed("give to a group"))?;
        }
        restrict(wanted.mode).map_err(failed("open to those who may ask"))?;
        let file = std::fs::symlink_metadata(&socket).map_err(failed("look at"))?;
        Ok(Self {
            listener,
            identity: (file.dev(), file.ino()),
            socket,
            shared: Shared {
                engine,
                feed,
                documents: Arc::new(Semaphore::new(DOCUMENTS)),
                timeouts: options.timeouts,
            },
            access: options.access,
            clients: Admission::new(options.clients),
            refusals: Refusals::default(),
        })
    }

    /// Serves until `stop` is ready, then gives readers a moment to take what was published, and removes the socket.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
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

    /// Finds out who a client is, at once, while its number is surely still its own, and serves it if it may ask.
    fn admit(&mut self, stream: UnixStream, connections: &mut JoinSet<()>, shutdown: &watch::Receiver<bool>) {
        let (peer, pid) = match peer::identify(&stream) {
            Ok(identified) => identified,
            Err(error) => {
                tracing::debug!(%error, "cannot tell who a client of the control socket is");
                return turn_away(&stream, Refusal::not_permitted("the agent cannot tell who asks"));
            }
        };
        let right = match self.access.right_of(&peer) {
            Ok(right) => right,
            Err(refusal) => {
                self.refusals.log(peer.uid, pid);
                return turn_away(&stream, refusal);
            }
        };
        let Some(ticket) = self.clients.admit(peer.uid, self.access.is_administrator(&peer)) else {
            let refusal = Refusal::failed("the agent has as many clients as it takes");
            return turn_away(&stream, refusal.hint("end some `driftlock alerts`"));
        };
        let client = Client { uid: peer.uid, right };
        let (shared, shutdown) = (self.shared.clone(), shutdown.clone());
        connections.spawn(async move {
            if let Err(error) = connection::serve(stream, client, shared, shutdown).await {
                tracing::debug!(%error, "a client of the control socket failed");
            }
            drop(ticket);
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

// === impl Refusals ===

impl Refusals {
    fn log(&mut self, uid: u32, pid: Option<i32>) {
        self.since_logged += 1;
        let now = Instant::now();
        if self
            .logged
            .is_some_and(|logged| now.duration_since(logged) < REFUSALS_LOGGED)
        {
            return;
        }
        let (clients, latest_pid) = (self.since_logged, pid.unwrap_or_default());
        tracing::warn!(
            clients,
            latest_uid = uid,
            latest_pid,
            "refused clients of the control socket"
        );
        (self.since_logged, self.logged) = (0, Some(now));
    }
}

/// Tells a client why it is not served, as far as it can be told without waiting.
fn turn_away(stream: &UnixStream, refusal: Refusal) {
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
