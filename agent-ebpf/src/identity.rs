//! What a file is: its layer, its inode and its path (DESIGN, "What a file is").
//!
//! Input: an open file and the instance of the container that uses it. Output: its layer; and inode and path in the record.
//! The layer is read back from the record: what the verifier does not know of it, it need not follow apart. Failure: a superblock or a mount that cannot be read equals nobody's, which makes the file `foreign`.

use agent_common::file::{FileIdentity, Layer};
use agent_common::instance::Instance;
use agent_common::path::PathWords;

use crate::kernel::{Inode, Path, is_error, mount_namespace_number};
use crate::path::walk;
use crate::volatile::{load, store};

/// The layer of the file with `inode` that was opened by `path`.
#[inline(always)]
pub fn layer(path: Path, inode: Inode, instance: &Instance) -> Layer {
    let superblock = inode.superblock();
    if inode.links() == 0 || is_error(path.mount.namespace()) {
        Layer::Anonymous
    } else if superblock.device() == instance.root_device {
        if !superblock.is_overlay() {
            Layer::Unknown
        } else if inode.overlay_upper().0 == 0 {
            Layer::Image
        } else {
            Layer::Upper
        }
    } else if is_of_container(path.mount.namespace(), instance) {
        Layer::Volume
    } else {
        Layer::Foreign
    }
}

/// Fills in a file's inode and path, once its layer stands in the record. `crosses_mounts` is a place to remember something
/// in that the verifier need not follow.
#[inline(always)]
pub fn identify(
    path: Path,
    inode: Inode,
    layer: &u8,
    file: &mut FileIdentity,
    walked: &mut PathWords,
    crosses_mounts: &mut u8,
) {
    let mut real_inode = inode;
    if load(layer) == Layer::Upper as u8 {
        real_inode = inode.overlay_upper().inode();
    }
    let (changed_s, changed_ns) = real_inode.changed();
    *file = FileIdentity {
        inode: real_inode.number(),
        size_bytes: real_inode.size_bytes(),
        changed_s,
        changed_ns,
        device: inode.superblock().device(),
    };
    // What no mount can change, for files of the root filesystem; for all others as the container's mounts show it.
    let crosses = load(layer) != Layer::Image as u8 && load(layer) != Layer::Upper as u8;
    store(crosses_mounts, u8::from(crosses));
    walk(walked, path.dentry.0, path.mount.0, load(crosses_mounts));
}

/// Whether a mount is in the container's own mount namespace.
#[inline(always)]
fn is_of_container(namespace: u64, instance: &Instance) -> bool {
    namespace != 0
        && instance.mount_namespace != 0
        && mount_namespace_number(namespace) == instance.mount_namespace
}
