//! The names of system calls.
//!
//! Input: the interface by which a call is made and its number, or its name. Output: the other. Failure: `None` for a number
//! without a name here, or a name without a number: the call is newer than the tables (Linux 6.17), or there is none.
//!
//! The tables are those of the crate `syscalls`, which are made of the kernel's own. What differs is stated here: x32 has numbers of its
//! own for some calls, and lacks others; and the numbers 403 to 423, the calls with 64-bit times, are for 32-bit programs alone.

use std::ops::RangeInclusive;

use agent_common::syscall::SyscallAbi;
use syscalls::{aarch64, arm, x86, x86_64};

/// The first of the numbers that mean a call to x32 alone; the others follow (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_FIRST: u16 = 512;
/// The calls with those numbers. By the numbers that they have on 64-bit x86, x32 has none.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
/// The calls of 64-bit x86 that x32 has not at all (the same file: marked `64`, without a counterpart marked `x32`).
const X32_LACKS: [&str; 11] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
];

/// The numbers of the calls with 64-bit times, which 64-bit programs have no need of (include/uapi/asm-generic/unistd.h).
const TIME64: RangeInclusive<u16> = 403..=423;

/// The name of the system call with `number` by `abi`, as the kernel's tables have it (`openat`); for x32 the number is without its bit
/// 30.
#[must_use]
pub fn name(abi: SyscallAbi, number: u16) -> Option<&'static str> {
    let index = usize::from(number);
    match abi {
        SyscallAbi::X86_64 => x86_64::Sysno::new(index).map(|call| call.name()),
        // One of the names is a word of Rust's: `break`.
        SyscallAbi::I386 => x86::Sysno::new(index).map(|call| call.name().trim_start_matches("r#")),
        SyscallAbi::X32 => {
            let own = number
                .checked_sub(X32_FIRST)
                .and_then(|index| X32_OWN.get(usize::from(index)));
            own.copied()
                .or_else(|| name(SyscallAbi::X86_64, number).filter(|name| is_common(name)))
        }
        SyscallAbi::Aarch64 if TIME64.contains(&number) => None,
        SyscallAbi::Aarch64 => aarch64::Sysno::new(index).map(|call| call.name()),
        SyscallAbi::Arm => arm::Sysno::new(index).map(|call| call.name()),
    }
}

/// The number of the system call `text` by `abi`; for x32 without its bit 30.
#[must_use]
pub fn number(abi: SyscallAbi, text: &str) -> Option<u16> {
    let id = match abi {
        SyscallAbi::X86_64 => text.parse::<x86_64::Sysno>().ok()?.id(),
        SyscallAbi::I386 if text == "break" => x86::Sysno::r#break.id(),
        SyscallAbi::I386 => text.parse::<x86::Sysno>().ok()?.id(),
        SyscallAbi::X32 => {
            let own = (X32_FIRST..)
                .zip(X32_OWN)
                .find_map(|(number, own)| (own == text).then_some(number));
            return own.or_else(|| number(SyscallAbi::X86_64, text).filter(|_| is_common(text)));
        }
        SyscallAbi::Aarch64 => text.parse::<aarch64::Sysno>().ok()?.id(),
        SyscallAbi::Arm => text.parse::<arm::Sysno>().ok()?.id(),
    };
    let id = u16::try_from(id).ok()?;
    // The only text for a number is the one that `name` gives.
    name(abi, id).filter(|name| *name == text).map(|_| id)
}

/// Whether a call of 64-bit x86 has the same number by x32.
fn is_common(name: &str) -> bool {
    !X32_OWN.contains(&name) && !X32_LACKS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [SyscallAbi; 5] = [
        SyscallAbi::X86_64,
        SyscallAbi::I386,
        SyscallAbi::X32,
        SyscallAbi::Aarch64,
        SyscallAbi::Arm,
    ];

    #[test]
    fn each_name_has_one_number_by_an_interface() {
        let mut counts = Vec::new();
        for abi in ALL {
            let mut count = 0;
            for candidate in 0..=u16::MAX {
                if let Some(name) = name(abi, candidate) {
                    assert_eq!(number(abi, name), Some(candidate), "{abi:?} {name}");
                    assert!(
                        name.bytes()
                            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                        "{name}"
                    );
                    count += 1;
                }
            }
            counts.push(count);
        }
        // x32 lacks eleven calls of 64-bit x86; the others are as many as the tables of Linux 6.17 have.
        assert_eq!(counts, [383, 459, 372, 325, 422]);
    }

    #[test]
    fn numbers_mean_what_the_kernel_takes_them_for() {
        for (abi, call, expected) in [
            (SyscallAbi::X86_64, "execve", 59),
            (SyscallAbi::X86_64, "clone3", 435),
            (SyscallAbi::X86_64, "mseal", 462),
            (SyscallAbi::I386, "break", 17),
            (SyscallAbi::I386, "execve", 11),
            (SyscallAbi::I386, "clock_gettime64", 403),
            (SyscallAbi::X32, "execve", 520),
            (SyscallAbi::X32, "pwritev2", 547),
            (SyscallAbi::X32, "read", 0),
            (SyscallAbi::Aarch64, "execve", 221),
            (SyscallAbi::Aarch64, "openat", 56),
            (SyscallAbi::Arm, "execve", 11),
            (SyscallAbi::Arm, "futex_time64", 422),
        ] {
            assert_eq!(number(abi, call), Some(expected), "{abi:?} {call}");
            assert_eq!(name(abi, expected), Some(call), "{abi:?} {expected}");
        }
        for (abi, call) in [
            (SyscallAbi::X32, "uselib"),
            (SyscallAbi::Aarch64, "clock_gettime64"),
            (SyscallAbi::Aarch64, "open"),
            (SyscallAbi::I386, "r#break"),
            (SyscallAbi::X86_64, "socketcall"),
            (SyscallAbi::X86_64, ""),
        ] {
            assert_eq!(number(abi, call), None, "{abi:?} {call}");
        }
        // By x32 the number of 64-bit `execve` means nothing.
        assert_eq!(name(SyscallAbi::X32, 59), None);
        assert_eq!(name(SyscallAbi::X86_64, 520), None);
        assert_eq!(name(SyscallAbi::X86_64, u16::MAX), None);
    }
}
