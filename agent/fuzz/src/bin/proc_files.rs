//! What the kernel says of mounts and cgroups, in which a container chooses paths and names.
#![no_main]

use driftlock::container::overlay::OverlayOptions;
use driftlock::container::{container_id_in, membership, mountinfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 => {
            let (table, path) = fuzz::two_parts(input);
            let table = mountinfo::parse(table);
            let _ = table.at(path);
            for mount in table.on_the_way(path) {
                assert!(path.starts_with(&mount.point) || mount.point == b"/");
            }
        }
        1 => {
            for one in membership::parse(input) {
                if let Some((_, own)) = membership::container_on(&one.path) {
                    assert!(one.path.starts_with(own));
                }
            }
        }
        2 => {
            let _ = OverlayOptions::parse(input);
        }
        _ => {
            if let Some(id) = container_id_in(input) {
                assert!(input.windows(64).any(|part| part == id.as_str().as_bytes()));
            }
            assert!(mountinfo::unescape(input).len() <= input.len());
        }
    }
});
