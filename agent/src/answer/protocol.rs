//! What the agent and the answering process say to each other, one message at a time.
//!
//! The agent's words are JSON. The process tells of executions in the kernel programs' own records, and all else as JSON;
//! the first byte says which. Failure: what cannot be read is an error: both ends are the same binary.

use std::path::PathBuf;
use std::time::Duration;

use agent_common::record::exec::ExecRecord;
use serde::{Deserialize, Serialize};

use crate::text::ByteText;

/// Longest message in bytes. A container with more layers than fit is not watched, which is told.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Answer for this container from now on.
    Watch(Watch),
    /// Hold the runtimes' starts from now on.
    Hold(Hold),
    /// The container is gone.
    Forget {
        /// Its cgroup id.
        container: u64,
    },
}

/// A container to answer for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Its cgroup id, the key of `CONTAINERS`.
    pub container: u64,
    /// A process whose root is the container's.
    pub pid: u32,
    /// `s_dev` of the root filesystem in the kernel's internal encoding.
    pub device: u32,
    /// `hierarchy_id` of the hierarchy that cgroup ids come from; 0 for v2.
    pub hierarchy: u32,
    /// The container's cgroup in that hierarchy.
    pub cgroup: ByteText,
    /// The upper directory, as the agent sees it.
    pub upper: ByteText,
    /// The lower directories, topmost first.
    pub lowers: Vec<ByteText>,
}

/// How the runtimes' starts are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// For how long at most, in milliseconds.
    pub at_most_ms: u64,
    /// What was held for so long is refused; else it goes on.
    pub refuse: bool,
    /// The runtimes' programs; looked for in the usual places if empty.
    pub programs: Vec<PathBuf>,
}

/// What the answering process says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An execution that was refused, or a script that was let through: the bytes of an [`ExecRecord`].
    Record(Vec<u8>),
    /// Anything else.
    State(State),
}

/// What the answering process says of itself and its containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers from now on.
    Ready,
    /// It cannot answer, and ends.
    Failed {
        /// Why.
        reason: String,
    },
    /// It answers for this container.
    Watching {
        /// Its cgroup id.
        container: u64,
    },
    /// It cannot answer for this container.
    NotWatching {
        /// Its cgroup id.
        container: u64,
        /// Why.
        reason: String,
    },
    /// What became of the runtimes' starts since this process began.
    Holds(HoldCounts),
    /// What became of a container's executions since it is watched by this process.
    Counts {
        /// Its cgroup id.
        container: u64,
        /// The counts.
        counts: Counts,
    },
}

/// What became of a container's executions. Only ever incremented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Executions that were asked about.
    pub asked: u64,
    /// Executions that were refused.
    pub denied: u64,
    /// Records that were made and did not get lost.
    pub reported: u64,
    /// Records that found no room on their way to the agent.
    pub lost: u64,
    /// Records that were not made because the container's quota was used up.
    pub over_quota: u64,
}

/// What became of the runtimes' starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldCounts {
    /// The programs that are asked about, by their paths on the host.
    pub programs: Vec<PathBuf>,
    /// Starts that had to wait.
    pub held: u64,
    /// Of these, the ones that waited for as long as they may.
    pub at_bound: u64,
    /// The longest that one waited, in milliseconds.
    pub longest_ms: u64,
}

/// A message makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtocolError {
    /// It is empty or begins with a byte that means nothing.
    #[error("a message of no known kind")]
    Kind,
    /// It is no such JSON.
    #[error("a message that cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is longer than may be sent.
    #[error("a message of {0} bytes, more than {MESSAGE_BYTES}")]
    TooLong(usize),
}

const RECORD: u8 = b'r';
const STATE: u8 = b's';

// === impl Request ===

impl Request {
    pub(super) fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        bounded(serde_json::to_vec(self)?)
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, ProtocolError> {
        Ok(serde_json::from_slice(message)?)
    }
}

// === impl Hold ===

impl Hold {
    /// For how long a start is held at most.
    #[must_use]
    pub fn at_most(&self) -> Duration {
        Duration::from_millis(self.at_most_ms)
    }
}

// === impl HoldCounts ===

impl HoldCounts {
    /// Adds those of an earlier process; the programs are this one's.
    pub fn add(&mut self, earlier: &Self) {
        self.held += earlier.held;
        self.at_bound += earlier.at_bound;
        self.longest_ms = self.longest_ms.max(earlier.longest_ms);
    }
}

// === impl Told ===

impl Told {
    pub(super) fn of_record(record: &ExecRecord) -> Self {
        Self::Record(bytemuck::bytes_of(record).to_vec())
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        bounded(match self {
            Self::Record(bytes) => [&[RECORD], bytes.as_slice()].concat(),
            Self::State(state) => [vec![STATE], serde_json::to_vec(state)?].concat(),
        })
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, ProtocolError> {
        match message.split_first() {
            Some((&RECORD, bytes)) => Ok(Self::Record(bytes.to_vec())),
            Some((&STATE, json)) => Ok(Self::State(serde_json::from_slice(json)?)),
            _ => Err(ProtocolError::Kind),
        }
    }
}

fn bounded(message: Vec<u8>) -> Result<Vec<u8>, ProtocolError> {
    if message.len() > MESSAGE_BYTES {
        return Err(ProtocolError::TooLong(message.len()));
    }
    Ok(message)
}

// === impl Counts ===

impl Counts {
    /// Adds those of another process.
    pub fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.denied += other.denied;
        self.reported += other.reported;
        self.lost += other.lost;
        self.over_quota += other.over_quota;
    }

    /// Records that did not reach the agent, whatever the cause.
    #[must_use]
    pub fn all_lost(self) -> u64 {
        self.lost + self.over_quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(layers: usize) -> Request {
        Request::Watch(Watch {
            container: 1,
            pid: 2,
            device: 3,
            hierarchy: 0,
            cgroup: "/docker/1".into(),
            upper: ByteText::from(b"/data/\xff/diff".as_slice()),
            lowers: vec!["/data/lower/diff".into(); layers],
        })
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let request = watch(3);
        let heard = Request::decode(&request.encode().expect("short")).expect("readable");
        assert_eq!(heard, request);
        let counts = Counts {
            asked: 1,
            denied: 2,
            reported: 5,
            lost: 3,
            over_quota: 4,
        };
        for told in [
            Told::Record(vec![1, 2, 3]),
            Told::State(State::Ready),
            Told::State(State::Counts { container: 1, counts }),
        ] {
            let heard = Told::decode(&told.encode().expect("short")).expect("readable");
            assert_eq!(heard, told);
        }
    }

    #[test]
    fn what_is_too_long_or_meaningless_is_refused() {
        assert!(matches!(watch(5_000).encode(), Err(ProtocolError::TooLong(_))));
        assert!(matches!(Told::decode(b""), Err(ProtocolError::Kind)));
        assert!(matches!(Told::decode(b"x"), Err(ProtocolError::Kind)));
        assert!(matches!(Told::decode(b"s{}"), Err(ProtocolError::Json(_))));
    }
}
