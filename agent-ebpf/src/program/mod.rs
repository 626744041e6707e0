//! The hooks. Each states what it does when it fails.

pub mod cap;
pub mod cap_check;
pub mod cgroup;
pub mod exec;
pub mod exec_check;
pub mod file;
pub mod file_check;
pub mod library;
pub mod syscall;
pub mod task;
