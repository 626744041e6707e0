//! Events: records after decoding, in owned and checked types, still without knowledge of the container.

use agent_common::domain::{Mode, Section};
use agent_common::file::{FileIdentity, Layer};
use agent_common::record::cgroup::CgroupChange;
use agent_common::rule::{Action, Verdict};
use agent_common::task::TaskState;

use crate::text::ByteText;

/// What a kernel program sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A program was executed.
    Exec(Box<ExecEvent>),
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

/// A program was executed in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecEvent {
    /// When and where.
    pub origin: Origin,
    /// Who.
    pub process: ProcessEvent,
    /// The program's file: for a script, its interpreter.
    pub file: FileIdentity,
    /// The file's layer.
    pub layer: Layer,
    /// The file's path.
    pub path: WalkedPath,
    /// Keyed hash of the path alone.
    pub path_hash: u64,
    /// Keyed hash that the kernel looked up.
    pub behaviour_hash: u64,
    /// The name it was invoked as; `None` if it could not be read or is longer than the record has room for.
    pub invoked_as: Option<ByteText>,
    /// The kernel looked up path and applet together.
    pub applet_judged: bool,
    /// The working directory.
    pub cwd: WalkedPath,
    /// The name given to `execve`.
    pub filename: ByteText,
    /// For a script, the interpreter that the kernel chose.
    pub interpreter: Option<ByteText>,
    /// The arguments; empty if they could not be read.
    pub args: Vec<ByteText>,
    /// Arguments were cut.
    pub args_truncated: bool,
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
    /// The file's content was compared earlier and equals the image's.
    pub verified_as_image: bool,
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
            Self::Exec(event) => event.origin,
            Self::Cgroup(event) => event.origin,
            Self::Exit(event) => event.origin,
            Self::Leave(event) => event.origin,
        }
    }
}

/// Events for tests.
#[cfg(test)]
pub(crate) mod example {
    use super::*;

    /// The container's own process runs a program of the image that its profile does not hold.
    pub(crate) fn exec() -> ExecEvent {
        let walked = |text: &str| WalkedPath {
            text: text.into(),
            too_long: false,
        };
        ExecEvent {
            origin: Origin {
                time_ns: 1,
                container: 2,
                slot: 3,
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
            file: FileIdentity::default(),
            layer: Layer::Image,
            path: walked("/usr/sbin/nginx"),
            path_hash: 5,
            behaviour_hash: 5,
            invoked_as: Some("nginx".into()),
            applet_judged: false,
            cwd: walked("/"),
            filename: "/usr/sbin/nginx".into(),
            interpreter: None,
            args: vec!["nginx".into()],
            args_truncated: false,
            verdict: Verdict::Unknown,
            action: Action::None,
            action_error: None,
            mode: Mode::Monitor,
            section: Section::Main,
            profile: Some((1, 1)),
            verified_as_image: false,
        }
    }
}
