//! The agent gives up what it does not need: capabilities, new privileges, and most system calls.
//!
//! Input: the configuration (`confine`), and whether a process answers before executions. Output: the kernel refuses this process, and those
//! that it starts, what it gave up; [`State`] says what holds, as the kernel tells it. Failure: [`ConfineError`], which ends the agent's start:
//! an agent that is to be confined and is not would say nothing of it until it is too late.
//!
//! In two steps ([ADR 31](../../../docs/adr/0031-the-agent-confines-itself.md)): [`before_threads`] while there is one thread, before
//! anything that others wrote is read; [`after_start`] for all threads, once everything is loaded and attached.

mod calls;
mod capabilities;
mod state;

pub use state::{State, state};

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use crate::kernel::confine as kernel;

/// What cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A step failed.
    #[error(
        "the agent cannot confine itself: cannot {operation}: {source} (`confine: false` in the configuration does without)"
    )]
    Step {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The list of system calls makes no filter.
    #[error("the agent cannot confine itself: the filter of system calls cannot be made")]
    Filter(#[from] seccompiler::BackendError),
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> ConfineError {
    move |source| ConfineError::Step { operation, source }
}

/// The first step, to be taken while the process has one thread: keeps what starting takes, and rules new privileges out.
pub fn before_threads() -> Result<(), ConfineError> {
    lift_memory_limit();
    capabilities::limit_bounding_set(capabilities::STARTING)
        .map_err(failed("limit the capabilities of what it starts"))?;
    kernel::keep(capabilities::STARTING).map_err(failed("drop capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("rule out new privileges")(error.into()))
}

/// The second step: keeps what running takes, in every thread, and lets no other system calls through than those of the list. `answers`: a
/// process answers before executions, or will, which takes what nothing else takes.
pub fn after_start(answers: bool) -> Result<(), ConfineError> {
    let (quiet, filter) = (calls::quiet_filter()?, calls::filter()?);
    let kept = capabilities::running(answers).map_err(failed("ask for its capabilities"))?;
    kernel::keep_in_every_thread(kept).map_err(failed("drop capabilities in every thread"))?;
    kernel::filter_every_thread(&quiet, false).map_err(failed("filter its system calls"))?;
    kernel::filter_every_thread(&filter, true).map_err(failed("filter its system calls"))
}

/// Both steps at once, for a process with one thread that needs no capability at all.
pub fn entirely() -> Result<(), ConfineError> {
    let (quiet, filter) = (calls::quiet_filter()?, calls::filter()?);
    capabilities::limit_bounding_set(CapabilitySet::empty())
        .map_err(failed("limit the capabilities of what it starts"))?;
    kernel::keep(CapabilitySet::empty()).map_err(failed("drop capabilities"))?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| failed("rule out new privileges")(error.into()))?;
    kernel::filter_every_thread(&quiet, false).map_err(failed("filter its system calls"))?;
    kernel::filter_every_thread(&filter, true).map_err(failed("filter its system calls"))
}

/// Lifts the limit of locked memory, by which Linux before 5.11 counts maps. Where it may not be lifted the kernel says so at a map that is
/// too large.
fn lift_memory_limit() {
    let now = getrlimit(Resource::Memlock);
    if now.current.is_none() {
        return;
    }
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let most = Rlimit {
            current: now.maximum,
            ..now
        };
        // As much as it may.
        let _ = setrlimit(Resource::Memlock, most);
    }
}
