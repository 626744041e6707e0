//! Driftlock, as a library for its own binary and tests.

pub mod alert;
pub mod answer;
pub mod behaviour;
pub mod cli;
pub mod compare;
pub mod config;
pub mod container;
pub mod control;
pub mod decide;
pub mod decode;
pub mod engine;
pub mod event;
pub mod export;
pub mod image;
pub mod kernel;
pub mod metrics;
pub mod private_file;
pub mod profile;
pub mod publish;
pub mod report;
pub mod run;
pub mod signature;
pub mod sink;
pub mod spool;
pub mod tag;
pub mod text;
