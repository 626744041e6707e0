//! What a file is: its layer and the identity of its inode.

use crate::{plain_old_data, tag};

tag! {
    /// Where a file came from, decided in the kernel from its superblock and its mount, never from its path.
    Layer {
        /// The root filesystem has no layers (btrfs, zfs, devmapper, vfs, fuse): drift cannot be told.
        Unknown = 0 => "unknown",
        /// A lower layer of the container's root filesystem: it came with the image.
        Image = 1 => "image",
        /// The container's root filesystem, written or copied up since the container started.
        Upper = 2 => "upper",
        /// Another superblock, mounted in the container's own mount namespace.
        Volume = 3 => "volume",
        /// Mounted in any other mount namespace, or in none (detached), or of another container.
        Foreign = 4 => "foreign",
        /// No name: memfd, unlinked, internal mounts.
        Anonymous = 5 => "anonymous",
    }
}

tag! {
    /// What was done with a file, in domain file.
    FileOperation {
        /// Opened for reading only.
        Read = 1 => "read",
        /// Opened for writing, with or without reading.
        Write = 2 => "write",
        /// Created by being opened.
        Create = 3 => "create",
        /// Put in its place by a rename.
        Rename = 4 => "rename",
        /// Put in its place as a further name of a file (hard link).
        Link = 5 => "link",
    }
}

impl Layer {
    /// Whether a program of this layer departs from the image whatever the profile says (DESIGN, "What a file is").
    #[must_use]
    pub const fn is_drift(self) -> bool {
        matches!(self, Self::Upper | Self::Volume | Self::Foreign | Self::Anonymous)
    }
}

/// The inode behind a file: enough to tell whether it is still the one whose content was hashed.
///
/// For a file in an overlay's upper layer, all fields but `device` are those of the real inode in the upper
/// filesystem: overlay inodes have no generation and learn of writes through mappings late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct FileIdentity {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Change time, seconds since the epoch.
    pub changed_s: i64,
    /// Change time, nanoseconds within the second.
    pub changed_ns: u32,
    /// `s_dev` of the superblock that the file was opened on, in the kernel's internal encoding (major << 20 | minor).
    pub device: u32,
}

/// Key of `VERIFIED`: one inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct VerifiedKey {
    /// The cgroup id of the container for which the content was verified.
    pub container: u64,
    /// Inode number, as in [`FileIdentity`].
    pub inode: u64,
    /// Device, as in [`FileIdentity`].
    pub device: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Value of `VERIFIED`: the daemon has hashed this file and found content that may run.
///
/// The kernel programs believe it only while the inode's identity is the recorded one, so any later write
/// makes the file drift again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Verified {
    /// What was hashed.
    pub file: FileIdentity,
    /// Exact path hash under which the content was verified.
    pub path_hash: u64,
    /// [`VERIFIED_AS_IMAGE`] or [`VERIFIED_ACCEPTED`].
    pub reason: u32,
    /// Always zero.
    pub reserved: u32,
}

/// The content equals the image's file at the same path (only metadata was changed): judge it as `image`.
pub const VERIFIED_AS_IMAGE: u32 = 1;
/// An operator accepted this path with this content.
pub const VERIFIED_ACCEPTED: u32 = 2;

plain_old_data!(FileIdentity, VerifiedKey, Verified);
const _: () = assert!(size_of::<FileIdentity>() == 32);
const _: () = assert!(size_of::<VerifiedKey>() == 24);
const _: () = assert!(size_of::<Verified>() == 48);
