//! An object of its own for tests: the path code as the hooks use it, run on paths that a test gives. The daemon never loads it.
//!
//! Input: one walked path in `PATH_CHECK_INPUT`; then the program is run by `BPF_PROG_TEST_RUN` (Linux 5.10 and later). Output:
//! everything that rules may be found by, in `PATH_CHECK_OUTPUT`. Failure: none.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "only a part of what the hooks use is run here")]

mod kernel;
mod normal_form;
mod path;
mod volatile;

use agent_common::path::PathWords;
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::RawTracePointContext;

use crate::normal_form::{FormScratch, Found, find};
use crate::path::{PathScratch, hash};
use crate::volatile::store;

/// What was found out about the path.
#[repr(C)]
struct Output {
    found: Found,
    /// Its own hash.
    exact: u64,
}

/// Work space.
#[repr(C)]
struct Scratch {
    path: PathScratch,
    form: FormScratch,
}

#[map]
static PATH_CHECK_INPUT: Array<PathWords> = Array::with_max_entries(1, 0);
#[map]
static PATH_CHECK_OUTPUT: Array<Output> = Array::with_max_entries(1, 0);
#[map]
static PATH_CHECK_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The path of the test, as the hooks would have it: the exact hash, then the rest.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn path_check(_: RawTracePointContext) -> i32 {
    check().unwrap_or(1)
}

#[inline(always)]
fn check() -> Option<i32> {
    let input = PATH_CHECK_INPUT.get(0)?;
    let output = PATH_CHECK_OUTPUT.get_ptr_mut(0)?;
    let scratch = PATH_CHECK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: elements live as long as their maps; the test runs one program at a time, and reads when it has ended.
    let (output, scratch) = unsafe { (&mut *output, &mut *scratch) };
    let exact = hash(&mut scratch.path, input);
    store(&mut output.exact, exact);
    find(&mut scratch.form, &scratch.path, input);
    copy(&mut output.found, &scratch.form.found);
    Some(0)
}

/// Copies what was found, word by word: it is larger than what the compiler copies by itself on this target.
#[inline(always)]
fn copy(to: &mut Found, from: &Found) {
    for index in 0..to.directories.len() {
        store(&mut to.directories[index], from.directories[index]);
        store(&mut to.directory_forms[index], from.directory_forms[index]);
    }
    store(&mut to.form, from.form);
    store(&mut to.count, from.count);
    store(&mut to.varies, from.varies);
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses programs in which this could be reached.
    loop {}
}

/// As in the other object.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
