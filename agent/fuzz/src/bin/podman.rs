//! Podman's and CRI-O's storage: the list of containers, a bundle, and the list of images.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use driftlock::container::ContainerId;
use driftlock::container::data_root::DataRoot;
use driftlock::container::podman::storage;
use libfuzzer_sys::fuzz_target;

/// The container that all lists are asked for.
const ID: &str = "0cdbc918a9cca37c442dc2f63c4c49c806b8b1a6ecd622ccef3ea3de3e77b496";

static STORAGE: LazyLock<(PathBuf, DataRoot, ContainerId)> = LazyLock::new(|| {
    let data = fuzz::directory();
    for directory in [
        format!("overlay-containers/{ID}/userdata"),
        "overlay-images".to_owned(),
    ] {
        std::fs::create_dir_all(data.join(directory)).expect("a directory");
    }
    let root = DataRoot::in_own_namespace(&data);
    (data, root, ID.parse().expect("an id"))
});

fuzz_target!(|input: &[u8]| {
    let (data, root, id) = &*STORAGE;
    let (containers, rest) = fuzz::two_parts(input);
    let (bundle, images) = fuzz::two_parts(rest);
    let write = |path: &str, content| std::fs::write(data.join(path), content).expect("room");
    write("overlay-containers/containers.json", containers);
    write(&format!("overlay-containers/{ID}/userdata/config.json"), bundle);
    write("overlay-images/images.json", images);
    if let Ok(Some(found)) = storage::container(root, id) {
        assert_eq!(found.id, *id);
        assert!(found.labels.len() <= 64, "labels are bounded");
    }
});
