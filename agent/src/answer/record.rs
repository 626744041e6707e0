//! The record of an execution that was answered, as a hook before the execution makes it.
//!
//! Input: what was found out about file, caller and policy. Output: an [`ExecRecord`]. Failure: what is longer than its place
//! is cut and marked, as the kernel programs do.

use agent_common::ABI_VERSION;
use agent_common::container::Container;
use agent_common::domain::{Domain, Section};
use agent_common::hash::{self, HashKey};
use agent_common::path::{PATH_TOO_LONG, PathWords};
use agent_common::record::exec::{
    APPLET_WORDS, ARGS_BYTES, EXEC_APPLET_TOO_LONG, EXEC_ARGS_UNREADABLE, EXEC_BEFORE, EXEC_IS_LOADER,
    EXEC_IS_SCRIPT, ExecRecord, NAME_BYTES,
};
use agent_common::record::{ProcessPart, RecordHeader, RecordKind};
use agent_common::rule::{Action, Verdict};
use bytemuck::Zeroable as _;

use super::arguments::Arguments;
use super::file::Identified;

/// What kind of file it is that was to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A binary.
    Program,
    /// What needs an interpreter.
    Script,
    /// The interpreter of a binary.
    Loader,
}

/// What a record is made of.
pub(super) struct Answered<'a> {
    pub(super) container: &'a Container,
    pub(super) section: Section,
    pub(super) process: ProcessPart,
    pub(super) working_directory: &'a [u8],
    pub(super) file: &'a Identified,
    pub(super) part: Part,
    pub(super) arguments: Option<&'a Arguments>,
    pub(super) action: Action,
    /// Boot-time clock, ns.
    pub(super) time_ns: u64,
}

/// The hash by which repeats of this drift are told.
pub(super) fn behaviour_hash(key: HashKey, file: &Identified) -> u64 {
    hash::content(key, &file.path, &file.identity)
}

/// The path's hash; `None` for a path that is longer than hooks take.
pub(super) fn path_hash(key: HashKey, path: &[u8]) -> Option<u64> {
    let words = PathWords::of_path(path);
    (words.flags & PATH_TOO_LONG == 0).then(|| hash::path(key, path, None))
}

/// Makes the record.
pub(super) fn make(answered: &Answered<'_>, key: HashKey) -> Box<ExecRecord> {
    let mut record = Box::new(ExecRecord::zeroed());
    let Answered { container, file, .. } = answered;
    record.header = RecordHeader {
        abi: ABI_VERSION,
        length: u32::try_from(size_of::<ExecRecord>()).unwrap_or(0),
        time_ns: answered.time_ns,
        container: container.cgroup,
        slot: container.slot,
        kind: RecordKind::Exec as u8,
        domain: Domain::Exec as u8,
        load: 0,
    };
    record.process = answered.process;
    record.file = file.identity;
    record.path_hash = path_hash(key, &file.path).unwrap_or(0);
    record.behaviour_hash = behaviour_hash(key, file);
    record.profile = container.profile;
    record.generation = container.generation;
    record.layer = file.layer as u8;
    record.verdict = Verdict::Drift as u8;
    record.action = answered.action as u8;
    record.mode = container.mode(Domain::Exec) as u8;
    record.section = answered.section as u8;
    record.flags = EXEC_BEFORE
        | match answered.part {
            Part::Program => 0,
            Part::Script => EXEC_IS_SCRIPT,
            Part::Loader => EXEC_IS_LOADER,
        };
    record.path = PathWords::of_path(&file.path);
    record.cwd = PathWords::of_path(answered.working_directory);
    if let Some(arguments) = answered.arguments {
        fill_arguments(&mut record, arguments);
    } else {
        record.flags |= EXEC_ARGS_UNREADABLE;
        put(&mut record.filename, &file.path);
    }
    record
}

fn fill_arguments(record: &mut ExecRecord, arguments: &Arguments) {
    put(&mut record.filename, &arguments.filename);
    let length = arguments.args.len().min(ARGS_BYTES);
    record.args[..length].copy_from_slice(&arguments.args[..length]);
    record.args_bytes = u16::try_from(length).unwrap_or(u16::MAX);
    record.args_total_bytes = u32::from(record.args_bytes) + u32::from(arguments.is_cut);
    let invoked_as = invoked_as(&arguments.args);
    if invoked_as.len() < APPLET_WORDS * 8 {
        let applet: &mut [u8] = bytemuck::cast_slice_mut(&mut record.applet);
        applet[..invoked_as.len()].copy_from_slice(invoked_as);
    } else {
        record.flags |= EXEC_APPLET_TOO_LONG;
    }
}

