//! Files that are opened, created, renamed or linked.

use agent_common::file::{FileOperation, Layer};
use agent_common::hash::{self, HashKey};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilePattern {
    /// The one at this path, as its layer defines it.
    Exact(ByteText),
}

impl FileBehaviour {
    /// The keyed hash that the kernel computes for this behaviour.
    #[must_use]
    pub fn hash(&self, key: HashKey) -> u64 {
        match &self.pattern {
            FilePattern::Exact(path) => hash::path(key, path.as_bytes(), None),
        }
    }
}

impl FilePattern {
    /// The path, or the text that stands for several.
    #[must_use]
    pub fn text(&self) -> &ByteText {
        match self {
            Self::Exact(path) => path,
        }
    }
}

impl std::fmt::Display for FileBehaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} {} {}",
            self.operation,
            self.layer,
            self.pattern.text()
        )
    }
}
