//! Killing the process that runs now.
//!
//! Input: for what. Output: counted, and marked for the exit hook, which confirms it. Failure: the kernel refuses to send the
//! signal, which is counted.

use agent_common::domain::Domain;
use agent_common::instance::Instance;
use agent_common::task::TASK_KILLED;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::bpf_send_signal;

use crate::maps::KILLED;
use crate::{counter, state};

const SIGKILL: u32 = 9;

/// Sends the kill; 0, or the negative error number.
#[inline(always)]
pub fn current(instance: &mut Instance, domain: Domain, pid: u32) -> i32 {
    // Before the signal: the exit hook must find the mark.
    if state::task(pid).is_some() {
        let _ = KILLED.insert(pid, domain as u32, u64::from(BPF_ANY));
        state::change_flags(pid, TASK_KILLED, 0);
    }
    // SAFETY: the helper takes a number.
    let error = unsafe { bpf_send_signal(SIGKILL) } as i32;
    let counters = counter::counters(instance, domain);
    if error == 0 {
        counter::add(&mut counters.killed, 1);
    } else {
        counter::add(&mut counters.kill_failed, 1);
    }
    error
}
