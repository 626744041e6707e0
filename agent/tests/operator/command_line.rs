//! The binary against an agent that answers: what it prints, what it asks, and its exit codes.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use driftlock::control::protocol::{Accept, ModeTarget, Request};
use driftlock::control::view::StatusView;

use crate::agent::{Agent, BINARY, command, text};
use crate::example;

#[test]
fn no_agent_is_exit_code_3() {
    for arguments in [
        &["status"][..],
        &["containers", "--json"],
        &["mode", "get"],
        &["mode", "set", "learn", "--default"],
        &["profile", "list"],
        &["profile", "export", "a"],
        &["alerts", "--follow"],
    ] {
        let output = command(Path::new("/nonexistent/socket"), arguments)
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let error = text(&output.stderr);
        assert!(error.contains("/nonexistent/socket"), "{error}");
        assert!(error.contains("hint: is `driftlock run` running?"), "{error}");
    }
}

#[test]
fn reading_commands_print_what_the_agent_says() {
    let agent = Agent::start();
    let printed: StatusView = serde_json::from_str(&agent.done(&["status", "--json"])).expect("json");
    assert_eq!(printed, example::status());
    for arguments in [
        &["containers"][..],
        &["mode", "get"],
        &["profile", "list"],
        &["profile", "show", "shop:1"],
        &["profile", "export", "shop:1"],
    ] {
        let json = agent.done(&[arguments, &["--json"]].concat());
        let value: serde_json::Value = serde_json::from_str(&json).expect("json");
        assert!(value.is_array() || value.is_object(), "{json}");
        let shown = agent.done(arguments);
        assert!(!shown.is_empty() && !shown.contains('\x1b'), "{shown}");
        assert_ne!(shown, json);
    }
}

#[test]
fn requests_are_what_was_typed() {
    let agent = Agent::start();
    let file = agent.directory.path().join("init");
    std::fs::write(&file, "abc").expect("written");
    // The SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut requests = Vec::new();
    for arguments in [
        &["mode", "set", "enforce", "--image", "shop:1"][..],
        &[
            "mode",
            "set",
            "monitor",
            "--container",
            "shop",
            "--domain",
            "exec",
        ],
        &["profile", "show", "shop:1", "--role", "/bin/shop"],
        &["profile", "approve", "shop:1"],
        &["profile", "accept", "shop:1", "/bin/tool"],
        &[
            "profile",
            "accept",
            "shop:1",
            "/bin/busybox",
            "--exec-in",
            "--applet",
            "sh",
        ],
        &["profile", "accept", "shop:1", "--volume", "/sbin/docker-init"],
        &[
            "profile",
            "accept",
            "shop:1",
            "/t\\x0a",
            "--layer",
            "upper",
            "--sha256",
            &abc.to_uppercase(),
            "--note",
            "why",
        ],
        &[
            "profile",
            "accept",
            "shop:1",
            "--drift",
            "volume",
            "/x",
            "--file",
            file.to_str().expect("text"),
        ],
    ] {
        agent.done(arguments);
        requests.push(serde_json::to_string(&agent.asked()).expect("json"));
    }
    insta::assert_snapshot!(requests.join("\n"));
    assert!(requests[8].contains(abc));
    assert!(matches!(
        serde_json::from_str(&requests[6]),
        Ok(Request::ProfileAccept {
            accept: Accept::Drift { sha256: None, .. },
            ..
        })
    ));
    assert!(matches!(
        serde_json::from_str(&requests[0]),
        Ok(Request::ModeSet {
            target: ModeTarget::Image(_),
            domain: None,
            ..
        })
    ));
}

#[test]
fn what_is_accepted_is_what_was_typed() {
    let agent = Agent::start();
    let mut requests = Vec::new();
    for arguments in [
        &[
            "profile",
            "accept",
            "shop:1",
            "/etc/shop.conf",
            "--operation",
            "read",
            "--volume",
            "--exec-in",
        ][..],
        &[
            "profile",
            "accept",
            "shop:1",
            "/tmp/lock",
            "--operation",
            "create",
        ],
        &["profile", "accept", "shop:1", "CAP_NET_RAW", "--refused"],
        &["profile", "accept", "shop:1", "--proposed", "--domain", "file"],
        &[
            "profile",
            "accept",
            "shop:1",
            "/tmp/cc{random}.s",
            "--operation",
            "create",
            "--pattern",
        ],
    ] {
        agent.done(arguments);
        requests.push(serde_json::to_string(&agent.asked()).expect("json"));
    }
    insta::assert_snapshot!(requests.join("\n"));
}

