//! Puts the kernel programs' object where the library embeds it from: what `cargo xtask build` made, or nothing.
//!
//! Without it everything still compiles and the unit tests run; `driftlock run` then says which command to run.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let object = env::var_os("DRIFTLOCK_EBPF_OBJECT").map_or_else(
        || {
            PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"))
                .join("../target/ebpf/driftlock.o")
        },
        PathBuf::from,
    );
    println!("cargo::rerun-if-env-changed=DRIFTLOCK_EBPF_OBJECT");
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("driftlock.o");
    let bytes = fs::read(&object).unwrap_or_else(|_| {
        println!("cargo::warning=built without kernel programs; `cargo xtask build` builds both");
        Vec::new()
    });
    fs::write(&embedded, bytes).expect("the output directory is writable");
}
