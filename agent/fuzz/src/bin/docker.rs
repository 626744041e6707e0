//! Docker's description of a container, and its list of references.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use driftlock::container::ContainerId;
use driftlock::container::data_root::DataRoot;
use driftlock::container::docker::metadata;
use libfuzzer_sys::fuzz_target;

/// The container that all descriptions are about.
const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";

static DATA: LazyLock<(PathBuf, DataRoot, ContainerId)> = LazyLock::new(|| {
    let data = fuzz::directory();
    std::fs::create_dir_all(data.join("containers").join(ID)).expect("a directory");
    std::fs::create_dir_all(data.join("image/overlay2")).expect("a directory");
    let root = DataRoot::in_own_namespace(&data);
    (data, root, ID.parse().expect("an id"))
});

fuzz_target!(|input: &[u8]| {
    let (data, root, id) = &*DATA;
    let (description, references) = fuzz::two_parts(input);
    let write = |path: &str, content| std::fs::write(data.join(path), content).expect("room");
    write(&format!("containers/{ID}/config.v2.json"), description);
    write("image/overlay2/repositories.json", references);
    if let Ok(Some(found)) = metadata::container(root, id) {
        assert_eq!(found.id, *id);
        assert!(found.init_pid != Some(0));
    }
});
