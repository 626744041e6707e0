//! The server of a test image: `service [PROGRAM,ARGUMENT,...]...` (see `tests::fixture::service`).
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    tests::fixture::report(tests::fixture::service::serve(&argv))
}
