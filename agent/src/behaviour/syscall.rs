//! System calls.

use std::borrow::Cow;

use agent_common::syscall::{self, SYSCALL_OUT_OF_RANGE, SyscallAbi, SyscallPhase};

use super::syscall_name;

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyscallBehaviour {
    /// By which interface: whose table of numbers holds.
    pub abi: SyscallAbi,
    /// The number in that table; [`SYSCALL_OUT_OF_RANGE`] for all that no kernel gives a meaning.
    pub number: u16,
    /// Who makes it.
    pub phase: SyscallPhase,
}

/// What stands for the numbers that no kernel gives a meaning.
const OUT_OF_RANGE: &str = "out_of_range";
/// What a number is written behind that has no name here: it is newer than the tables.
const NUMBERED: &str = "syscall_";

impl SyscallBehaviour {
    /// What stands in place of a path's hash in the kernel's keys.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        syscall::hash(self.abi as u8, self.number)
    }

    /// Its name by its interface; `syscall_` and the number of one that is newer than the tables.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        name(self.abi, self.number)
    }
}

/// The name of a system call.
#[must_use]
pub fn name(abi: SyscallAbi, number: u16) -> Cow<'static, str> {
    if number == SYSCALL_OUT_OF_RANGE {
        return OUT_OF_RANGE.into();
    }
    match syscall_name::name(abi, number) {
        Some(name) => name.into(),
        None => format!("{NUMBERED}{number}").into(),
    }
}

/// The number of the system call that [`name`] gives as `text`; `None` if there is none.
#[must_use]
pub fn number(abi: SyscallAbi, text: &str) -> Option<u16> {
    if text == OUT_OF_RANGE {
        return Some(SYSCALL_OUT_OF_RANGE);
    }
    let numbered = || {
        let number = text.strip_prefix(NUMBERED)?.parse().ok()?;
        // One name for each: neither `syscall_0` for `read`, nor leading zeros.
        (name(abi, number) == text).then_some(number)
    };
    syscall_name::number(abi, text).or_else(numbered)
}

impl std::fmt::Display for SyscallBehaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.phase {
            SyscallPhase::Program => "",
            SyscallPhase::Runtime => " by the runtime",
        };
        write!(formatter, "{} ({}){by}", self.name(), self.abi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_name() {
        for &abi in SyscallAbi::ALL {
            for raw in (0..=u16::MAX).step_by(1) {
                assert_eq!(number(abi, &name(abi, raw)), Some(raw), "{abi} {raw}");
            }
        }
    }

    #[test]
    fn what_is_no_system_call_is_none() {
        for text in [
            "",
            "nothing",
            "syscall_",
            "syscall_0",
            "syscall_00999",
            "syscall_70000",
            "OPENAT",
        ] {
            assert_eq!(number(SyscallAbi::X86_64, text), None, "{text}");
        }
    }

    #[test]
    fn the_same_number_is_another_call_by_another_interface() {
        let call = |abi| SyscallBehaviour {
            abi,
            number: 11,
            phase: SyscallPhase::Program,
        };
        assert_eq!(call(SyscallAbi::X86_64).to_string(), "munmap (x86_64)");
        assert_eq!(call(SyscallAbi::I386).to_string(), "execve (i386)");
        assert_ne!(call(SyscallAbi::X86_64).hash(), call(SyscallAbi::I386).hash());
    }
}
