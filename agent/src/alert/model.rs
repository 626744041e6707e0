//! The alert document: one JSON object per line, fields in this order.
//!
//! Input: built by the engine. Output: [`Alert::to_line`]. Failure: none; every text that a container chose is a
//! [`ByteText`] and cannot break the line. A field that does not apply is `null`; fields may be added within one
//! schema version, never removed or changed in meaning.

use std::borrow::Cow;
use std::collections::BTreeMap;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode};
use agent_common::file::{FileOperation, Layer};
use agent_common::rule::Action;
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use agent_common::task::TaskState;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::hold::RecordHold;
use super::kind::AlertKind;
use super::severity::{Severity, Subject};
use super::time::Time;
use crate::behaviour::{Capability, SyscallBehaviour};
use crate::event::ExecPart;
use crate::image::ImageDigest;
use crate::text::ByteText;

/// Name and version of this document.
pub const SCHEMA: &str = "driftlock.alert/v1";

/// One alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// Unique, and sortable by time (UUID version 7).
    #[cfg_attr(test, schemars(with = "super::reference::Id"))]
    pub id: AlertId,
    /// When it happened; for a summary of repeats, when the last of them did.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub time: Time,
    /// The node's name.
    pub node: String,
    /// What was watched.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::DomainWord"))]
    pub domain: Domain,
    /// What is wrong.
    pub kind: AlertKind,
    /// How grave it is.
    pub severity: Severity,
    /// The mode that held.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::ModeWord"))]
    pub mode: Mode,
    /// What was done.
    pub action: AlertAction,
    /// In which container.
    pub container: AlertContainer,
    /// By which process.
    pub process: AlertProcess,
    /// What it did.
    pub behaviour: AlertBehaviour,
    /// What it was compared with; null if there was no profile.
    pub profile: Option<AlertProfile>,
    /// How many occurrences this alert stands for.
    pub count: u64,
    /// When the first of them happened.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub first_seen: Time,
    /// When the last of them happened.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub last_seen: Time,
    /// For a summary of repeats, the alert that told of the first occurrence.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Id>"))]
    pub repeats_of: Option<AlertId>,
    /// Records of this container that were lost since its previous alert: what happened in that time may be
    /// missing here.
    pub lost: Option<AlertLost>,
    /// Ids of MITRE ATT&CK techniques that this points to.
    pub attack: Vec<Cow<'static, str>>,
    /// What it was made of, until it is out. Not part of the document.
    #[serde(skip)]
    pub records: RecordHold,
}

/// An alert's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(Uuid);

/// What was done, and whether it is certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertAction {
    /// What was done.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::ActionWord"))]
    pub taken: Action,
    /// It is certain for every occurrence that this alert stands for: the process was seen to die, or the operation was
    /// refused.
    pub confirmed: bool,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// The container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertContainer {
    /// The runtime's id; of an unresolved container, its cgroup's name.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub id: ByteText,
    /// Its name; null while it is unresolved.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub name: Option<ByteText>,
    /// `docker`, ...; null while it is unresolved.
    pub runtime: Option<String>,
    /// Its image; null while it is unresolved.
    pub image: Option<AlertImage>,
    /// The labels that the runtime keeps.
    #[cfg_attr(test, schemars(with = "super::reference::Labels"))]
    pub labels: BTreeMap<ByteText, ByteText>,
    /// Name of its Kubernetes pod; null outside of pods. `name` is then the container's in the pod, `POD` of the pod's own.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub pod: Option<ByteText>,
    /// Namespace of the pod.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub namespace: Option<ByteText>,
    /// Unique id of the pod, where the runtime keeps it.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub pod_uid: Option<ByteText>,
    /// Labels of the pod.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "super::reference::Labels"))]
    pub pod_labels: BTreeMap<ByteText, ByteText>,
    /// The process is in a container that this container itself runs, by the id that it chose for that; null for its own
    /// processes, and where the process was gone before its cgroup was read.
    #[serde(default)]
    pub nested: Option<String>,
}

/// The container's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertImage {
    /// As the container was created with.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub reference: Option<ByteText>,
    /// Digest of the image's config: its identity; null while the runtime does not tell it.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Digest>"))]
    pub config_digest: Option<ImageDigest>,
    /// The manifests that name the config, as the runtime has them (`name@sha256:...`).
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<super::reference::Text>"))]
    pub manifests: Vec<ByteText>,
}

