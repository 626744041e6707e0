//! `report [PATH]`: one of the workers of a test image; they differ in content alone.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests::fixture::worker("report")
}
