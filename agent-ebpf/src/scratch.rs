//! Per-CPU work space: a program's stack has 512 bytes.
//!
//! Every program at a tracepoint has a space of its own per CPU. The kernel does not run such a program again on a CPU on
//! which it is running (it counts that as a miss instead), so a space is never shared, whether or not the tracepoint disables
//! preemption. That does not hold for LSM programs: one that is preempted may run again on the same CPU for another task.
//! They take a space that nobody else has, and give it back ([`borrow`]).

use agent_common::record::cap::CapRecord;
use agent_common::record::cgroup::{CgroupRecord, LeaveRecord};
use agent_common::record::exec::ExecRecord;
use agent_common::record::file::FileRecord;
use agent_common::record::library::LibraryRecord;
use agent_common::record::syscall::SyscallRecord;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};

use crate::applet::AppletScratch;
use crate::kernel::Block;
use crate::normal_form::FormScratch;
use crate::path::PathScratch;
use crate::volatile::{load, store};

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

/// Threads that can be in the hooks of domain exec, and in those of domain file, at once: be preempted there. Beyond it a hook
/// finds no work space: see where it borrows.
const CHECKS_MAX: u32 = 256;
/// As above, in the hooks of domains library and cap, which need one only when they have found something to report.
const REPORTS_MAX: u32 = 64;
/// No work space.
const NONE: u32 = u32::MAX;
/// Places that are tried before all count as taken.
const TRIES: u32 = 4;

#[map]
static EXEC_CHECK_SPACES: Array<ExecScratch> = Array::with_max_entries(CHECKS_MAX, 0);
#[map]
static FILE_CHECK_SPACES: Array<FileScratch> = Array::with_max_entries(CHECKS_MAX, 0);
#[map]
static LIBRARY_CHECK_SPACES: Array<LibraryScratch> = Array::with_max_entries(REPORTS_MAX, 0);
#[map]
static CAP_CHECK_SPACES: Array<CapScratch> = Array::with_max_entries(REPORTS_MAX, 0);

/// Which work spaces are taken, by their numbers. That only one can make an entry is what makes a space one thread's.
#[map]
static TAKEN_SPACES: HashMap<u32, u8> = HashMap::with_max_entries(2 * (CHECKS_MAX + REPORTS_MAX), 0);

/// Work spaces of one kind.
pub struct Spaces<T: 'static> {
    map: &'static Array<T>,
    count: u32,
    /// Number of the first in `TAKEN_SPACES`.
    first: u32,
}

pub const EXEC_CHECKS: Spaces<ExecScratch> = Spaces {
    map: &EXEC_CHECK_SPACES,
    count: CHECKS_MAX,
    first: 0,
};
pub const FILE_CHECKS: Spaces<FileScratch> = Spaces {
    map: &FILE_CHECK_SPACES,
    count: CHECKS_MAX,
    first: CHECKS_MAX,
};
pub const LIBRARY_CHECKS: Spaces<LibraryScratch> = Spaces {
    map: &LIBRARY_CHECK_SPACES,
    count: REPORTS_MAX,
    first: 2 * CHECKS_MAX,
};
pub const CAP_CHECKS: Spaces<CapScratch> = Spaces {
    map: &CAP_CHECK_SPACES,
    count: REPORTS_MAX,
    first: 2 * CHECKS_MAX + REPORTS_MAX,
};

/// A work space that was taken: which one, to be given back with [`give_back`].
pub struct Borrowed(u32);

/// Takes a work space; `None` if all that are tried are taken. It holds what was left in it, as those of tracepoints do.
#[inline(always)]
pub fn borrow<T>(spaces: &Spaces<T>) -> Option<(&'static mut T, Borrowed)> {
    // SAFETY: the helper takes no argument.
    let processor = unsafe { bpf_get_smp_processor_id() };
    let mut taken = NONE;
    for turn in 0..TRIES {
        // Those of different processors meet only where these are many.
        let index = (processor + turn * (spaces.count / TRIES)) % spaces.count;
        if TAKEN_SPACES
            .insert(spaces.first + index, 1, u64::from(BPF_NOEXIST))
            .is_ok()
        {
            store(&mut taken, index);
            break;
        }
    }
    // Read back: the verifier then does not follow what comes after this once for each turn.
    let index = load(&taken);
    if index == NONE {
        return None;
    }
    let space = spaces.map.get_ptr_mut(index)?;
    // SAFETY: the entry that was just made is this thread's, and with it the space, until it is given back.
    Some((unsafe { &mut *space }, Borrowed(spaces.first + index)))
}

/// Gives a work space back.
#[inline(always)]
pub fn give_back(borrowed: Borrowed) {
    // It is there: whoever took it made it.
    let _ = TAKEN_SPACES.remove(borrowed.0);
}
