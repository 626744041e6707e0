//! Domain library (full tier): LSM hooks `mmap_file` and `file_mprotect`.
//!
//! Code that did not come with the image and is mapped executable, whoever maps it: a library that was dropped or replaced,
//! `LD_PRELOAD`, a program that is given to `ld.so` as an argument. Judged by layer alone. What is enforced is refused; the
//! caller gets `EACCES`.
//!
//! No deviation is what a compiler at run time does: anonymous memory, and memory that is shared through a file without a name
//! (a memfd or an unlinked file that is mapped twice, once writable and once executable). Whoever loads a library from a
//! memfd maps it privately. Mappings that an execution makes itself are judged with it.
//!
//! Fails closed: a file whose identity cannot be read is `foreign`. Where there is no work space (dozens of threads preempted
//! in this hook) it refuses in `enforce`, reports nothing else, and counts it.

use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;
use agent_common::path::PATH_TOO_LONG;
use agent_common::record::RecordKind;
use agent_common::record::library::{LIBRARY_ARGS_UNREADABLE, LIBRARY_PROTECTED, LibraryRecord};
use agent_common::rule::{Action, BehaviourKey, Verdict, is_enforced};
use agent_common::task::{TASK_LOADING, TaskState};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::exec_check::answer;
use crate::args::{self, Args};
use crate::counter;
use crate::emit::{self, Weight};
use crate::exec::FIRST_DRIFT_LAYER;
use crate::identity;
use crate::kernel::{Access, File, Inode, MemoryArea, Path, TaskStruct, Typed};
use crate::path;
use crate::scratch::{LIBRARY_CHECKS, LibraryScratch, borrow, give_back};
use crate::state::{self, Member};
use crate::verdict::{self, Verification};
use crate::volatile::{load, set, store};

/// include/uapi/asm-generic/mman-common.h
const PROT_EXEC: u64 = 4;
const MAP_TYPE: u64 = 0xf;
const MAP_PRIVATE: u64 = 2;
const MAP_ANONYMOUS: u64 = 0x20;
/// include/linux/mm.h
const VM_EXEC: u64 = 4;
const VM_SHARED: u64 = 8;

/// `LSM_HOOK(int, 0, mmap_file, struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`
#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    let protection: u64 = ctx.arg(2);
    let flags: u64 = ctx.arg(3);
    if protection & PROT_EXEC == 0 || flags & MAP_ANONYMOUS != 0 {
        return 0;
    }
    // Recent verifiers want to see that it was looked at; earlier ones know that there is a file, which is not always so.
    let file: *const core::ffi::c_void = ctx.arg(0);
    if file.is_null() {
        return 0;
    }
    let file: File<Typed> = File::at(file as u64);
    let is_private = flags & MAP_TYPE == MAP_PRIVATE;
    answer(check(file.path(), file.inode(), is_private, 0))
}

/// `LSM_HOOK(int, 0, file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(ctx: LsmContext) -> i32 {
    let protection: u64 = ctx.arg(2);
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    let area = MemoryArea::at(ctx.arg(0));
    let file = area.file();
    let flags = area.flags();
    // What is executable already was judged when it became so.
    if file.0 == 0 || flags & VM_EXEC != 0 {
        return 0;
    }
    let path = file.user_path();
    answer(check(
        path,
        path.dentry.inode(),
        flags & VM_SHARED == 0,
        LIBRARY_PROTECTED,
    ))
}

/// Whether the mapping is refused; `None` if nothing is to be said about it.
#[inline(always)]
fn check<A: Access>(at: Path<A>, inode: Inode<A>, is_private: bool, flags: u8) -> Option<bool> {
    if inode.0 == 0 {
        return None;
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the helper takes no argument.
    let task = TaskStruct::at(unsafe { bpf_get_current_task() });
    let mut member = state::member(pid, || task.current_cgroup_id())?;
    let is_execution = member.has(TASK_LOADING) && task.memory().is_being_built();
    if is_execution || member.instance.first_exec == 0 {
        return None;
    }
    let state = match member.task {
        Some(entry) => entry.state(),
        // The runtime, or a process beyond the table.
        None if state::is_host_root(task) => return None,
        None => TaskState::Unclassified as u8,
    };
    let layer = identity::layer(at, inode, member.instance);
    if (layer as u8) < FIRST_DRIFT_LAYER {
        return None;
    }
    if layer as u8 == Layer::Anonymous as u8 && (!is_private || inode.superblock().is_huge_pages()) {
        return None;
    }
    let Some((scratch, borrowed)) = borrow(&LIBRARY_CHECKS) else {
        counter::add(
            &mut counter::counters(member.instance, Domain::Library).unchecked,
            1,
        );
        return Some(member.container.modes[Domain::Library as usize] == Mode::Enforce as u8);
    };
    store(&mut scratch.record.layer, layer as u8);
    store(&mut scratch.record.flags, flags);
    store(&mut scratch.record.process.state, state);
    let refused = judge(&mut member, scratch, task, at, inode);
    give_back(borrowed);
    Some(refused)
}

#[inline(always)]
fn judge<A: Access>(
    member: &mut Member,
    scratch: &mut LibraryScratch,
    task: TaskStruct,
    at: Path<A>,
    inode: Inode<A>,
) -> bool {
    let record = &mut scratch.record;
    identity::locate(at, &record.layer, &mut record.path);
    identity::identify(inode, &record.layer, &mut record.file);
    let path_hash = path::hash(&mut scratch.path, &record.path);
    record.path_hash = path_hash;
    if load(&record.path.flags) & PATH_TOO_LONG == 0
        && verdict::verification(member.container.cgroup, &record.file, path_hash) != Verification::None
    {
        return false;
    }
    record.behaviour_hash = path::with_content(&scratch.path, &record.file);
    let section = if load(&record.process.state) == TaskState::ExecIn as u8 {
        Section::ExecIn as u8
    } else {
        Section::Main as u8
    };
    let container = &member.container;
    let mode = container.modes[Domain::Library as usize];
    let key = BehaviourKey {
        container: container.cgroup,
        hash: record.behaviour_hash,
        domain: Domain::Library as u8,
        layer: load(&record.layer),
        section,
        operation: 0,
        reserved: [0; 4],
    };
    let refused = is_enforced(container.flags, mode, Verdict::Drift as u8, section);
    if refused {
        counter::add(&mut counter::counters(member.instance, Domain::Library).denied, 1);
    } else if verdict::is_seen(&key) {
        return false;
    }
    let action = if refused { Action::Denied } else { Action::None };
    let now_ns = emit::now_ns();
    record.header = emit::header::<LibraryRecord>(
        RecordKind::Library,
        Domain::Library,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.verdict = Verdict::Drift as u8;
    record.action = action as u8;
    record.mode = mode;
    record.section = section;
    let state = load(&record.process.state);
    emit::fill_process(&mut record.process, task.0, container.cgroup, state);
    let exe = task.memory().program().path();
    path::walk(&mut record.exe, exe.dentry.0, exe.mount.0);
    let args = Args {
        bytes: &mut record.args,
        kept: &mut record.args_bytes,
        total: &mut record.args_total_bytes,
    };
    if !args::of_process(args, task) {
        set(&mut record.flags, LIBRARY_ARGS_UNREADABLE);
    }
    emit::send(record, member.instance, Domain::Library, Weight::Drift, now_ns);
    refused
}
