//! The agent as a process: what it uses. The names are those that every program uses for these figures.
//!
//! Input: `/proc`. Output: families. Failure: what cannot be read is left out.

use std::fmt::Error;

use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::{Page, number};
use crate::kernel::memory;

/// What is known of the process when it is asked.
#[derive(Debug)]
pub(super) struct OwnProcess;

impl Collector for OwnProcess {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(encoder);
        if let Some(bytes) = memory::of_maps() {
            page.gauge(
                "driftlock_kernel_memory_bytes",
                "Memory that the kernel holds for the maps of the kernel programs",
                number(bytes),
            )?;
        }
        let Ok(process) = Process::myself() else {
            return Ok(());
        };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second().max(1);
            page.sum(
                "process_cpu_seconds",
                "Processor time of the agent, in user and kernel mode",
                number(stat.utime + stat.stime) / number(ticks),
            )?;
            page.gauge(
                "process_resident_memory_bytes",
                "Memory of the agent that is not swapped out",
                number(stat.rss_bytes().get()),
            )?;
            page.gauge(
                "process_virtual_memory_bytes",
                "Address space of the agent",
                number(stat.vsize),
            )?;
            if let Ok(boot) = procfs::boot_time_secs() {
                page.gauge(
                    "process_start_time_seconds",
                    "When the agent was started, in seconds since 1970",
                    number(boot) + number(stat.starttime) / number(ticks),
                )?;
            }
        }
        if let Ok(count) = process.fd_count() {
            page.gauge(
                "process_open_fds",
                "Open file descriptors of the agent",
                number(count as u64),
            )?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(limit) = limit {
            page.gauge(
                "process_max_fds",
                "Most file descriptors that the agent may have open",
                number(limit),
            )?;
        }
        Ok(())
    }
}
