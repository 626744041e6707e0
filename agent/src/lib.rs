//! Driftlock, as a library for its own binary and tests.

pub mod behaviour;
pub mod container;
pub mod event;
pub mod image;
pub mod kernel;
pub mod profile;
pub mod text;
