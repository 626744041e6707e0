//! Domain exec: what the hooks before and after an execution have in common.
//!
//! Input: the process, and the file that is executed. Output: a verdict in the record, and the record, sent. Failure: a
//! file whose identity cannot be read is `foreign`, what is not found in the rules is a deviation.

use agent_common::container::CONTAINER_SCRIPTS_JUDGED;
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;
use agent_common::path::PATH_TOO_LONG;
use agent_common::record::RecordKind;
use agent_common::record::exec::{
    EXEC_APPLET_JUDGED, EXEC_ARGS_UNREADABLE, EXEC_BEFORE, EXEC_IS_LOADER, EXEC_IS_SCRIPT, EXEC_SCRIPT,
    EXEC_VERIFIED_AS_IMAGE, ExecRecord, NAME_BYTES,
};
use agent_common::rule::{Action, BehaviourKey, RULE_ALLOW, RULE_APPLET, Verdict, WINDOW_NS};
use agent_common::task::TaskState;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::args::{self, Args};
use crate::emit::{self, Weight};
use crate::kernel::{Access, BinPrm, File, Inode, TaskStruct, Typed};
use crate::known::{self, Known};
use crate::path;
use crate::scratch::ExecScratch;
use crate::state::{self, Member};
use crate::verdict::{self, Question, Verification};
use crate::volatile::{load, set, store};
use crate::{applet, identity};

/// Layers from this number on are drift.
pub const FIRST_DRIFT_LAYER: u8 = Layer::Upper as u8;
const _: () = {
    let mut number = 0;
    while let Some(layer) = Layer::from_raw(number) {
        assert!(layer.is_drift() == (number >= FIRST_DRIFT_LAYER));
        number += 1;
    }
};

/// Begins a record. `BEFORE`, here and below: the program is not executed yet. `flags`: the `EXEC_*` bits that say what is
/// looked at.
#[inline(always)]
pub fn begin<const BEFORE: bool>(record: &mut ExecRecord, state: TaskState, flags: u8) {
    store(&mut record.process.state, state as u8);
    store(
        &mut record.flags,
        if BEFORE { flags | EXEC_BEFORE } else { flags },
    );
    store(&mut record.args_total_bytes, u32::MAX);
    store(&mut record.action_error, 0);
    store(&mut record.action, Action::None as u8);
}

/// The section of the profile that speaks for the process in the record.
#[inline(always)]
pub fn section(record: &ExecRecord) -> u8 {
    if load(&record.process.state) == TaskState::ExecIn as u8 {
        Section::ExecIn as u8
    } else {
        Section::Main as u8
    }
}

/// The key under which the daemon has the behaviour in the record in hand.
#[inline(always)]
pub fn key(member: &Member, record: &ExecRecord) -> BehaviourKey {
    BehaviourKey {
        container: member.container.cgroup,
        hash: load(&record.behaviour_hash),
        domain: Domain::Exec as u8,
        layer: load(&record.layer),
        section: section(record),
        operation: 0,
        reserved: [0; 4],
    }
}

/// What would be known of the execution of a file by a process in a state.
#[inline(always)]
pub fn asked(member: &Member, file: File<Typed>, state: TaskState) -> Known {
    let dentry = file.path().dentry;
    // By way of memory: the verifier would follow the rest apart for each state.
    let mut number = 0;
    store(&mut number, state as u8);
    let section = state::section(load(&number));
    Known::of(
        &member.container,
        dentry.0,
        file.inode().0,
        dentry.name_identity(),
        known::EXECUTION,
        section,
    )
}

/// Whether the program is known to conform. While the image learns, only the hook after the execution counts windows: for it a program is not
/// known in a new window.
#[inline(always)]
pub fn is_known<const BEFORE: bool>(member: &Member, asked: &Known, inode: Inode<Typed>) -> bool {
    let Some(place) = known::find(asked, inode) else {
        return false;
    };
    let is_counted = BEFORE
        || member.container.modes[Domain::Exec as usize] != Mode::Learn as u8
        || load(&place.window) == (emit::now_ns() / WINDOW_NS) as u32;
    is_counted && inode.links() != 0
}

