//! What a program that is not the agent may answer to the command line: the real client on a real socket.
#![no_main]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use driftlock::control::client::ask;
use driftlock::control::protocol::{Hello, Request};
use driftlock::control::view::{ContainerView, DoctorView, ProfileView, StatusView};
use libfuzzer_sys::fuzz_target;

/// Hands over what the next connection is answered.
static LISTENER: LazyLock<(SyncSender<Vec<u8>>, PathBuf)> = LazyLock::new(|| {
    let socket = fuzz::directory().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let (sender, answers) = sync_channel::<Vec<u8>>(0);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            // What the client says is taken, or its end would be a broken pipe.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (sender, socket)
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let (sender, socket) = &*LISTENER;
    let hello = Hello::own();
    let mut answer = format!(
        "{{\"protocol\":{},\"version\":\"{}\"}}\n{{\"ok\":",
        hello.protocol, hello.version
    )
    .into_bytes();
    match choice % 8 {
        // Without what an answer begins with.
        4.. => answer = rest.to_vec(),
        _ => answer.extend([rest, b"}\n"].concat()),
    }
    sender.send(answer).expect("the listener lives");
    // An error is an answer; a panic is not.
    match choice % 4 {
        0 => drop(ask::<StatusView>(socket, &Request::Status)),
        1 => drop(ask::<Vec<ContainerView>>(socket, &Request::Containers)),
        2 => drop(ask::<DoctorView>(socket, &Request::Doctor)),
        _ => {
            let request = Request::ProfileShow {
                image: "a".to_owned(),
                role: None,
            };
            drop(ask::<ProfileView>(socket, &request));
        }
    }
});
