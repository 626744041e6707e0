//! Driftlock's kernel programs.
//!
//! The way of a verdict: `program` (the hooks) asks `state` whose process it is, `identity` what the file is, `verdict`
//! what the profile says, and hands what is new to `emit`. Kernel structures are read in `kernel` alone, by offsets
//! that the daemon took from the running kernel's BTF.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(
    internal_features,
    reason = "the atomic addition that this target has is an intrinsic only"
)]

mod applet;
mod args;
mod cap;
mod counter;
mod emit;
mod exec;
mod file;
mod identity;
mod kernel;
mod kill;
mod known;
mod maps;
mod normal_form;
mod path;
mod program;
mod scratch;
mod state;
mod verdict;
mod volatile;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses programs in which this could be reached.
    loop {}
}

/// The licence of the object: helpers that read kernel memory are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
