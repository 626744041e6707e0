//! The processes of the host, as far as finding containers and their runtimes needs them.
//!
//! Input: `/proc`. Names and command lines are chosen by the processes, so neither makes a runtime of a process:
//! [`runtimes`] takes only root's processes in the agent's own user namespace that stand in no container. Failure:
//! a process that ends meanwhile is left out; only `/proc` itself being unreadable is an error.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::membership::{self, CGROUP_FILE_BYTES, Membership, container_on};
use super::read::{ReadError, read_bounded};

/// Most bytes read of a command line; a longer one is that of no runtime.
const CMDLINE_BYTES: u64 = 128 * 1024;
/// Most bytes read of `/proc/PID/comm`.
const NAME_BYTES: u64 = 4096;
/// Most bytes read of `/proc/PID/stat` and `/proc/PID/status`: a list of groups may be long.
const FILE_BYTES: u64 = 64 * 1024;
/// Nanoseconds in a clock tick of `/proc/PID/stat` (`USER_HZ` is 100 on all machines that are supported).
pub const TICK_NS: u64 = 10_000_000;

/// A process and when it started: a pid alone may be another process by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Process id on the host.
    pub pid: u32,
    /// Start, clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started_ticks: u64,
}

/// A process of a container runtime that runs on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeProcess {
    /// Which process.
    pub process: ProcessId,
    /// Its name.
    pub name: &'static str,
    /// Its command line.
    pub arguments: Vec<Vec<u8>>,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The thread's name.
    pub comm: Vec<u8>,
    /// The parent's process id.
    pub parent: u32,
    /// Start, clock ticks since boot.
    pub started_ticks: u64,
}

/// What `/proc/PID/status` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Thread group id.
    pub process: u32,
    /// The same in the process's own pid namespace.
    pub in_container: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
}

/// The ids of all processes.
pub fn all() -> Result<Vec<u32>, ReadError> {
    let directory = Path::new("/proc");
    let entries = std::fs::read_dir(directory).map_err(ReadError::of("list", directory))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// The processes of root on the host whose name is one of `names`.
pub fn runtimes(names: &[&'static str]) -> Result<Vec<RuntimeProcess>, ReadError> {
    let own_namespace = user_namespace(std::process::id());
    Ok(all()?
        .into_iter()
        .filter_map(|pid| runtime(pid, names, own_namespace))
        .collect())
}

/// Where a process stands in each cgroup hierarchy.
pub fn memberships(pid: u32) -> Result<Vec<Membership>, ReadError> {
    read_bounded(&file(pid, "cgroup"), CGROUP_FILE_BYTES).map(|content| membership::parse(&content))
}

/// The process that has this pid now; `None` if there is none.
#[must_use]
pub fn identify(pid: u32) -> Option<ProcessId> {
    Some(ProcessId {
        pid,
        started_ticks: stat(pid)?.started_ticks,
    })
}

/// What the kernel says of a process or thread; `None` if there is none.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read_bounded(&file(pid, "stat"), FILE_BYTES).ok()?)
}

/// More of what it says.
#[must_use]
pub fn status(pid: u32) -> Option<Status> {
    parse_status(&read_bounded(&file(pid, "status"), FILE_BYTES).ok()?)
}

impl Stat {
    /// Start, boot-time clock, ns, to the tick.
    #[must_use]
    pub fn started_ns(&self) -> u64 {
        self.started_ticks.saturating_mul(TICK_NS)
    }
}

impl ProcessId {
    /// Whether the process still runs (or waits to be reaped).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        identify(self.pid) == Some(*self)
    }
}

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn runtime(pid: u32, names: &[&'static str], own_namespace: Option<u64>) -> Option<RuntimeProcess> {
    let comm = read_bounded(&file(pid, "comm"), NAME_BYTES).ok()?;
    let name = names
        .iter()
        .find(|name| comm.strip_suffix(b"\n").unwrap_or(&comm) == name.as_bytes())?;
    let process = identify(pid)?;
    let is_root = std::fs::metadata(file(pid, "")).ok()?.uid() == 0;
    let on_host = memberships(pid)
        .ok()?
        .iter()
        .all(|line| container_on(&line.path).is_none());
    if !is_root || !on_host || own_namespace.is_none() || user_namespace(pid) != own_namespace {
        return None;
    }
    let command_line = read_bounded(&file(pid, "cmdline"), CMDLINE_BYTES).ok()?;
    let command_line = command_line.strip_suffix(b"\0").unwrap_or(&command_line);
    let arguments = command_line
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    // All of it was read from one process only if that process is still there.
    process.is_alive().then_some(RuntimeProcess {
        process,
        name,
        arguments,
    })
}

fn user_namespace(pid: u32) -> Option<u64> {
    Some(std::fs::metadata(file(pid, "ns/user")).ok()?.ino())
}

/// The name stands in parentheses, and may hold some.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let start = line.iter().position(|byte| *byte == b'(')?;
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let comm = line.get(start + 1..end)?.to_vec();
    // Fields 4 and 22 of proc(5), of which the third is the first here.
    let mut fields = std::str::from_utf8(&line[end + 1..])
        .ok()?
        .split_ascii_whitespace();
    Some(Stat {
        comm,
        parent: fields.nth(4 - 3)?.parse().ok()?,
        started_ticks: fields.nth(22 - 5)?.parse().ok()?,
    })
}

fn parse_status(status: &[u8]) -> Option<Status> {
    let field = |name: &[u8]| {
        let mut lines = status.split(|byte| *byte == b'\n');
        std::str::from_utf8(lines.find_map(|line| line.strip_prefix(name))?).ok()
    };
    let first = |name| field(name)?.split_ascii_whitespace().next()?.parse().ok();
    let last = |name| field(name)?.split_ascii_whitespace().next_back()?.parse().ok();
    Some(Status {
        process: first(b"Tgid:")?,
        in_container: last(b"NStgid:")?,
        uid: first(b"Uid:")?,
        gid: first(b"Gid:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_shift_the_fields() {
        let stat = b"42 (a) R 7 2 (x\nUid: 0) S 1 42 42 0 -1 4194560 5 0 0 0 1 0 0 0 20 0 1 0 777 9 9 0\n";
        let parsed = parse_stat(stat).expect("a stat");
        assert_eq!(parsed.comm, b"a) R 7 2 (x\nUid: 0");
        assert_eq!((parsed.parent, parsed.started_ns()), (1, 7_770_000_000));
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn reads_this_process() {
        let own = status(std::process::id()).expect("this process runs");
        assert_eq!(own.process, std::process::id());
        assert_eq!(own.uid, rustix::process::getuid().as_raw());
        let parent = stat(own.process).expect("this process runs").parent;
        assert_eq!(
            Some(parent),
            rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
        );
    }

    #[test]
    fn knows_this_process_and_that_another_start_is_another_process() {
        let own = identify(std::process::id()).expect("this process runs");
        assert!(own.is_alive());
        let earlier = ProcessId {
            started_ticks: own.started_ticks - 1,
            ..own
        };
        assert!(!earlier.is_alive());
        assert!(all().expect("/proc").contains(&own.pid));
    }
}
