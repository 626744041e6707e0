//! Domain file, before the operation (full tier): LSM hooks `file_open`, `path_rename`, `path_link`, `path_symlink` and
//! `path_mknod`.
//!
//! `file_open` is the one program at its hook, so that an open is asked about once: what an execution opens is domain exec's
//! ([`super::exec_check`]), what overlayfs opens below a file is over after two reads, and what a process in no container opens after its
//! word in `TASKS`.
//!
//! What is enforced is refused; the caller gets `EACCES`, and nothing has happened. A file that an open would create is refused by
//! `path_mknod` before it is there; what is not enforced goes on to `file_open`, where it is reported.
//!
//! Fails closed: see [`crate::file`]. Where there is no work space (hundreds of threads preempted in these hooks) it refuses in `enforce`,
//! reports nothing else, and counts it.

use agent_common::domain::{Domain, Mode};
use agent_common::file::FileOperation;
use agent_common::rule::is_enforced;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::exec_check::{self, answer};
use crate::counter;
use crate::file::{self, Means};
use crate::kernel::{
    Dentry, File, Inode, Opened, Path, TaskStruct, Typed, VfsMount, current_pid, current_task,
};
use crate::scratch::{FILE_CHECKS, borrow, give_back};
use crate::state::{self, Member};
use crate::volatile::store;

/// include/uapi/linux/stat.h
const TYPE: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;

/// `LSM_HOOK(int, 0, file_open, struct file *file)`
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    // First: most files of a machine are opened in no container.
    if state::is_outside(current_pid()) {
        return 0;
    }
    let file = File::at(ctx.arg(0));
    let (mode, flags) = file.mode_and_flags();
    answer(match file::operation(mode, flags) {
        Some(operation) => check_opened(file, mode, flags, operation),
        None if file::is_execution(mode, flags) => exec_check::check_loader(file),
        None => None,
    })
}

/// Whether a file that is opened for use is refused; `None` if nothing is to be said about it.
#[inline(always)]
fn check_opened(file: File<Typed>, mode: u32, flags: u32, operation: u8) -> Option<bool> {
    let (mut member, state) = state::acting(current_pid(), current_task)?;
    if file::is_off(&member) {
        return None;
    }
    let (dentry, inode) = (file.dentry(), file.inode());
    let name = dentry.name_identity();
    let asked = file::asked(&member, dentry, inode, operation, state::section(state), name);
    if file::is_known(&member, &asked, inode) {
        return None;
    }
    let path = Path {
        mount: file.mount(),
        dentry,
    };
    let opened = Opened {
        path,
        inode,
        mode,
        flags,
    };
    let Some((scratch, borrowed)) = borrow(&FILE_CHECKS) else {
        return Some(without_work_space(&mut member));
    };
    store(&mut scratch.record.process.state, state);
    let refused = file::judge_opened(&mut member, scratch, current_task(), &opened, asked, Means::Deny);
    give_back(borrowed);
    Some(refused)
}

#[inline(always)]
fn without_work_space(member: &mut Member) -> bool {
    counter::add(&mut counter::counters(member.instance, Domain::File).unchecked, 1);
    member.container.modes[Domain::File as usize] == Mode::Enforce as u8
}

/// `LSM_HOOK(int, 0, path_rename, const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir,
/// struct dentry *new_dentry, unsigned int flags)`; before Linux 5.19 without the flags, and called twice where two names are exchanged.
#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    let moved: Dentry<Typed> = Dentry::at(ctx.arg(1));
    let place = place(ctx.arg(2), ctx.arg(3));
    answer(check_place(place, Some(moved.inode()), FileOperation::Rename))
}

/// `LSM_HOOK(int, 0, path_link, struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`
#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    let linked: Dentry<Typed> = Dentry::at(ctx.arg(0));
    let place = place(ctx.arg(1), ctx.arg(2));
    answer(check_place(place, Some(linked.inode()), FileOperation::Link))
}

/// `LSM_HOOK(int, 0, path_symlink, const struct path *dir, struct dentry *dentry, const char *old_name)`
#[lsm(hook = "path_symlink")]
pub fn path_symlink(ctx: LsmContext) -> i32 {
    answer(check_place(
        place(ctx.arg(0), ctx.arg(1)),
        None,
        FileOperation::Link,
    ))
}

/// `LSM_HOOK(int, 0, path_mknod, const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)`
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    let mode: u64 = ctx.arg(2);
    // Sockets, pipes and devices are no files of this domain: the lite tier does not see them made either.
    if mode & TYPE != REGULAR {
        return 0;
    }
    answer(check_creation(place(ctx.arg(0), ctx.arg(1))))
}

/// Where a directory's entry is, by the directory's `struct path`.
#[inline(always)]
fn place(directory: u64, entry: u64) -> Path<Typed> {
    let mount: VfsMount<Typed> = Path::<Typed>::of_argument(directory).mount;
    Path {
        mount,
        dentry: Dentry::at(entry),
    }
}

#[inline(always)]
fn check_place(place: Path<Typed>, inode: Option<Inode>, operation: FileOperation) -> Option<bool> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the helper takes no argument.
    let task = TaskStruct::at(unsafe { bpf_get_current_task() });
    let (mut member, state) = state::acting(pid, || task)?;
    let Some((scratch, borrowed)) = borrow(&FILE_CHECKS) else {
        return Some(without_work_space(&mut member));
    };
    let refused = file::judge_place(&mut member, scratch, task, place, inode, operation, state);
    give_back(borrowed);
    Some(refused)
}

#[inline(always)]
fn check_creation(place: Path<Typed>) -> Option<bool> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the helper takes no argument.
    let task = TaskStruct::at(unsafe { bpf_get_current_task() });
    let (mut member, state) = state::acting(pid, || task)?;
    let mode = member.container.modes[Domain::File as usize];
    let is_acted_on = is_enforced(
        member.container.flags,
        mode,
        agent_common::rule::Verdict::Unknown as u8,
        state::section(state),
    );
    // What is not refused is reported once the file is opened.
    if !is_acted_on {
        return None;
    }
    let Some((scratch, borrowed)) = borrow(&FILE_CHECKS) else {
        return Some(without_work_space(&mut member));
    };
    let refused = file::judge_place(
        &mut member,
        scratch,
        task,
        place,
        None,
        FileOperation::Create,
        state,
    );
    give_back(borrowed);
    Some(refused)
}
