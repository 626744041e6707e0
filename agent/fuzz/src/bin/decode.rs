//! Records of the kernel programs, as they lie in the ring buffer.
#![no_main]

use agent_common::ABI_VERSION;
use driftlock::decode::{DecodeError, decode};
use driftlock::event::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let found = decode(input);
    // A seed of an earlier ABI, or a length that was not found out yet, shall not keep the rest from being tried.
    if matches!(found, Err(DecodeError::Abi { .. } | DecodeError::Length { .. })) && input.len() > 8 {
        let length = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let mut whole = input.to_vec();
        whole[..4].copy_from_slice(&ABI_VERSION.to_ne_bytes());
        whole[4..8].copy_from_slice(&length.to_ne_bytes());
        check(decode(&whole), &whole);
    } else {
        check(found, input);
    }
});

/// Nothing is read that the record does not hold.
fn check(found: Result<Event, DecodeError>, record: &[u8]) {
    let Ok(Event::Use(event)) = found else { return };
    let args: usize = event.args.iter().map(|arg| arg.as_bytes().len()).sum();
    let path = event.file().map_or(&[][..], |file| file.path.text.as_bytes());
    assert!(args + path.len() <= record.len());
    assert!(!path.contains(&0));
    assert!(event.args.iter().all(|arg| !arg.as_bytes().contains(&0)));
}
