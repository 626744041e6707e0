//! Life cycle of containers: raw tracepoints `cgroup_mkdir`, `cgroup_rmdir` and `cgroup_attach_task`.
//!
//! A cgroup is a container's if its name holds a container id (64 hexadecimal digits, as all runtimes name theirs) or if
//! its parent is entered as one in which a runtime creates containers. It is entered in the same moment, as pending, so
//! that a container is known before its first exec. A cgroup below a container's belongs to that container, and so does one
//! that a container's process creates elsewhere than where runtimes do.
//!
//! Fails open: without a free slot or room the container is not tracked, which is counted and told.

use agent_common::container::{CONTAINER_PARENT, Container, NESTED_CGROUPS_MAX};
use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};
use agent_common::record::cgroup::{CGROUP_NAME_BYTES, CgroupChange, CgroupRecord, LeaveRecord};
use agent_common::record::{RecordHeader, RecordKind};
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::debug;

use crate::counter;
use crate::emit::{self, Weight};
use crate::kernel::{Cgroup, KernfsNode, TaskStruct, setting};
use crate::maps::{CONTAINERS, FREE_SLOTS, INSTANCES, NODE};
use crate::scratch::{CGROUP_SCRATCH, CgroupScratch, LEAVE_SCRATCH, element};
use crate::state;
use crate::volatile::{load, store};

/// Digits of a container id.
const ID_DIGITS: u32 = 64;

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let _ = created(&ctx);
    0
}

#[inline(always)]
fn created(ctx: &RawTracePointContext) -> Option<()> {
    let cgroup = Cgroup::at(ctx.arg(0));
    if !cgroup.is_of_our_hierarchy() {
        return None;
    }
    let node = cgroup.node();
    let id = node.id();
    let parent_id = node.parent().id();
    let parent = state::container(parent_id);
    if let Some(parent) = parent
        && parent.flags & CONTAINER_PARENT == 0
    {
        return nested(id, &parent);
    }
    // A container may have more cgroups than are entered as its own. Below one that was left out a name makes no container:
    // who could choose it could use up the slots of all others.
    if parent.is_none()
        && let Some(creator) = container_of_current()
    {
        return nested(id, &creator);
    }
    if state::container(id).is_some() {
        // Entered by the programs of an agent that is being taken over from.
        return None;
    }
    let scratch = element(&CGROUP_SCRATCH, 0)?;
    read_name(&mut scratch.record.name, node);
    if parent.is_none() && !holds_container_id(scratch) {
        return None;
    }
    let (change, slot) = match enter(id) {
        Some(slot) => (CgroupChange::Created, slot),
        None => {
            if let Some(node) = NODE.get_ptr_mut(0) {
                // SAFETY: the only element of an array, added to atomically.
                counter::add(unsafe { &mut (*node).untracked_containers }, 1);
            }
            (CgroupChange::Untracked, 0)
        }
    };
    debug!(ctx, "container cgroup {} created in slot {}", id, slot);
    tell(&mut scratch.record, id, parent_id, slot, change);
    Some(())
}

/// Enters a nested cgroup as its container's. At the bound it is left out: its tasks inherit at fork.
#[inline(always)]
fn nested(id: u64, parent: &Container) -> Option<()> {
    let owner = state::container(parent.container)?;
    let instance = state::instance(&owner)?;
    if instance.nested_cgroups >= NESTED_CGROUPS_MAX {
        counter::add(&mut instance.cgroups_left_out, 1);
        return None;
    }
    let entry = Container { cgroup: id, ..owner };
    if CONTAINERS.insert(id, entry, u64::from(BPF_ANY)).is_ok() {
        counter::add(&mut instance.nested_cgroups, 1);
    }
    Some(())
}

/// The container whose process creates the cgroup; `None` if it is in none, as runtimes are.
#[inline(always)]
fn container_of_current() -> Option<Container> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    Some(state::member_of(state::task(pid)?)?.container)
}

