//! System calls: the interface by which one was made, in which phase of a container's life, and the number by which a rule holds it.
//!
//! A number means nothing without its interface: 32-bit programs on a 64-bit kernel call other things by the same numbers.

use crate::{plain_old_data, tag};

tag! {
    /// The interface by which a system call is made: whose table of numbers holds.
    SyscallAbi {
        /// 64-bit x86.
        X86_64 = 1 => "x86_64",
        /// 32-bit x86 (`int 0x80`, `sysenter`, `syscall` of 32-bit code), which 64-bit processes can use too.
        I386 = 2 => "i386",
        /// 64-bit x86 with 32-bit addresses: the calls that have bit 30 set.
        X32 = 3 => "x32",
        /// 64-bit Arm.
        Aarch64 = 4 => "aarch64",
        /// 32-bit Arm.
        Arm = 5 => "arm",
    }
}

tag! {
    /// Who makes it.
    SyscallPhase {
        /// A program of the container.
        Program = 1 => "program",
        /// The runtime, after it has put the container's seccomp filter on itself and before the program starts: a filter that
        /// refuses it keeps the container from starting.
        Runtime = 2 => "runtime",
    }
}

/// What stands for every number that no kernel gives a meaning ([`SYSCALLS_MAX`]): otherwise a program could make as many behaviours as
/// there are numbers.
pub const SYSCALL_OUT_OF_RANGE: u16 = u16::MAX;

/// Numbers of system calls are below this one. Linux 7.2 has 472 on x86-64, and up to 547 for x32 (arch/x86/entry/syscalls).
pub const SYSCALLS_MAX: u16 = 1024;

/// The bit that marks a call of [`SyscallAbi::X32`] (`__X32_SYSCALL_BIT`, arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

/// What stands in place of a path's hash in the keys of [`crate::rule`]. A set so small needs no secret.
#[must_use]
pub const fn hash(abi: u8, number: u16) -> u64 {
    (abi as u64) << 16 | number as u64
}

/// Value of `CALLS`, by a container's slot: system calls of which nothing is to be told or counted for now, so that the hook can leave.
///
/// Only a short cut: the hook sets a byte after it found the rule, the daemon clears all of them when rules or modes change, and at
/// the end of each window, so that the next one is counted. Made by the daemon for containers whose system calls are
/// watched; where it is absent the hook goes the long way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Calls {
    /// A byte per row and number (see [`calls_row`]): not 0 if there is nothing to do.
    pub quiet: [u8; CALLS_BYTES],
}

/// Numbers in a row of [`Calls`]; those above go the long way.
pub const CALLS_PER_ROW: usize = 512;
/// Rows of [`Calls`]: two interfaces, two sections.
pub const CALLS_ROWS: usize = 4;
/// Bytes of [`Calls`].
pub const CALLS_BYTES: usize = CALLS_PER_ROW * CALLS_ROWS;
const _: () = assert!(CALLS_BYTES.is_power_of_two());

/// Most containers whose system calls have a short cut at once; further ones go the long way.
pub const CALLS_MAX: u32 = crate::instance::INSTANCES_MAX;

/// The row of [`Calls`] for an interface in a section ([`crate::domain::Section`]); `None` for the interfaces that are rare enough to go the
/// long way.
#[inline(always)]
#[must_use]
pub const fn calls_row(abi: u8, section: u8) -> Option<usize> {
    const X86_64: u8 = SyscallAbi::X86_64 as u8;
    const AARCH64: u8 = SyscallAbi::Aarch64 as u8;
    const I386: u8 = SyscallAbi::I386 as u8;
    const ARM: u8 = SyscallAbi::Arm as u8;
    match abi {
        X86_64 | AARCH64 => Some((section & 1) as usize),
        I386 | ARM => Some(2 + (section & 1) as usize),
        _ => None,
    }
}

impl Calls {
    /// Everything is looked at.
    pub const NONE: Self = Self {
        quiet: [0; CALLS_BYTES],
    };
}

plain_old_data!(Calls);
