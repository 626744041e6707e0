//! From bytes to events: pure, without clock or I/O.
//!
//! Input: one record of the ring buffer. Output: an [`Event`]. Failure: a record that is shorter or longer than its kind,
//! of another ABI, or with a tag of no meaning is a [`DecodeError`], to be counted; it is never read further. Texts
//! that a container chose are taken as bytes.

mod cap;
mod cgroup;
pub mod duplicate;
mod exec;
mod file;
mod library;
mod part;
mod syscall;

use agent_common::ABI_VERSION;
use agent_common::record::exit::ExitRecord;
use agent_common::record::{RecordHeader, RecordKind};

use crate::event::{Event, ExitEvent, Origin};

/// A record makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is shorter than its header or its kind.
    #[error("a record of {actual} bytes where {expected} were expected")]
    Length {
        /// Bytes that there are.
        actual: usize,
        /// Bytes that its kind, or the header, has.
        expected: usize,
    },
    /// It comes from other kernel programs than this agent's.
    #[error("a record of ABI {abi} where {ABI_VERSION} was expected")]
    Abi {
        /// The record's.
        abi: u32,
    },
    /// A number that stands for nothing.
    #[error("{value} is no {tag}")]
    Tag {
        /// What it should name.
        tag: &'static str,
        /// The number.
        value: u8,
    },
    /// A path's words are not a path.
    #[error("the {field} is no path")]
    Path {
        /// Which path.
        field: &'static str,
    },
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header: RecordHeader = prefix(bytes)?;
    if header.abi != ABI_VERSION {
        return Err(DecodeError::Abi { abi: header.abi });
    }
    if usize::try_from(header.length).ok() != Some(bytes.len()) {
        let expected = usize::try_from(header.length).unwrap_or(usize::MAX);
        return Err(DecodeError::Length {
            actual: bytes.len(),
            expected,
        });
    }
    let kind = tag(RecordKind::from_raw, header.kind, "kind of record")?;
    Ok(match kind {
        RecordKind::Exec => Event::Use(Box::new(exec::decode(&whole(bytes)?)?)),
        RecordKind::Cgroup => Event::Cgroup(cgroup::decode(&whole(bytes)?)?),
        RecordKind::Leave => Event::Leave(Box::new(cgroup::decode_leave(&whole(bytes)?)?)),
        RecordKind::Exit => Event::Exit(exit(&whole(bytes)?)),
        RecordKind::Library => Event::Use(Box::new(library::decode(&whole(bytes)?)?)),
        RecordKind::File => Event::Use(Box::new(file::decode(&whole(bytes)?)?)),
        RecordKind::Cap => Event::Use(Box::new(cap::decode(&whole(bytes)?)?)),
        RecordKind::Syscall => Event::Use(Box::new(syscall::decode(&whole(bytes)?)?)),
    })
}

fn exit(record: &ExitRecord) -> ExitEvent {
    ExitEvent {
        origin: origin(&record.header),
        pid: record.pid,
        started_ns: record.started_ns,
        exit_code: record.exit_code,
    }
}

/// The first bytes as a `T`.
fn prefix<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Result<T, DecodeError> {
    let expected = size_of::<T>();
    let bytes_of = bytes.get(..expected).ok_or(DecodeError::Length {
        actual: bytes.len(),
        expected,
    })?;
    Ok(bytemuck::pod_read_unaligned(bytes_of))
}

/// All bytes as a `T`.
fn whole<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() == size_of::<T>() {
        prefix(bytes)
    } else {
        Err(DecodeError::Length {
            actual: bytes.len(),
            expected: size_of::<T>(),
        })
    }
}

fn origin(header: &RecordHeader) -> Origin {
    Origin {
        time_ns: header.time_ns,
        container: header.container,
        slot: header.slot,
        load: header.load,
    }
}

