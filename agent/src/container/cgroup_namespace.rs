//! The agent's own cgroup namespace.
//!
//! In a container the paths of cgroups (`/proc/PID/cgroup`) begin at the container's own cgroup, so that the others' are none that could be
//! found below `/sys/fs/cgroup`. Where the agent sees the node's processes it takes the place of the node's first process.
//! Input: `/proc`. Output: this thread is in that namespace; to be called before there is another. Failure: the system's error; then containers
//! may not be told from each other, which the agent says of each.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Enters the cgroup namespace of process 1, if that is another one. Whether it was.
pub fn enter_the_nodes() -> io::Result<bool> {
    let of = |process: &str| Path::new("/proc").join(process).join("ns/cgroup");
    if std::fs::read_link(of("1"))? == std::fs::read_link(of("self"))? {
        return Ok(false);
    }
    let namespace = std::fs::File::open(of("1"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
    Ok(true)
}
