//! Profiles: what each image does, by role.
//!
//! Purpose: hold, learn, persist, exchange and find profiles, and the modes that say what they are used for.
//! Input: behaviours that the engine has observed, an operator's words, profile documents. Output: profiles whose
//! rules the publisher puts into the kernel, and documents. Nothing here knows a kernel map, a task or a clock.
//! Failure: every mutation is on disk before it can be seen; one that fails changes nothing.

pub mod annotation;
pub mod behaviours;
pub mod completeness;
pub mod coverage;
pub mod diff;
pub mod document;
pub mod generalise;
pub mod inherit;
pub mod mode;
pub mod model;
mod packed;
pub mod pattern;
pub mod reference;
mod rows;
pub mod selector;
pub mod signed;
pub mod store;

pub use behaviours::Behaviours;
pub use document::{DocumentError, ProfileDocument, RoleProfile};
pub use mode::{ExecInto, ModeSource, PolicyTable, Scope};
pub use model::{
    AcceptedDrift, BehaviourError, ContentHash, Evidence, ExecInEntry, Holding, ImageLayer, ImageOnNode,
    ImageRecord, ObservationCounts, Profile, ProfileKey, Role, Succession, WindowCounts,
};
pub use pattern::{PathPattern, PatternProblem, PatternTextError};
pub use selector::{SelectError, Selector};
pub use signed::SignedDocument;
pub use store::{EvidenceGain, ImportSummary, Learned, Observation, ProfileStore, StoreError};
