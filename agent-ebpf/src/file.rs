//! Domain file: what the hooks of both tiers have in common.
//!
//! Input: the process, and where the file is that it uses. Output: a verdict, and a record of what does not conform, sent. There
//! is no drift in this domain: what a container writes is not the image's, and reading it may conform.
//! Failure: a file whose identity cannot be read is `foreign`, what is not found in the rules is a deviation.

use agent_common::container::{CONTAINER_KILL_FILE, CONTAINER_WIDE_RULES, Container};
use agent_common::domain::{Domain, Mode};
use agent_common::file::{FileOperation, Layer};
use agent_common::path::{PATH_STEPS, PATH_TOO_LONG};
use agent_common::record::RecordKind;
use agent_common::record::exec::NAME_BYTES;
use agent_common::record::file::{FILE_ARGS_UNREADABLE, FILE_BEFORE, FILE_TYPED, FileRecord};
use agent_common::rule::{Action, BehaviourKey, RULE_ALLOW, Verdict, WINDOW_NS, is_enforced};

use crate::args::{self, Args};
use crate::counter;
use crate::emit::{self, Weight};
use crate::identity;
use crate::kernel::{
    Access, Dentry, FLAG_EXEC, Inode, MODE_CREATED, MODE_NO_ACCOUNT, MODE_PATH, MODE_WRITE, Opened, Path,
    TaskStruct,
};
use crate::known::{self, Known};
use crate::scratch::FileScratch;
use crate::state::{self, Member};
use crate::verdict::{self, Question};
use crate::volatile::{load, set, store};
use crate::{kill, normal_form, path};

/// What a hook can do about a deviation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Refuse the operation: it has not happened yet.
    Deny,
    /// Kill the process, where the operator asked for that: it has happened.
    Kill,
}

/// What was done with an opened file; `None` if it is not the process's own doing, or gives no access to the file: a name
/// alone (`O_PATH`), what overlayfs opens below, what an execution opens.
#[inline(always)]
pub fn operation(mode: u32, flags: u32) -> Option<u8> {
    if mode & (MODE_PATH | MODE_NO_ACCOUNT) != 0 || flags & FLAG_EXEC != 0 {
        return None;
    }
    let operation = if mode & MODE_CREATED != 0 {
        FileOperation::Create
    } else if mode & MODE_WRITE != 0 {
        FileOperation::Write
    } else {
        FileOperation::Read
    };
    Some(operation as u8)
}

/// Whether a file is opened in order to be executed; and not by overlayfs, which opens the file below one that was opened with the
/// same flags, once that was allowed.
#[inline(always)]
pub fn is_execution(mode: u32, flags: u32) -> bool {
    flags & FLAG_EXEC != 0 && mode & MODE_NO_ACCOUNT == 0
}

/// What would be known of a file that is opened, and where. `name`: what its dentry says of its name.
#[inline(always)]
pub fn asked<A: Access>(
    member: &Member,
    dentry: Dentry<A>,
    inode: Inode<A>,
    operation: u8,
    section: u8,
    name: (u64, u64),
) -> Known {
    Known::of(&member.container, dentry.0, inode.0, name, operation, section)
}

/// Whether the domain is switched off for a container: to be asked before a file is looked at.
#[inline(always)]
pub fn is_off(member: &Member) -> bool {
    member.container.modes[Domain::File as usize] == Mode::Off as u8
}

/// Whether the file is known to conform, and nothing else is to be done.
#[inline(always)]
pub fn is_known<A: Access>(member: &Member, asked: &Known, inode: Inode<A>) -> bool {
    let Some(place) = known::find(asked, inode) else {
        return false;
    };
    // While it learns, the windows are counted in which it is used.
    member.container.modes[Domain::File as usize] != Mode::Learn as u8
        || load(&place.window) == (emit::now_ns() / WINDOW_NS) as u32
}

