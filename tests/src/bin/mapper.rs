//! `mapper library|protected|memory FILE WITNESS`: makes FILE's content executable and then leaves a witness at WITNESS.
//! `mapper compile DIRECTORY WITNESS`: runs code that it makes, as compilers at run time do.
use std::path::Path;
use std::process::ExitCode;

use tests::fixture::{leave_witness, map, report};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [how, file, witness] = words.as_slice() else {
        return ExitCode::SUCCESS;
    };
    let file = Path::new(file);
    let mapped = match how.as_str() {
        "library" => map::library(file),
        "protected" => map::protected(file),
        "memory" => map::from_memory(file),
        "compile" => map::compile(file),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    };
    report(mapped.and_then(|()| leave_witness(witness, how)))
}
