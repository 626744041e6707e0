//! The metrics' endpoint, over a real socket; the engine's answers are given by hand. What a whole agent serves: `tests/tests/metrics.rs`.
//!
//! docs/metrics.md lists every metric; its table is what the page gives here. After a change, take it over from this test's output.

#[expect(dead_code, reason = "the operator's tests use more of it")]
#[path = "operator/example.rs"]
mod example;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use driftlock::control::connection::EngineRequest;
use driftlock::control::protocol::{Request, Response};
use driftlock::metrics::Metrics;
use driftlock::metrics::server::{CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIME, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// A server, and the engine's end of its channel.
async fn serve() -> (SocketAddr, mpsc::Receiver<EngineRequest>) {
    let (requests, asked) = mpsc::channel(4);
    // A port that is free now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = free.local_addr().expect("an address");
    drop(free);
    let server = Server::bind(address, requests, Metrics::new()).await;
    tokio::spawn(server.expect("bound").run(std::future::pending()));
    (address, asked)
}

/// A server whose engine answers.
async fn serve_answering() -> SocketAddr {
    let (address, mut asked) = serve().await;
    tokio::spawn(async move {
        while let Some((request, answer)) = asked.recv().await {
            assert_eq!(request, Request::Status);
            let _ = answer.send(Response::ok(&example::status()));
        }
    });
    address
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // The server may have answered before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\n{headers}\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a code"), body.to_owned())
}

/// The table of a page in the older format: name, type, names of labels, meaning.
fn table(page: &str) -> String {
    let mut meanings = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut labels = BTreeMap::<_, BTreeSet<_>>::new();
    for line in page.lines() {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            meanings.insert(name.to_owned(), meaning.to_owned());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let names = labels.entry(name.to_owned()).or_default();
            for pair in rest
                .trim_end_matches('}')
                .split("\",")
                .filter(|pair| !pair.is_empty())
            {
                names.insert(pair.split('=').next().unwrap_or_default().to_owned());
            }
        }
    }
    assert_eq!(
        meanings.keys().collect::<Vec<_>>(),
        labels.keys().collect::<Vec<_>>(),
        "each is described, and has a value"
    );
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (name, meaning) in meanings {
        let labels: Vec<_> = labels[&name].iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (&kinds[&name], labels.join(", "));
        let row = format!("| `{name}` | {kind} | {labels} | {meaning} |\n");
        table.push_str(&row);
    }
    table
}

#[tokio::test]
async fn the_document_lists_every_metric() {
    let address = serve_answering().await;
    let (code, page) = get(address, "/metrics", "").await;
    assert_eq!(code, 200);
    let table = table(&page);
    assert!(
        DOCUMENT.contains(&table),
        "docs/metrics.md is to hold:\n\n{table}"
    );
}

#[tokio::test]
async fn the_format_is_the_one_that_the_reader_takes() {
    let address = serve_answering().await;
    let accept = "accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n";
    let (_, newer) = get(address, "/metrics", accept).await;
    assert!(newer.ends_with("# EOF\n"), "{newer}");
    assert!(newer.contains("# TYPE driftlock_kills counter\n"), "{newer}");
    let (_, older) = get(address, "/metrics", "").await;
    assert!(
        older.contains("# TYPE driftlock_kills_total counter\n"),
        "{older}"
    );
    assert!(
        older.contains("driftlock_kills_total{domain=\"exec\"} 5\n"),
        "{older}"
    );
    assert!(
        older.contains("driftlock_containers{mode=\"enforce\"} 1.0\n"),
        "{older}"
    );
    assert!(
        older.contains("driftlock_records_lost_total{domain=\"exec\",cause=\"ring\"} 0\n"),
        "{older}"
    );
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_told() {
    let (address, asked) = serve().await;
    drop(asked);
    let (code, page) = get(address, "/metrics", "").await;
    assert_eq!(code, 200);
    assert!(page.contains("driftlock_engine_answers 0.0\n"), "{page}");
    assert!(page.contains("process_resident_memory_bytes "), "{page}");
    let (code, text) = get(address, "/readyz", "").await;
    assert_eq!(code, 503, "{text}");
    // It is not restarted at once.
    assert_eq!(get(address, "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn probes_are_answered() {
    let address = serve_answering().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(address, path, "").await, (200, "ok\n".to_owned()));
    }
}

#[tokio::test]
async fn nothing_else_is() {
    let address = serve_answering().await;
    for path in ["/", "/metrics/", "/debug", "//metrics"] {
        assert_eq!(get(address, path, "").await.0, 404, "{path}");
    }
    let answer = exchange(
        address,
        b"POST /metrics HTTP/1.1\r\nhost: n\r\ncontent-length: 3\r\n\r\nabc",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = exchange(
        address,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        "n".repeat(2 * HEADER_BYTES_MAX)
    );
    let answer = exchange(address, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// Clients that never finish hold all connections; whoever comes then is answered as soon as their time is over.
#[tokio::test]
async fn slow_clients_hold_nobody_up_for_long() {
    let address = serve_answering().await;
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost:")
            .await
            .expect("sent");
        slow.push(stream);
    }
    // All of them are accepted before the next.
    let (code, _) = get(address, "/readyz", "").await;
    assert_eq!(code, 200);
    let waited = begun.elapsed();
    assert!(waited >= HEADER_TIME, "{waited:?}: there is no bound");
    assert!(waited < HEADER_TIME + Duration::from_secs(4), "{waited:?}");
}

/// However many ask at once, the engine is asked once.
#[tokio::test]
async fn many_readers_cost_the_engine_one_answer() {
    let (address, mut asked) = serve().await;
    let engine = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Some((_, answer))) = tokio::time::timeout(Duration::from_millis(700), asked.recv()).await
        {
            count += 1;
            let _ = answer.send(Response::ok(&example::status()));
        }
        count
    });
    let readers = (0..20).map(|_| tokio::spawn(get(address, "/metrics", "")));
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.expect("no panic").0, 200);
    }
    assert_eq!(engine.await.expect("no panic"), 1);
}
