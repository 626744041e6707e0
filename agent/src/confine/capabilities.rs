//! Which capabilities the agent keeps, and what for (docs/privileges.md has the same in full).
//!
//! Input: a set. Output: this thread holds no other. Failure: the system's error.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};

/// For running: kernel programs and maps, attaching, files of processes and of images that belong to others.
const RUNNING: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// For the process that answers before executions: fanotify, and being faster than what waits for it.
const ANSWERING: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_NICE);

/// For starting, beside those: mounts of bpf and tracefs where they are missing (as `SYS_ADMIN`), and the group of the control socket.
pub(super) const STARTING: CapabilitySet = RUNNING.union(ANSWERING).union(CapabilitySet::CHOWN);

/// What running takes. Whoever started the agent may not know `BPF` and `PERFMON`, which are of Linux 5.8; `SYS_ADMIN` stands for both.
pub(super) fn running(answers: bool) -> io::Result<CapabilitySet> {
    let old = !capabilities(None)?
        .permitted
        .contains(CapabilitySet::BPF.union(CapabilitySet::PERFMON));
    Ok(match (answers, old) {
        (true, _) => RUNNING.union(ANSWERING),
        (false, true) => RUNNING.union(CapabilitySet::SYS_ADMIN),
        (false, false) => RUNNING,
    })
}

/// Drops all others of what this thread's programs can ever have. Without `CAP_SETPCAP` it is left as it is: no new privileges says the same.
pub(super) fn limit_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // There is none of this number, nor of a higher one.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
