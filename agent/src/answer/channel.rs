//! The socket between the agent and the answering process: whole messages, and nobody waits to send one.
//!
//! Input and output: messages of at most [`super::protocol::MESSAGE_BYTES`]. Failure: what finds no room is told to the
//! sender, who keeps or counts it; a socket whose other end is gone is [`Received::Ended`] or [`Sent::Ended`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::protocol::MESSAGE_BYTES;

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Done,
    /// There is no room for it now.
    Full,
    /// Nobody will read it.
    Ended,
}

/// What was there to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message.
    Message(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    Ended,
}

impl Channel {
    /// Both ends; neither is inherited by programs that are executed.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// The end that another program was started with.
    ///
    /// # Errors
    /// `InvalidInput` if it is no end of such a socket.
    pub(super) fn inherited(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let is_channel =
            rustix::net::sockopt::socket_type(socket).is_ok_and(|kind| kind == SocketType::SEQPACKET);
        if !is_channel {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let socket = socket.try_clone_to_owned()?;
        Ok(Self { socket })
    }

    /// Sends a message if there is room for it.
    pub(super) fn send(&self, message: &[u8]) -> Sent {
        match rustix::net::send(&self.socket, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => Sent::Done,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => Sent::Full,
            Err(_) => Sent::Ended,
        }
    }

    /// Takes a message if there is one.
    pub(super) fn receive(&self) -> Received {
        self.take(RecvFlags::DONTWAIT)
    }

    /// Waits for a message.
    pub(super) fn wait(&self) -> Received {
        self.take(RecvFlags::empty())
    }

    fn take(&self, flags: RecvFlags) -> Received {
        let mut message = vec![0; MESSAGE_BYTES];
        match rustix::net::recv(&self.socket, message.as_mut_slice(), flags) {
            // No message of this protocol is empty.
            Ok((0, _)) => Received::Ended,
            Ok((length, _)) => {
                message.truncate(length);
                Received::Message(message)
            }
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Ended,
        }
    }

    /// Ends the conversation at both ends.
    pub(super) fn end(&self) {
        // It fails only if the other end is gone already.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// The socket itself, for the program that is started with it.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_whole_until_there_is_no_room() {
        let (one, other) = Channel::pair().expect("a socket");
        assert_eq!(other.receive(), Received::Nothing);
        let mut sent = 0_u64;
        while one.send(&[7; 5_000]) == Sent::Done {
            sent += 1;
            assert!(sent < 100_000, "it takes any number");
        }
        assert!(sent > 8, "it takes hardly any: {sent}");
        assert_eq!(one.send(b"x"), Sent::Full);
        for _ in 0..sent {
            assert_eq!(other.receive(), Received::Message(vec![7; 5_000]));
        }
        assert_eq!(one.send(b"x"), Sent::Done);
        drop(one);
        assert_eq!(other.wait(), Received::Message(b"x".to_vec()));
        assert_eq!(other.wait(), Received::Ended);
        assert_eq!(other.send(b"x"), Sent::Ended);
    }

    #[test]
    fn another_file_is_no_channel() {
        let file = std::fs::File::open("/dev/null").expect("there");
        assert!(Channel::inherited(file.as_fd()).is_err());
    }
}
