//! What container runtimes call between putting a filter on themselves and starting the program.
//!
//! Input: a call. Output: whether it is one of these, or their names. Failure: none. A filter that refuses one of them may keep a container from
//! starting. Which of them is called depends on the runtime, its version, the container's settings and on chance (a signal that Go sends its own
//! threads), so it cannot be left to what was learned on one node. Sources: the order of steps in
//! runc (`libcontainer/standard_init_linux.go` and `setns_init_linux.go`; without `no_new_privs` the filter is put on before user and capabilities
//! are set) and in crun (`src/libcrun/container.c`), Go's runtime, which is at work in runc all the time (`runtime/sys_linux_amd64.s`), and the
//! list in moby's issue 22252.

use agent_common::syscall::SyscallPhase;

use super::{SyscallBehaviour, syscall_name};

/// The names, by what they are for. Those that an architecture does not have are passed over there.
///
/// Of these, runc 1.1.5 was seen to call 23 without `no_new_privs` and 9 with it, crun 1.8.1 nine and two.
pub(crate) const MINIMUM: [&str; 49] = [
    // The start of the program, and the end of a runtime that cannot start it.
    "execve",
    "exit",
    "exit_group",
    // User, groups, capabilities and other properties of a process.
    "capget",
    "capset",
    "getpid",
    "getppid",
    "gettid",
    "prctl",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    // The working directory, the program's file, the pipe that holds it back until `start`, and descriptors that must not stay open.
    "chdir",
    "close",
    "close_range",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fstat",
    "fstatfs",
    "getcwd",
    "getdents64",
    "newfstatat",
    "openat",
    "openat2",
    "read",
    "readlinkat",
    "statx",
    "write",
    // Go's runtime: threads, signals, memory, waiting.
    "clock_gettime",
    "clone",
    "epoll_ctl",
    "epoll_pwait",
    "futex",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sigaltstack",
    "tgkill",
];

/// Whether any runtime may make this call, whatever was learned: it is of the runtime's phase, and of [`MINIMUM`].
pub(crate) fn is_of_any_runtime(call: SyscallBehaviour) -> bool {
    call.phase == SyscallPhase::Runtime
        && syscall_name::name(call.abi, call.number).is_some_and(|name| MINIMUM.contains(&name))
}

#[cfg(test)]
mod tests {
    use agent_common::syscall::SyscallAbi;

    use super::*;

    #[test]
    fn each_is_a_system_call_and_is_there_once() {
        for (index, name) in MINIMUM.iter().enumerate() {
            assert!(syscall_name::number(SyscallAbi::X86_64, name).is_some(), "{name}");
            assert!(!MINIMUM[..index].contains(name), "{name}");
        }
    }
}
