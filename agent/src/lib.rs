//! Driftlock, as a library for its own binary and tests.

pub mod alert;
pub mod behaviour;
pub mod cli;
pub mod config;
pub mod container;
pub mod control;
pub mod decode;
pub mod event;
pub mod image;
pub mod kernel;
pub mod profile;
pub mod tag;
pub mod text;
