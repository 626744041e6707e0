//! The hooks. Each states what it does when it fails.

pub mod cgroup;
pub mod exec;
pub mod task;
