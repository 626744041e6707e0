//! Lite tier, before an execution: fanotify asks before a file of a container's image filesystem is opened for execution.
//!
//! A process of its own answers ([`process`]), so that neither a halted nor a busy agent delays anybody, and the agent looks
//! after it ([`supervisor`]). It decides from the kernel's maps ([`policy`]), as the kernel programs do, and refuses what is
//! drift and is enforced, scripts included. It tells the agent in the kernel programs' own records, and the agent tells
//! it which containers there are ([`protocol`]).
//!
//! On either tier it holds the runtimes' starts ([`hold`]), if the policy says so.
//!
//! Input: the pinned maps, and the containers that the agent names. Output: refusals, and records of them. Failure: whatever
//! keeps the process from answering ends it (by a timer of the kernel's if it cannot do so itself), whereupon the kernel lets
//! everything go on that waits; drift is then killed by the kernel program after its execution, as without this.

mod arguments;
mod caller;
mod channel;
mod file;
mod group;
mod hold;
mod policy;
mod process;
mod protocol;
mod record;
mod supervisor;

pub use process::{AnswerError, run};
pub use protocol::{Counts, Hold, HoldCounts, State, Told, Watch};
pub use supervisor::{Answering, Health};
