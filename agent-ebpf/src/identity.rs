//! What a file is: its layer, its inode and its path (DESIGN, "What a file is").
//!
//! Input: an open file and the instance of the container that uses it. Output: layer, inode and path in the record, where
//! they are read back from: what the verifier does not know of a layer, it need not follow apart. Failure: a superblock or a mount that cannot be read equals nobody's, which makes the file `foreign`.

use agent_common::file::{FileIdentity, Layer};
use agent_common::instance::Instance;
use agent_common::record::exec::ExecRecord;

use crate::kernel::{File, is_error, mount_namespace_number};
use crate::path::walk;
use crate::volatile::{load, store};

/// Fills in the layer of `file`, its inode and its path.
#[inline(always)]
pub fn identify(file: File, instance: &Instance, record: &mut ExecRecord) {
    let path = file.path();
    let inode = file.inode();
    let superblock = inode.superblock();
    let device = superblock.device();
    let mut real_inode = inode;

    let layer = if inode.links() == 0 || is_error(path.mount.namespace()) {
        Layer::Anonymous
    } else if device == instance.root_device {
        if superblock.is_overlay() {
            let upper = inode.overlay_upper();
            if upper.0 == 0 {
                Layer::Image
            } else {
                real_inode = upper.inode();
                Layer::Upper
            }
        } else {
            Layer::Unknown
        }
    } else if is_of_container(path.mount.namespace(), instance) {
        Layer::Volume
    } else {
        Layer::Foreign
    };

    store(&mut record.layer, layer as u8);

    let (changed_s, changed_ns) = real_inode.changed();
    record.file = FileIdentity {
        inode: real_inode.number(),
        size_bytes: real_inode.size_bytes(),
        changed_s,
        changed_ns,
        device,
    };
    let layer = load(&record.layer);
    // What no mount can change, for files of the root filesystem; for all others as the container's mounts show it.
    let crosses_mounts = layer != Layer::Image as u8 && layer != Layer::Upper as u8;
    store(&mut record.section, u8::from(crosses_mounts));
    walk(
        &mut record.path,
        path.dentry.0,
        path.mount.0,
        load(&record.section),
    );
}

/// Whether a mount is in the container's own mount namespace.
#[inline(always)]
fn is_of_container(namespace: u64, instance: &Instance) -> bool {
    namespace != 0
        && instance.mount_namespace != 0
        && mount_namespace_number(namespace) == instance.mount_namespace
}