/// Remembers that the program in the record conforms, if that is a matter of its path alone: a file of the image, not by its applet or its content.
#[inline(always)]
pub fn remember(member: &Member, record: &ExecRecord, mut asked: Known, now_ns: u64) {
    const BY_MORE: u8 = EXEC_APPLET_JUDGED | EXEC_VERIFIED_AS_IMAGE;
    if load(&record.layer) != Layer::Image as u8 || load(&record.flags) & BY_MORE != 0 {
        return;
    }
    // Once it is copied up it is another one.
    asked.is_overlay = 1;
    asked.profile = member.container.profile;
    asked.generation = member.container.generation;
    asked.window = (now_ns / WINDOW_NS) as u32;
    known::remember(&asked);
}

/// The verdict on a file, with layer, path and hashes left in the record; and unless it conforms, the file's identity.
#[inline(always)]
pub fn compare<const BEFORE: bool, A: Access>(
    member: &mut Member,
    scratch: &mut ExecScratch,
    task: TaskStruct,
    file: File<A>,
) -> Verdict {
    let inode = examine(member, scratch, file);
    let verdict = look_up::<BEFORE>(member, scratch, task);
    if verdict as u8 != Verdict::Conforms as u8 && load(&scratch.record.layer) < FIRST_DRIFT_LAYER {
        let record = &mut scratch.record;
        identity::identify(inode, &record.layer, &mut record.file);
    }
    verdict
}

/// The verdict on the interpreter that a binary names, as [`compare`] gives it: whatever the profile says, it conforms unless it is drift.
#[inline(always)]
pub fn compare_loader<A: Access>(member: &mut Member, scratch: &mut ExecScratch, file: File<A>) -> Verdict {
    examine(member, scratch, file);
    let path_hash = hash_path(scratch);
    if load(&scratch.record.layer) < FIRST_DRIFT_LAYER {
        return Verdict::Conforms;
    }
    verify(member, scratch, path_hash).unwrap_or(Verdict::Conforms)
}

/// Leaves a file's layer and path in the record, and its identity if it would be drift.
#[inline(always)]
fn examine<A: Access>(member: &Member, scratch: &mut ExecScratch, file: File<A>) -> Inode<A> {
    let (at, inode) = (file.path(), file.inode());
    let record = &mut scratch.record;
    store(
        &mut record.layer,
        identity::layer(at, inode, member.instance) as u8,
    );
    identity::locate(at, &record.layer, &mut record.path);
    if load(&record.layer) >= FIRST_DRIFT_LAYER {
        identity::identify(inode, &record.layer, &mut record.file);
    }
    inode
}

/// The hash of the path in the record, left there too.
#[inline(always)]
fn hash_path(scratch: &mut ExecScratch) -> u64 {
    let record = &mut scratch.record;
    let path_hash = path::hash(&mut scratch.path, &record.path);
    store(&mut record.path_hash, path_hash);
    store(&mut record.behaviour_hash, path_hash);
    path_hash
}

#[inline(always)]
fn is_too_long(record: &ExecRecord) -> bool {
    load(&record.path.flags) & PATH_TOO_LONG != 0
}

/// The verdict on what would be drift, by what the daemon has verified of its content; `None` if it counts as the image's.
#[inline(always)]
fn verify(member: &Member, scratch: &mut ExecScratch, path_hash: u64) -> Option<Verdict> {
    let record = &mut scratch.record;
    let verification = if is_too_long(record) {
        Verification::None
    } else {
        verdict::verification(member.container.cgroup, &record.file, path_hash)
    };
    match verification {
        Verification::Accepted => Some(Verdict::Conforms),
        Verification::AsImage => {
            set(&mut record.flags, EXEC_VERIFIED_AS_IMAGE);
            None
        }
        Verification::None => {
            let content_hash = path::with_content(&scratch.path, &record.file);
            store(&mut record.behaviour_hash, content_hash);
            Some(Verdict::Drift)
        }
    }
}

