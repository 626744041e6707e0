//! The agent's configuration.
#![no_main]

use std::path::Path;

use driftlock::config::ConfigFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Err(error) = ConfigFile::parse(text, Path::new("fuzz.yaml")) {
        // What the operator reads names the file and is one screen at most.
        let message = error.to_string();
        assert!(message.contains("fuzz.yaml"), "{message}");
        assert!(message.len() < 16 * 1024, "{} bytes", message.len());
    }
});
