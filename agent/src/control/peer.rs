//! Finding out who connected to the control socket.
//!
//! Input: an accepted connection; credentials are of the moment in which the client connected, and the kernel's word. Output:
//! [`Peer`]. Failure: [`std::io::Error`] where the kernel does not tell the credentials; where it cannot be told whether the client
//! is in a container, it is taken for one that is.
//!
//! Which cgroup a process is in is read by its number. Where the kernel has handles of processes (Linux 6.5) it is certain that the
//! number is still the client's; before that it is looked up in the moment the connection is accepted, and a client that ended between
//! connecting and that moment could be mistaken for a process that was given its number in between.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;

use super::access::{Peer, Place};
use crate::container::membership::container_on;
use crate::container::process;
use crate::kernel::peer as kernel;

/// Who is at the other end of `stream`, and its process id for the log.
pub(super) fn identify(stream: &UnixStream) -> io::Result<(Peer, Option<i32>)> {
    let credentials = stream.peer_cred()?;
    let mut gids = kernel::groups(stream.as_fd())?;
    gids.push(credentials.gid());
    let pid = credentials.pid().filter(|pid| *pid > 0);
    let peer = Peer {
        uid: credentials.uid(),
        gids,
        place: place(stream, pid),
    };
    Ok((peer, pid))
}

fn place(stream: &UnixStream, pid: Option<i32>) -> Place {
    // A client in a process id namespace that the agent does not see has no number here.
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let (Some(pid), Ok(handle)) = (pid, kernel::process(stream.as_fd())) else {
        return Place::Container;
    };
    let is_on_node = stands_where_the_agent_does(pid);
    // Only now is it known that what was read was read of the client.
    if is_on_node && handle.as_ref().is_none_or(is_running) {
        Place::Node
    } else {
        Place::Container
    }
}

/// Whether a process is in no container, or in the agent's own, and in the agent's process id namespace.
fn stands_where_the_agent_does(pid: u32) -> bool {
    let containers = |pid| {
        let memberships = process::memberships(pid).ok()?;
        let ids = memberships.iter().filter_map(|one| container_on(&one.path));
        Some(ids.map(|(id, _)| id).collect::<Vec<_>>())
    };
    let own = std::process::id();
    let (Some(its), Some(agents)) = (containers(pid), containers(own)) else {
        return false;
    };
    let namespace = |pid| std::fs::metadata(format!("/proc/{pid}/ns/pid")).map(|file| file.ino());
    let is_same_namespace = match (namespace(pid), namespace(own)) {
        (Ok(its), Ok(agents)) => its == agents,
        _ => false,
    };
    is_same_namespace && its.iter().all(|id| agents.contains(id))
}

/// Whether the process of a handle has not ended.
fn is_running(handle: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(handle, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut polled, Some(&at_once)), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_stands_where_the_agent_does() {
        let (one, _other) = UnixStream::pair().expect("sockets");
        let (peer, pid) = identify(&one).expect("credentials");
        assert_eq!(peer.place, Place::Node);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(pid.map(i32::unsigned_abs), Some(std::process::id()));
    }

    #[tokio::test]
    async fn a_client_that_has_ended_may_be_anywhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
        let mut client = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "control::peer::tests::connects", "--quiet"])
            .env("DRIFTLOCK_TEST_SOCKET", &socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("started");
        assert!(client.wait().expect("ended").success());
        let accepted = tokio::time::timeout(std::time::Duration::from_secs(10), listener.accept());
        let (stream, _) = accepted.await.expect("it had connected").expect("accepted");
        let (peer, _) = identify(&stream).expect("credentials");
        assert_eq!(peer.place, Place::Container);
    }

    /// The client of the other test, and by itself one of its own.
    #[test]
    fn connects() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&own).expect("bound");
        let socket = std::env::var_os("DRIFTLOCK_TEST_SOCKET").unwrap_or_else(|| own.into());
        std::os::unix::net::UnixStream::connect(socket).expect("connected");
    }
}
