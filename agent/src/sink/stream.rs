//! A byte stream without acknowledgements, and what it can promise all the same: what Unix sockets and syslog have in common.
//!
//! Input: bytes, with the number of the alert that they end with. Output: the number up to which alerts count as received: the kernel says
//! that the peer has taken all bytes up to there (a Unix socket's peer has read them, a TCP peer's kernel has acknowledged them), and the
//! connection has lived for [`SETTLE`] since. Failure: a peer that closes is noticed at once, whether something is sent or not; all that
//! had not settled is sent again, which a receiver sees as the same ids. A receiver that ends within [`SETTLE`] of reading an alert therefore
//! gets it again; one that takes bytes, lives on and never handles them is beyond what such a stream can tell.
//!
//! Bounds: a write is given up after [`SEND_MAX`]; what a peer sends is read and thrown away.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::transport::{TransportError, failed};
use crate::kernel::outq;

/// How long a connection must live after the peer has taken an alert. In this time a receiver that works has it where it keeps it.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a write, or making a connection, may take.
pub const SEND_MAX: Duration = Duration::from_secs(10);
/// How often the kernel is asked while something has not settled.
const LOOK: Duration = Duration::from_millis(50);
/// Alerts from which on no more are sent until some have settled: with [`SETTLE`], a bound of 32,768 a second.
pub const IN_FLIGHT_MAX: u64 = 65_536;

/// A connection.
pub struct Stream {
    io: Box<dyn Duplex>,
    below: Below,
    marks: Marks,
    next_look: Instant,
    send_max: Duration,
    /// The receiver, for errors.
    subject: String,
}

/// The socket at the bottom of a connection, whatever is on top of it.
#[derive(Debug)]
pub struct Below {
    socket: OwnedFd,
    /// Bytes that were written to it.
    written: Arc<AtomicU64>,
}

/// What can be read and written.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Stream")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Of what is written and read, and the socket below it.
    pub fn new(io: Box<dyn Duplex>, below: Below, subject: String) -> Self {
        Self {
            io,
            below,
            marks: Marks::default(),
            next_look: Instant::now(),
            send_max: SEND_MAX,
            subject,
        }
    }

    /// Sends bytes that end with the alert of this number.
    pub async fn send(&mut self, bytes: &[u8], number: u64) -> Result<(), TransportError> {
        let all = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        let Ok(sent) = timeout(self.send_max, all).await else {
            let reason = format!("it has not taken everything within {:?}", self.send_max);
            return Err(failed("send to", &*self.subject)(reason));
        };
        sent.map_err(failed("send to", &*self.subject))?;
        self.marks.sent(number, self.below.written());
        Ok(())
    }

    /// Waits until more has settled, and tells the number up to which everything has. May be dropped at any moment and called again.
    pub async fn settled(&mut self) -> Result<u64, TransportError> {
        let mut thrown_away = [0; 512];
        loop {
            tokio::select! {
                biased;
                read = self.io.read(&mut thrown_away) => match read {
                    Ok(0) => return Err(failed("send to", &*self.subject)("it has closed the connection")),
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => return Err(failed("send to", &*self.subject)(error)),
                },
                () = sleep_until(self.next_look), if !self.marks.is_empty() => {
                    let now = Instant::now();
                    self.next_look = now + LOOK;
                    let taken = self.below.taken().map_err(failed("ask what was taken by", &*self.subject))?;
                    self.marks.taken(taken, now);
                    if let Some(number) = self.marks.settled(now) {
                        return Ok(number);
                    }
                }
            }
        }
    }
}

impl Below {
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many bytes the peer has at least.
    fn taken(&self) -> io::Result<u64> {
        let untaken = outq::untaken(self.socket.as_fd())?;
        Ok(self.written().saturating_sub(untaken))
    }
}

/// What was sent and has not settled, in order.
#[derive(Debug, Default)]
struct Marks(VecDeque<Mark>);

