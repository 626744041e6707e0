//! Waiting until a ring buffer has something to read.
//!
//! Input: a ring buffer, or the reader of the programs' log. Output: the same, registered with the runtime. Failure: the
//! registration's error; outside a runtime, a panic.
#![expect(
    unsafe_code,
    reason = "the runtime cannot check that a descriptor stays open; the types here see to it"
)]

use std::io;

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The programs' log.
pub type KernelLog = EbpfLogger<&'static dyn log::Log>;

/// Registers the ring buffer of records.
pub fn of_events(events: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: a `RingBuf` owns the map's descriptor, which is open as long as it lives and always the same.
    unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }.map_err(Into::into)
}

/// Registers the programs' log.
pub fn of_log(log: KernelLog) -> io::Result<AsyncFd<KernelLog>> {
    // SAFETY: an `EbpfLogger` owns its ring buffer, of which the same holds.
    unsafe { AsyncFd::register_with_interest(log, Interest::READABLE) }.map_err(Into::into)
}
