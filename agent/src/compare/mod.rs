//! Comparing, one module per domain: what was done, with what the profile holds. Pure.
//!
//! Input: an event and the profile of its container, if it is known. Output: a [`Comparison`]. Failure: none.

mod cap;
pub mod exec;
pub mod file;
mod library;
mod syscall;

use agent_common::domain::Section;
use agent_common::rule::Action;

use crate::behaviour::Behaviour;
use crate::event::{UseEvent, Used};
use crate::profile::model::Profile;

/// What came of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The profile permits it by now, by this behaviour: it may have been learned since the hook looked.
    Conforms(Behaviour),
    /// It departs.
    Departs(Deviation),
}

/// How a behaviour departs from the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviationKind {
    /// It did not come with the image.
    Drift,
    /// One of the container's own processes did what the profile does not hold.
    Unknown,
    /// What entered from outside did what the profile does not hold as accepted.
    Entered,
}

/// A behaviour that departs from the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// How.
    pub kind: DeviationKind,
    /// What could be learned: `None` for drift, and where path or applet are not known in full.
    pub learnable: Option<Behaviour>,
}

/// Compares one event with `profile`; `None` for a container whose profile is not known yet.
#[must_use]
pub fn compare(event: &UseEvent, profile: Option<&Profile>) -> Comparison {
    match &event.used {
        Used::Exec(exec) => exec::compare(event, exec, profile),
        Used::Library(_) => library::compare(),
        Used::File(file) => file::compare(event, file, profile),
        Used::Cap(cap) => cap::compare(event, cap, profile),
        Used::Syscall(call) => syscall::compare(event, call, profile),
    }
}

/// Compares a behaviour of which a profile can tell. `is_whole`: all of it is known, so that it can be learned.
fn with_profile(
    event: &UseEvent,
    behaviour: Behaviour,
    is_whole: bool,
    profile: Option<&Profile>,
) -> Comparison {
    let permitting = profile
        .filter(|_| is_whole)
        .and_then(|profile| profile.permitting(event.section, &behaviour));
    // What the kernel acted on is told whatever the profile says by now.
    if let Some(permitting) = permitting
        && event.action == Action::None
        && event.action_error.is_none()
    {
        return Comparison::Conforms(permitting);
    }
    Comparison::Departs(Deviation {
        kind: match event.section {
            Section::Main => DeviationKind::Unknown,
            Section::ExecIn => DeviationKind::Entered,
        },
        learnable: is_whole.then_some(behaviour),
    })
}
