//! Starts a program again and again and measures it; `tests::fixture::spawn` says how it is asked.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests::fixture::report(tests::fixture::spawn::serve())
}
