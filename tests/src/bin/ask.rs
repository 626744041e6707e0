//! `ask SOCKET [LINE...]`: sends lines to a unix socket and prints what it answers until it closes.
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(socket) = arguments.next() else {
        return ExitCode::SUCCESS;
    };
    let lines: String = arguments.flat_map(|line| [line, "\n".to_owned()]).collect();
    let answer = UnixStream::connect(socket).map(|mut stream| {
        // Who refuses may close before it has read everything, which both ends are told; what it said is there all the same.
        let _ = stream.write_all(lines.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    tests::fixture::report(answer.map(|answer| print!("{answer}")))
}
