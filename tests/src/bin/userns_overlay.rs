//! `userns_overlay PROGRAM PATH DIRECTORY [ARGUMENT...]`: becomes a copy of PROGRAM that stands at PATH in a lower layer
//! of an overlay of its own, mounted below DIRECTORY in a user and mount namespace of its own.
use std::path::Path;
use std::process::ExitCode;

use tests::fixture::{forge, report};

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let [program, path, directory, arguments @ ..] = argv.as_slice() else {
        return ExitCode::SUCCESS;
    };
    if let Err(error) = forge::enter_own_namespaces() {
        return report(Err(error));
    }
    let mut named = vec![path.clone()];
    named.extend_from_slice(arguments);
    report(Err(forge::become_overlay(
        Path::new(program),
        Path::new(path),
        Path::new(directory),
        &named,
    )))
}
