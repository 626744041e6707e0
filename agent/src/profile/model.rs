//! The profile of one role of one image, in memory.
//!
//! Purpose: the types of a profile and the questions that are asked of it. Input: rows of the store. Output: whether
//! a behaviour is held, and the rules for the kernel. Failure: what may never be learned or accepted is a
//! [`BehaviourError`] that says why.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::{Domain, Section};
use agent_common::file::{FileOperation, Layer};
use serde::{Deserialize, Serialize};

use super::behaviours::Behaviours;
use crate::behaviour::{Behaviour, FileBehaviour, FilePattern};
use crate::image::ImageDigest;
use crate::text::ByteText;

mod check;
mod counts;

pub use check::{BehaviourError, TextError, behaviours_max, check_acceptable, check_learnable, check_text};
pub use counts::{ObservationCounts, WindowCounts};

/// Longest path in a profile in bytes: `PATH_MAX` of Linux without its NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest component of a path, and longest applet, in bytes: `NAME_MAX` of Linux.
pub const NAME_BYTES_MAX: usize = 255;

/// Most bytes of an image reference and of an operator's note.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Most programs in one section of one profile. A container chooses the applets of a multi-call binary, and every
/// path where layers cannot be told, so a profile must end somewhere: what is new at the bound is not learned, which
/// the store says, and stays unknown.
pub const BEHAVIOURS_MAX: usize = 8192;
/// Most uses of files in one section of one profile; at the bound as for programs. Capabilities are few by nature.
pub const FILE_BEHAVIOURS_MAX: usize = 16_384;
/// Most contents that one profile accepts as drift. At the bound a new one is refused.
pub const DRIFT_MAX: usize = 1024;
/// Most windows that are counted: there are no more minutes.
pub const WINDOWS_MAX: u64 = (1 << 63) - 1;
/// Most references, and most manifests, that are kept for one image. Further ones are not recorded.
pub const REFERENCES_MAX: usize = 64;

/// What a container of an image is started as: the path of its entrypoint. One image can serve several roles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Role(ByteText);

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is the entrypoint's path: 1 to {PATH_BYTES_MAX} bytes without NUL")]
pub struct RoleError;

/// What a profile belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileKey {
    /// Digest of the image's config.
    pub digest: ImageDigest,
    /// Role within the image.
    pub role: Role,
}

/// SHA-256 of a file's content; as text, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// A text that is no content hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256: expected 64 lower-case hexadecimal digits")]
pub struct ContentHashError {
    /// What was to be read, cut to 100 characters.
    pub text: String,
}

/// How well a behaviour is supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Number of observation windows without losses in which it was seen. Zero for what was learned in the window
    /// that is still open, or was accepted without having been observed.
    pub windows: u64,
    /// Of a use of a file: how many windows the profile had when it was seen first, which tells those apart that came up at
    /// different times. Zero in other domains.
    pub first_window: u64,
    /// It came from the profile of the image before: what it names is the same in both. Whether it was seen since is told by
    /// `windows`.
    pub inherited: bool,
}

impl Evidence {
    /// Seen in that many windows, [`WINDOWS_MAX`] at most.
    #[must_use]
    pub const fn of_windows(windows: u64) -> Self {
        Self {
            windows: if windows > WINDOWS_MAX {
                WINDOWS_MAX
            } else {
                windows
            },
            first_window: 0,
            inherited: false,
        }
    }

    /// What a rule begins with that came from the profile of the image before: what was seen of that image counts for it alone.
    pub const INHERITED: Self = Self {
        windows: 0,
        first_window: 0,
        inherited: true,
    };
}

/// What came from outside into a running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecInEntry {
    /// How often it was seen.
    pub evidence: Evidence,
    /// An operator accepted it; before that it is a proposal, which permits nothing.
    pub accepted: bool,
}

/// The contents with which an operator accepted a file that did not come with the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedDrift {
    /// The contents; never empty.
    pub sha256: BTreeSet<ContentHash>,
    /// Why, in the operator's words; may be empty.
    pub note: String,
}

/// What is known of an image, whatever its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// References under which it was seen, as the runtime gave them.
    pub references: BTreeSet<String>,
    /// Digests of manifests that name its config.
    pub manifests: BTreeSet<ImageDigest>,
    /// Config digest of the image that its profiles were inherited from.
    pub descends_from: Option<ImageDigest>,
    /// It is no image: its profiles are provisional, and belong to the one container with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional_of: Option<String>,
}

/// Whether a profile was begun with what that of the image before held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Succession {
    /// It was begun empty, or imported.
    #[default]
    None,
    /// It was, and what did not change is judged as it was there, while what did is learned.
    Open,
    /// It was, and an operator has approved what it became.
    Closed,
}

