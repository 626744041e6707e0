//! Reading one line of a client, bounded in length before anything is parsed.
//!
//! Input: a stream. Output: the line without its newline. Failure: [`LineError`]; what was read until then is dropped.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::sync::Semaphore;

use super::protocol::{IMPORT_LINE_BYTES_MAX, LINE_BYTES_MAX};

/// How a request that may be long begins. The client writes the name of the request first.
const IMPORT_PREFIX: &[u8] = br#"{"request":"profile_import""#;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The client closed before its newline.
    #[error("the client closed the connection in the middle of a line")]
    Closed,
    /// The line is longer than it may be.
    #[error("the line is longer than {maximum} bytes")]
    TooLong {
        /// How long it may be.
        maximum: usize,
    },
    /// The stream failed.
    #[error("cannot read from the client: {0}")]
    Read(#[from] std::io::Error),
}

/// Reads a line: [`LINE_BYTES_MAX`], or [`IMPORT_LINE_BYTES_MAX`] if it begins as the request that carries a document and the
/// client may send one. `documents` then has a permit for each that is read at the same time; without one the client waits.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    documents: Option<&Semaphore>,
) -> Result<Vec<u8>, LineError> {
    let mut line = Vec::new();
    if read_up_to(reader, &mut line, LINE_BYTES_MAX).await? {
        return Ok(line);
    }
    let too_long = LineError::TooLong {
        maximum: LINE_BYTES_MAX,
    };
    let Some(documents) = documents.filter(|_| line.starts_with(IMPORT_PREFIX)) else {
        return Err(too_long);
    };
    // The semaphore is never closed.
    let Ok(_permit) = documents.acquire().await else {
        return Err(too_long);
    };
    if read_up_to(reader, &mut line, IMPORT_LINE_BYTES_MAX).await? {
        return Ok(line);
    }
    Err(LineError::TooLong {
        maximum: IMPORT_LINE_BYTES_MAX,
    })
}

/// Reads on until `line` is whole, which it says, or longer than `maximum`.
async fn read_up_to(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    maximum: usize,
) -> Result<bool, LineError> {
    let room = (maximum + 1).saturating_sub(line.len());
    reader.take(room as u64).read_until(b'\n', line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if line.len() > maximum {
        Ok(false)
    } else {
        Err(LineError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<usize, String> {
        let mut reader = bytes;
        let line = read_line(&mut reader, Some(&Semaphore::new(1))).await;
        line.map(|line| line.len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_line_is_as_long_as_it_may_be() {
        let of = |length: usize, prefix: &[u8], end: &[u8]| {
            [prefix, &vec![b' '; length - prefix.len()], end].concat()
        };
        assert_eq!(read(b"{}\nmore").await, Ok(2));
        assert_eq!(read(b"\n").await, Ok(0));
        assert_eq!(read(&of(LINE_BYTES_MAX, b"", b"\n")).await, Ok(LINE_BYTES_MAX));
        assert!(read(&of(LINE_BYTES_MAX + 1, b"", b"\n")).await.is_err());
        let long = of(IMPORT_LINE_BYTES_MAX, IMPORT_PREFIX, b"\n");
        assert_eq!(read(&long).await, Ok(IMPORT_LINE_BYTES_MAX));
        assert!(
            read(&of(IMPORT_LINE_BYTES_MAX + 1, IMPORT_PREFIX, b"\n"))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn who_may_send_no_document_is_not_read_to_its_end() {
        let long = [IMPORT_PREFIX, &vec![b' '; LINE_BYTES_MAX], b"\n"].concat();
        let error = read_line(&mut &long[..], None).await.expect_err("too long");
        assert!(
            matches!(
                error,
                LineError::TooLong {
                    maximum: LINE_BYTES_MAX
                }
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn documents_wait_for_each_other() {
        let documents = Semaphore::new(1);
        let long = [IMPORT_PREFIX, &vec![b' '; LINE_BYTES_MAX], b"\n"].concat();
        let permit = documents.acquire().await.expect("open");
        let soon = std::time::Duration::from_millis(20);
        let waiting = tokio::time::timeout(soon, read_line(&mut &long[..], Some(&documents))).await;
        assert!(waiting.is_err(), "it did not wait");
        drop(permit);
        assert!(read_line(&mut &long[..], Some(&documents)).await.is_ok());
    }

    #[tokio::test]
    async fn half_a_line_is_none() {
        for bytes in [&b""[..], b"{", IMPORT_PREFIX] {
            assert!(
                read(bytes)
                    .await
                    .is_err_and(|error| error.contains("middle of a line"))
            );
        }
    }

    #[test]
    fn the_request_begins_as_expected() {
        let request = super::super::protocol::Request::ProfileImport {
            document: String::new(),
            source: "-".to_owned(),
            signature: None,
        };
        let line = serde_json::to_vec(&request).expect("json");
        assert!(line.starts_with(IMPORT_PREFIX));
    }
}
