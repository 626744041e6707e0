//! A dead-man's switch: a process that stops asking for more time is killed by the kernel.
//!
//! Input: how much time the process may take until it asks again. Output: none while it does. Failure: the kernel refuses
//! the timer, which is an error.
//!
//! The timer belongs to the kernel and its signal is SIGKILL, so that it works whatever keeps the process from running: a
//! loop, a wait, SIGSTOP, a debugger. A process that the freezer of cgroup v1 holds dies when it is thawed.

use std::io;
use std::time::Duration;

/// Kills this process unless it is [wound up](Watchdog::wind_up) in time. Disarmed when dropped.
#[derive(Debug)]
pub struct Watchdog {
    timer: libc::timer_t,
}

impl Watchdog {
    /// A switch that is not armed yet.
    ///
    /// # Errors
    /// The kernel's, for want of memory.
    pub fn new() -> io::Result<Self> {
        let mut timer: libc::timer_t = std::ptr::null_mut();
        #[expect(
            unsafe_code,
            reason = "no safe wrapper of POSIX timers is among the dependencies"
        )]
        // SAFETY: all-zero bytes are a valid `sigevent`; the fields that count for SIGEV_SIGNAL are set below.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        #[expect(
            unsafe_code,
            reason = "no safe wrapper of POSIX timers is among the dependencies"
        )]
        // SAFETY: both pointers are to live values of the types that the call takes.
        let result = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { timer })
    }

    /// Gives the process `patience` from now on, instead of what was left.
    ///
    /// # Errors
    /// None that a timer of one's own can give.
    pub fn wind_up(&self, patience: Duration) -> io::Result<()> {
        let setting = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(patience.subsec_nanos()),
            },
        };
        #[expect(
            unsafe_code,
            reason = "no safe wrapper of POSIX timers is among the dependencies"
        )]
        // SAFETY: the timer was created by `new` and is deleted only by `drop`; the setting is a live value, and the old one
        // is not asked for.
        let result = unsafe { libc::timer_settime(self.timer, 0, &raw const setting, std::ptr::null_mut()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        #[expect(
            unsafe_code,
            reason = "no safe wrapper of POSIX timers is among the dependencies"
        )]
        // SAFETY: the timer was created by `new`, and nobody uses it after this.
        unsafe {
            libc::timer_delete(self.timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Set in the process that is to be killed.
    const VICTIM: &str = "DRIFTLOCK_TEST_WATCHDOG";
    const PATIENCE: Duration = Duration::from_millis(300);

    /// The victim: winds its switch up for a while, then says so and goes on without.
    #[test]
    fn waits_to_be_killed() {
        if std::env::var_os(VICTIM).is_none() {
            return;
        }
        let watchdog = Watchdog::new().expect("a timer");
        for _ in 0..20 {
            watchdog.wind_up(PATIENCE).expect("its own timer");
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("\nalive");
        std::thread::sleep(Duration::from_mins(1));
    }

    fn victim() -> std::process::Child {
        let name = "kernel::watchdog::tests::waits_to_be_killed";
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture"])
            .env(VICTIM, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    #[test]
    fn kills_what_no_longer_asks_for_time() {
        let output = victim().wait_with_output().expect("it ends");
        assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("alive"), "it was killed while it asked: {text}");
    }

    #[test]
    fn kills_what_is_stopped() {
        let mut victim = victim();
        std::thread::sleep(Duration::from_millis(200));
        let pid = Pid::from_raw(i32::try_from(victim.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::STOP).expect("it runs");
        let stopped = Instant::now();
        let status = victim.wait().expect("it ends");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        assert!(stopped.elapsed() < Duration::from_secs(10));
    }
}
