//! Files that are opened, created, renamed or linked.

use agent_common::file::{FileOperation, Layer};
use agent_common::hash::{self, HashKey};

use serde::{Deserialize, Serialize};

use crate::profile::pattern::PathPattern;
use crate::text::ByteText;

/// A use of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileBehaviour {
    /// Where the file is: what is written or created on the container's root filesystem is of the upper layer.
    pub layer: Layer,
    /// Which files.
    pub pattern: FilePattern,
    /// What was done with them.
    pub operation: FileOperation,
}

/// Which files a behaviour is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilePattern {
    /// The one at this path, as its layer defines it.
    Exact(ByteText),
    /// All that a rule holds for.
    Pattern(PathPattern),
}

impl FileBehaviour {
    /// The keyed hash that the kernel computes for this behaviour.
    #[must_use]
    pub fn hash(&self, key: HashKey) -> u64 {
        match &self.pattern {
            FilePattern::Exact(path) => hash::path(key, path.as_bytes(), None),
            FilePattern::Pattern(pattern) => pattern.pattern().hash(key),
        }
    }

    /// Whether a rule for this behaviour permits `other`: for a pattern, the files that it holds for.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_same_use = self.layer == other.layer && self.operation == other.operation;
        match (&self.pattern, &other.pattern) {
            (FilePattern::Pattern(pattern), FilePattern::Exact(path)) => {
                is_same_use && pattern.pattern().holds_for(path.as_bytes())
            }
            _ => self == other,
        }
    }
}

impl std::fmt::Display for FilePattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(path) => path.fmt(formatter),
            Self::Pattern(pattern) => pattern.fmt(formatter),
        }
    }
}

impl std::fmt::Display for FileBehaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.operation, self.layer, self.pattern)
    }
}
