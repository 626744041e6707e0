//! `witness PATH`: its first act is to leave a witness at PATH. It stands for what an attacker drops.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests::fixture::worker("witness")
}
