//! Who opens a file for execution: its container, whose process it is, and what a record says of it.
//!
//! Input: a thread's id, the kernel's maps, `/proc`. Output: [`Member`], and a record's [`ProcessPart`]. Failure: a process
//! that cannot be read is in no container; a thread that waits for its answer stays as it is, so that this happens only to
//! one that was killed. Nothing that is read here can keep the reader waiting.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use agent_common::record::{ANCESTORS_MAX, Ancestor, ProcessPart};
use agent_common::task::TaskState;

use super::policy::KernelMaps;
use crate::container::process::{memberships, stat, status};

/// A process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The container's cgroup id.
    pub(super) container: u64,
    /// Thread group id on the host.
    pub(super) process: u32,
    pub(super) state: TaskState,
    /// Start of the process, boot-time clock, ns.
    pub(super) started_ns: u64,
}

/// Where a container stands, for processes that the kernel programs do not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `hierarchy_id`; 0 for v2.
    pub(super) hierarchy: u32,
    /// The container's cgroup.
    pub(super) cgroup: Vec<u8>,
    /// `s_dev` of its root filesystem.
    pub(super) device: u32,
}

/// Whose process a thread is; `None` if it is in no container that is watched, or still the runtime.
pub(super) fn member(thread: u32, maps: &KernelMaps, places: &HashMap<u64, Place>) -> Option<Member> {
    let mut process = thread;
    let mut task = maps.task(process);
    if task.is_none() {
        process = status(thread)?.process;
        if process != thread {
            task = maps.task(process);
        }
    }
    let started_ns = stat(process)?.started_ns();
    match task {
        Some((container, state)) => Some(Member {
            container,
            process,
            state,
            started_ns,
        }),
        None => entering(process, started_ns, maps, places),
    }
    .filter(|member| places.contains_key(&member.container) && member.state != TaskState::Runtime)
}

/// A process without a state: in a container's cgroup and with the container's root it enters from outside, unless its parent
/// is one of the container's. All else is the host's, or the runtime.
fn entering(
    process: u32,
    started_ns: u64,
    maps: &KernelMaps,
    places: &HashMap<u64, Place>,
) -> Option<Member> {
    let root = std::fs::metadata(file(process, "root/")).ok()?.dev();
    let root = rustix::fs::major(root) << 20 | rustix::fs::minor(root);
    let memberships = memberships(process).ok()?;
    let stands_in = |place: &Place| {
        place.device == root
            && memberships.iter().any(|membership| {
                membership.hierarchy_id == place.hierarchy && is_below(&membership.path, &place.cgroup)
            })
    };
    let (&container, _) = places.iter().find(|(_, place)| stands_in(place))?;
    let parent = stat(process)
        .and_then(|stat| maps.task(stat.parent))
        .filter(|(of, _)| *of == container)
        .map(|(_, state)| state);
    Some(Member {
        container,
        process,
        state: parent.unwrap_or(TaskState::ExecIn),
        started_ns,
    })
}

/// Whether a cgroup is `top` or nested in it.
fn is_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Who a record says it was.
pub(super) fn describe(thread: u32, member: &Member, maps: &KernelMaps) -> ProcessPart {
    let mut part: ProcessPart = bytemuck::Zeroable::zeroed();
    part.pid = member.process;
    part.started_ns = member.started_ns;
    part.state = member.state as u8;
    if let Some(status) = status(member.process) {
        part.pid_in_container = status.in_container;
        part.uid = status.uid;
        part.gid = status.gid;
    }
    if let Some(stat) = stat(thread) {
        part.comm = name(&stat.comm);
        part.parent_pid = stat.parent;
    }
    let mut next = part.parent_pid;
    while let Some(stat) = maps
        .task(next)
        .filter(|(container, _)| *container == member.container)
        .and_then(|_| stat(next))
    {
        let count = usize::from(part.ancestor_count);
        if count == ANCESTORS_MAX {
            part.ancestors_truncated = 1;
            break;
        }
        part.ancestors[count] = Ancestor {
            pid: next,
            comm: name(&stat.comm),
        };
        part.ancestor_count += 1;
        next = stat.parent;
    }
    part
}

/// The working directory, as the container's mounts show it.
pub(super) fn working_directory(thread: u32) -> Vec<u8> {
    rustix::fs::readlinkat(rustix::fs::CWD, file(thread, "cwd"), Vec::new())
        .map(std::ffi::CString::into_bytes)
        .unwrap_or_default()
}

fn file(process: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/{name}"))
}

fn name(comm: &[u8]) -> [u8; 16] {
    let mut name = [0; 16];
    let length = comm.len().min(name.len() - 1);
    name[..length].copy_from_slice(&comm[..length]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_working_directory() {
        assert!(working_directory(std::process::id()).starts_with(b"/"));
    }

    #[test]
    fn a_cgroup_is_below_another_by_whole_names() {
        assert!(is_below(b"/docker/a", b"/docker/a"));
        assert!(is_below(b"/docker/a/b", b"/docker/a"));
        assert!(!is_below(b"/docker/ab", b"/docker/a"));
        assert!(!is_below(b"/docker", b"/docker/a"));
    }
}