/// The process, as it was when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertProcess {
    /// On the host.
    pub pid: u32,
    /// In its own pid namespace.
    pub pid_in_container: u32,
    /// Whose process it is.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::StateWord"))]
    pub state: TaskState,
    /// Real user id on the host.
    pub uid: u32,
    /// Real group id on the host.
    pub gid: u32,
    /// When it started.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub started: Time,
    /// The thread's name.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub comm: ByteText,
    /// The program it runs; null where that is not known, as where an execution was looked at before it happened.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub exe: Option<ByteText>,
    /// Its arguments, or those that it gave to the program it was about to execute; empty where they could not be read.
    #[cfg_attr(test, schemars(with = "Vec<super::reference::Text>"))]
    pub args: Vec<ByteText>,
    /// Arguments are missing or cut.
    pub args_truncated: bool,
    /// Its working directory.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub cwd: Option<ByteText>,
    /// From its parent up to the container's first process.
    pub ancestors: Vec<AlertAncestor>,
    /// There were more of them.
    pub ancestors_truncated: bool,
}

/// One of a process's ancestors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertAncestor {
    /// On the host.
    pub pid: u32,
    /// Its leader's name.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub comm: ByteText,
}

/// What was done, in the terms of the domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum AlertBehaviour {
    /// A program was executed.
    Exec(AlertExec),
    /// A file was mapped executable.
    Library(AlertLibrary),
    /// A file was opened, or put in its place.
    File(AlertFileUse),
    /// A capability was used, or refused.
    Cap(AlertCap),
    /// A system call was made.
    Syscall(AlertSyscall),
    /// A process left its cgroup.
    LeftCgroup(AlertLeftCgroup),
    /// A container has made too many cgroups.
    CgroupLimit(AlertCgroupLimit),
}

/// A file that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertFile {
    /// Where the file came from.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::LayerWord"))]
    pub layer: Layer,
    /// Its path, as its layer defines it.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub path: ByteText,
    /// The path is longer than the kernel could compare; `path` is its end.
    pub path_too_long: bool,
    /// The file's device, `major:minor`.
    pub device: String,
    /// The file's inode.
    pub inode: u64,
    /// The content's SHA-256 in hexadecimal, where it could be taken.
    pub sha256: Option<String>,
    /// What else was found out.
    pub note: Option<AlertNote>,
}

/// A program that was executed, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertExec {
    /// The file of which `part` speaks.
    #[serde(flatten)]
    pub file: AlertFile,
    /// Which of the files that the execution needs it is: the program that runs (for a script, its interpreter), the
    /// script's own file, or the interpreter that a binary names (`PT_INTERP`).
    #[serde(default)]
    pub part: ExecPart,
    /// For a multi-call binary, the name it was invoked as.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub applet: Option<ByteText>,
    /// The name given to `execve`; empty where it is not known.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub filename: ByteText,
    /// For a script, the interpreter that the kernel chose; null in an alert about the script's own file, whose
    /// interpreter was not looked for yet.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub interpreter: Option<ByteText>,
    /// A script was executed.
    pub script: bool,
}

/// A file that was mapped executable, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertLibrary {
    /// The file.
    #[serde(flatten)]
    pub file: AlertFile,
    /// It was mapped before, and now the mapping was made executable.
    pub protected: bool,
}

/// A use of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertFileUse {
    /// The file. Where only a name was seen (`typed`), its inode is not known, and the path is what the name leads to.
    #[serde(flatten)]
    pub file: AlertFile,
    /// What was done with it, or was to be.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::OperationWord"))]
    pub operation: FileOperation,
    /// Flags of the opened file (`O_*`); 0 for a rename or link.
    pub open_flags: u32,
    /// The name that the process gave for it, where the kernel programs did not see the file itself.
    #[cfg_attr(test, schemars(with = "Option<super::reference::Text>"))]
    pub typed: Option<ByteText>,
}

