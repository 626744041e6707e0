//! What a file is: its layer, its inode and its path (DESIGN, "What a file is").
//!
//! Input: an open file and the instance of the container that uses it. Output: its layer; and inode and path in the record.
//! The layer is read back from the record: what the verifier does not know of it, it need not follow apart. Failure: a superblock or a mount that cannot be read equals nobody's, which makes the file `foreign`.

use agent_common::file::{FileIdentity, Layer};
use agent_common::instance::Instance;
use agent_common::path::PathWords;

use crate::kernel::{Access, Inode, Path, is_error, mount_namespace_number};
use crate::path;
use crate::volatile::load;

/// The layer of the file with `inode` that was opened by `path`.
#[inline(always)]
pub fn layer<A: Access, I: Access>(path: Path<A>, inode: Inode<I>, instance: &Instance) -> Layer {
    let superblock = inode.superblock();
    if inode.links() == 0 {
        Layer::Anonymous
    } else if superblock.device() == instance.root_device {
        if !superblock.is_overlay() {
            Layer::Unknown
        } else if inode.overlay_upper().0 == 0 {
            Layer::Image
        } else {
            Layer::Upper
        }
    } else {
        elsewhere(path.mount.namespace(), instance)
    }
}

/// The layer of what is put in a place by its name: on the container's root filesystem that goes to the upper layer, whatever lay
/// there before.
#[inline(always)]
pub fn layer_of_place<A: Access>(path: Path<A>, instance: &Instance) -> Layer {
    let superblock = path.dentry.superblock();
    if superblock.device() != instance.root_device {
        elsewhere(path.mount.namespace(), instance)
    } else if superblock.is_overlay() {
        Layer::Upper
    } else {
        Layer::Unknown
    }
}

/// The layer of a file that is not on the container's root filesystem, by the mount namespace of its mount.
#[inline(always)]
fn elsewhere(namespace: u64, instance: &Instance) -> Layer {
    if is_error(namespace) {
        Layer::Anonymous
    } else if is_of_container(namespace, instance) {
        Layer::Volume
    } else {
        Layer::Foreign
    }
}

/// Fills in the path of a file whose layer stands in the record: what no mount can change, for files of the root filesystem;
/// for all others as the container's mounts show it.
#[inline(always)]
pub fn locate<A: Access>(path: Path<A>, layer: &u8, walked: &mut PathWords) {
    let layer = load(layer);
    if layer == Layer::Image as u8 || layer == Layer::Upper as u8 {
        path::walk_in_superblock(walked, path.dentry);
    } else {
        path::walk(walked, path.dentry.0, path.mount.0);
    }
}

/// Fills in which inode it is, and in which state.
#[inline(always)]
pub fn identify<I: Access>(inode: Inode<I>, layer: &u8, file: &mut FileIdentity) {
    let device = inode.superblock().device();
    let inode = inode.probed();
    let mut real = inode;
    if load(layer) == Layer::Upper as u8 {
        real = inode.overlay_upper().inode();
    }
    let (changed_s, changed_ns) = real.changed();
    *file = FileIdentity {
        inode: real.number(),
        size_bytes: real.size_bytes(),
        changed_s,
        changed_ns,
        device,
    };
}

/// Whether a mount is in the container's own mount namespace.
#[inline(always)]
fn is_of_container(namespace: u64, instance: &Instance) -> bool {
    namespace != 0
        && instance.mount_namespace != 0
        && mount_namespace_number(namespace) == instance.mount_namespace
}
