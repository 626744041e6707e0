//! Makes single system calls again and again and measures them; `tests::fixture::calls` says how it is asked.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests::fixture::report(tests::fixture::calls::serve())
}