/// A use of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertCap {
    /// Which one.
    #[cfg_attr(test, schemars(with = "super::reference::CapabilityName"))]
    pub capability: Capability,
    /// How far it reaches: for the whole node, or for what was created in another user namespace.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::NamespaceWord"))]
    pub namespace: UserNamespace,
    /// What the kernel answered.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::OutcomeWord"))]
    pub outcome: CapOutcome,
    /// Inode number of the user namespace.
    pub namespace_number: u32,
    /// Number of the system call that led to it; null outside of one, or if it is not known.
    pub system_call: Option<u32>,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertSyscall {
    /// Its name; `syscall_` and the number of one that has no name here.
    pub name: Cow<'static, str>,
    /// Its number in the table of its interface; 65535 for all that no kernel gives a meaning.
    pub number: u16,
    /// The interface by which it was made.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::AbiWord"))]
    pub abi: SyscallAbi,
    /// Who made it: a program of the container, or the runtime before that began.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::reference::PhaseWord"))]
    pub phase: SyscallPhase,
    /// The number as the process gave it, with all its bits.
    pub raw_number: u32,
}

/// A process that left its container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertLeftCgroup {
    /// Cgroup id of the destination.
    pub destination: u64,
    /// Its name.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub destination_name: ByteText,
}

/// More cgroups in a container than are entered as its own. Who made them is not known: the process of the alert is the
/// container's oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertCgroupLimit {
    /// How many are entered.
    pub entered_cgroups: u64,
}

/// What else was found out about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlertNote {
    /// Its content equals the image's file: only owner or mode were changed.
    MetadataOnly,
    /// Its content differs from the image's file at the same path.
    ContentChanged,
}

/// The profile that it was compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertProfile {
    /// The image's config digest; of a provisional profile, what stands for one.
    #[cfg_attr(test, schemars(with = "super::reference::Digest"))]
    pub digest: ImageDigest,
    /// It belongs to this container alone, because no image is known of it.
    #[serde(default)]
    pub provisional: bool,
    /// The role.
    #[cfg_attr(test, schemars(with = "super::reference::Text"))]
    pub role: ByteText,
    /// The generation of its rules that held.
    pub generation: u32,
    /// Estimated share of future behaviour that is in it, 0 to 1; null while there is too little to tell.
    pub coverage: Option<f64>,
}

/// A blind window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertLost {
    /// Nothing was lost before this.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub from: Time,
    /// When the loss was read.
    #[cfg_attr(test, schemars(with = "super::reference::Date"))]
    pub to: Time,
    /// How many records were lost in between.
    pub records: u64,
}

// === impl Alert ===

impl Alert {
    /// The alert as a line, with its newline.
    ///
    /// # Panics
    /// Never: no map has keys that are no text, and nothing in it fails to serialise.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("all keys are texts");
        line.push('\n');
        line
    }
}

// === impl AlertBehaviour ===

impl AlertBehaviour {
    /// The file that it is about, if it is about one.
    #[must_use]
    pub fn file(&self) -> Option<&AlertFile> {
        match self {
            Self::Exec(exec) => Some(&exec.file),
            Self::Library(library) => Some(&library.file),
            Self::File(used) => Some(&used.file),
            Self::Cap(_) | Self::Syscall(_) | Self::LeftCgroup(_) | Self::CgroupLimit(_) => None,
        }
    }

    /// The same, to add what was found out about it.
    pub fn file_mut(&mut self) -> Option<&mut AlertFile> {
        match self {
            Self::Exec(exec) => Some(&mut exec.file),
            Self::Library(library) => Some(&mut library.file),
            Self::File(used) => Some(&mut used.file),
            Self::Cap(_) | Self::Syscall(_) | Self::LeftCgroup(_) | Self::CgroupLimit(_) => None,
        }
    }

    /// What its rating depends on.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::Exec(_) | Self::Library(_) | Self::LeftCgroup(_) | Self::CgroupLimit(_) => Subject::Program,
            Self::File(used) => Subject::File {
                operation: used.operation,
                path: used.file.path.as_bytes(),
            },
            Self::Cap(cap) => Subject::Cap {
                capability: cap.capability,
                outcome: cap.outcome,
            },
            Self::Syscall(call) => Subject::Syscall(call.behaviour()),
        }
    }
}

// === impl AlertSyscall ===

