//! The document as it is written: field names, order of fields, what may be left out.
//!
//! Purpose: the types that serde and the published schema see. Every struct refuses fields that it does not know.
//! Lists hold places ([`Spanned`]), so that what is wrong with an entry can be told with its line and column.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::{Location, Spanned};

use crate::behaviour::Capability;
use crate::image::ImageDigest;
use crate::profile::model::{ContentHash, ObservationCounts, Role, WindowCounts};
use crate::profile::pattern::PathPattern;
use crate::text::ByteText;

/// Version of the document's format.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) enum ApiVersion {
    /// The first.
    #[serde(rename = "driftlock/v1")]
    V1,
}

/// What the document describes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) enum Kind {
    /// What one image does.
    ImageProfile,
}

/// What one image does, by role.
///
/// Paths, applets and roles are bytes: what is not printable UTF-8 is written as `\xNN`, a backslash as `\\`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "ImageProfile"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    /// Version of the document's format.
    pub(super) api_version: ApiVersion,
    /// What the document describes.
    pub(super) kind: Kind,
    /// The image.
    pub(super) image: Image,
    /// Config digest of the image that these profiles were inherited from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<super::schema::Digest>"))]
    pub(super) descends_from: Option<ImageDigest>,
    /// The image's profiles, one for each entrypoint it is started with.
    #[cfg_attr(test, schemars(with = "Vec<RoleEntry>"))]
    pub(super) roles: Vec<Spanned<RoleEntry>>,
}

/// The image.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Image {
    /// Digest of the image's config: its identity.
    #[cfg_attr(test, schemars(with = "super::schema::Digest"))]
    pub(super) digest: ImageDigest,
    /// Digests of manifests that name the config.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<super::schema::Digest>"))]
    pub(super) manifests: Vec<Spanned<ImageDigest>>,
    /// References under which the image was seen.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) references: Vec<Spanned<String>>,
}

/// The profile of one role.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Role"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RoleEntry {
    /// Path of the entrypoint.
    #[cfg_attr(test, schemars(with = "super::schema::RolePath"))]
    pub(super) role: Role,
    /// An operator has approved what the profile permits.
    #[serde(default)]
    pub(super) approved: bool,
    /// The profile tells of scripts too: those of the image that it does not hold depart from it. Without this, a script is
    /// judged by where its file came from alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) scripts: bool,
    /// Programs that the container's own processes may execute.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<ExecEntry>"))]
    pub(super) exec: Vec<Spanned<ExecEntry>>,
    /// Files that the container's own processes may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<FileEntry>"))]
    pub(super) files: Vec<Spanned<FileEntry>>,
    /// Capabilities that the container's own processes may use, and those they may be refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<CapEntry>"))]
    pub(super) capabilities: Vec<Spanned<CapEntry>>,
    /// System calls that the container's own processes may make, and those that the runtime makes before the program starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<SyscallEntry>"))]
    pub(super) system_calls: Vec<Spanned<SyscallEntry>>,
    /// Programs that processes from outside executed in a running container.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<ExecInEntry>"))]
    pub(super) exec_in: Vec<Spanned<ExecInEntry>>,
    /// Files that processes from outside used in a running container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<FileInEntry>"))]
    pub(super) files_in: Vec<Spanned<FileInEntry>>,
    /// Capabilities that processes from outside used in a running container, or were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<CapInEntry>"))]
    pub(super) capabilities_in: Vec<Spanned<CapInEntry>>,
    /// System calls that processes from outside made in a running container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<SyscallInEntry>"))]
    pub(super) system_calls_in: Vec<Spanned<SyscallInEntry>>,
    /// Files that did not come with the image and may run while they have this content.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<DriftEntry>"))]
    pub(super) accepted_drift: Vec<Spanned<DriftEntry>>,
    /// What the profile was learned from.
    #[serde(default)]
    pub(super) observation: Observation,
}

/// A program.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Exec"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExecEntry {
    /// Where its file came from.
    pub(super) layer: LearnedLayer,
    /// Path of its file.
    #[cfg_attr(test, schemars(with = "super::schema::FilePath"))]
    pub(super) path: ByteText,
    /// For a multi-call binary, the name it is invoked as.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) applet: Option<ByteText>,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
}

