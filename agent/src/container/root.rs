//! The root filesystem of a process: superblock, mount namespace, and the layers of an overlay.
//!
//! Input: `/proc/PID/root`, `/proc/PID/mountinfo`, `/proc/PID/ns/mnt`. A container chooses what it mounts, so the mount is
//! found by the id that the kernel gives for the root directory (Linux 5.8), not by what stands at `/`. Output:
//! [`RootFilesystem`]. Failure: [`RootError`]; for a process that has ended, [`RootError::is_absent`].

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::mountinfo::{self, Mount, MountTable};
use super::overlay::OverlayOptions;
use super::read::ReadError;
use crate::text::ByteText;

/// The root filesystem of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFilesystem {
    /// `s_dev` of its superblock in the kernel's internal encoding (major << 20 | minor).
    pub device: u32,
    /// Inode number of the process's mount namespace.
    pub mount_namespace: u32,
    /// Type of the filesystem.
    pub filesystem: ByteText,
    /// The layers, if it is an overlay.
    pub overlay: Option<OverlayOptions>,
}

/// Why a root filesystem is not known.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Something of the process could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The process's root directory is no mount that the process sees (it has changed its root).
    #[error("the root of process {pid} is not among its mounts")]
    NotMounted {
        /// Which process.
        pid: u32,
    },
    /// The number of the mount namespace is not one.
    #[error("the mount namespace of process {pid} has the number {number}, which is none")]
    Namespace {
        /// Which process.
        pid: u32,
        /// Its inode number.
        number: u64,
    },
}

impl RootError {
    /// Whether there is no such process any more.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_absent())
    }
}

/// Reads the root filesystem of a process. Whether it is the container's or still the host's is the caller's to judge,
/// by the mount namespace.
pub fn root_filesystem(pid: u32) -> Result<RootFilesystem, RootError> {
    let id = root_mount_id(pid)?;
    let table = mountinfo::of_process(pid)?;
    let mount = find(&table, id).ok_or(RootError::NotMounted { pid })?;
    Ok(RootFilesystem {
        device: mount.device,
        mount_namespace: mount_namespace(pid)?,
        filesystem: mount.filesystem.as_slice().into(),
        overlay: overlay_of(mount),
    })
}

/// Inode number of a process's mount namespace.
pub fn mount_namespace(pid: u32) -> Result<u32, RootError> {
    let path = format!("/proc/{pid}/ns/mnt");
    let path = Path::new(&path);
    let number = std::fs::metadata(path)
        .map_err(ReadError::of("stat", path))?
        .ino();
    u32::try_from(number).map_err(|_| RootError::Namespace { pid, number })
}

/// Id of the mount that the root directory is on; `None` where the kernel does not tell.
fn root_mount_id(pid: u32) -> Result<Option<u64>, ReadError> {
    let path = format!("/proc/{pid}/root/");
    let path = Path::new(&path);
    let found = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
        .map_err(ReadError::of("stat", path))?;
    let is_known = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok(is_known.then_some(found.stx_mnt_id))
}

/// The mount with that id at `/`, or, where ids are not known, the last one there.
fn find(table: &MountTable, id: Option<u64>) -> Option<&Mount> {
    match id {
        Some(id) => table.with_id(id).filter(|mount| mount.point == b"/"),
        None => table.at(b"/"),
    }
}

fn overlay_of(mount: &Mount) -> Option<OverlayOptions> {
    (mount.filesystem == b"overlay").then(|| OverlayOptions::parse(&mount.super_options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_root_of_this_process() {
        let root = root_filesystem(std::process::id()).expect("this process has a root");
        let table = mountinfo::own().expect("mounts");
        let mount = table.at(b"/").expect("a root");
        assert_eq!(root.device, mount.device);
        assert_eq!(root.filesystem.as_bytes(), mount.filesystem);
        assert_ne!(root.mount_namespace, 0);
    }

    #[test]
    fn a_process_that_is_gone_is_absent() {
        let mut child = std::process::Command::new("true").spawn().expect("spawn");
        let pid = child.id();
        child.wait().expect("wait");
        assert!(root_filesystem(pid).expect_err("gone").is_absent());
    }

    #[test]
    fn the_mounts_id_decides_where_it_is_known() {
        let table = mountinfo::parse(b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / / rw - overlay b rw,lowerdir=/l\n3 1 0:3 / /x rw - c c rw\n");
        assert_eq!(find(&table, Some(1)).expect("a mount").device, 1);
        assert_eq!(find(&table, None).expect("a mount").device, 2);
        assert_eq!(find(&table, Some(3)), None);
        assert!(overlay_of(find(&table, Some(2)).expect("a mount")).is_some());
    }
}
