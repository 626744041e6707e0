//! Where names lead that were given for files: of renames and links the lite tier's programs see no more.
//!
//! Input: an event that tells of a name. Output: the same event with the file's path and layer. Failure: the path stays what the
//! name's text says, and the layer unknown.

use agent_common::file::Layer;

use super::Engine;
use super::content::lineage;
use crate::container::typed::{Viewer, locate};
use crate::event::{UseEvent, Used};

/// Most processes of a container that are tried.
const VIEWERS_MAX: usize = 16;

impl Engine {
    /// Finds out what file an event is about, if that tells only of a name.
    pub(super) fn locate(&self, event: &mut UseEvent) {
        let Used::File(file) = &mut event.used else {
            return;
        };
        let (Some(typed), false) = (&file.typed, file.file.path.too_long) else {
            return;
        };
        let Some(tracked) = self.containers.get(&event.origin.container) else {
            return;
        };
        let Ok(instance) = self.maps.instance(tracked.slot) else {
            return;
        };
        // The process itself, which may be gone, then whoever sees the same mounts.
        let init = tracked.known().and_then(|known| known.info.init_pid);
        let init = init.or((instance.init_pid != 0).then_some(instance.init_pid));
        let near = lineage(&event.process).into_iter().chain(init);
        let others = || super::container::processes(&self.layout.layout, tracked);
        let viewers = near.chain(std::iter::once_with(others).flatten());
        for pid in viewers.take(VIEWERS_MAX) {
            let viewer = Viewer {
                pid,
                mount_namespace: instance.mount_namespace,
                root_device: instance.root_device,
            };
            match locate(viewer, &typed.directory, &typed.name) {
                Ok(found) => {
                    file.file.path.text = found.path;
                    file.file.layer = if found.is_on_root {
                        Layer::Upper
                    } else {
                        Layer::Volume
                    };
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, name = %typed.name, "not located");
                }
            }
        }
    }
}