/// Enters a new container as pending; `None` if there is no room.
#[inline(always)]
fn enter(id: u64) -> Option<u32> {
    let slot = FREE_SLOTS.pop().ok()??;
    let instance = INSTANCES.get_ptr_mut(slot)?;
    // SAFETY: a slot from the queue is nobody else's.
    unsafe { (*instance).cgroup = id };
    let entry = Container {
        cgroup: id,
        container: id,
        slot,
        profile: 0,
        generation: 0,
        flags: setting!(pending_flags),
        modes: [Mode::Pending as u8; DOMAIN_SLOTS],
    };
    if CONTAINERS.insert(id, entry, u64::from(BPF_ANY)).is_err() {
        // SAFETY: as above.
        unsafe { (*instance).cgroup = 0 };
        let _ = FREE_SLOTS.push(slot, 0);
        return None;
    }
    Some(slot)
}

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`. The entry of a container is left to the daemon: what has left the
/// cgroup may live on.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    let _ = removed(&ctx);
    0
}

#[inline(always)]
fn removed(ctx: &RawTracePointContext) -> Option<()> {
    let cgroup = Cgroup::at(ctx.arg(0));
    if !cgroup.is_of_our_hierarchy() {
        return None;
    }
    let node = cgroup.node();
    let id = node.id();
    let entry = state::container(id)?;
    if entry.container != id {
        let _ = CONTAINERS.remove(id);
        let instance = state::instance(&state::container(entry.container)?)?;
        counter::add(&mut instance.nested_cgroups, 1_u64.wrapping_neg());
        return None;
    }
    let record = &mut element(&CGROUP_SCRATCH, 1)?.record;
    read_name(&mut record.name, node);
    tell(record, id, node.parent().id(), entry.slot, CgroupChange::Removed);
    Some(())
}

#[inline(always)]
fn tell(record: &mut CgroupRecord, id: u64, parent: u64, slot: u32, change: CgroupChange) {
    record.header = emit::header::<CgroupRecord>(RecordKind::Cgroup, Domain::Exec, id, slot, emit::now_ns());
    record.parent = parent;
    record.change = change as u8;
    record.reserved = [0; 7];
    if !emit::output(record)
        && let Some(node) = NODE.get_ptr_mut(0)
    {
        // SAFETY: the only element of an array, added to atomically.
        counter::add(unsafe { &mut (*node).lost_cgroup_records }, 1);
    }
}

/// `TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`: a process that
/// leaves its container's cgroup stays tracked, and that is told.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: RawTracePointContext) -> i32 {
    let _ = attached(&ctx);
    0
}

#[inline(always)]
fn attached(ctx: &RawTracePointContext) -> Option<()> {
    let task: TaskStruct = TaskStruct::at(ctx.arg(2));
    let pid = task.pid();
    let entry = state::task(pid)?;
    let destination = Cgroup::at(ctx.arg(0));
    if !destination.is_of_our_hierarchy() {
        return None;
    }
    let node = destination.node();
    let id = node.id();
    let member = state::member_of(entry)?;
    let container = member.container.cgroup;
    if let Some(into) = state::container(id)
        && into.container == container
    {
        return None;
    }
    let record = element(&LEAVE_SCRATCH, 0)?;
    let now_ns = emit::now_ns();
    let header: RecordHeader =
        emit::header::<LeaveRecord>(RecordKind::Leave, Domain::Exec, container, entry.slot(), now_ns);
    record.header = header;
    record.destination = id;
    read_name(&mut record.name, node);
    emit::fill_process(&mut record.process, task.0, container, entry.state());
    emit::send(record, member.instance, Domain::Exec, Weight::Drift, now_ns);
    Some(())
}

#[inline(always)]
fn read_name(name: &mut [u8; CGROUP_NAME_BYTES], node: KernfsNode) {
    *name = [0; CGROUP_NAME_BYTES];
    // SAFETY: the length is the array's; the helper checks the kernel address.
    unsafe {
        bpf_probe_read_kernel_str(
            name.as_mut_ptr().cast(),
            CGROUP_NAME_BYTES as u32,
            node.name() as *const _,
        )
    };
}

/// Whether the name in the record holds 64 hexadecimal digits in a row. The count lives in the work space: see `path`.
#[inline(always)]
fn holds_container_id(scratch: &mut CgroupScratch) -> bool {
    store(&mut scratch.digits_in_a_row, 0);
    for index in 0..CGROUP_NAME_BYTES {
        let digits = match load(&scratch.record.name[index]) {
            b'0'..=b'9' | b'a'..=b'f' => load(&scratch.digits_in_a_row) + 1,
            _ => 0,
        };
        if digits == ID_DIGITS {
            return true;
        }
        store(&mut scratch.digits_in_a_row, digits);
    }
    false
}
