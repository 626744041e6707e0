//! What a client of the control socket sends: the real server, behind it an engine that refuses everything.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use driftlock::control::connection::EngineRequest;
use driftlock::control::feed::AlertFeed;
use driftlock::control::protocol::{Refusal, Response};
use driftlock::control::server::{Server, ServerOptions};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// How a connection begins that comes as far as a request.
const HELLO: &[u8] = b"{\"protocol\":1,\"version\":\"0\"}\n";

static AGENT: LazyLock<(Runtime, PathBuf)> = LazyLock::new(|| {
    // One thread, so that the same input takes the same way.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let socket = fuzz::directory().join("control.sock");
    let (engine, mut requests) = mpsc::channel::<EngineRequest>(4);
    runtime.spawn(async move {
        while let Some((_, answer)) = requests.recv().await {
            let _ = answer.send(Response::from(Refusal::not_found("nothing is here")));
        }
    });
    let server = runtime.block_on(async {
        Server::bind(ServerOptions::new(&socket), engine, AlertFeed::new(4)).expect("a socket")
    });
    runtime.spawn(server.run(std::future::pending()));
    (runtime, socket)
});

fuzz_target!(|input: &[u8]| {
    let (runtime, socket) = &*AGENT;
    let (begins_well, rest) = match input.split_first() {
        Some((first, rest)) => (first % 2 == 0, rest),
        None => return,
    };
    let hello = if begins_well { HELLO } else { b"" };
    let answer = runtime.block_on(async {
        let stream = UnixStream::connect(socket).await.expect("the server listens");
        let (mut reader, mut writer) = stream.into_split();
        let send = async {
            // The server may close at once on what it does not want.
            let _ = writer.write_all(&[hello, rest].concat()).await;
            let _ = writer.shutdown().await;
        };
        let mut answer = Vec::new();
        let receive = reader.read_to_end(&mut answer);
        let _ = tokio::join!(send, receive);
        answer
    });
    // Whatever came, the answer is whole lines of text without control characters.
    let text = String::from_utf8(answer).expect("the server answers text");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    assert!(
        text.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{text:?}"
    );
    assert!(text.lines().count() <= 2, "{text:?}");
});