fn tag<T>(from_raw: impl Fn(u8) -> Option<T>, value: u8, tag: &'static str) -> Result<T, DecodeError> {
    from_raw(value).ok_or(DecodeError::Tag { tag, value })
}

#[cfg(test)]
mod tests {
    use agent_common::cap::{CapOutcome, UserNamespace};
    use agent_common::domain::{Domain, Mode};
    use agent_common::file::{FileOperation, Layer};
    use agent_common::record::cap::CapRecord;
    use agent_common::record::cgroup::{CgroupRecord, LeaveRecord};
    use agent_common::record::exec::{EXEC_BEFORE, EXEC_IS_LOADER, EXEC_IS_SCRIPT, EXEC_SCRIPT, ExecRecord};
    use agent_common::record::file::{FILE_BEFORE, FILE_TYPED, FileRecord};
    use agent_common::record::library::{LIBRARY_ARGS_UNREADABLE, LIBRARY_PROTECTED, LibraryRecord};
    use agent_common::rule::{Action, Verdict};
    use agent_common::task::TaskState;
    use bytemuck::{Zeroable as _, bytes_of};
    use proptest::prelude::*;

    use super::*;
    use crate::event::{ExecPart, TypedName, UseEvent, Used};

    fn header<T>(kind: RecordKind) -> RecordHeader {
        RecordHeader {
            abi: ABI_VERSION,
            length: u32::try_from(size_of::<T>()).expect("small"),
            time_ns: 7,
            container: 11,
            slot: 3,
            kind: kind as u8,
            domain: 0,
            load: 5,
        }
    }

    fn put(target: &mut [u8], text: &[u8]) {
        target[..text.len()].copy_from_slice(text);
    }

