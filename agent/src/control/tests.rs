//! Server and client on real sockets, with an engine that answers from a function.

use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::admission::KEPT_FOR_ROOT;
use super::client::{self, ClientError};
use super::connection::{EngineRequest, Timeouts};
use super::feed::{AlertFeed, BACKLOG_LINES};
use super::protocol::{
    Hello, IMPORT_LINE_BYTES_MAX, LINE_BYTES_MAX, MISSED_SCHEMA, Refusal, RefusalKind, Request, Response,
};
use super::server::{Server, ServerError, ServerOptions};

const SHORT: Duration = Duration::from_millis(300);

struct Agent {
    directory: tempfile::TempDir,
    socket: PathBuf,
    feed: Arc<AlertFeed>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Agent {
    fn start(clients: usize) -> Self {
        Self::start_waiting(clients, Duration::from_secs(20))
    }

    /// One that waits so long for lines and answers.
    fn start_waiting(clients: usize, wait: Duration) -> Self {
        let (engine, mut requests) = mpsc::channel::<EngineRequest>(4);
        tokio::spawn(async move {
            while let Some((request, answer)) = requests.recv().await {
                // What is not answered at once is for the tests of waiting.
                if request == Request::Doctor {
                    tokio::spawn(async move {
                        tokio::time::sleep(SHORT * 20).await;
                        drop(answer);
                    });
                } else {
                    let _ = answer.send(engine_answer(request));
                }
            }
        });
        Self::start_with(engine, clients, wait)
    }

    fn start_with(engine: mpsc::Sender<EngineRequest>, clients: usize, wait: Duration) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("run/control.sock");
        let feed = AlertFeed::new(10);
        let mut options = ServerOptions::new(&socket);
        options.clients = clients;
        options.timeouts = Timeouts {
            read: wait,
            write: wait,
            answer: wait,
        };
        let server = Server::bind(options, engine, Arc::clone(&feed)).expect("a free socket");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            directory,
            socket,
            feed,
            stop,
            server,
        }
    }

    async fn end(self) -> tempfile::TempDir {
        self.stop.send(()).expect("the server waits for it");
        self.server.await.expect("the server does not panic");
        assert!(!self.socket.exists(), "the socket is removed");
        self.directory
    }
}

fn engine_answer(request: Request) -> Response {
    match request {
        Request::Status => Response::Ok("fine".into()),
        Request::ProfileImport { document, .. } => Response::Ok(document.len().into()),
        _ => Refusal::not_found("no such thing").hint("look again").into(),
    }
}

/// Runs what blocks beside the server.
async fn beside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("no panic")
}

async fn status(socket: &Path) -> Result<String, ClientError> {
    let socket = socket.to_owned();
    beside(move || client::ask::<String>(&socket, &Request::Status)).await
}