/// A program that a process from outside executed.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "ExecIn"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExecInEntry {
    /// Where its file came from.
    pub(super) layer: LearnedLayer,
    /// Path of its file.
    #[cfg_attr(test, schemars(with = "super::schema::FilePath"))]
    pub(super) path: ByteText,
    /// For a multi-call binary, the name it is invoked as.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) applet: Option<ByteText>,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
    /// It is permitted; otherwise it is a proposal.
    pub(super) accepted: bool,
}

/// A use of a file.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "File"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Where the file is.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::AnyLayer"))]
    pub(super) layer: Layer,
    /// Its path; either this or `pattern` is given.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "super::schema::FilePath"))]
    pub(super) path: Option<ByteText>,
    /// A rule for more than one path.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "super::schema::Pattern"))]
    pub(super) pattern: Option<PathPattern>,
    /// What is done with it.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Operation"))]
    pub(super) operation: FileOperation,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
    /// How many observation windows the profile had when it was seen first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) first_window: u64,
}

/// A use of a file by a process from outside.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "FileIn"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileInEntry {
    /// Where the file is.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::AnyLayer"))]
    pub(super) layer: Layer,
    /// Its path; either this or `pattern` is given.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "super::schema::FilePath"))]
    pub(super) path: Option<ByteText>,
    /// A rule for more than one path.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "super::schema::Pattern"))]
    pub(super) pattern: Option<PathPattern>,
    /// What is done with it.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Operation"))]
    pub(super) operation: FileOperation,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
    /// How many observation windows the profile had when it was seen first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) first_window: u64,
    /// It is permitted; otherwise it is a proposal.
    pub(super) accepted: bool,
}

/// A use of a capability.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Capability"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CapEntry {
    /// Its name.
    #[cfg_attr(test, schemars(with = "super::schema::CapabilityName"))]
    pub(super) capability: Capability,
    /// The user namespace that it is for: the node's first one, or another.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Namespace"))]
    pub(super) namespace: UserNamespace,
    /// What the kernel answers.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Outcome"))]
    pub(super) outcome: CapOutcome,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
}

/// A use of a capability by a process from outside.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "CapabilityIn"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CapInEntry {
    /// Its name.
    #[cfg_attr(test, schemars(with = "super::schema::CapabilityName"))]
    pub(super) capability: Capability,
    /// The user namespace that it is for: the node's first one, or another.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Namespace"))]
    pub(super) namespace: UserNamespace,
    /// What the kernel answers.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Outcome"))]
    pub(super) outcome: CapOutcome,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
    /// It is permitted; otherwise it is a proposal.
    pub(super) accepted: bool,
}

/// A system call.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "SystemCall"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SyscallEntry {
    /// Its name; `syscall_` and the number of one that is newer than this version.
    #[cfg_attr(test, schemars(with = "super::schema::SyscallName"))]
    pub(super) name: String,
    /// The interface by which it is made.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Abi"))]
    pub(super) abi: SyscallAbi,
    /// Who makes it.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Phase"))]
    pub(super) phase: SyscallPhase,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
}

/// A system call of a process from outside.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "SystemCallIn"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SyscallInEntry {
    /// Its name; `syscall_` and the number of one that is newer than this version.
    #[cfg_attr(test, schemars(with = "super::schema::SyscallName"))]
    pub(super) name: String,
    /// The interface by which it is made.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Abi"))]
    pub(super) abi: SyscallAbi,
    /// Who makes it.
    #[serde(with = "crate::tag")]
    #[cfg_attr(test, schemars(with = "super::schema::Phase"))]
    pub(super) phase: SyscallPhase,
    /// Number of observation windows in which it was seen.
    #[serde(default)]
    pub(super) windows: u64,
    /// It came from the profile of the image before, where what it names is the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) inherited: bool,
    /// It is permitted; otherwise it is a proposal.
    pub(super) accepted: bool,
}

/// A file that did not come with the image.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "AcceptedDrift"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DriftEntry {
    /// Where the file is.
    pub(super) layer: DriftLayer,
    /// Its path.
    #[cfg_attr(test, schemars(with = "super::schema::FilePath"))]
    pub(super) path: ByteText,
    /// SHA-256 of each content that is accepted.
    #[cfg_attr(test, schemars(with = "Vec<super::schema::Sha256>", length(min = 1)))]
    pub(super) sha256: Vec<Spanned<ContentHash>>,
    /// Why it was accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) note: String,
}

/// Layers of which behaviour is learned.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum LearnedLayer {
    /// The file came with the image.
    Image,
    /// The container's root filesystem has no layers.
    Unknown,
}

