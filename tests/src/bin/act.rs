//! `act VERB [OBJECT...]`: uses files and capabilities in one named way.
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    tests::fixture::report(tests::fixture::act::act(&words))
}
