//! Profile documents. One that is accepted has one canonical form, which reads as the same.
#![no_main]

use driftlock::profile::document::ProfileDocument;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(document) = ProfileDocument::parse(input, "fuzz.yaml") else {
        return;
    };
    let written = document.render().expect("what was read can be written");
    let again =
        ProfileDocument::parse(written.as_bytes(), "written.yaml").expect("what was written can be read");
    assert_eq!(again, document);
    assert_eq!(again.render().expect("written once"), written);
});
