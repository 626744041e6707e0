//! `repeat TIMES PROGRAM [ARGUMENT...]`: starts PROGRAM again and again and prints how the starts ended.
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(2).collect();
    let times = match std::env::args().nth(1).map(|word| word.parse()) {
        None => 0,
        Some(Ok(times)) => times,
        Some(Err(error)) => {
            eprintln!("TIMES: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", tests::fixture::repeat::repeat(times, &argv).to_json());
    ExitCode::SUCCESS
}
