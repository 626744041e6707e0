//! Who is at the other end of a connected unix socket, beyond what the standard library tells (`socket(7)`).
//!
//! Input: a connected socket. Output: the groups of the process that connected, and a handle of it. Failure: the system's error.
//! All of it is of the moment in which the peer connected.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// Most groups that a process can have (`NGROUPS_MAX` of Linux).
const GROUPS_MAX: usize = 65_536;
/// Groups for which there is room at first.
const GROUPS_USUAL: usize = 64;

/// The supplementary groups of the peer, in the agent's user namespace (`SO_PEERGROUPS`, Linux 4.13).
///
/// # Errors
/// The socket is no connected unix socket.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_USUAL];
    let bytes = match option(socket, libc::SO_PEERGROUPS, &mut groups) {
        // The kernel says how much room it takes; a process cannot have more groups than that.
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
            groups.resize(GROUPS_MAX, 0);
            option(socket, libc::SO_PEERGROUPS, &mut groups)?
        }
        other => other?,
    };
    groups.truncate(bytes / size_of::<u32>());
    Ok(groups)
}

/// A handle of the process that connected (`SO_PEERPIDFD`, Linux 6.5): unlike its number it never becomes another's.
///
/// `Ok(None)` where the kernel does not know the option.
///
/// # Errors
/// The process has ended, or the socket is no connected unix socket.
pub fn process(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut descriptor: [RawFd; 1] = [-1];
    match option(socket, libc::SO_PEERPIDFD, &mut descriptor) {
        Ok(_) if descriptor[0] >= 0 => Ok(Some(own(descriptor[0]))),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[expect(unsafe_code, reason = "the kernel hands over a descriptor as a number")]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the caller of `getsockopt`, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Reads an option of level `SOL_SOCKET` into `values`. Returns how many bytes were written.
#[expect(
    unsafe_code,
    reason = "no safe wrapper of these options is among the dependencies"
)]
fn option<T: bytemuck::Pod>(socket: BorrowedFd<'_>, name: i32, values: &mut [T]) -> io::Result<usize> {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
    let mut length = libc::socklen_t::try_from(bytes.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel writes at most `length` bytes into `bytes`, which
    // has that many, and any bit pattern is a value of a `Pod` type; `length` is a valid place for the result.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((length as usize).min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pair_of_sockets_is_this_process() {
        let (one, _other) = UnixStream::pair().expect("sockets");
        let mut own: Vec<u32> = rustix::process::getgroups()
            .expect("groups")
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        let mut told = groups(one.as_fd()).expect("groups of the peer");
        own.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, own);
        if let Some(handle) = process(one.as_fd()).expect("this process runs") {
            let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()));
            let line = format!("Pid:\t{}", std::process::id());
            assert!(text.expect("a descriptor").lines().any(|text| text == line));
        }
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = std::fs::File::open("/proc/self/stat").expect("open");
        assert!(groups(file.as_fd()).is_err() && process(file.as_fd()).is_err());
    }
}
