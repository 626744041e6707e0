//! Events: records after decoding, in owned and checked types, still without knowledge of the container.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::{FileIdentity, FileOperation, Layer};
use agent_common::record::cgroup::CgroupChange;
use agent_common::rule::{Action, BehaviourKey, Verdict};
use agent_common::task::TaskState;

use serde::{Deserialize, Serialize};

use crate::behaviour::{Capability, SyscallBehaviour};
use crate::text::ByteText;

/// What a kernel program sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A process did what a hook judged.
    Use(Box<UseEvent>),
    /// A container's cgroup appeared or went.
    Cgroup(CgroupEvent),
    /// A killed process has died.
    Exit(ExitEvent),
    /// A container's process left the container's cgroup.
    Leave(Box<LeaveEvent>),
}

/// When, and in which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Boot-time clock, ns.
    pub time_ns: u64,
    /// Cgroup id of the container, the key of `CONTAINERS`.
    pub container: u64,
    /// Slot of the container in `INSTANCES`.
    pub slot: u32,
    /// Which load of the kernel programs told it ([`agent_common::settings::Settings::load`]); 0 for none.
    pub load: u16,
}

/// The process that did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// Start, boot-time clock, ns.
    pub started_ns: u64,
    /// Process id on the host.
    pub pid: u32,
    /// Process id in its own pid namespace.
    pub pid_in_container: u32,
    /// The real parent's process id on the host.
    pub parent_pid: u32,
    /// Real user id on the host.
    pub uid: u32,
    /// Real group id on the host.
    pub gid: u32,
    /// Whose process it is.
    pub state: TaskState,
    /// The thread's name.
    pub comm: ByteText,
    /// Process id on the host and name, from the parent up to the container's first process.
    pub ancestors: Vec<(u32, ByteText)>,
    /// There were more ancestors than the record has room for.
    pub ancestors_truncated: bool,
}

/// A path that the kernel walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkedPath {
    /// The path from the root; of a path that is too long only its end, starting with `.../`.
    pub text: ByteText,
    /// It has more bytes or components than the record has room for.
    pub too_long: bool,
}

/// What a process of a container did: what is alike in each domain.
#[derive(Clone, Debug, PartialEq)]
pub struct UseEvent {
    /// When and where.
    pub origin: Origin,
    /// Who.
    pub process: ProcessEvent,
    /// The arguments of the program, of the one that was to run if it was refused; empty if they could not be read.
    pub args: Vec<ByteText>,
    /// Arguments were cut.
    pub args_truncated: bool,
    /// Hash under which the kernel has the behaviour.
    pub behaviour_hash: u64,
    /// Layer under which the kernel has the behaviour; [`Layer::Unknown`] for a capability or a system call.
    pub behaviour_layer: Layer,
    /// What the hook concluded.
    pub verdict: Verdict,
    /// What the hook did.
    pub action: Action,
    /// Error number of a kill that failed.
    pub action_error: Option<i32>,
    /// The mode that held in the hook.
    pub mode: Mode,
    /// The section that was looked up.
    pub section: Section,
    /// Number and generation of the profile that the verdict rests on; `None` for none.
    pub profile: Option<(u32, u32)>,
    /// What was done.
    pub used: Used,
}

/// What was done: one variant per domain.
#[derive(Clone, Debug, PartialEq)]
pub enum Used {
    /// A file was executed.
    Exec(ExecUse),
    /// A file was mapped executable.
    Library(LibraryUse),
    /// A file was opened, or put in its place.
    File(FileUse),
    /// A capability was used, or refused.
    Cap(CapUse),
    /// A system call was made.
    Syscall(SyscallUse),
}

/// A file that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// Its inode.
    pub identity: FileIdentity,
    /// Its layer.
    pub layer: Layer,
    /// Its path.
    pub path: WalkedPath,
}

/// A file was executed.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecUse {
    /// The file.
    pub file: FilePart,
    /// Which of the files that an execution needs it is.
    pub part: ExecPart,
    /// The hook ran before the execution: the process still was the program that asked for it.
    pub before: bool,
    /// The name it was invoked as; `None` if it could not be read or is longer than the record has room for.
    pub invoked_as: Option<ByteText>,
    /// The kernel looked up path and applet together.
    pub applet_judged: bool,
    /// The working directory.
    pub cwd: WalkedPath,
    /// The name given to `execve`; empty where it is not known.
    pub filename: ByteText,
    /// For a script's interpreter, its name as the kernel chose it.
    pub interpreter: Option<ByteText>,
    /// The file's content was compared earlier and equals the image's.
    pub verified_as_image: bool,
}