/// The first argument's last component, without the hyphen of a login shell.
fn invoked_as(args: &[u8]) -> &[u8] {
    let first = args.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = last_component(first);
    name.strip_prefix(b"-").unwrap_or(name)
}

/// What stands behind the last slash.
pub(super) fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Copies a name with a NUL behind it; cut to its place.
fn put(place: &mut [u8; NAME_BYTES], name: &[u8]) {
    let length = name.len().min(place.len() - 1);
    place[..length].copy_from_slice(&name[..length]);
}

#[cfg(test)]
mod tests {
    use agent_common::domain::{DOMAIN_SLOTS, Mode};
    use agent_common::file::{FileIdentity, Layer};
    use agent_common::task::TaskState;

    use super::*;
    use crate::decode::decode;
    use crate::event::{Event, ExecPart, Used};

    const KEY: HashKey = HashKey { k0: 1, k1: 2 };

    fn dropped() -> Identified {
        Identified {
            layer: Layer::Upper,
            path: b"/tmp/dropped".to_vec(),
            identity: FileIdentity {
                inode: 7,
                ..FileIdentity::default()
            },
            is_certain: true,
        }
    }

    fn record(file: &Identified, arguments: Option<&Arguments>, action: Action) -> Box<ExecRecord> {
        let container = Container {
            cgroup: 11,
            slot: 3,
            modes: [Mode::Enforce as u8; DOMAIN_SLOTS],
            ..Container::default()
        };
        let mut process = ProcessPart::zeroed();
        process.state = TaskState::Main as u8;
        let answered = Answered {
            container: &container,
            section: Section::Main,
            process,
            working_directory: b"/tmp",
            file,
            part: Part::Script,
            arguments,
            action,
            time_ns: 5,
        };
        make(&answered, KEY)
    }

    #[test]
    fn the_agent_decodes_what_was_made() {
        let arguments = Arguments {
            filename: b"./dropped".to_vec(),
            args: b"./dropped\0-x\0".to_vec(),
            is_cut: true,
        };
        let record = record(&dropped(), Some(&arguments), Action::Denied);
        let event = decode(bytemuck::bytes_of(&*record)).expect("a record");
        let Event::Use(event) = event else {
            panic!("{event:?}")
        };
        assert_eq!(event.origin.container, 11);
        assert_eq!(event.file().expect("a file").path.text, "/tmp/dropped".into());
        assert_eq!(
            (event.behaviour_layer, event.verdict, event.action),
            (Layer::Upper, Verdict::Drift, Action::Denied)
        );
        assert_eq!(event.mode, Mode::Enforce);
        assert_eq!(event.args, ["./dropped".into(), "-x".into()]);
        assert!(event.args_truncated);
        let Used::Exec(exec) = &event.used else {
            panic!("{event:?}")
        };
        assert_eq!((exec.part, exec.before), (ExecPart::Script, true));
        assert_eq!(exec.filename, "./dropped".into());
        assert_eq!(exec.cwd.text, "/tmp".into());
    }

    #[test]
    fn long_names_are_cut_and_paths_marked() {
        let mut file = dropped();
        file.path = b"/long-name".repeat(200);
        let arguments = Arguments {
            filename: file.path.clone(),
            args: vec![b'a'; ARGS_BYTES],
            is_cut: true,
        };
        let record = record(&file, Some(&arguments), Action::None);
        assert_eq!(record.filename[NAME_BYTES - 1], 0);
        assert_eq!(record.path.flags, PATH_TOO_LONG);
        assert_eq!(path_hash(KEY, &file.path), None);
        assert!(decode(bytemuck::bytes_of(&*record)).is_ok());
    }

    #[test]
    fn without_arguments_the_path_stands_for_the_name() {
        let record = record(&dropped(), None, Action::Denied);
        assert!(record.filename.starts_with(b"/tmp/dropped\0"));
        assert!(record.flags & EXEC_ARGS_UNREADABLE != 0);
        assert_eq!(invoked_as(b"-/bin/sh\0-c\0"), b"sh");
        assert_eq!(invoked_as(b"-sh\0"), b"sh");
        assert_eq!(invoked_as(b""), b"");
    }
}
