use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use super::*;

fn question(directory: &tempfile::TempDir) -> Question {
    Question {
        socket: directory.path().join("containerd.sock"),
        namespace: "default".to_owned(),
        about: About::Container { id: "a".to_owned() },
    }
}

/// Asks a socket behind which each connection is sent `hello` and then kept open.
async fn ask_one_that_says(hello: &'static [u8]) -> AskError {
    let directory = tempfile::tempdir().expect("directory");
    let question = question(&directory);
    let listener = UnixListener::bind(&question.socket).expect("socket");
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client may have gone.
            let _ = stream.write_all(hello).await;
            open.push(stream);
        }
    });
    let error = ask(&question).await.expect_err("no answer");
    server.abort();
    error
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_an_error() {
    let directory = tempfile::tempdir().expect("directory");
    let error = ask(&question(&directory)).await.expect_err("no socket");
    assert!(matches!(error, AskError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn one_that_hangs_ends_within_the_bound() {
    let before = std::time::Instant::now();
    let error = ask_one_that_says(b"").await;
    assert!(matches!(error, AskError::Late { .. }), "{error}");
    assert!(before.elapsed() < WITHIN * 2);
}

#[tokio::test]
async fn one_that_talks_rubbish_is_an_error() {
    let error = ask_one_that_says(b"HTTP/1.1 200 OK\r\n\r\n\x00\xff\xff\xff\xff").await;
    assert!(
        matches!(error, AskError::Refused { .. } | AskError::Connect { .. }),
        "{error}"
    );
}