/// Which of the files that an execution needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ExecPart {
    /// The program that runs: a binary, or the interpreter of a script.
    #[default]
    Program,
    /// A script's own file.
    Script,
    /// The interpreter that a binary names (`PT_INTERP`).
    Loader,
}

/// A file was mapped executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryUse {
    /// The file.
    pub file: FilePart,
    /// The program of the process.
    pub exe: WalkedPath,
    /// It was mapped before, and now the mapping was made executable.
    pub protected: bool,
}

/// A file was opened, or put in its place by a rename or as a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUse {
    /// The file. Where only a name is known (`typed`) there is no inode, and the path is by the name's text, until it is found
    /// out where that leads.
    pub file: FilePart,
    /// What was done with it.
    pub operation: FileOperation,
    /// Flags of the opened file (`O_*`); 0 for a rename or link.
    pub open_flags: u32,
    /// The program of the process.
    pub exe: WalkedPath,
    /// The name that was given for the file, where the file itself was not seen.
    pub typed: Option<TypedName>,
    /// The hook ran before the operation, and could refuse it.
    pub before: bool,
}

/// A name that was given for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedName {
    /// The directory that a relative name starts from, as the container's mounts show it.
    pub directory: ByteText,
    /// The name.
    pub name: ByteText,
}

/// A capability was used, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapUse {
    /// Which one.
    pub capability: Capability,
    /// How far it reaches.
    pub namespace: UserNamespace,
    /// Inode number of the user namespace that it was asked for in.
    pub namespace_number: u32,
    /// What the kernel answered.
    pub outcome: CapOutcome,
    /// Number of the system call that led to it; `None` outside of one, or if it is not known.
    pub system_call: Option<u32>,
    /// The program of the process.
    pub exe: WalkedPath,
}

/// A system call was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallUse {
    /// Which one, by which interface, in which phase.
    pub behaviour: SyscallBehaviour,
    /// The number as the process gave it, with all its bits.
    pub raw_number: u32,
    /// The program of the process.
    pub exe: WalkedPath,
}

/// A container's cgroup appeared or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupEvent {
    /// When; `container` is the cgroup's own id.
    pub origin: Origin,
    /// Cgroup id of the parent.
    pub parent: u64,
    /// What happened.
    pub change: CgroupChange,
    /// The cgroup's name.
    pub name: ByteText,
}

/// A killed process has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitEvent {
    /// When and where.
    pub origin: Origin,
    /// Process id on the host.
    pub pid: u32,
    /// Start of the process: with `pid`, the identity in [`ProcessEvent`].
    pub started_ns: u64,
    /// Exit code as `wait(2)` gives it.
    pub exit_code: u32,
}

/// A container's process left the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveEvent {
    /// When, and which container was left.
    pub origin: Origin,
    /// Who.
    pub process: ProcessEvent,
    /// Cgroup id of the destination.
    pub destination: u64,
    /// Name of the destination.
    pub destination_name: ByteText,
}

impl Event {
    /// When and where.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Use(event) => event.origin,
            Self::Cgroup(event) => event.origin,
            Self::Exit(event) => event.origin,
            Self::Leave(event) => event.origin,
        }
    }
}

impl UseEvent {
    /// The domain that it belongs to.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        match &self.used {
            Used::Exec(_) => Domain::Exec,
            Used::Library(_) => Domain::Library,
            Used::File(_) => Domain::File,
            Used::Cap(_) => Domain::Cap,
            Used::Syscall(_) => Domain::Syscall,
        }
    }

    /// The file that it is about; `None` for a capability or a system call.
    #[must_use]
    pub const fn file(&self) -> Option<&FilePart> {
        match &self.used {
            Used::Exec(exec) => Some(&exec.file),
            Used::Library(library) => Some(&library.file),
            Used::File(file) => Some(&file.file),
            Used::Cap(_) | Used::Syscall(_) => None,
        }
    }

    /// The operation under which the kernel has the behaviour ([`agent_common::rule::BehaviourKey`]).
    #[must_use]
    pub const fn operation(&self) -> u8 {
        match &self.used {
            Used::Exec(_) | Used::Library(_) => 0,
            Used::File(file) => file.operation as u8,
            Used::Cap(cap) => cap.outcome as u8,
            Used::Syscall(call) => call.behaviour.phase as u8,
        }
    }

    /// The key under which the hook had it. The layer is the kernel's, not the one that a file is judged as.
    #[must_use]
    pub fn key(&self) -> BehaviourKey {
        BehaviourKey {
            container: self.origin.container,
            hash: self.behaviour_hash,
            domain: self.domain() as u8,
            layer: self.behaviour_layer as u8,
            section: self.section as u8,
            operation: self.operation(),
            reserved: [0; 4],
        }
    }

    /// The program of the process; `None` where it is not in the record.
    #[must_use]
    pub fn exe(&self) -> Option<&WalkedPath> {
        let exe = match &self.used {
            Used::Exec(exec) if exec.before => return None,
            Used::Exec(exec) => &exec.file.path,
            Used::Library(library) => &library.exe,
            Used::File(file) => &file.exe,
            Used::Cap(cap) => &cap.exe,
            Used::Syscall(call) => &call.exe,
        };
        (!exe.text.as_bytes().is_empty()).then_some(exe)
    }
}

