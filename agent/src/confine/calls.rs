//! The system calls that the agent, and the processes that it starts, may make once it runs.
//!
//! Input: the list below. Output: two filters for the kernel, of which the stricter answer holds. Failure: a list that makes no filter, which
//! the tests would tell.
//!
//! Any other call fails with `ENOSYS`, as on a kernel that does not know it, so that libraries fall back on an older one instead of giving
//! up; and the kernel logs it (`audit: type=1326 ... comm="driftlock"`), so that what is missing here is seen, not guessed at.
//! What is not there on purpose: mounts, namespaces, other users, modules, tracing and writing other processes, `io_uring`.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use syscalls::Sysno;

/// What is allowed whatever the arguments are; names of all architectures, of which each has some.
const ALLOWED: &[&str] = &[
    // Files.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "creat",
    "lseek",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents",
    "getdents64",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "truncate",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "flock",
    "fcntl",
    "ioctl",
    "umask",
    "utimensat",
    "getcwd",
    "chdir",
    "fchdir",
    "statfs",
    "fstatfs",
    "fadvise64",
    "sendfile",
    "copy_file_range",
    "splice",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "name_to_handle_at",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    "memfd_create",
    // Memory.
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "mincore",
    "msync",
    "mlock",
    "mlock2",
    "munlock",
    "membarrier",
    // Threads and processes.
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "gettid",
    "getpid",
    "getppid",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "restart_syscall",
    "exit",
    "exit_group",
    "arch_prctl",
    "prctl",
    "capget",
    "capset",
    "getpriority",
    "setpriority",
    "getrlimit",
    "setrlimit",
    "prlimit64",
    "getrusage",
    "sysinfo",
    "uname",
    "times",
    "getcpu",
    "execve",
    "execveat",
    "fork",
    "vfork",
    "wait4",
    "waitid",
    "setpgid",
    "getpgid",
    "getpgrp",
    "setsid",
    "getsid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "pidfd_open",
    "pidfd_send_signal",
    // Signals and time.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sigaltstack",
    "kill",
    "tgkill",
    "signalfd4",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_delete",
    "timer_getoverrun",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "setitimer",
    // Waiting.
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    // Sockets; which ones is below.
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "shutdown",
    "socketpair",
    // What the agent is there for.
    "bpf",
    "perf_event_open",
    "fanotify_init",
    "fanotify_mark",
    "getrandom",
];

/// Kinds of sockets: control socket and runtimes, receivers of alerts, and the look-up of their names.
const SOCKETS: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// What `clone` may not make.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// `clone3` hides from a filter what it makes. The C library tries it first for each thread, and falls back on `clone`.
const HIDDEN: &str = "clone3";

/// The filter of what is allowed, to be put on with a log of what is not.
pub(super) fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain([&HIDDEN])
        .filter_map(|name| Some((number(name)?, Vec::new())))
        .collect();
    let sockets = SOCKETS
        .iter()
        .map(|&kind| rule(SeccompCmpOp::Eq, u64::from(kind.unsigned_abs())))
        .collect::<Result<_, _>>()?;
    rules.extend(number("socket").map(|socket| (socket, sockets)));
    let none = rule(SeccompCmpOp::MaskedEq(u64::from(NAMESPACES.unsigned_abs())), 0)?;
    rules.extend(number("clone").map(|clone| (clone, vec![none])));
    made(rules, refuse(), SeccompAction::Allow)
}

/// A filter that refuses what is hidden, and nothing else: without a log, in which each new thread would be.
pub(super) fn quiet_filter() -> Result<BpfProgram, BackendError> {
    let rules = number(HIDDEN).map(|call| (call, Vec::new()));
    made(rules.into_iter().collect(), SeccompAction::Allow, refuse())
}

fn refuse() -> SeccompAction {
    SeccompAction::Errno(libc::ENOSYS.unsigned_abs())
}

fn made(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    action: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, action, arch)?.try_into()
}

/// A condition on the first argument.
fn rule(operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

/// The number of a call; `None` where this architecture has no such call.
fn number(name: &str) -> Option<i64> {
    name.parse::<Sysno>().ok().map(|call| i64::from(call.id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_some_call_and_stands_once() {
        let mut names = ALLOWED.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALLOWED.len());
        for name in names {
            let is_known = number(name).is_some() || name.parse::<syscalls::aarch64::Sysno>().is_ok();
            assert!(is_known, "{name}");
        }
    }

    #[test]
    fn what_would_undo_the_confinement_is_not_allowed() {
        for name in [
            "mount",
            "umount2",
            "setns",
            "unshare",
            "clone3",
            "ptrace",
            "process_vm_writev",
            "init_module",
            "setuid",
            "io_uring_setup",
        ] {
            assert!(number(name).is_some() && !ALLOWED.contains(&name), "{name}");
        }
        assert!(filter().expect("a filter").len() > ALLOWED.len() / 2);
    }
}
