//! The demonstration as a program; `cargo xtask demo` runs it. Exits with 1 if anything was missed.
use std::process::ExitCode;

fn main() -> ExitCode {
    match tests::demo::run(&tests::demo::Options::default()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the demonstration could not be carried out: {error:#}");
            ExitCode::FAILURE
        }
    }
}
