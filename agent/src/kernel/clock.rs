//! From the kernel programs' clock to wall-clock time.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` now, ns: the clock of every record.
#[must_use]
pub fn boot_time_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The wall-clock time of a moment on the boot-time clock, by the difference that the two have now.
#[must_use]
pub fn wall_time(boot_ns: u64) -> SystemTime {
    let now_ns = boot_time_ns();
    let wall = SystemTime::now();
    if boot_ns <= now_ns {
        wall - Duration::from_nanos(now_ns - boot_ns)
    } else {
        wall + Duration::from_nanos(boot_ns - now_ns)
    }
}
