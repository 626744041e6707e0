//! The kernel side, as the daemon sees it: what this kernel offers, loading, and the maps.
//!
//! Input: the embedded object and the running kernel's BTF. Output: attached programs, and [`maps::Maps`]. Failure: each
//! error names the operation and its subject; nothing stays attached when loading fails half way, because every link
//! belongs to the [`load::Kernel`] that is dropped.

pub mod btf;
pub mod confine;
pub mod error;
pub mod hook;
pub mod lease;
pub mod load;
pub mod maps;
pub mod memory;
mod observe;
pub mod outq;
pub mod own;
pub mod peer;
pub mod pin;
pub mod readiness;
pub mod ring;
pub mod self_test;
pub mod settings;
pub mod support;
pub mod tier;
pub mod watchdog;
