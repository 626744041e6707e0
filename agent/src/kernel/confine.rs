//! What a process gives up in all of its threads at once.
//!
//! Input: the capabilities to keep; a filter of system calls. Output: every thread keeps no other; every thread is filtered. Failure: the
//! system's error, or a thread that did not follow within [`PATIENCE`].
//!
//! The kernel has filters put on all threads, but capabilities belong to a thread, and only itself can drop them. As the C library does for
//! user ids, each thread is sent a signal in which it does so (`nptl(7)`); `/proc` tells when all have.
#![expect(
    unsafe_code,
    reason = "signals of one thread and filters for all have no safe wrapper among the dependencies"
)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// How long all threads may take. Each does so when it next runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is kept: a signal's handler is given nothing.
static KEPT: AtomicU64 = AtomicU64::new(u64::MAX);

/// In each thread; nothing in it allocates or takes a lock.
extern "C" fn drop_others(_signal: libc::c_int) {
    let kept = CapabilitySet::from_bits_retain(KEPT.load(Ordering::SeqCst));
    // What failed is seen in `/proc`.
    let _ = keep(kept);
}

/// Drops all other capabilities of this thread.
///
/// # Errors
/// The system's.
pub fn keep(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective.intersection(kept),
        permitted: now.permitted.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Drops all other capabilities of every thread of this process.
///
/// # Errors
/// The system's, and `TimedOut` if a thread still has others after all.
pub fn keep_in_every_thread(kept: CapabilitySet) -> io::Result<()> {
    KEPT.store(kept.bits(), Ordering::SeqCst);
    // One that nobody else uses: the C library takes the first two itself.
    let signal = libc::SIGRTMIN() + 3;
    // SAFETY: all-zero bytes are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = drop_others as *const () as libc::sighandler_t;
    // What waits in the kernel goes on waiting where it can.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler is a function of the program, which takes what a handler without SA_SIGINFO is given, and calls only what may be
    // called in one: two system calls by way of the stack.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A new thread has what the one that made it had, so that one look may not be enough.
        let others = threads_with_others(kept)?;
        if others.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let number = others.len();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{number} threads keep others"),
            ));
        }
        for thread in others {
            // SAFETY: the call takes numbers. A thread that has ended is an error, and no concern any more.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The threads of this process that have capabilities beside these.
fn threads_with_others(kept: CapabilitySet) -> io::Result<Vec<i32>> {
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended.
        let Ok(status) = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")) else {
            continue;
        };
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
        let permitted = permitted.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        if permitted.unwrap_or(u64::MAX) & !kept.bits() != 0 {
            others.push(thread);
        }
    }
    Ok(others)
}

/// Puts a further filter on every thread of this process; `is_logged`: the kernel logs what it refuses.
///
/// # Errors
/// The system's; a thread with a filter of its own cannot be given this one.
pub fn filter_every_thread(filter: &[seccompiler::sock_filter], is_logged: bool) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = filter
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jt,
            jf: step.jf,
            k: step.k,
        })
        .collect();
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let program = libc::sock_fprog {
        len: filter.len().try_into().map_err(too_long)?,
        filter: filter.as_mut_ptr(),
    };
    let log = if is_logged {
        libc::SECCOMP_FILTER_FLAG_LOG
    } else {
        0
    };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | log;
    // SAFETY: the program is a live value that says where its steps are and how many; the kernel copies them, and checks each.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!(
            "thread {thread} has a filter of its own"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;
    use crate::confine;

    /// Set in the process that confines itself.
    const CONFINED: &str = "DRIFTLOCK_TEST_CONFINED";

    /// The process: a second thread is there before, and finds itself confined after.
    #[test]
    fn confines_itself() {
        if std::env::var_os(CONFINED).is_none() {
            return;
        }
        let (go, wait) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            wait.recv().expect("told");
            confine::state()
        });
        rustix::thread::set_no_new_privs(true).expect("possible");
        confine::after_start(false).expect("confined");
        go.send(()).expect("it waits");
        for state in [confine::state(), other.join().expect("it ends")] {
            assert!(state.is_confined(), "{state}");
            assert!(state.capabilities.len() <= 4, "{state}");
        }
        // SAFETY: the call takes a number; it is refused before it does anything.
        let error = unsafe { libc::unshare(libc::CLONE_NEWUTS) };
        assert_eq!(
            (error, io::Error::last_os_error().raw_os_error()),
            (-1, Some(libc::ENOSYS))
        );
        let started = Command::new("/bin/true").status().expect("a process starts");
        assert!(started.success());
        println!("\nconfined");
    }

    #[test]
    fn every_thread_is_confined_and_processes_still_start() {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "kernel::confine::tests::confines_itself",
                "--nocapture",
            ])
            .env(CONFINED, "1")
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("confined"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