/// Layers whose files can be accepted by path and content.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum DriftLayer {
    /// Written since the container started.
    Upper,
    /// On a volume.
    Volume,
}

/// What a profile was learned from.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Observation {
    /// For programs: observation windows without a lost record: one container, one minute.
    pub(super) windows: u64,
    /// For programs: observation windows in which records were lost.
    pub(super) lost_windows: u64,
    /// Container instances.
    pub(super) instances: u64,
    /// For programs: records that were lost.
    pub(super) lost_records: u64,
    /// For programs: container instances that were observed from their first program on.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) starts: u64,
    /// For programs: container instances whose end was observed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) ends: u64,
    /// The same for files.
    #[serde(skip_serializing_if = "Observed::is_none")]
    pub(super) files: Observed,
    /// The same for capabilities.
    #[serde(skip_serializing_if = "Observed::is_none")]
    pub(super) capabilities: Observed,
    /// The same for system calls.
    #[serde(skip_serializing_if = "Observed::is_none")]
    pub(super) system_calls: Observed,
}

/// What was observed of one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Observed {
    /// Container instances.
    pub(super) instances: u64,
    /// Observation windows without a lost record: one container, one minute.
    pub(super) windows: u64,
    /// Observation windows in which records were lost.
    pub(super) lost_windows: u64,
    /// Records that were lost.
    pub(super) lost_records: u64,
    /// Container instances that were observed from their first program on.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) starts: u64,
    /// Container instances whose end was observed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) ends: u64,
}

/// A value without a place, to be written.
pub(super) fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Reads a field that may be missing but not null: `null` and `~` are names that a container can choose.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl From<LearnedLayer> for Layer {
    fn from(layer: LearnedLayer) -> Self {
        match layer {
            LearnedLayer::Image => Self::Image,
            LearnedLayer::Unknown => Self::Unknown,
        }
    }
}

impl From<DriftLayer> for Layer {
    fn from(layer: DriftLayer) -> Self {
        match layer {
            DriftLayer::Upper => Self::Upper,
            DriftLayer::Volume => Self::Volume,
        }
    }
}

impl LearnedLayer {
    /// `None` for a layer of which nothing is learned.
    pub(super) fn of(layer: Layer) -> Option<Self> {
        match layer {
            Layer::Image => Some(Self::Image),
            Layer::Unknown => Some(Self::Unknown),
            Layer::Upper | Layer::Volume | Layer::Foreign | Layer::Anonymous => None,
        }
    }
}

impl DriftLayer {
    /// `None` for a layer whose files cannot be accepted.
    pub(super) fn of(layer: Layer) -> Option<Self> {
        match layer {
            Layer::Upper => Some(Self::Upper),
            Layer::Volume => Some(Self::Volume),
            Layer::Unknown | Layer::Image | Layer::Foreign | Layer::Anonymous => None,
        }
    }
}

impl Observed {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<WindowCounts> for Observed {
    fn from(counts: WindowCounts) -> Self {
        Self {
            instances: counts.instances,
            windows: counts.windows,
            lost_windows: counts.lost_windows,
            lost_records: counts.lost_records,
            starts: counts.starts,
            ends: counts.ends,
        }
    }
}

impl From<Observed> for WindowCounts {
    fn from(windows: Observed) -> Self {
        Self {
            instances: windows.instances,
            windows: windows.windows,
            lost_windows: windows.lost_windows,
            lost_records: windows.lost_records,
            starts: windows.starts,
            ends: windows.ends,
        }
    }
}

impl From<ObservationCounts> for Observation {
    fn from(counts: ObservationCounts) -> Self {
        Self {
            windows: counts.exec.windows,
            lost_windows: counts.exec.lost_windows,
            instances: counts.exec.instances,
            lost_records: counts.exec.lost_records,
            starts: counts.exec.starts,
            ends: counts.exec.ends,
            files: counts.file.into(),
            capabilities: counts.cap.into(),
            system_calls: counts.syscall.into(),
        }
    }
}

impl From<Observation> for ObservationCounts {
    fn from(observation: Observation) -> Self {
        Self {
            exec: WindowCounts {
                instances: observation.instances,
                windows: observation.windows,
                lost_windows: observation.lost_windows,
                lost_records: observation.lost_records,
                starts: observation.starts,
                ends: observation.ends,
            },
            file: observation.files.into(),
            cap: observation.capabilities.into(),
            syscall: observation.system_calls.into(),
        }
    }
}