/// What this node noted of an image, and no document says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOnNode {
    /// The higher, the later a container of it was seen, compared with other images; zero if none was.
    pub seen: u64,
    /// The directories that its layers were in, topmost first; empty if they were not found out.
    #[serde(default)]
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Its directory, as the agent saw it.
    pub directory: ByteText,
    /// The directory's inode number: another directory may have the name by now.
    pub inode: u64,
}

/// The profile of one role of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The profile's number in the kernel: above zero, kept across restarts and imports, never used again.
    pub id: u32,
    /// What it belongs to.
    pub key: ProfileKey,
    /// An operator has approved what it permits. Learning a behaviour of the container's own takes this back.
    pub approved: bool,
    /// It tells of scripts: it was begun where a script's own file is seen, not only its interpreter. Otherwise scripts are
    /// judged by their layer alone.
    pub scripts: bool,
    /// Whether it was begun on this node with what the profile of the image before held.
    pub succession: Succession,
    /// What it was learned from.
    pub counts: ObservationCounts,
    /// What the container's own processes did.
    pub main: Behaviours<Evidence>,
    /// What entered from outside did: proposals and what was accepted.
    pub exec_in: Behaviours<ExecInEntry>,
    /// What did not come with the image and was accepted, by layer and path.
    pub drift: BTreeMap<(Layer, ByteText), AcceptedDrift>,
}

/// Whether a profile holds a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It permits it.
    Yes,
    /// It was seen and proposed, and no operator has accepted it.
    ProposedOnly,
    /// It does not know it.
    No,
}

// === impl Role ===

impl Role {
    /// The role of containers whose entrypoint is `path`.
    pub fn new(path: ByteText) -> Result<Self, RoleError> {
        let bytes = path.as_bytes();
        if bytes.is_empty() || bytes.len() > PATH_BYTES_MAX || bytes.contains(&0) {
            return Err(RoleError);
        }
        Ok(Self(path))
    }

    /// The entrypoint's path.
    #[must_use]
    pub fn as_text(&self) -> &ByteText {
        &self.0
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(ByteText::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for ProfileKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.digest.short(), self.role)
    }
}

// === impl ContentHash ===

impl std::fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl std::str::FromStr for ContentHash {
    type Err = ContentHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let read = || {
            let mut hash = [0; 32];
            let (pairs, rest) = text.as_bytes().as_chunks::<2>();
            if pairs.len() != hash.len() || !rest.is_empty() {
                return None;
            }
            for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
                *byte = digit(*high)? << 4 | digit(*low)?;
            }
            Some(Self(hash))
        };
        read().ok_or_else(|| ContentHashError {
            text: text.chars().take(100).collect(),
        })
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

// === impl Profile ===

impl Profile {
    /// A profile that holds nothing.
    #[must_use]
    pub fn new(id: u32, key: ProfileKey) -> Self {
        Self {
            id,
            key,
            approved: false,
            scripts: false,
            succession: Succession::None,
            counts: ObservationCounts::default(),
            main: Behaviours::default(),
            exec_in: Behaviours::default(),
            drift: BTreeMap::new(),
        }
    }

    /// Whether it holds `behaviour` for processes of `section`. The sections do not speak for each other.
    #[must_use]
    pub fn holds(&self, section: Section, behaviour: &Behaviour) -> Holding {
        if self.permitting(section, behaviour).is_some() {
            Holding::Yes
        } else if self.contains(section, behaviour) {
            Holding::ProposedOnly
        } else {
            Holding::No
        }
    }

    /// The behaviour in `section` that permits `behaviour`: itself, or a rule for several paths that holds for its own.
    #[must_use]
    pub fn permitting(&self, section: Section, behaviour: &Behaviour) -> Option<Behaviour> {
        let is_itself = match section {
            Section::Main => self.main.contains_key(behaviour),
            Section::ExecIn => self.exec_in.get(behaviour).is_some_and(|entry| entry.accepted),
        };
        if is_itself {
            return Some(behaviour.clone());
        }
        let Behaviour::File(file) = behaviour else {
            return None;
        };
        let covers = |rule: &FileBehaviour| rule.covers(file);
        let rule = match section {
            Section::Main => {
                let mut patterns = self.main.patterns(file.layer);
                patterns.find(|(rule, _)| covers(rule)).map(|(rule, _)| rule)
            }
            Section::ExecIn => {
                let mut patterns = self
                    .exec_in
                    .patterns(file.layer)
                    .filter(|(_, entry)| entry.accepted);
                patterns.find(|(rule, _)| covers(rule)).map(|(rule, _)| rule)
            }
        };
        rule.map(Behaviour::File)
    }