/// Judges a file that was opened and is not known. Whether it is refused.
#[inline(always)]
pub fn judge_opened<A: Access>(
    member: &mut Member,
    scratch: &mut FileScratch,
    task: TaskStruct,
    opened: &Opened<A>,
    mut asked: Known,
    means: Means,
) -> bool {
    let record = &mut scratch.record;
    // Read back, so that the verifier knows none of their values: it would follow the rest apart for each.
    store(&mut record.operation, asked.operation);
    asked.operation = load(&record.operation);
    store(&mut record.section, asked.section);
    asked.section = load(&record.section);
    let own = identity::layer(opened.path, opened.inode, member.instance) as u8;
    store(&mut record.layer, own);
    let own = load(&record.layer);
    // Internal mounts are the kernel's: what a filesystem opens for itself.
    if own == Layer::Anonymous as u8 && opened.inode.links() != 0 {
        return false;
    }
    identity::locate(opened.path, &record.layer, &mut record.path);
    if own == Layer::Image as u8 && asked.operation != FileOperation::Read as u8 {
        // Writing copies it up.
        store(&mut record.layer, Layer::Upper as u8);
    }
    store(
        &mut record.flags,
        if means == Means::Deny { FILE_BEFORE } else { 0 },
    );
    store(&mut record.open_flags, opened.flags);
    let verdict = compare(member, scratch);
    if verdict == Verdict::Conforms as u8 {
        let now_ns = emit::now_ns();
        count_window(member, scratch, now_ns);
        let layer = load(&scratch.record.layer);
        let can_be_copied_up = asked.operation == FileOperation::Read as u8
            && (layer == Layer::Image as u8 || layer == Layer::Upper as u8);
        asked.is_overlay = u8::from(can_be_copied_up);
        asked.upper = opened.inode.overlay_upper().0;
        asked.profile = member.container.profile;
        asked.generation = member.container.generation;
        asked.window = (now_ns / WINDOW_NS) as u32;
        known::remember(&asked);
        return false;
    }
    conclude(member, scratch, task, Some(opened.inode.probed()), verdict, means)
}

/// Judges that something is put in a place by its name. Whether it is refused. `inode`: what is put there, if it is there already.
#[inline(always)]
pub fn judge_place<A: Access>(
    member: &mut Member,
    scratch: &mut FileScratch,
    task: TaskStruct,
    place: Path<A>,
    inode: Option<Inode>,
    operation: FileOperation,
    state: u8,
) -> bool {
    if is_off(member) {
        return false;
    }
    let record = &mut scratch.record;
    store(
        &mut record.layer,
        identity::layer_of_place(place, member.instance) as u8,
    );
    if load(&record.layer) == Layer::Anonymous as u8 {
        return false;
    }
    identity::locate(place, &record.layer, &mut record.path);
    store(&mut record.flags, FILE_BEFORE);
    store(&mut record.operation, operation as u8);
    store(&mut record.section, state::section(state));
    store(&mut record.process.state, state);
    store(&mut record.open_flags, 0);
    let verdict = compare(member, scratch);
    if verdict == Verdict::Conforms as u8 {
        count_window(member, scratch, emit::now_ns());
        return false;
    }
    conclude(member, scratch, task, inode, verdict, Means::Deny)
}

/// Judges a name that was given for a place, where nothing else is seen of it: whose directory's path is in the record, and the
/// text behind it in `name`, if that `is_whole`. What is longer than its place is never compared.
#[inline(always)]
pub fn judge_typed(member: &mut Member, scratch: &mut FileScratch, task: TaskStruct, is_whole: bool) {
    if is_off(member) {
        return;
    }
    let record = &mut scratch.record;
    store(&mut record.flags, FILE_TYPED);
    store(&mut record.open_flags, 0);
    path::hash(&mut scratch.path, &record.path);
    let hash = path::with_name(&mut scratch.path, &record.name);
    store(&mut record.path_hash, hash);
    store(&mut record.behaviour_hash, hash);
    let mut verdict = Verdict::TooLong as u8;
    if is_whole && load(&scratch.record.path.flags) & PATH_TOO_LONG == 0 {
        // Where it is, is not known.
        for layer in [Layer::Upper, Layer::Volume] {
            store(&mut scratch.record.layer, layer as u8);
            if verdict::rule(&mut member.container, &question(&scratch.record)) == RULE_ALLOW {
                count_window(member, scratch, emit::now_ns());
                return;
            }
        }
        verdict = Verdict::Unknown as u8;
    }
    store(&mut scratch.record.layer, Layer::Unknown as u8);
    conclude(member, scratch, task, None, verdict, Means::Kill);
}

/// The verdict, as a number, on the path in the record.
#[inline(always)]
fn compare(member: &mut Member, scratch: &mut FileScratch) -> u8 {
    let record = &mut scratch.record;
    let hash = path::hash(&mut scratch.path, &record.path);
    store(&mut record.path_hash, hash);
    store(&mut record.behaviour_hash, hash);
    if load(&record.path.flags) & PATH_TOO_LONG != 0 {
        return Verdict::TooLong as u8;
    }
    if verdict::rule(&mut member.container, &question(record)) == RULE_ALLOW {
        return Verdict::Conforms as u8;
    }
    if member.container.flags & CONTAINER_WIDE_RULES != 0 {
        let hash = wide_rule(scratch, &member.container);
        if hash != 0 {
            // By the rule's own hash its windows are counted.
            store(&mut scratch.record.behaviour_hash, hash);
            return Verdict::Conforms as u8;
        }
    }
    Verdict::Unknown as u8
}

