//! A process of the agent's own, as the only one of a container of the agent's own: whatever it tries concerns nobody else.
//!
//! No cgroup has that container ([`SELF_TEST`]), and its root filesystem is on no device: every file is drift. Who is in it is what the iterator over
//! tasks enters, and what such a process starts. The self-test has it at the start, the canary from then on.
//! Input: the maps, a process, and modes. Output: the entry. Failure: [`OwnError`]; an agent that is killed leaves an entry behind, which the
//! next [`enter`] removes. Its processes end with the agent: nobody talks to them any more.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use agent_common::container::{Container, SELF_TEST};
use agent_common::domain::DOMAIN_SLOTS;
use agent_common::instance::Instance;

use super::maps::{Maps, MapsError};

/// A device that no file is on.
const NO_DEVICE: u32 = u32::MAX;

/// There is no such container.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// There is no room for it.
    #[error("no container slot is free for the agent's own container")]
    NoSlot,
    /// A map failed.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// A process that runs a hidden command of this program; ended, and waited for, with its owner.
#[derive(Debug)]
pub struct OwnProcess(pub Child);

impl OwnProcess {
    /// Starts one, with both ends of what is said to it and by it.
    ///
    /// # Errors
    /// The system's.
    pub fn start(command: &str) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let mut child = Command::new("/proc/self/exe")
            .arg0("driftlock")
            .arg(command)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = Self(child);
        let pipes = input.zip(output).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((process, pipes.0, pipes.1))
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Enters the container with these modes. The next iteration over tasks makes the process `pid`, and no other, its first.
///
/// # Errors
/// [`OwnError`].
pub fn enter(maps: &mut Maps, pid: u32, modes: [u8; DOMAIN_SLOTS]) -> Result<(), OwnError> {
    leave(maps)?;
    let instance = Instance {
        cgroup: SELF_TEST,
        root_device: NO_DEVICE,
        first_exec: 1,
        init_pid: pid,
        ..Instance::default()
    };
    let slot = maps.take_slot(&instance)?.ok_or(OwnError::NoSlot)?;
    maps.set_container(&Container {
        cgroup: SELF_TEST,
        container: SELF_TEST,
        slot,
        modes,
        ..Container::default()
    })?;
    Ok(())
}

/// Removes it, if there is one. To be called when its processes are gone.
///
/// # Errors
/// A map's.
pub fn leave(maps: &mut Maps) -> Result<(), MapsError> {
    if let Some(container) = maps.container(SELF_TEST)? {
        maps.remove_container(SELF_TEST)?;
        maps.give_slot(container.slot)?;
    }
    Ok(())
}

/// What the kernel programs counted of it; nothing if there is none.
///
/// # Errors
/// A map's.
pub fn instance(maps: &Maps) -> Result<Instance, MapsError> {
    let container = maps.container(SELF_TEST)?;
    let instance = container.map(|container| maps.instance(container.slot));
    Ok(instance.transpose()?.unwrap_or_default())
}