/// Events for tests.
#[cfg(test)]
pub(crate) mod example {
    use super::*;

    fn walked(text: &str) -> WalkedPath {
        WalkedPath {
            text: text.into(),
            too_long: false,
        }
    }

    fn file(layer: Layer, path: &str) -> FilePart {
        FilePart {
            identity: FileIdentity::default(),
            layer,
            path: walked(path),
        }
    }

    /// The container's own process runs a program of the image that its profile does not hold.
    pub(crate) fn exec() -> UseEvent {
        UseEvent {
            origin: Origin {
                time_ns: 1,
                container: 2,
                slot: 3,
                load: 5,
            },
            process: ProcessEvent {
                started_ns: 1,
                pid: 40,
                pid_in_container: 4,
                parent_pid: 30,
                uid: 0,
                gid: 0,
                state: TaskState::Main,
                comm: "nginx".into(),
                ancestors: vec![(30, "sh".into())],
                ancestors_truncated: false,
            },
            args: vec!["nginx".into()],
            args_truncated: false,
            behaviour_hash: 5,
            behaviour_layer: Layer::Image,
            verdict: Verdict::Unknown,
            action: Action::None,
            action_error: None,
            mode: Mode::Monitor,
            section: Section::Main,
            profile: Some((1, 1)),
            used: Used::Exec(ExecUse {
                file: file(Layer::Image, "/usr/sbin/nginx"),
                part: ExecPart::Program,
                before: false,
                invoked_as: Some("nginx".into()),
                applet_judged: false,
                cwd: walked("/"),
                filename: "/usr/sbin/nginx".into(),
                interpreter: None,
                verified_as_image: false,
            }),
        }
    }

    /// The container's own process maps a library that was dropped.
    pub(crate) fn library() -> UseEvent {
        UseEvent {
            behaviour_layer: Layer::Upper,
            verdict: Verdict::Drift,
            used: Used::Library(LibraryUse {
                file: file(Layer::Upper, "/tmp/lib.so"),
                exe: walked("/usr/sbin/nginx"),
                protected: false,
            }),
            ..exec()
        }
    }

    /// The container's own process writes a file that its profile does not hold.
    pub(crate) fn file_use() -> UseEvent {
        UseEvent {
            behaviour_layer: Layer::Upper,
            used: Used::File(FileUse {
                file: file(Layer::Upper, "/etc/cron.d/job"),
                operation: FileOperation::Create,
                open_flags: 0o101,
                exe: walked("/usr/sbin/nginx"),
                typed: None,
                before: false,
            }),
            ..exec()
        }
    }

    /// The container's own process uses a capability that its profile does not hold.
    pub(crate) fn cap() -> UseEvent {
        UseEvent {
            behaviour_layer: Layer::Unknown,
            used: Used::Cap(CapUse {
                capability: Capability::from_raw(13).expect("a capability"),
                namespace: UserNamespace::Initial,
                namespace_number: 0xefff_fffd,
                outcome: CapOutcome::Granted,
                system_call: Some(41),
                exe: walked("/usr/sbin/nginx"),
            }),
            ..exec()
        }
    }

    /// A process of the container made a system call.
    pub(crate) fn syscall() -> UseEvent {
        let behaviour = SyscallBehaviour {
            abi: agent_common::syscall::SyscallAbi::X86_64,
            number: 101,
            phase: agent_common::syscall::SyscallPhase::Program,
        };
        UseEvent {
            behaviour_hash: behaviour.hash(),
            behaviour_layer: Layer::Unknown,
            used: Used::Syscall(SyscallUse {
                behaviour,
                raw_number: 101,
                exe: walked("/usr/sbin/nginx"),
            }),
            ..exec()
        }
    }
}
