//! `dynamic PATH`: as the fixture `witness`, but linked dynamically, as most programs are.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests::fixture::worker("dynamic")
}
