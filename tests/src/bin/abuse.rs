//! `abuse ATTACK [ARGUMENT...]`: uses up what containers share; `tests::fixture::abuse` says what there is.
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    tests::fixture::report(tests::fixture::abuse::run(&words))
}
