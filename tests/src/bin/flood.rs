//! `flood PREFIX FIRST COUNT PER_SECOND`: writes programs that did not come with the image and executes each once.
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    tests::fixture::report(tests::fixture::flood::flood(&words))
}