/// The end of an alert in the stream.
#[derive(Debug)]
struct Mark {
    /// The alert's number.
    number: u64,
    /// How many bytes of the connection end with it.
    end: u64,
    /// When it was first seen that the peer has all of them.
    taken: Option<Instant>,
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sent(&mut self, number: u64, end: u64) {
        self.0.push_back(Mark {
            number,
            end,
            taken: None,
        });
    }

    /// The peer has so many bytes by now.
    fn taken(&mut self, bytes: u64, now: Instant) {
        for mark in self.0.iter_mut().filter(|mark| mark.taken.is_none()) {
            if mark.end > bytes {
                break;
            }
            mark.taken = Some(now);
        }
    }

    /// The last one that was taken long enough ago. Those up to it are forgotten.
    fn settled(&mut self, now: Instant) -> Option<u64> {
        let has_settled = |mark: &Mark| {
            mark.taken
                .is_some_and(|taken| now.duration_since(taken) >= SETTLE)
        };
        let mut last = None;
        while self.0.front().is_some_and(has_settled) {
            last = self.0.pop_front().map(|mark| mark.number);
        }
        last
    }
}

/// A socket whose written bytes are counted.
#[derive(Debug)]
pub struct Counted<T> {
    inner: T,
    written: Arc<AtomicU64>,
}

impl<T: AsFd> Counted<T> {
    /// Of a connected socket.
    pub fn new(socket: T) -> io::Result<(Self, Below)> {
        let below = Below {
            socket: socket.as_fd().try_clone_to_owned()?,
            written: Arc::default(),
        };
        let written = Arc::clone(&below.written);
        Ok((
            Self {
                inner: socket,
                written,
            },
            below,
        ))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    fn pair() -> (Stream, UnixStream) {
        let (one, other) = UnixStream::pair().expect("sockets");
        let (counted, below) = Counted::new(one).expect("counted");
        let stream = Stream::new(Box::new(counted), below, "the receiver".to_owned());
        (stream, other)
    }

    #[test]
    fn what_was_taken_settles_in_order() {
        let start = Instant::now();
        let mut marks = Marks::default();
        marks.sent(1, 10);
        marks.sent(5, 20);
        marks.taken(9, start);
        assert_eq!(marks.settled(start + SETTLE * 2), None, "a byte is missing");
        marks.taken(19, start);
        assert_eq!(marks.settled(start + SETTLE / 2), None, "too early");
        marks.taken(20, start + SETTLE / 2);
        assert_eq!(marks.settled(start + SETTLE), Some(1));
        assert_eq!(marks.settled(start + SETTLE), None, "told once");
        assert_eq!(marks.settled(start + SETTLE * 2), Some(5));
        assert!(marks.is_empty());
    }

    #[tokio::test]
    async fn what_was_read_and_outlived_is_received() {
        let (mut stream, mut peer) = pair();
        stream.send(b"one\n", 1).await.expect("sent");
        let early = timeout(SETTLE + SETTLE / 4, stream.settled()).await;
        assert!(early.is_err(), "nobody has read it: {early:?}");
        let before = Instant::now();
        peer.read_exact(&mut [0; 4]).await.expect("read");
        // What a receiver says is thrown away.
        peer.write_all(b"ok\n").await.expect("written");
        assert_eq!(stream.settled().await.expect("received"), 1);
        assert!(before.elapsed() >= SETTLE);
    }

    #[tokio::test]
    async fn a_peer_that_closes_is_noticed() {
        let (mut stream, mut peer) = pair();
        stream.send(b"one\n", 1).await.expect("sent");
        peer.read_exact(&mut [0; 4]).await.expect("read");
        drop(peer);
        let error = stream
            .settled()
            .await
            .expect_err("it has not settled")
            .to_string();
        assert_eq!(error, "cannot send to the receiver: it has closed the connection");

        let (mut idle, peer) = pair();
        drop(peer);
        idle.settled().await.expect_err("noticed while nothing is sent");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_holds_up_nobody() {
        let (mut stream, _peer) = pair();
        stream.send_max = Duration::from_millis(50);
        let error = stream
            .send(&vec![0; 8 << 20], 1)
            .await
            .expect_err("too much for a buffer");
        assert!(error.to_string().contains("within 50ms"), "{error}");
    }
}
