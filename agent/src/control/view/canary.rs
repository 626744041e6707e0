//! The canary, in `driftlock status`.

use serde::{Deserialize, Serialize};

use crate::canary::attempt::CanaryResult;
use crate::kernel::tier::Exec;

/// How the canary is doing, since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryView {
    /// Seconds from one try to the next; 0: there is no canary.
    pub interval_s: u64,
    /// Tries that were caught in time, and stopped as well as was proved at the start.
    pub caught: u64,
    /// Tries that were caught in time and not stopped as well as was proved.
    pub not_stopped: u64,
    /// Tries that were not caught in time.
    pub missed: u64,
    /// Tries that could not be made, or of which it is not known what became of them.
    pub failed: u64,
    /// Seconds since the last one that was caught; where none was, since the canary began.
    pub caught_ago_s: u64,
    /// The last one; null where there was none yet.
    pub last: Option<CanaryTryView>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryTryView {
    /// `caught`, `not_stopped`, `missed` or `failed`.
    pub result: CanaryResult,
    /// What became of its program: `denied`, `killed` or `ran`; null if nobody knows.
    pub program: Option<Exec>,
    /// Microseconds from the hook until its record was decided about; null if that was not in time.
    pub from_hook_us: Option<u64>,
    /// Microseconds from the start of the try until then.
    pub from_start_us: Option<u64>,
    /// Why it was not caught.
    pub reason: Option<String>,
    /// How many seconds ago it began.
    pub ago_s: u64,
}
