//! What containerd, CRI-O and Podman say of a container: bundles, manifests, image configs, command lines.
#![no_main]

use std::path::Path;

use driftlock::container::containerd::{bundle, image};
use driftlock::container::podman::conmon::Conmon;
use driftlock::image::ImageDigest;
use libfuzzer_sys::fuzz_target;

/// Most annotations and labels of a pod that may be kept.
const KEPT_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 => {
            let Ok(found) = bundle::parse(Path::new("config.json"), input) else {
                return;
            };
            if let Some(pod) = found.pod {
                assert!(pod.annotations.len() + pod.labels.len() <= KEPT_MAX);
            }
        }
        1 => {
            let digest: ImageDigest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
            let _ = image::document(&digest, input);
        }
        2 => {
            if let Ok(Some(chain)) = image::chain_id(input) {
                assert!(chain.starts_with("sha256:"), "{chain}");
            }
        }
        _ => {
            let words: Vec<Vec<u8>> = input.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
            if let Some(found) = Conmon::parse(&words) {
                assert!(found.storage.is_absolute());
            }
        }
    }
});