/// Sends bytes as they are and returns all that comes until the server closes.
async fn send_raw(socket: &Path, bytes: Vec<u8>) -> String {
    let socket = socket.to_owned();
    beside(move || {
        let mut stream = UnixStream::connect(socket).expect("the server listens");
        // The server may close before it has read all.
        let _ = stream.write_all(&bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    })
    .await
}

fn hello() -> Vec<u8> {
    let mut line = serde_json::to_vec(&Hello::own()).expect("json");
    line.push(b'\n');
    line
}

/// The refusal in the last line of an answer.
fn refusal(answer: &str) -> Refusal {
    let line = answer.lines().last().expect("a line");
    match serde_json::from_str(line).expect(line) {
        Response::Err(refusal) => refusal,
        Response::Ok(value) => panic!("not refused: {value}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_refuses_as_the_engine_does() {
    let agent = Agent::start(4);
    assert_eq!(status(&agent.socket).await.expect("an answer"), "fine");
    let socket = agent.socket.clone();
    let error = beside(move || client::ask::<String>(&socket, &Request::Containers))
        .await
        .expect_err("refused");
    let ClientError::Refused(refusal) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    assert_eq!(refusal.hint.as_deref(), Some("look again"));
    let mode = std::fs::metadata(&agent.socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_may_be_long_and_nothing_else() {
    let agent = Agent::start(4);
    let import = |length: usize| {
        let socket = agent.socket.clone();
        let request = Request::ProfileImport {
            document: "x".repeat(length),
            source: "-".to_owned(),
            signature: None,
        };
        beside(move || client::ask::<usize>(&socket, &request))
    };
    assert_eq!(import(1 << 20).await.expect("not too long"), 1 << 20);
    let too_long = import(IMPORT_LINE_BYTES_MAX).await.expect_err("too long");
    assert!(
        too_long.to_string().contains("longer than 16777216 bytes"),
        "{too_long}"
    );
    let long = [hello(), vec![b' '; LINE_BYTES_MAX + 1]].concat();
    let answer = refusal(&send_raw(&agent.socket, long).await);
    assert_eq!(answer.kind, RefusalKind::Invalid);
    assert!(answer.message.contains("longer than 65536 bytes"), "{answer}");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused() {
    let agent = Agent::start(4);
    for garbage in [
        &b"\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"{\"protocol\":999,\"version\":\"\\u001b[31m\"}\n",
        b"\xff\xfe\n",
        b"[[[[[[[[\n",
    ] {
        let answer = refusal(&send_raw(&agent.socket, garbage.to_vec()).await);
        assert_eq!(answer.kind, RefusalKind::Invalid, "{answer}");
        assert!(!answer.message.contains('\x1b'), "{answer}");
        let answer = refusal(&send_raw(&agent.socket, [&hello(), garbage].concat()).await);
        assert_eq!(answer.kind, RefusalKind::Invalid, "{answer}");
    }
    assert_eq!(status(&agent.socket).await.expect("unharmed"), "fine");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_cut_off_and_holds_up_nobody() {
    let agent = Agent::start_waiting(4, SHORT * 4);
    let socket = agent.socket.clone();
    let begun = Instant::now();
    let slow = tokio::spawn(async move { send_raw(&socket, b"{".to_vec()).await });
    tokio::task::yield_now().await;
    assert_eq!(status(&agent.socket).await.expect("an answer meanwhile"), "fine");
    assert!(
        begun.elapsed() < SHORT * 4,
        "the answer waited for the slow client"
    );
    let answer = refusal(&slow.await.expect("no panic"));
    assert!(answer.message.contains("no whole line came"), "{answer}");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_busy_or_gone_is_told() {
    let agent = Agent::start_waiting(4, SHORT);
    let socket = agent.socket.clone();
    let busy = beside(move || client::ask::<String>(&socket, &Request::Doctor)).await;
    assert!(
        busy.expect_err("no answer")
            .to_string()
            .contains("did not answer within")
    );
    assert_eq!(status(&agent.socket).await.expect("an answer"), "fine");
    agent.end().await;

    let (engine, requests) = mpsc::channel(1);
    drop(requests);
    let agent = Agent::start_with(engine, 4, SHORT);
    let gone = status(&agent.socket).await.expect_err("no engine");
    assert!(gone.to_string().contains("shutting down"), "{gone}");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_is_turned_away() {
    let agent = Agent::start(2);
    // Who runs the agent has some places more.
    let places = 2 + KEPT_FOR_ROOT;
    let readers: Vec<_> = (0..places).map(|_| follow(&agent, None)).collect();
    wait_for(|| agent.feed.readers() == places as u64).await;
    let error = status(&agent.socket).await.expect_err("too many");
    assert!(
        error.to_string().contains("as many clients as it takes"),
        "{error}"
    );
    agent.feed.publish("end\n".into());
    for reader in readers {
        reader.await.expect("no panic").expect("an orderly end");
    }
    // A reader's place is free once the server has noticed that it went.
    let begun = Instant::now();
    while status(&agent.socket).await.is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the place is not given back"
        );
    }
    agent.end().await;
}

/// Follows the alerts until a line `end` comes, and returns the lines before it.
fn follow(agent: &Agent, last: Option<usize>) -> JoinHandle<Result<Vec<String>, ClientError>> {
    let socket = agent.socket.clone();
    tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        client::alerts(&socket, true, last, |line| {
            lines.push(line.to_owned());
            Ok(if line == "end" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
        .map(|()| lines)
    })
}

async fn wait_for(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_the_latest_and_what_comes() {
    let agent = Agent::start(4);
    for line in ["1\n", "2\n", "3\n"] {
        agent.feed.publish(line.into());
    }
    let readers = [follow(&agent, None), follow(&agent, Some(1))];
    wait_for(|| agent.feed.readers() == 2).await;
    agent.feed.publish("4\n".into());
    let socket = agent.socket.clone();
    let now = beside(move || {
        let mut lines = Vec::new();
        client::alerts(&socket, false, None, |line| {
            lines.push(line.to_owned());
            Ok(ControlFlow::Continue(()))
        })
        .map(|()| lines)
    });
    assert_eq!(now.await.expect("an orderly end"), ["1", "2", "3", "4"]);
    // The last lines before the end still arrive, and the end of the agent is the end of the stream.
    agent.feed.publish("5\n".into());
    agent.end().await;
    let [all, latest] =
        readers.map(|reader| async { reader.await.expect("no panic").expect("an orderly end") });
    assert_eq!(all.await, ["1", "2", "3", "4", "5"]);
    assert_eq!(latest.await, ["3", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_is_told_what_it_missed() {
    let agent = Agent::start(4);
    let socket = agent.socket.clone();
    let mut stream = beside(move || {
        let mut stream = UnixStream::connect(socket).expect("the server listens");
        let request = serde_json::to_vec(&Request::Alerts {
            follow: true,
            last: None,
        })
        .expect("json");
        stream
            .write_all(&[hello(), request, b"\n".to_vec()].concat())
            .expect("sent");
        stream
    })
    .await;
    wait_for(|| agent.feed.readers() == 1).await;
    // More than the socket's buffer and the backlog can hold.
    let total = 3 * BACKLOG_LINES;
    let filler = "x".repeat(1000);
    for number in 0..total {
        agent
            .feed
            .publish(format!("{{\"n\":{number},\"filler\":\"{filler}\"}}\n").into());
        if number % 256 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let reader = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    agent.end().await;
    let text = reader.await.expect("no panic").expect("whole lines of text");
    let (mut received, mut missed) = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let value: serde_json::Value = serde_json::from_str(line).expect("every line is whole");
        if value["schema"] == MISSED_SCHEMA {
            missed += value["missed"].as_u64().expect("a number");
        } else {
            assert_eq!(value["n"], received + missed, "in order, with every gap told");
            received += 1;
        }
    }
    assert!(missed > 0);
    assert_eq!(received + missed, total as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_does_not_hold_up_the_end() {
    let agent = Agent::start(4);
    let socket = agent.socket.clone();
    let stream = beside(move || {
        let mut stream = UnixStream::connect(socket).expect("the server listens");
        let request = serde_json::to_vec(&Request::Alerts {
            follow: true,
            last: None,
        })
        .expect("json");
        stream
            .write_all(&[hello(), request, b"\n".to_vec()].concat())
            .expect("sent");
        stream
    })
    .await;
    wait_for(|| agent.feed.readers() == 1).await;
    for _ in 0..1000 {
        agent.feed.publish("x".repeat(4000).into());
    }
    let begun = Instant::now();
    agent.end().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_over_a_dead_socket_and_no_other() {
    let agent = Agent::start(4);
    let bind = |socket: &Path| {
        let (engine, _requests) = mpsc::channel(1);
        Server::bind(ServerOptions::new(socket), engine, AlertFeed::new(0)).map(drop)
    };
    assert!(matches!(bind(&agent.socket), Err(ServerError::InUse { .. })));
    assert_eq!(status(&agent.socket).await.expect("unharmed"), "fine");
    let directory = agent.end().await;

    let dead = directory.path().join("dead.sock");
    drop(UnixListener::bind(&dead).expect("bound"));
    assert!(dead.exists());
    bind(&dead).expect("nobody listens");

    let file = directory.path().join("file");
    std::fs::write(&file, "precious").expect("written");
    assert!(matches!(bind(&file), Err(ServerError::NotASocket { .. })));
    assert_eq!(std::fs::read(&file).expect("still there"), b"precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_the_socket_of_a_successor() {
    let agent = Agent::start(4);
    std::fs::remove_file(&agent.socket).expect("removed");
    let successor = UnixListener::bind(&agent.socket).expect("bound");
    let socket = agent.socket.clone();
    agent.stop.send(()).expect("the server waits for it");
    agent.server.await.expect("no panic");
    assert!(socket.exists());
    drop(successor);
}

#[test]
fn nobody_there_is_told_as_such() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let ask = || client::ask::<String>(&socket, &Request::Status).expect_err("nobody listens");
    assert!(matches!(ask(), ClientError::NotRunning { .. }));
    drop(UnixListener::bind(&socket).expect("bound"));
    assert!(matches!(ask(), ClientError::NotRunning { .. }));
}

#[test]
fn another_service_is_not_understood() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    let service = std::thread::spawn(move || {
        for answer in [
            "",
            "220 ready\n",
            "{\"protocol\":1,\"version\":\"0\"}\n{\"ok\":5}\n",
        ] {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });
    let ask = || client::ask::<String>(&socket, &Request::Status).expect_err("no agent");
    assert!(matches!(ask(), ClientError::Io { .. }));
    assert!(matches!(ask(), ClientError::Unintelligible { .. }));
    assert!(matches!(ask(), ClientError::Unintelligible { .. }));
    service.join().expect("no panic");
}
