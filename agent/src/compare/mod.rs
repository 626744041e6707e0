//! Comparing, one module per domain: what was done, with what the profile holds. Pure.
//!
//! Input: an event and the profile of its container, if it is known. Output: a [`Comparison`]. Failure: none.

pub mod exec;
mod library;

use crate::behaviour::ExecBehaviour;
use crate::event::{UseEvent, Used};
use crate::profile::model::Profile;

/// What came of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The profile holds it by now: it may have been learned since the hook looked.
    Conforms(ExecBehaviour),
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
    pub learnable: Option<ExecBehaviour>,
}

/// Compares one event with `profile`; `None` for a container whose profile is not known yet.
#[must_use]
pub fn compare(event: &UseEvent, profile: Option<&Profile>) -> Comparison {
    match &event.used {
        Used::Exec(exec) => exec::compare(event, exec, profile),
        Used::Library(_) => library::compare(),
    }
}
