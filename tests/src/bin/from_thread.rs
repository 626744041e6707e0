//! `from_thread PROGRAM [ARGUMENT...]`: becomes PROGRAM from a thread that is not the process's first.
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = argv.split_first() else {
        return ExitCode::SUCCESS;
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let thread = std::thread::spawn(move || command.exec());
    tests::fixture::report(thread.join().map_or(Ok(()), Err))
}