impl AlertSyscall {
    /// What was made, as profiles hold it.
    #[must_use]
    pub const fn behaviour(&self) -> SyscallBehaviour {
        SyscallBehaviour {
            abi: self.abi,
            number: self.number,
            phase: self.phase,
        }
    }
}

// === impl AlertId ===

impl AlertId {
    /// A new id for something that happened now.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of what a record tells, the same whenever it is read: `epoch_ms` is what the wall clock showed when the boot-time clock was
    /// zero, `time_ns` the record's time by that, and `what` tells it from others of the same moment.
    #[must_use]
    pub fn of_record(epoch_ms: u64, time_ns: u64, what: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(time_ns.to_ne_bytes());
        for part in what {
            hash.update((part.len() as u64).to_ne_bytes());
            hash.update(part);
        }
        let mut random = [0; 10];
        random.copy_from_slice(&hash.finalize()[..10]);
        let millis = epoch_ms.saturating_add(time_ns / 1_000_000);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

impl Default for AlertId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for AlertId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for AlertId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AlertId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Uuid::parse_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

// === impl AlertAction ===

impl AlertAction {
    /// Nothing was done.
    pub const NONE: Self = Self {
        taken: Action::None,
        confirmed: false,
        error: None,
    };

    /// The operation was refused, which the hook itself makes certain.
    pub const DENIED: Self = Self {
        taken: Action::Denied,
        confirmed: true,
        error: None,
    };

    /// A kill was sent; that the process died is not known yet.
    pub const KILL_SENT: Self = Self {
        taken: Action::Killed,
        confirmed: false,
        error: None,
    };

    /// A kill was due and failed with this message: nothing was done.
    #[must_use]
    pub fn failed(error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::NONE
        }
    }
}

/// A device number of the kernel's internal encoding as `major:minor`.
#[must_use]
pub fn device_text(device: u32) -> String {
    format!("{}:{}", device >> 20, device & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::example;

    #[test]
    fn is_one_line_with_fields_in_order() {
        let mut alert = example::alert("2026-03-01T12:00:00.5Z".parse().expect("a date"));
        alert.id = AlertId(Uuid::from_u128(7));
        let line = alert.to_line();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert!(line.bytes().all(|byte| byte == b'\n' || byte >= b' '), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("json");
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).expect("json"));
        assert_eq!(serde_json::from_str::<Alert>(&line).expect("read back"), alert);
    }

    #[test]
    fn a_library_reads_back() {
        let mut alert = example::library(Time::now());
        let again = |alert: &Alert| serde_json::from_str::<Alert>(&alert.to_line()).expect("read back");
        assert_eq!(again(&alert), alert);
        if let Some(file) = alert.behaviour.file_mut() {
            file.sha256 = Some("ab".repeat(32));
        }
        assert_eq!(again(&alert), alert);
    }

    #[test]
    fn files_and_capabilities_read_back() {
        for alert in [example::file_use(Time::now()), example::cap(Time::now())] {
            let again = serde_json::from_str::<Alert>(&alert.to_line()).expect("read back");
            assert_eq!(again, alert);
        }
    }

    #[test]
    fn leaving_a_cgroup_reads_back() {
        let mut alert = example::alert(Time::now());
        alert.kind = AlertKind::ExecLeftCgroup;
        alert.behaviour = AlertBehaviour::LeftCgroup(AlertLeftCgroup {
            destination: 1,
            destination_name: "user.slice".into(),
        });
        assert_eq!(
            serde_json::from_str::<Alert>(&alert.to_line()).expect("read back"),
            alert
        );
    }

    #[test]
    fn too_many_cgroups_read_back() {
        let mut alert = example::alert(Time::now());
        alert.kind = AlertKind::ExecCgroupLimit;
        alert.behaviour = AlertBehaviour::CgroupLimit(AlertCgroupLimit { entered_cgroups: 256 });
        assert_eq!(
            serde_json::from_str::<Alert>(&alert.to_line()).expect("read back"),
            alert
        );
    }

    #[test]
    fn ids_sort_by_time() {
        let (earlier, later) = (AlertId::new(), AlertId::new());
        assert!(earlier < later && earlier.to_string() < later.to_string());
    }

    #[test]
    fn devices_are_shown_as_the_system_shows_them() {
        assert_eq!(device_text(0x0010_0103), "1:259");
    }
}
