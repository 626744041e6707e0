//! What the targets have in common: each in a file of its own in `src/bin`, and seeds for it in `seeds`.
//!
//! A target gets bytes. It must not panic, hang, or use memory without bound, whatever they are; and what it read it must be
//! able to say again. `cargo xtask fuzz` builds and runs them.

use std::path::PathBuf;

/// A directory of this process's own in the place for temporary files, which `cargo xtask fuzz` gives it and removes.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("driftlock-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory can be made in a temporary place");
    directory
}

/// The input in two parts, at the first byte 0xff, which is in no text.
#[must_use]
pub fn two_parts(input: &[u8]) -> (&[u8], &[u8]) {
    let place = input.iter().position(|byte| *byte == 0xff);
    place.map_or((input, &[]), |place| (&input[..place], &input[place + 1..]))
}