/// The verdict on the file whose layer and path are in the record, and its identity if it would be drift.
#[inline(always)]
fn look_up<const BEFORE: bool>(member: &mut Member, scratch: &mut ExecScratch, task: TaskStruct) -> Verdict {
    let path_hash = hash_path(scratch);
    let mut question = Question {
        domain: Domain::Exec,
        layer: load(&scratch.record.layer),
        section: section(&scratch.record),
        operation: 0,
        hash: path_hash,
    };
    if question.layer >= FIRST_DRIFT_LAYER {
        if let Some(verdict) = verify(member, scratch, path_hash) {
            return verdict;
        }
        question.layer = Layer::Image as u8;
    }
    let record = &mut scratch.record;
    if BEFORE {
        let is_judged = member.container.flags & CONTAINER_SCRIPTS_JUDGED != 0;
        if load(&record.flags) & EXEC_IS_SCRIPT != 0 && !is_judged {
            return Verdict::Conforms;
        }
    }
    if is_too_long(record) {
        return Verdict::TooLong;
    }
    match verdict::rule(&mut member.container, &question) {
        RULE_ALLOW => return Verdict::Conforms,
        RULE_APPLET => {}
        _ => return Verdict::Unknown,
    }
    read_args::<BEFORE>(record, task);
    // An applet that is not known is never the lack of one.
    let is_unreadable = load(&record.flags) & EXEC_ARGS_UNREADABLE != 0;
    if is_unreadable || !applet::resolve(record, &mut scratch.applet) {
        return Verdict::TooLong;
    }
    question.hash = path::with_applet(&mut scratch.path, &record.applet);
    store(&mut record.behaviour_hash, question.hash);
    set(&mut record.flags, EXEC_APPLET_JUDGED);
    match verdict::rule(&mut member.container, &question) {
        RULE_ALLOW => Verdict::Conforms,
        _ => Verdict::Unknown,
    }
}

/// Copies the arguments once per record: those of the new program, or before the execution those that the caller gave.
#[inline(always)]
fn read_args<const BEFORE: bool>(record: &mut ExecRecord, task: TaskStruct) {
    if load(&record.args_total_bytes) != u32::MAX {
        return;
    }
    let args = Args {
        bytes: &mut record.args,
        kept: &mut record.args_bytes,
        total: &mut record.args_total_bytes,
    };
    let is_read = if BEFORE {
        args::of_caller(args)
    } else {
        args::of_process(args, task)
    };
    if !is_read {
        set(&mut record.flags, EXEC_ARGS_UNREADABLE);
    }
}

/// Completes the record and sends it.
#[inline(always)]
pub fn report<const BEFORE: bool>(
    member: &mut Member,
    scratch: &mut ExecScratch,
    task: TaskStruct,
    program: BinPrm,
    now_ns: u64,
) {
    let record = &mut scratch.record;
    let container = &member.container;
    record.header = emit::header::<ExecRecord>(
        RecordKind::Exec,
        Domain::Exec,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.mode = container.modes[Domain::Exec as usize];
    let section = section(record);
    store(&mut record.section, section);
    let state = load(&record.process.state);
    emit::fill_process(&mut record.process, task.0, container.cgroup, state);
    if load(&record.args_total_bytes) == u32::MAX {
        read_args::<BEFORE>(record, task);
        applet::resolve(record, &mut scratch.applet);
    }
    let directory = task.working_directory();
    path::walk(&mut record.cwd, directory.dentry.0, directory.mount.0);
    if program.filename() != program.interpreter() {
        set(&mut record.flags, EXEC_SCRIPT);
    }
    if load(&record.flags) & EXEC_IS_LOADER == 0 {
        read_name(&mut record.filename, program.filename());
    } else {
        args::filename_of_caller(&mut record.filename);
    }
    read_name(&mut record.interpreter, program.interpreter());
    let is_ordinary =
        load(&record.verdict) != Verdict::Drift as u8 && load(&record.action) == Action::None as u8;
    let weight = if is_ordinary {
        Weight::Ordinary
    } else {
        Weight::Drift
    };
    emit::send(record, member.instance, Domain::Exec, weight, now_ns);
}

#[inline(always)]
fn read_name(name: &mut [u8; NAME_BYTES], address: u64) {
    *name = [0; NAME_BYTES];
    // SAFETY: the length is the array's; the helper checks the kernel address.
    unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), NAME_BYTES as u32, address as *const _) };
}
