//! `detached [--own-namespaces] PROGRAM PATH [ARGUMENT...]`: becomes a copy of PROGRAM at PATH on a filesystem that is
//! mounted nowhere.
use std::path::Path;
use std::process::ExitCode;

use tests::fixture::{forge, report};

fn main() -> ExitCode {
    let mut argv: Vec<String> = std::env::args().skip(1).collect();
    if argv.first().is_some_and(|word| word == "--own-namespaces") {
        argv.remove(0);
        if let Err(error) = forge::enter_own_namespaces() {
            return report(Err(error));
        }
    }
    match argv.as_slice() {
        [program, path, ..] => report(Err(forge::become_detached(
            Path::new(program),
            Path::new(path),
            &argv[1..],
        ))),
        _ => ExitCode::SUCCESS,
    }
}
