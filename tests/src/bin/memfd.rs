//! `memfd PROGRAM [ARGUMENT...]`: becomes a copy of PROGRAM that lies in memory alone.
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    match argv.first() {
        Some(program) => tests::fixture::report(Err(tests::fixture::forge::become_memfd(
            Path::new(program),
            &argv,
        ))),
        None => ExitCode::SUCCESS,
    }
}
