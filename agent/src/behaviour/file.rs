//! Files that are opened, created, renamed or linked.

use agent_common::file::{FileOperation, Layer};
use agent_common::hash::{self, HashKey};
use agent_common::normal_form::{Form, Pattern};

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

impl FilePattern {
    /// What stands for a path that was used. That is the path itself, except for the files of a process or thread in `/proc`: their
    /// numbers are given anew each time, and mean nothing to a profile.
    #[must_use]
    pub fn of(layer: Layer, path: ByteText) -> Self {
        if layer == Layer::Volume && is_of_process(path.as_bytes()) {
            let form = Form::of_path(path.as_bytes());
            if let Ok(pattern) = Pattern::form(form) {
                return Self::Pattern(pattern.into());
            }
        }
        Self::Exact(path)
    }
}

impl FilePattern {
    /// Whether it is about the file at `path`.
    #[must_use]
    pub fn holds_for(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(own) => own.as_bytes() == path,
            Self::Pattern(pattern) => pattern.pattern().holds_for(path),
        }
    }
}

/// Whether it is `/proc/NUMBER`, or below that.
fn is_of_process(path: &[u8]) -> bool {
    let number = path
        .strip_prefix(b"/proc/")
        .and_then(|rest| rest.split(|byte| *byte == b'/').next());
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_no_part_of_a_profile() {
        let of = |layer, path: &str| FilePattern::of(layer, path.into()).to_string();
        assert_eq!(of(Layer::Volume, "/proc/12/maps"), "/proc/{decimal}/maps");
        assert_eq!(
            of(Layer::Volume, "/proc/12/task/13/stat"),
            "/proc/{decimal}/task/{decimal}/stat"
        );
        assert_eq!(of(Layer::Volume, "/proc/sys/kernel/1"), "/proc/sys/kernel/1");
        assert_eq!(of(Layer::Volume, "/proc/meminfo"), "/proc/meminfo");
        assert_eq!(of(Layer::Volume, "/data/12/x"), "/data/12/x");
        assert_eq!(of(Layer::Upper, "/proc/12/maps"), "/proc/12/maps");
    }
}
