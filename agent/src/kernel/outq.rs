//! How much of what was written to a socket its peer has not taken (`SIOCOUTQ`, `tcp(7)` and `unix(7)`).
//!
//! Input: a connected stream socket. Output: bytes that the peer's kernel has not acknowledged (TCP), or that the peer has not read, with
//! the memory they take (Unix): zero when it has all. Failure: the system's error.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Bytes that the peer does not have yet. Of a Unix socket it may say more than there are, never less.
///
/// # Errors
/// The descriptor is no socket.
#[expect(
    unsafe_code,
    reason = "no safe wrapper of this request is among the dependencies"
)]
pub fn untaken(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the request writes one `int`, for which `bytes` is a valid place.
    // It has the number of `TIOCOUTQ` on all architectures of Linux.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    u64::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_unix_peer_has_what_it_has_read() {
        let (mut one, mut other) = UnixStream::pair().expect("sockets");
        assert_eq!(untaken(one.as_fd()).expect("a socket"), 0);
        one.write_all(b"12345").expect("written");
        assert!(untaken(one.as_fd()).expect("a socket") >= 5);
        other.read_exact(&mut [0; 5]).expect("read");
        assert_eq!(untaken(one.as_fd()).expect("a socket"), 0);
    }

    #[test]
    fn a_tcp_peer_has_what_its_kernel_has() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut one = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let _other = listener.accept().expect("accepted");
        one.write_all(b"12345").expect("written");
        let is_taken = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            untaken(one.as_fd()).expect("a socket") == 0
        });
        assert!(is_taken, "the kernel acknowledges what nobody reads");
        // More than the kernels hold.
        one.set_nonblocking(true).expect("a socket");
        let much = vec![0; 65_536];
        while one.write(&much).is_ok() {}
        assert!(untaken(one.as_fd()).expect("a socket") > 0);
    }

    #[test]
    fn a_file_has_no_peer() {
        let file = std::fs::File::open("/proc/self/stat").expect("open");
        assert!(untaken(file.as_fd()).is_err());
    }
}
