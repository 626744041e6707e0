//! The agent's own cgroup namespace.
//!
//! In a container the paths of cgroups (`/proc/PID/cgroup`) begin at the container's own cgroup, so that the others' are none that could be
//! found below `/sys/fs/cgroup`. Where the agent sees the node's processes it enters that of the node.
//! Input: `/proc`. Output: this thread is in that namespace; to be called before there is another. Failure: the system's error; then containers
//! may not be told from each other, which the agent says of each.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Who is in the node's own: its first process, and the kernel's, where the first may not be looked at.
const NODES: [&str; 2] = ["1", "2"];

/// Enters the cgroup namespace of the node, if that is another one. Whether it was.
pub fn enter_the_nodes() -> io::Result<bool> {
    let of = |process: &str| Path::new("/proc").join(process).join("ns/cgroup");
    let own = std::fs::read_link(of("self"))?;
    let mut problem = None;
    for process in NODES {
        match std::fs::read_link(of(process)) {
            Ok(namespace) if namespace == own => return Ok(false),
            Ok(_) => {
                let namespace = std::fs::File::open(of(process))?;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
                return Ok(true);
            }
            Err(error) => problem = Some(error),
        }
    }
    problem.map_or(Ok(false), Err)
}
