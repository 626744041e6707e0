//! An agent that answers from examples, and the binary that asks it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use driftlock::control::connection::EngineRequest;
use driftlock::control::feed::AlertFeed;
use driftlock::control::protocol::{Refusal, Request, Response};
use driftlock::control::server::{Server, ServerOptions};
use driftlock::control::view::{CheckResult, DocumentView};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::example;

pub const BINARY: &str = env!("CARGO_BIN_EXE_driftlock");

/// An agent that answers from examples and keeps what it was asked.
pub struct Agent {
    pub directory: tempfile::TempDir,
    pub feed: Arc<AlertFeed>,
    pub asked: Arc<Mutex<Vec<Request>>>,
    pub stop: Option<oneshot::Sender<()>>,
    pub runtime: Runtime,
}

impl Agent {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let feed = AlertFeed::new(10);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (engine, mut requests) = mpsc::channel::<EngineRequest>(4);
        let (stop, stopped) = oneshot::channel();
        let (kept, options) = (
            Arc::clone(&asked),
            ServerOptions::new(directory.path().join("socket")),
        );
        let for_server = Arc::clone(&feed);
        runtime.block_on(async {
            let server = Server::bind(options, engine, for_server).expect("a free socket");
            tokio::spawn(server.run(async {
                let _ = stopped.await;
            }));
        });
        runtime.spawn(async move {
            while let Some((request, sender)) = requests.recv().await {
                let response = answer(&request);
                kept.lock().expect("not poisoned").push(request);
                let _ = sender.send(response);
            }
        });
        Self {
            directory,
            feed,
            asked,
            stop: Some(stop),
            runtime,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        command(&self.socket(), arguments)
            .output()
            .expect("the binary runs")
    }

    /// What a command printed that must succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The only request since the last call.
    pub fn asked(&self) -> Request {
        let mut asked = std::mem::take(&mut *self.asked.lock().expect("not poisoned"));
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

fn answer(request: &Request) -> Response {
    match request {
        Request::Status => Response::ok(&example::status()),
        Request::Containers => Response::ok(&example::containers()),
        Request::ModeGet | Request::ModeSet { .. } => Response::ok(&example::modes()),
        Request::ProfileList | Request::ProfileImport { .. } => Response::ok(&[example::summary()]),
        Request::ProfileExport { .. } => Response::ok(&DocumentView {
            digest: example::digest(),
            document: example::DOCUMENT.to_owned(),
        }),
        Request::ProfileShow { image, .. } if image == "nope" => Refusal::not_found("no image fits `nope`")
            .hint("see `driftlock profile list`")
            .into(),
        Request::ProfileShow { image, .. } if image == "forbidden" => Refusal::not_permitted("never").into(),
        Request::ProfileShow { .. } | Request::ProfileApprove { .. } => Response::ok(&example::profile()),
        Request::ProfileAccept { .. } => Response::ok(&example::accepted()),
        Request::Doctor => Response::ok(&example::doctor(CheckResult::Missing)),
        Request::Alerts { .. } => panic!("the engine is never asked for alerts"),
    }
}

pub fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("DRIFTLOCK_SOCKET", socket)
        .stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}
