//! What the agent itself takes: processor, memory, the kernel's memory for its maps, records.
//!
//! Input: a running agent. Output: [`Footprint`], or what was added between two of them. Failure: an agent that has ended; a kernel that
//! does not show what is asked for.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::agent::Agent;

/// Ticks of a second in `/proc/PID/stat` (`USER_HZ`, include/asm-generic/param.h): the same on all machines but very old ones.
const TICKS: u64 = 100;

/// What an agent took so far, or takes now.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// When.
    at: Instant,
    /// CPU time of the agent and of the process that answers before executions, with their children that have ended.
    cpu: Duration,
    /// Memory of the agent that is in use (`VmRSS`), bytes.
    pub memory_bytes: u64,
    /// Of it, the agent's own data (`RssAnon`), bytes.
    pub own_bytes: u64,
    /// Of it, maps of the kernel's that it has in its address space: the ring buffer, each page of it twice, bytes. The rest is
    /// the agent's program and the C library, as files.
    pub mapped_bytes: u64,
    /// Memory of the process that answers before executions, bytes; 0 if there is none.
    pub answering_bytes: u64,
    /// Memory that the kernel accounts for the agent's maps, bytes.
    pub map_bytes: u64,
    /// Records that the kernel programs had to send.
    pub generated: u64,
    /// Of those, the ones that were lost.
    pub lost: u64,
}

/// What an agent took between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// How much time lies between them.
    pub elapsed: Duration,
    /// CPU time, as a share of one processor.
    pub cpu_share: f64,
    /// CPU time.
    pub cpu: Duration,
    /// Records that the kernel programs had to send.
    pub generated: u64,
    /// Of those, the ones that were lost.
    pub lost: u64,
}

impl Footprint {
    /// Of an agent, now.
    pub fn of(agent: &Agent) -> anyhow::Result<Self> {
        let answering = agent.answering_process();
        // Asking takes time of the agent's: what it took is read first.
        let at = Instant::now();
        let cpu = [Some(agent.pid()), answering]
            .into_iter()
            .flatten()
            .try_fold(Duration::ZERO, |sum, process| anyhow::Ok(sum + cpu_of(process)?))?;
        Ok(Self {
            at,
            cpu,
            memory_bytes: status(agent.pid(), "VmRSS")?,
            own_bytes: status(agent.pid(), "RssAnon")?,
            mapped_bytes: mapped(&read(agent.pid(), "smaps")?),
            answering_bytes: answering.map_or(Ok(0), |process| status(process, "VmRSS"))?,
            map_bytes: map_bytes(agent.pid())?,
            generated: agent.counter("generated")?,
            lost: agent.counter("lost_ring")? + agent.counter("lost_quota")?,
        })
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "memory_bytes": self.memory_bytes,
            "own_bytes": self.own_bytes,
            "mapped_bytes": self.mapped_bytes,
            "answering_bytes": self.answering_bytes,
            "map_bytes": self.map_bytes,
        })
    }

    /// The agent's memory, for a cell.
    #[must_use]
    pub fn memory(&self) -> String {
        format!(
            "{}: data {}, ring buffer {}, the rest is the program",
            mib(self.memory_bytes),
            mib(self.own_bytes),
            mib(self.mapped_bytes)
        )
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Taken {
        let elapsed = self.at.saturating_duration_since(before.at);
        let cpu = self.cpu.saturating_sub(before.cpu);
        Taken {
            elapsed,
            cpu_share: cpu.as_secs_f64() / elapsed.as_secs_f64(),
            cpu,
            generated: self.generated.saturating_sub(before.generated),
            lost: self.lost.saturating_sub(before.lost),
        }
    }
}

impl Taken {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "elapsed_s": self.elapsed.as_secs_f64(),
            "cpu_s": self.cpu.as_secs_f64(),
            "generated": self.generated,
            "lost": self.lost,
        })
    }

    /// The CPU time, for a cell.
    #[must_use]
    pub fn processor(&self) -> String {
        format!(
            "{:.2} s in {:.0} s: {:.2} % of one",
            self.cpu.as_secs_f64(),
            self.elapsed.as_secs_f64(),
            self.cpu_share * 100.0
        )
    }
}

