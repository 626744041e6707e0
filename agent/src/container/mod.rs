//! What user space knows about containers from disk and from `/proc`: which cgroups are containers, which image and
//! role a container has, what its root filesystem is, and what a file in it holds.
//!
//! Everything here is synchronous and bounded. Parsing is apart from reading: the parsers take bytes and cannot fail
//! on hostile ones other than by an error or by leaving them out. Nothing here keeps a state that a restart would
//! lose; the engine owns the registry of containers and calls in here.

pub mod cgroup_namespace;
pub mod containerd;
pub mod content;
pub mod crio;
pub mod data_root;
pub mod docker;
pub mod error;
pub mod id;
pub mod info;
pub mod layout;
pub mod likeness;
pub mod lowers;
pub mod membership;
pub mod mountinfo;
pub mod overlay;
pub mod pod;
pub mod podman;
pub mod process;
pub mod read;
pub mod root;
pub mod runtimes;
pub mod tree;
pub mod typed;
pub mod user_storage;

#[cfg(test)]
mod test_mount;

pub use id::{ContainerId, container_id_in};
pub use info::{ContainerInfo, ImageIdentity, Isolation, Runtime, Storage};