/// The hash of a rule for more than one path that holds the path in the record: its normal form, then the directories from the nearest
/// on; 0 if there is none. The exact path was looked up before, and the container's entry read again.
#[inline(never)]
fn wide_rule(scratch: &mut FileScratch, container: &Container) -> u64 {
    let varies = normal_form::find(&mut scratch.form, &scratch.path, &scratch.record.path);
    let mut question = question(&scratch.record);
    if varies != 0 {
        question.hash = load(&scratch.form.found.form);
        if verdict::holds(container, &question) {
            return question.hash;
        }
    }
    let found = &scratch.form.found;
    for step in 0..PATH_STEPS as u32 {
        let count = load(&found.count);
        if step >= count {
            break;
        }
        let index = (count - 1 - step) as usize & (PATH_STEPS - 1);
        question.hash = load(&found.directories[index]);
        if verdict::holds(container, &question) {
            return question.hash;
        }
        question.hash = load(&found.directory_forms[index]);
        if question.hash != 0 && verdict::holds(container, &question) {
            return question.hash;
        }
    }
    0
}

#[inline(always)]
fn question(record: &FileRecord) -> Question {
    Question {
        domain: Domain::File,
        layer: load(&record.layer),
        section: load(&record.section),
        operation: load(&record.operation),
        hash: load(&record.behaviour_hash),
    }
}

#[inline(always)]
fn key(member: &Member, record: &FileRecord) -> BehaviourKey {
    BehaviourKey {
        container: member.container.cgroup,
        hash: load(&record.behaviour_hash),
        domain: Domain::File as u8,
        layer: load(&record.layer),
        section: load(&record.section),
        operation: load(&record.operation),
        reserved: [0; 4],
    }
}

#[inline(always)]
fn count_window(member: &Member, scratch: &FileScratch, now_ns: u64) {
    if member.container.modes[Domain::File as usize] == Mode::Learn as u8 {
        verdict::count_window(&key(member, &scratch.record), now_ns);
    }
}

/// What follows from a verdict other than conforming. Whether the operation is refused.
#[inline(always)]
fn conclude(
    member: &mut Member,
    scratch: &mut FileScratch,
    task: TaskStruct,
    inode: Option<Inode>,
    verdict: u8,
    means: Means,
) -> bool {
    let record = &mut scratch.record;
    let flags = member.container.flags;
    let mode = member.container.modes[Domain::File as usize];
    let enforced = is_enforced(flags, mode, verdict, load(&record.section));
    let refused = enforced && means == Means::Deny;
    store(&mut record.action, Action::None as u8);
    store(&mut record.action_error, 0);
    if refused {
        store(&mut record.action, Action::Denied as u8);
        counter::add(&mut counter::counters(member.instance, Domain::File).denied, 1);
    } else if enforced && flags & CONTAINER_KILL_FILE != 0 {
        let error = kill::current(member.instance, Domain::File, task.pid());
        store(&mut record.action_error, error);
        if error == 0 {
            store(&mut record.action, Action::Killed as u8);
        }
    } else if verdict::is_seen(&key(member, record)) {
        return false;
    }
    store(&mut record.verdict, verdict);
    store(&mut record.mode, mode);
    report(member, scratch, task, inode);
    refused
}

/// Completes the record and sends it.
#[inline(always)]
fn report(member: &mut Member, scratch: &mut FileScratch, task: TaskStruct, inode: Option<Inode>) {
    let now_ns = emit::now_ns();
    let record = &mut scratch.record;
    let container = &member.container;
    record.header = emit::header::<FileRecord>(
        RecordKind::File,
        Domain::File,
        container.cgroup,
        container.slot,
        now_ns,
    );
    record.profile = container.profile;
    record.generation = container.generation;
    record.reserved = 0;
    record.reserved_16 = 0;
    if load(&record.flags) & FILE_TYPED == 0 {
        record.name = [0; NAME_BYTES];
    }
    let inode = match inode {
        Some(inode) => inode,
        None => Inode::at(0),
    };
    identity::identify(inode, &record.layer, &mut record.file);
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
        set(&mut record.flags, FILE_ARGS_UNREADABLE);
    }
    let weight = if load(&record.action) == Action::None as u8 {
        Weight::Ordinary
    } else {
        Weight::Drift
    };
    emit::send(record, member.instance, Domain::File, weight, now_ns);
}
