//! Driftlock against real kernels and real containers.
//!
//! Two halves that share nothing but this file:
//! - `fixture`, under feature `fixtures`: what the static programs in `src/bin` are made of, which run inside test
//!   containers.
//! - the harness, under feature `harness` (default): container runtimes of its own (`runtime`), images (`image`), the agent
//!   under test (`agent`), real receivers of its alerts (`receiver`), the demonstration (`demo`), what is measured (`bench`) and recorded (`recorded`).
//!
//! The harness reads where things are from the environment (`environment`); `cargo xtask test` and `cargo xtask demo`
//! set it. It needs root, and leaves nothing behind: what a killed run left is swept by the next one.

#[cfg(feature = "harness")]
pub mod agent;
#[cfg(feature = "harness")]
pub mod apparmor;
#[cfg(feature = "harness")]
pub mod attempt;
#[cfg(feature = "harness")]
pub mod bench;
#[cfg(feature = "harness")]
pub mod cleanup;
#[cfg(feature = "harness")]
pub mod demo;
#[cfg(feature = "harness")]
pub mod elsewhere;
#[cfg(feature = "harness")]
pub mod environment;
#[cfg(feature = "fixtures")]
pub mod fixture;
#[cfg(feature = "harness")]
pub mod hostile;
#[cfg(feature = "harness")]
pub mod image;
#[cfg(feature = "harness")]
pub mod manifest;
#[cfg(feature = "harness")]
pub mod nginx;
#[cfg(feature = "harness")]
pub mod prometheus;
#[cfg(feature = "harness")]
pub mod receiver;
#[cfg(feature = "harness")]
pub mod recorded;
#[cfg(feature = "harness")]
pub mod runtime;
#[cfg(feature = "harness")]
pub mod server;
#[cfg(feature = "harness")]
pub mod service;
#[cfg(feature = "harness")]
pub mod stage;
#[cfg(feature = "harness")]
pub mod support;
#[cfg(feature = "harness")]
pub mod terminal;