    /// Of a rule for several paths: how many behaviours of `section` it holds for, and in how many windows those were seen
    /// together.
    #[must_use]
    pub fn support(&self, section: Section, rule: &FileBehaviour) -> (u64, u64) {
        let supports = |behaviour: &Behaviour| matches!(behaviour, Behaviour::File(file) if file != rule && rule.covers(file));
        let main = self.main.iter();
        let exec_in = self.exec_in.iter();
        let held: Box<dyn Iterator<Item = (Behaviour, Evidence)>> = match section {
            Section::Main => Box::new(main),
            Section::ExecIn => Box::new(exec_in.map(|(behaviour, entry)| (behaviour, entry.evidence))),
        };
        held.filter(|(behaviour, _)| supports(behaviour))
            .fold((0, 0), |(values, sum), (_, evidence)| {
                (values + 1, evidence.windows.saturating_add(sum))
            })
    }

    /// Whether an operator accepted the file at `path` of `layer` with this content.
    #[must_use]
    pub fn accepts_drift(&self, layer: Layer, path: &ByteText, content: &ContentHash) -> bool {
        self.drift
            .get(&(layer, path.clone()))
            .is_some_and(|accepted| accepted.sha256.contains(content))
    }

    /// Everything it permits by path alone: the rules for the kernel, in a fixed order.
    pub fn rules(&self) -> impl Iterator<Item = (Section, Behaviour)> {
        let main = self.main.keys().map(|behaviour| (Section::Main, behaviour));
        let exec_in = self
            .exec_in
            .iter()
            .filter(|(_, entry)| entry.accepted)
            .map(|(behaviour, _)| (Section::ExecIn, behaviour));
        main.chain(exec_in)
    }

    /// The paths of files of `layer` that the container's own processes used in this way, with their evidence.
    pub fn exact_files(
        &self,
        layer: Layer,
        operation: FileOperation,
    ) -> impl Iterator<Item = (ByteText, Evidence)> {
        self.main
            .iter()
            .filter_map(move |(behaviour, evidence)| match behaviour {
                Behaviour::File(FileBehaviour {
                    pattern: FilePattern::Exact(path),
                    layer: its_layer,
                    operation: its_operation,
                }) if (its_layer, its_operation) == (layer, operation) => Some((path, evidence)),
                _ => None,
            })
    }

    /// Whether it tells anything of `domain`: a container was observed in it, or an operator accepted something. If not, a
    /// behaviour that it does not hold may be as old as the image.
    #[must_use]
    pub fn tells_of(&self, domain: Domain) -> bool {
        self.counts.of(domain).instances > 0 || self.main.values_of(domain).next().is_some()
    }

    /// Whether it follows the profile of an image before, and what changed since is still learned.
    #[must_use]
    pub fn learns_changes(&self) -> bool {
        self.succession == Succession::Open
    }

    /// Number of its rules that came from the profile of the image before.
    #[must_use]
    pub fn inherited(&self) -> usize {
        let main = self.main.iter().filter(|(_, evidence)| evidence.inherited);
        let exec_in = self.exec_in.iter().filter(|(_, entry)| entry.evidence.inherited);
        main.count() + exec_in.count()
    }

    /// Whether any of its rules is for more than one path.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        Layer::ALL.iter().any(|layer| {
            let accepted = |(_, entry): (_, ExecInEntry)| entry.accepted;
            self.main.patterns(*layer).next().is_some() || self.exec_in.patterns(*layer).any(accepted)
        })
    }

    /// Whether `section` has `behaviour`, be it as a proposal.
    #[must_use]
    pub fn contains(&self, section: Section, behaviour: &Behaviour) -> bool {
        match section {
            Section::Main => self.main.contains_key(behaviour),
            Section::ExecIn => self.exec_in.contains_key(behaviour),
        }
    }

    /// Number of behaviours of `domain` in `section`, proposals included.
    #[must_use]
    pub fn len(&self, section: Section, domain: Domain) -> usize {
        match section {
            Section::Main => self.main.values_of(domain).count(),
            Section::ExecIn => self.exec_in.values_of(domain).count(),
        }
    }

    /// Lets it take no more memory than it needs: what grew one by one leaves room.
    pub fn compact(&mut self) {
        self.main.compact();
        self.exec_in.compact();
    }

    /// Whether it holds nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.main.is_empty() && self.exec_in.is_empty() && self.drift.is_empty()
    }
}

#[cfg(test)]
mod tests;