/// Bytes in MiB, for a cell.
#[must_use]
pub fn mib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let mib = bytes as f64 / f64::from(1 << 20);
    format!("{mib:.1} MiB")
}

fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let text = read(process, "stat")?;
    ticks(&text)
        .map(|ticks| Duration::from_millis(ticks * 1000 / TICKS))
        .with_context(|| format!("/proc/{process}/stat is {text:?}"))
}

/// Of the line in `/proc/PID/stat` the fields utime, stime, cutime and cstime (14 to 17), summed.
fn ticks(stat: &str) -> Option<u64> {
    // The second field, the name, is in parentheses and may hold anything; the third is next.
    let (_, fields) = stat.rsplit_once(") ")?;
    let times: Vec<u64> = fields
        .split(' ')
        .skip(14 - 3)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    (times.len() == 4).then(|| times.iter().sum())
}

/// A size in `/proc/PID/status`, bytes.
fn status(process: u32, name: &str) -> anyhow::Result<u64> {
    let text = read(process, "status")?;
    kib(&text, name)
        .map(|kib| kib << 10)
        .with_context(|| format!("/proc/{process}/status has no {name}"))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// Of `/proc/PID/smaps` what belongs to maps of the kernel's, bytes.
fn mapped(smaps: &str) -> u64 {
    let mut is_map = false;
    let mut sum = 0;
    for line in smaps.lines() {
        // A mapping begins with its addresses, in hexadecimal; a size with its name.
        match line.split_once(' ').map_or(line, |(first, _)| first) {
            "Rss:" if is_map => sum += kib(line, "Rss").unwrap_or(0) << 10,
            first if !first.ends_with(':') => is_map = line.ends_with("anon_inode:bpf-map"),
            _ => {}
        }
    }
    sum
}

/// What the kernel accounts for all maps that the process has open (`memlock` in `/proc/PID/fdinfo`). Those that grow are counted
/// as they are now.
fn map_bytes(process: u32) -> anyhow::Result<u64> {
    let directory = format!("/proc/{process}/fdinfo");
    let mut sum = 0;
    for entry in std::fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        // A descriptor that is closed meanwhile is none of a map.
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        let is_map = text.lines().any(|line| line.starts_with("map_type:"));
        let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        if let (true, Some(bytes)) = (is_map, bytes) {
            sum += bytes.trim().parse::<u64>()?;
        }
    }
    Ok(sum)
}

fn read(process: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{process}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 9 0 100 1 1 1\n";
        assert_eq!(ticks(stat), Some(110));
        assert_eq!(ticks("7 (a) S 1 7"), None);
    }

    #[test]
    fn sizes_have_their_own_line() {
        let text = "VmRSSx:\t1 kB\nVmRSS:\t  2048 kB\nThreads:\t3\n";
        assert_eq!(kib(text, "VmRSS"), Some(2048));
        assert_eq!(kib(text, "Threads"), None);
    }

    #[test]
    fn maps_of_the_kernel_are_told_from_files() {
        let smaps = "7f00-7f01 r--p 00000000 00:0f 12   /usr/lib/libc.so.6\nRss:      100 kB\n\
            7f02-7f03 r--s 00001000 00:0e 1051   anon_inode:bpf-map\nSize:   16384 kB\nRss:   16384 kB\n\
            7f04-7f05 rw-p 00000000 00:00 0 \nRss:      4 kB\n";
        assert_eq!(mapped(smaps), 16 << 20);
    }

    #[test]
    fn this_process_has_memory_and_no_maps() {
        let own = std::process::id();
        assert!(status(own, "VmRSS").expect("there") > 100 << 10);
        assert_eq!(map_bytes(own).expect("there"), 0);
    }
}
