//! Sending: quotas, the ring buffer, and counting every loss.
//!
//! Sending never changes a verdict: it comes after it, and every failure ends in a counter.

use agent_common::ABI_VERSION;
use agent_common::domain::Domain;
use agent_common::instance::{Instance, QUOTA_DRIFT_PER_SECOND, QUOTA_PER_SECOND, QUOTA_PROGRAMS_PER_SECOND};
use agent_common::record::{
    ANCESTORS_MAX, Ancestor, EVENTS_BYTES, EVENTS_KEPT_FOR_DRIFT_BYTES, ProcessPart, RecordHeader, RecordKind,
};
use agent_common::task::TaskState;
use aya_ebpf::bindings::BPF_RB_AVAIL_DATA;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_output};

use crate::counter;
use crate::kernel::{TaskStruct, setting};
use crate::maps::EVENTS;
use crate::state;
use crate::volatile::{load, store};

/// How much a record matters when there is little room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Novelty: has a quota, and leaves a part of the ring buffer to drift.
    Ordinary,
    /// Drift and what was acted on: has a quota of its own and the whole ring buffer.
    Drift,
    /// The fate of what was acted on: no quota, because it has as many records as that.
    Confirmation,
}

/// Boot-time clock, ns.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The header of a record of type `T`.
#[inline(always)]
pub fn header<T>(kind: RecordKind, domain: Domain, container: u64, slot: u32, time_ns: u64) -> RecordHeader {
    RecordHeader {
        abi: ABI_VERSION,
        length: size_of::<T>() as u32,
        time_ns,
        container,
        slot,
        kind: kind as u8,
        domain: domain as u8,
        load: setting!(load),
    }
}

/// Sends a record of a container, or counts why not.
#[inline(always)]
pub fn send<T>(record: &T, instance: &mut Instance, domain: Domain, weight: Weight, time_ns: u64) {
    let in_quota = take_quota(instance, domain, weight, time_ns);
    let counters = &mut instance.counters[domain as usize];
    counter::add(&mut counters.generated, 1);
    if !in_quota {
        counter::add(&mut counters.lost_quota, 1);
        return;
    }
    if has_room(weight) && output(record) {
        counter::add(&mut counters.submitted, 1);
    } else {
        counter::add(&mut counters.lost_ring, 1);
    }
}

/// Puts a record into the ring buffer; false if it has no room.
#[inline(always)]
pub fn output<T>(record: &T) -> bool {
    // SAFETY: the record is valid for reads of its size.
    unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            core::ptr::from_ref(record).cast_mut().cast(),
            size_of::<T>() as u64,
            0,
        ) == 0
    }
}

#[inline(always)]
fn has_room(weight: Weight) -> bool {
    weight != Weight::Ordinary
        || EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) < u64::from(EVENTS_BYTES) - EVENTS_KEPT_FOR_DRIFT_BYTES
}

/// Takes one record from the container's quota of this second. Two CPUs that begin a second at once may both begin it:
/// the quota is a bound on storms, not an account.
#[inline(always)]
fn take_quota(instance: &mut Instance, domain: Domain, weight: Weight, time_ns: u64) -> bool {
    let second = time_ns / 1_000_000_000;
    if instance.quota_second != second {
        instance.quota_second = second;
        instance.quota_used = 0;
        instance.quota_drift_used = 0;
    }
    let (used, quota) = match weight {
        Weight::Confirmation => return true,
        Weight::Ordinary if domain as u8 == Domain::Exec as u8 => (
            &mut instance.quota_used,
            QUOTA_PER_SECOND + QUOTA_PROGRAMS_PER_SECOND,
        ),
        Weight::Ordinary => (&mut instance.quota_used, QUOTA_PER_SECOND),
        Weight::Drift => (&mut instance.quota_drift_used, QUOTA_DRIFT_PER_SECOND),
    };
    if *used >= quota {
        return false;
    }
    counter::add(used, 1);
    true
}

/// Fills in who it is.
#[inline(never)]
pub fn fill_process(part: &mut ProcessPart, task: u64, container: u64, state: u8) -> u32 {
    let task: TaskStruct = TaskStruct::at(task);
    let leader = task.leader();
    let mut ancestor = leader.real_parent();
    let (uid, gid) = task.uid_gid();
    part.started_ns = leader.started_ns();
    part.pid = task.pid();
    part.pid_in_container = leader.pid_in_namespace();
    part.parent_pid = ancestor.pid();
    part.uid = uid;
    part.gid = gid;
    part.state = state;
    part.reserved = 0;
    part.comm = task.comm();
    store(&mut part.ancestor_count, 0);
    store(&mut part.ancestors_truncated, 1);
    for index in 0..ANCESTORS_MAX {
        let pid = ancestor.pid();
        let of_container = match state::task(pid).and_then(state::instance_of) {
            Some(instance) => load(&instance.cgroup),
            None => 0,
        };
        if of_container != container || state == TaskState::Runtime as u8 {
            store(&mut part.ancestors_truncated, 0);
            break;
        }
        part.ancestors[index] = Ancestor {
            pid,
            comm: ancestor.comm(),
        };
        store(&mut part.ancestor_count, index as u8 + 1);
        ancestor = ancestor.leader().real_parent();
    }
    0
}