#[test]
fn documents_go_out_and_in() {
    let agent = Agent::start();
    assert_eq!(agent.done(&["profile", "export", "shop:1"]), example::DOCUMENT);
    agent.asked();
    let file = agent.directory.path().join("shop.yaml");
    let path = file.to_str().expect("text");
    assert_eq!(agent.done(&["profile", "export", "shop:1", "-o", path]), "");
    agent.asked();
    assert_eq!(
        std::fs::read_to_string(&file).expect("written"),
        example::DOCUMENT
    );
    agent.done(&["profile", "import", path]);
    let import = |source: &str| Request::ProfileImport {
        document: example::DOCUMENT.to_owned(),
        source: source.to_owned(),
        signature: None,
    };
    assert_eq!(agent.asked(), import(path));
    let mut child = command(&agent.socket(), &["profile", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(example::DOCUMENT.as_bytes()).expect("read");
    drop(stdin);
    assert!(child.wait().expect("ends").success());
    assert_eq!(agent.asked(), import("-"));
    let output = agent.run(&["profile", "import", "/nonexistent.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent.yaml"));
}

#[test]
fn refusals_have_their_exit_codes() {
    let agent = Agent::start();
    for (image, code) in [("nope", 1), ("forbidden", 4)] {
        let output = agent.run(&["profile", "show", image]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stdout.is_empty());
    }
    let output = agent.run(&["profile", "show", "nope"]);
    assert_eq!(
        text(&output.stderr),
        "driftlock: no image fits `nope`\nhint: see `driftlock profile list`\n"
    );
    let output = agent.run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "a check is missing");
    assert!(text(&output.stdout).contains("\"result\": \"missing\""));
}

/// What a running agent has pinned is not pulled away from under it.
#[test]
fn teardown_waits_for_the_agents_end() {
    let agent = Agent::start();
    let pinned = agent.directory.path().join("bpf");
    std::fs::create_dir(&pinned).expect("created");
    let output = agent.run(&["teardown", "--bpffs", pinned.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("end it first"), "{output:?}");
    assert!(pinned.exists());
}

#[test]
fn alerts_are_followed_to_the_agents_end() {
    let mut agent = Agent::start();
    agent.feed.publish("{\"n\":1}\n".into());
    assert_eq!(agent.done(&["alerts", "--json"]), "{\"n\":1}\n");
    assert_eq!(agent.done(&["alerts", "--last", "0"]), "");
    let child = command(&agent.socket(), &["alerts", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    while agent.feed.readers() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    agent
        .feed
        .publish("{\"schema\":\"driftlock.missed/v1\",\"missed\":7}\n".into());
    agent
        .stop
        .take()
        .expect("runs")
        .send(())
        .expect("the server waits for it");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "{\"n\":1}\nmissed 7 alerts: this reader was too slow\n"
    );
    agent.runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Output that nobody reads any more is no failure.
#[test]
fn a_closed_pipe_ends_quietly() {
    let agent = Agent::start();
    let mut child = command(&agent.socket(), &["status"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Another user's process is refused: by the socket's permissions, and where these were changed, by the agent.
#[test]
fn another_user_is_exit_code_4() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: no other user's process can be started");
        return;
    }
    let agent = Agent::start();
    // A copy that the other user can reach.
    let binary = agent.directory.path().join("driftlock");
    // By a process of its own: what this one holds open for writing, a child of another test's could inherit, and
    // then nobody can execute it.
    let copied = Command::new("cp").arg(BINARY).arg(&binary).status();
    assert!(copied.expect("cp is there").success());
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("changed");
    };
    open(agent.directory.path());
    let as_other = || {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&binary)
            .arg("status")
            .env("DRIFTLOCK_SOCKET", agent.socket())
            .output()
            .expect("setpriv is there");
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(as_other().contains("may not connect"));
    std::fs::set_permissions(agent.socket(), std::fs::Permissions::from_mode(0o777)).expect("changed");
    assert!(as_other().contains("uid 65534 may not ask the agent"));
    assert!(agent.asked.lock().expect("not poisoned").is_empty());
}
