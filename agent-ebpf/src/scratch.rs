//! Per-CPU work space: a program's stack has 512 bytes.
//!
//! Every program has a space of its own. The kernel does not run a program again on a CPU on which it is running (it
//! counts that as a miss instead), so a space is never shared, whether or not the tracepoint disables preemption.

use agent_common::record::cgroup::{CgroupRecord, LeaveRecord};
use agent_common::record::exec::ExecRecord;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

use crate::applet::AppletScratch;
use crate::path::PathScratch;

/// Work space of `sched_process_exec`.
#[repr(C)]
pub struct ExecScratch {
    pub record: ExecRecord,
    pub path: PathScratch,
    pub applet: AppletScratch,
}

#[map]
pub static EXEC_SCRATCH: PerCpuArray<ExecScratch> = PerCpuArray::with_max_entries(1, 0);

/// Work space of `cgroup_mkdir` and of `cgroup_rmdir`.
#[repr(C)]
pub struct CgroupScratch {
    pub record: CgroupRecord,
    /// State of the loop over a name.
    pub digits_in_a_row: u32,
    pub reserved: u32,
}

/// One work space for each of the two programs, in this order.
#[map]
pub static CGROUP_SCRATCH: PerCpuArray<CgroupScratch> = PerCpuArray::with_max_entries(2, 0);

/// Work space of `cgroup_attach_task`.
#[map]
pub static LEAVE_SCRATCH: PerCpuArray<LeaveRecord> = PerCpuArray::with_max_entries(1, 0);

/// The element of a work space; `None` cannot happen for an index below its size, but the verifier wants it checked.
#[inline(always)]
pub fn element<T>(map: &PerCpuArray<T>, index: u32) -> Option<&'static mut T> {
    // SAFETY: the element lives as long as the map, and by the rule above nobody else uses it now.
    map.get_ptr_mut(index).map(|element| unsafe { &mut *element })
}
