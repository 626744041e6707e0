//! A webhook against a receiver that speaks just as much HTTP as is needed, and says what it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::alert::example;
use crate::alert::head::AlertHead;
use crate::alert::time::Time;

/// Whole requests, and what is answered: a status line's end, and a body.
type Answering = fn(&str) -> (&'static str, String);

async fn receiver(answer: Answering) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/secret-path",
        listener.local_addr().expect("its address")
    );
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, answer, Arc::clone(&seen)));
        }
    });
    (url, requests)
}

async fn serve(mut connection: TcpStream, answer: Answering, seen: Arc<Mutex<Vec<String>>>) {
    let mut text = String::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(count @ 1..) = connection.read(&mut buffer).await else {
            return;
        };
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let (status, body) = answer(&text);
        seen.lock().expect("no panic").push(std::mem::take(&mut text));
        let length = body.len();
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        connection.write_all(reply.as_bytes()).await.expect("answered");
    }
}

fn target(url: String) -> WebhookTarget {
    WebhookTarget {
        url,
        tls: None,
        headers: [("x-node".to_owned(), "a".to_owned())].into(),
        header_files: std::collections::BTreeMap::new(),
        batch: None,
        timeout_s: None,
    }
}

fn messages(lines: &[&str]) -> Vec<Message> {
    let message = |(position, line): (usize, &&str)| Message {
        number: position as u64 + 1,
        head: AlertHead::from(&example::alert(Time::now())),
        line: format!("{line}\n").into(),
    };
    lines.iter().enumerate().map(message).collect()
}

/// Opens, sends all at once, and collects what is told until it is an error or the last of them.
async fn deliver(target: &WebhookTarget, messages: &[Message]) -> (Vec<u64>, Option<TransportError>) {
    let mut transport = WebhookTransport::new(target);
    transport.open().await.expect("nothing is wrong with the target");
    transport.send(messages).await.expect("kept");
    let mut told = Vec::new();
    while told.last() != Some(&(messages.len() as u64)) {
        match timeout(Duration::from_secs(20), transport.acknowledged())
            .await
            .expect("in time")
        {
            Ok(number) => told.push(number),
            Err(error) => return (told, Some(error)),
        }
    }
    (told, None)
}

#[tokio::test]
async fn an_alert_is_one_object_with_its_id() {
    let (url, requests) = receiver(|_| ("200 OK", "fine".to_owned())).await;
    let messages = messages(&["{\"a\":1}", "{\"a\":2}"]);
    let (told, error) = deliver(&target(url), &messages).await;
    assert!(error.is_none() && told == [1, 2], "{told:?} {error:?}");
    let requests = requests.lock().expect("no panic");
    let first = requests[0].to_lowercase();
    assert!(first.starts_with("post /secret-path http/1.1\r\n"), "{first}");
    assert!(
        first.contains(&format!("driftlock-alert-id: {}\r\n", messages[0].head.id)),
        "{first}"
    );
    assert!(
        first.contains("content-type: application/json\r\n") && first.contains("x-node: a\r\n"),
        "{first}"
    );
    assert!(first.ends_with("\r\n\r\n{\"a\":1}"), "{first}");
}

#[tokio::test]
async fn what_is_refused_is_found_among_several() {
    let (url, requests) = receiver(|request| {
        if request.contains("bad") {
            ("422 Unprocessable Content", "no \x1b[31m".to_owned())
        } else {
            ("204 No Content", String::new())
        }
    })
    .await;
    let target = WebhookTarget {
        batch: Some(serde_json::from_str("\"10\"").expect("a number")),
        ..target(url)
    };
    let (told, error) = deliver(&target, &messages(&["1", "2", "bad", "4"])).await;
    assert_eq!(told, [1, 2]);
    let Some(TransportError::Refused { number: 3, reason }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "422 Unprocessable Entity: no \\x1b[31m");
    let requests = requests.lock().expect("no panic");
    assert!(requests[0].ends_with("\r\n\r\n1\n2\nbad\n4\n"), "{requests:?}");
    assert_eq!(requests.len(), 4, "then one by one: {requests:?}");
}

#[tokio::test]
async fn other_answers_are_tried_again_and_told_without_secrets() {
    let (url, _) = receiver(|_| ("503 Service Unavailable", "x".repeat(100_000))).await;
    let (told, error) = deliver(&target(url), &messages(&["1"])).await;
    let error = error.expect("not taken");
    assert!(
        told.is_empty() && matches!(error, TransportError::Failed { .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("503") && !text.contains("secret-path"), "{text}");
    assert_eq!(text.matches('x').count(), BODY_TOLD);

    let (redirecting, requests) = receiver(|_| ("302 Found\r\nlocation: /elsewhere", String::new())).await;
    let (_, error) = deliver(&target(redirecting), &messages(&["1"])).await;
    assert!(matches!(error, Some(TransportError::Failed { .. })), "{error:?}");
    assert_eq!(requests.lock().expect("no panic").len(), 1, "not followed");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_silent_is_a_failure() {
    let (_, error) = deliver(&target("http://127.0.0.1:1/secret".to_owned()), &messages(&["1"])).await;
    let text = error.expect("nobody listens").to_string();
    assert!(
        text.contains("http://127.0.0.1:1:") && text.contains("refused") && !text.contains("secret"),
        "{text}"
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = WebhookTarget {
        timeout_s: Some(serde_json::from_str("\"1\"").expect("a number")),
        ..target(format!("http://{}/", silent.local_addr().expect("its address")))
    };
    let (_, error) = deliver(&target, &messages(&["1"])).await;
    let text = error.expect("no answer").to_string();
    assert!(text.contains("timed out"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_with_the_target_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = async |target: WebhookTarget| match open(&target).await {
        Ok(_) => panic!("accepted: {target:?}"),
        Err(error) => error.to_string(),
    };
    let plain = || target("http://127.0.0.1:1/".to_owned());
    let absent = directory.path().join("token");
    let text = said(WebhookTarget {
        header_files: [("authorization".to_owned(), absent)].into(),
        ..plain()
    })
    .await;
    assert!(text.contains("token") && text.contains("No such file"), "{text}");
    let text = said(WebhookTarget {
        headers: [("a b".to_owned(), "c".to_owned())].into(),
        ..plain()
    })
    .await;
    assert!(text.contains("a header a b"), "{text}");
    let text = said(target("ftp://secret@host/".to_owned())).await;
    assert!(
        text.contains("neither http nor https") && !text.contains("secret"),
        "{text}"
    );
}