    fn used(bytes: &[u8]) -> UseEvent {
        match decode(bytes).expect("a record") {
            Event::Use(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    fn word(text: [u8; 8]) -> u64 {
        u64::from_le_bytes(text)
    }

    #[test]
    fn reads_a_script() {
        let mut record = ExecRecord::zeroed();
        record.header = header::<ExecRecord>(RecordKind::Exec);
        record.layer = Layer::Image as u8;
        record.verdict = Verdict::Unknown as u8;
        record.action = Action::Killed as u8;
        record.mode = Mode::Enforce as u8;
        record.process.state = TaskState::Main as u8;
        record.flags = EXEC_SCRIPT;
        record.path.words[0] = word(*b"busybox\0");
        record.path.words[1] = word(*b"bin\0\0\0\0\0");
        record.path.used = 2;
        record.applet[0] = word(*b"sh\0\0\0\0\0\0");
        put(&mut record.filename, b"/tmp/x.sh");
        put(&mut record.interpreter, b"/bin/sh");
        put(&mut record.args, b"/bin/sh\0/tmp/x.sh\0\0");
        record.args_bytes = 19;
        record.args_total_bytes = 19;
        let event = used(bytes_of(&record));
        let Used::Exec(exec) = &event.used else {
            panic!("an execution")
        };
        assert_eq!(event.file().expect("a file").path.text, "/bin/busybox".into());
        assert_eq!((exec.part, exec.before), (ExecPart::Program, false));
        assert_eq!(exec.invoked_as, Some("sh".into()));
        assert_eq!(exec.interpreter, Some("/bin/sh".into()));
        assert_eq!(event.exe(), Some(&exec.file.path));
        assert_eq!(event.args, ["/bin/sh".into(), "/tmp/x.sh".into(), "".into()]);
        assert_eq!(
            event.origin,
            Origin {
                time_ns: 7,
                container: 11,
                slot: 3,
                load: 5,
            }
        );
        assert_eq!((event.action, event.mode), (Action::Killed, Mode::Enforce));
    }

    #[test]
    fn says_which_file_of_an_execution_it_is() {
        let mut record = ExecRecord::zeroed();
        record.header = header::<ExecRecord>(RecordKind::Exec);
        record.process.state = TaskState::Main as u8;
        for (flags, part) in [
            (EXEC_BEFORE, ExecPart::Program),
            (EXEC_BEFORE | EXEC_IS_SCRIPT, ExecPart::Script),
            (EXEC_BEFORE | EXEC_IS_LOADER, ExecPart::Loader),
        ] {
            record.flags = flags;
            let event = used(bytes_of(&record));
            let Used::Exec(exec) = &event.used else {
                panic!("an execution")
            };
            assert_eq!((exec.part, exec.before), (part, true));
            // The process still is the program that asked.
            assert_eq!(event.exe(), None);
        }
    }

    #[test]
    fn reads_a_library() {
        let mut record = LibraryRecord::zeroed();
        record.header = header::<LibraryRecord>(RecordKind::Library);
        record.layer = Layer::Upper as u8;
        record.verdict = Verdict::Drift as u8;
        record.action = Action::Denied as u8;
        record.mode = Mode::Enforce as u8;
        record.process.state = TaskState::ExecIn as u8;
        record.flags = LIBRARY_PROTECTED;
        record.path.words[0] = word(*b"x.so\0\0\0\0");
        record.path.words[1] = word(*b"tmp\0\0\0\0\0");
        record.path.used = 2;
        record.exe.words[0] = word(*b"ld.so\0\0\0");
        record.exe.used = 1;
        put(&mut record.args, b"ld.so\0/tmp/x\0");
        record.args_bytes = 13;
        record.args_total_bytes = 13;
        let event = used(bytes_of(&record));
        assert_eq!((event.domain(), event.action), (Domain::Library, Action::Denied));
        assert_eq!(event.file().expect("a file").path.text, "/tmp/x.so".into());
        assert_eq!(event.args, ["ld.so".into(), "/tmp/x".into()]);
        assert_eq!(event.exe().map(|exe| exe.text.clone()), Some("/ld.so".into()));
        let Used::Library(library) = &event.used else {
            panic!("a library")
        };
        assert!(library.protected);
        record.flags = LIBRARY_ARGS_UNREADABLE;
        let event = used(bytes_of(&record));
        assert!(event.args.is_empty(), "{:?}", event.args);
    }

    fn file_record() -> FileRecord {
        let mut record = FileRecord::zeroed();
        record.header = header::<FileRecord>(RecordKind::File);
        record.layer = Layer::Volume as u8;
        record.verdict = Verdict::Unknown as u8;
        record.mode = Mode::Learn as u8;
        record.process.state = TaskState::Main as u8;
        record.operation = FileOperation::Create as u8;
        record.open_flags = 0o101;
        record.behaviour_hash = 77;
        record.path.words[0] = word(*b"job\0\0\0\0\0");
        record.path.words[1] = word(*b"cron.d\0\0");
        record.path.used = 2;
        record.exe.words[0] = word(*b"sh\0\0\0\0\0\0");
        record.exe.used = 1;
        record
    }

    #[test]
    fn reads_a_file() {
        let event = used(bytes_of(&file_record()));
        let Used::File(file) = &event.used else {
            panic!("a file")
        };
        assert_eq!((event.domain(), event.operation()), (Domain::File, 3));
        assert_eq!((event.behaviour_hash, event.behaviour_layer), (77, Layer::Volume));
        assert_eq!((file.operation, file.open_flags), (FileOperation::Create, 0o101));
        assert_eq!(file.file.path.text, "/cron.d/job".into());
        assert_eq!(
            (file.file.layer, &file.typed, file.before),
            (Layer::Volume, &None, false)
        );
        assert_eq!(event.exe().map(|exe| exe.text.clone()), Some("/sh".into()));
        let mut record = file_record();
        record.flags = FILE_BEFORE;
        record.operation = 0;
        assert_eq!(
            decode(bytes_of(&record)),
            Err(DecodeError::Tag {
                tag: "operation",
                value: 0
            })
        );
    }

    #[test]
    fn reads_a_name_that_was_typed() {
        let mut record = file_record();
        record.flags = FILE_TYPED;
        record.operation = FileOperation::Rename as u8;
        record.path.used = 0;
        put(&mut record.name, b"../etc/cron.d/job");
        let event = used(bytes_of(&record));
        let Used::File(file) = &event.used else {
            panic!("a file")
        };
        let typed = TypedName {
            directory: "/".into(),
            name: "../etc/cron.d/job".into(),
        };
        assert_eq!(file.typed, Some(typed));
        assert_eq!(file.file.path.text, "/etc/cron.d/job".into());
        assert!(!file.file.path.too_long);
        record.name.fill(b'a');
        let event = used(bytes_of(&record));
        assert!(event.file().is_some_and(|file| file.path.too_long), "{event:?}");
    }

    #[test]
    fn reads_a_capability() {
        let mut record = CapRecord::zeroed();
        record.header = header::<CapRecord>(RecordKind::Cap);
        record.verdict = Verdict::Unknown as u8;
        record.mode = Mode::Monitor as u8;
        record.process.state = TaskState::ExecIn as u8;
        record.section = 1;
        record.capability = 13;
        record.namespace = UserNamespace::Other as u8;
        record.operation = CapOutcome::Refused as u8;
        record.system_call = 41;
        record.namespace_number = 5;
        let event = used(bytes_of(&record));
        let Used::Cap(cap) = &event.used else {
            panic!("a capability")
        };
        assert_eq!((event.domain(), event.operation()), (Domain::Cap, 2));
        assert_eq!(event.behaviour_hash, agent_common::cap::hash(13, 1));
        assert_eq!(cap.capability.to_string(), "CAP_NET_RAW");
        assert_eq!(
            (cap.namespace, cap.outcome),
            (UserNamespace::Other, CapOutcome::Refused)
        );
        assert_eq!((cap.system_call, cap.namespace_number), (Some(41), 5));
        assert_eq!((event.exe(), event.file()), (None, None));
        record.system_call = -1;
        let Used::Cap(cap) = used(bytes_of(&record)).used else {
            panic!("a capability")
        };
        assert_eq!(cap.system_call, None);
        record.capability = 64;
        assert_eq!(
            decode(bytes_of(&record)),
            Err(DecodeError::Tag {
                tag: "capability",
                value: 64
            })
        );
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let mut record = CgroupRecord::zeroed();
        record.header = header::<CgroupRecord>(RecordKind::Cgroup);
        record.change = 1;
        let bytes = bytes_of(&record);
        assert!(decode(bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(
                matches!(decode(&bytes[..length]), Err(DecodeError::Length { .. })),
                "{length}"
            );
        }
        record.header.abi += 1;
        assert_eq!(
            decode(bytes_of(&record)),
            Err(DecodeError::Abi { abi: ABI_VERSION + 1 })
        );
        record.header.abi -= 1;
        record.change = 77;
        assert!(matches!(
            decode(bytes_of(&record)),
            Err(DecodeError::Tag { value: 77, .. })
        ));
    }

    proptest! {
        #[test]
        fn never_panics(kind in 0_u8..9, mut bytes in proptest::collection::vec(any::<u8>(), size_of::<ExecRecord>())) {
            let length = match kind {
                1 => size_of::<ExecRecord>(),
                2 => size_of::<CgroupRecord>(),
                3 => size_of::<ExitRecord>(),
                4 => size_of::<LeaveRecord>(),
                5 => size_of::<LibraryRecord>(),
                6 => size_of::<FileRecord>(),
                7 => size_of::<CapRecord>(),
                _ => bytes.len(),
            };
            bytes.truncate(length);
            let mut head = header::<ExecRecord>(RecordKind::Exec);
            head.length = u32::try_from(bytes.len()).expect("small");
            head.kind = kind;
            bytes[..size_of::<RecordHeader>()].copy_from_slice(bytes_of(&head));
            let _ = decode(&bytes);
        }
    }
}
