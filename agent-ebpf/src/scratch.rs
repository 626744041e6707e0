//! Per-CPU work space: a program's stack has 512 bytes.
//!
//! Every program at a tracepoint has a space of its own per CPU. The kernel does not run such a program again on a CPU on
//! which it is running (it counts that as a miss instead), so a space is never shared, whether or not the tracepoint disables
//! preemption. That does not hold for LSM programs: one that is preempted may run again on the same CPU for another task.
//! They borrow a space that belongs to the thread ([`borrow`]).

use agent_common::record::cap::CapRecord;
use agent_common::record::cgroup::{CgroupRecord, LeaveRecord};
use agent_common::record::exec::ExecRecord;
use agent_common::record::file::FileRecord;
use agent_common::record::library::LibraryRecord;
use agent_common::record::syscall::SyscallRecord;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};

use crate::applet::AppletScratch;
use crate::kernel::Block;
use crate::normal_form::FormScratch;
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

/// Work space of the programs of domain library.
#[repr(C)]
pub struct LibraryScratch {
    pub record: LibraryRecord,
    pub path: PathScratch,
}

/// Work space of the programs of domain file.
#[repr(C)]
pub struct FileScratch {
    pub record: FileRecord,
    pub path: PathScratch,
    pub form: FormScratch,
    pub file: Block,
}

/// One for each of the two programs of the lite tier: what is opened, what is renamed.
#[map]
pub static FILE_SCRATCH: PerCpuArray<FileScratch> = PerCpuArray::with_max_entries(2, 0);

/// Work space of the programs of domain cap.
#[repr(C)]
pub struct CapScratch {
    pub record: CapRecord,
    /// Return addresses in the kernel.
    pub stack: [u64; STACK_FRAMES],
}

/// Frames of the kernel's stack that are looked at.
pub const STACK_FRAMES: usize = 12;

/// Of the program that sees what was asked for.
#[map]
pub static CAP_SCRATCH: PerCpuArray<CapScratch> = PerCpuArray::with_max_entries(1, 0);

/// Of `sys_enter`.
#[map]
pub static SYSCALL_SCRATCH: PerCpuArray<SyscallRecord> = PerCpuArray::with_max_entries(1, 0);

/// Threads that can be in the hook before an execution at once, that is, be preempted in it. Beyond it the hook finds no
/// work space: see where it borrows.
const EXEC_CHECKS_MAX: u32 = 256;
/// As above, in the hooks of domain library when they have found something to report.
const LIBRARY_CHECKS_MAX: u32 = 64;

/// Work spaces of threads, by thread id.
#[map]
pub static EXEC_CHECKS: HashMap<u64, ExecScratch> = HashMap::with_max_entries(EXEC_CHECKS_MAX, 0);
#[map]
pub static LIBRARY_CHECKS: HashMap<u64, LibraryScratch> = HashMap::with_max_entries(LIBRARY_CHECKS_MAX, 0);

#[map]
pub static FILE_CHECKS: HashMap<u64, FileScratch> = HashMap::with_max_entries(EXEC_CHECKS_MAX, 0);
#[map]
pub static CAP_CHECKS: HashMap<u64, CapScratch> = HashMap::with_max_entries(LIBRARY_CHECKS_MAX, 0);

/// What a work space begins as: zeros.
#[map]
pub static EXEC_CHECK_EMPTY: Array<ExecScratch> = Array::with_max_entries(1, 0);
#[map]
pub static FILE_CHECK_EMPTY: Array<FileScratch> = Array::with_max_entries(1, 0);
#[map]
pub static CAP_CHECK_EMPTY: Array<CapScratch> = Array::with_max_entries(1, 0);
#[map]
pub static LIBRARY_CHECK_EMPTY: Array<LibraryScratch> = Array::with_max_entries(1, 0);

/// Borrows a work space for the current thread; `None` if all are taken. To be given back with [`give_back`]. A thread that has
/// one already (it cannot, but for an error of ours) gets the same again, emptied.
#[inline(always)]
pub fn borrow<T>(spaces: &HashMap<u64, T>, empty: &Array<T>) -> Option<&'static mut T> {
    let thread = bpf_get_current_pid_tgid();
    spaces.insert(thread, empty.get(0)?, u64::from(BPF_ANY)).ok()?;
    // SAFETY: the entry is this thread's until it gives it back, and nobody else has its key.
    spaces.get_ptr_mut(thread).map(|space| unsafe { &mut *space })
}

/// Gives the current thread's work space back.
#[inline(always)]
pub fn give_back<T>(spaces: &HashMap<u64, T>) {
    // There is nothing to be done if it was not there.
    let _ = spaces.remove(bpf_get_current_pid_tgid());
}
