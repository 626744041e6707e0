//! The binary itself: exit codes, help, and what it prints when an agent answers.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftlock::control::connection::EngineRequest;
use driftlock::control::feed::AlertFeed;
use driftlock::control::protocol::{Accept, ModeTarget, Refusal, Request, Response};
use driftlock::control::server::{Server, ServerOptions};
use driftlock::control::view::{CheckResult, DocumentView, StatusView};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::example;

const BINARY: &str = env!("CARGO_BIN_EXE_driftlock");

/// An agent that answers from examples and keeps what it was asked.
struct Agent {
    directory: tempfile::TempDir,
    feed: Arc<AlertFeed>,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Option<oneshot::Sender<()>>,
    runtime: Runtime,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let feed = AlertFeed::new(10);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (engine, mut requests) = mpsc::channel::<EngineRequest>(4);
        let (stop, stopped) = oneshot::channel();
        let (kept, options) = (
            Arc::clone(&asked),
            ServerOptions::new(directory.path().join("socket")),
        );
        let for_server = Arc::clone(&feed);
        runtime.block_on(async {
            let server = Server::bind(options, engine, for_server).expect("a free socket");
            tokio::spawn(server.run(async {
                let _ = stopped.await;
            }));
        });
        runtime.spawn(async move {
            while let Some((request, sender)) = requests.recv().await {
                let response = answer(&request);
                kept.lock().expect("not poisoned").push(request);
                let _ = sender.send(response);
            }
        });
        Self {
            directory,
            feed,
            asked,
            stop: Some(stop),
            runtime,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(&self.socket(), arguments)
            .output()
            .expect("the binary runs")
    }

    /// What a command printed that must succeed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The only request since the last call.
    fn asked(&self) -> Request {
        let mut asked = std::mem::take(&mut *self.asked.lock().expect("not poisoned"));
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

fn answer(request: &Request) -> Response {
    match request {
        Request::Status => Response::ok(&example::status()),
        Request::Containers => Response::ok(&example::containers()),
        Request::ModeGet | Request::ModeSet { .. } => Response::ok(&example::modes()),
        Request::ProfileList | Request::ProfileImport { .. } => Response::ok(&[example::summary()]),
        Request::ProfileExport { .. } => Response::ok(&DocumentView {
            digest: example::digest(),
            document: example::DOCUMENT.to_owned(),
        }),
        Request::ProfileShow { image, .. } if image == "nope" => Refusal::not_found("no image fits `nope`")
            .hint("see `driftlock profile list`")
            .into(),
        Request::ProfileShow { image, .. } if image == "forbidden" => Refusal::not_permitted("never").into(),
        Request::ProfileShow { .. } | Request::ProfileApprove { .. } => Response::ok(&example::profile()),
        Request::ProfileAccept { .. } => Response::ok(&example::accepted()),
        Request::Doctor => Response::ok(&example::doctor(CheckResult::Missing)),
        Request::Alerts { .. } => panic!("the engine is never asked for alerts"),
    }
}

fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("DRIFTLOCK_SOCKET", socket)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["status", "--jsn"],
        &["mode", "set", "enforce"],
        &["mode", "set", "pending", "--default"],
        &["mode", "set", "strict", "--default"],
        &["mode", "set", "learn", "--default", "--image", "a"],
        &["mode", "set", "learn", "--default", "--domain", "exce"],
        &["profile", "accept", "a"],
        &["profile", "accept", "a", "/b", "--volume", "--exec-in"],
        &["profile", "accept", "a", "/b", "--volume", "--sha256", "12"],
        &["profile", "accept", "a", "/b", "--sha256", &"ab".repeat(32)],
        &["profile", "accept", "a", "/b", "--layer", "foreign"],
        &["profile", "accept", "a", "/b", "--volume", "--applet", "sh"],
        &["profile", "accept", "a", "\\q"],
        &["profile", "export", "a", "--json", "-o", "b"],
        &["run", "--log-level", "loud"],
    ] {
        let output = command(Path::new("/nonexistent"), arguments)
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "polices: {}\n").expect("written");
    let output = command(
        Path::new("/nonexistent"),
        &["teardown", "--config", file.to_str().expect("text")],
    )
    .output()
    .expect("runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        text(&output.stderr).contains("config.yaml:1:1: in `polices: {}`: unknown field"),
        "{output:?}"
    );
}

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

/// Helps are long lists of commands: what matters is that each has its examples, and that these are right.
#[test]
fn every_command_has_examples_that_are_valid() {
    let mut examples = 0;
    for words in [
        "run",
        "status",
        "containers",
        "mode",
        "mode get",
        "mode set",
        "profile",
        "profile list",
        "profile show",
        "profile export",
        "profile import",
        "profile approve",
        "profile accept",
        "alerts",
        "doctor",
        "teardown",
    ] {
        let arguments: Vec<&str> = words.split(' ').chain(["--help"]).collect();
        let output = command(Path::new("/nonexistent"), &arguments)
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(0), "{words}");
        let help = text(&output.stdout);
        assert!(help.contains("Examples:"), "{words}:\n{help}");
        let long = help
            .lines()
            .skip_while(|line| *line != "Examples:")
            .find(|line| line.len() > 80);
        assert_eq!(long, None, "{words}: wraps in a terminal of 80 columns");
        let joined = help.replace("\\\n", " ");
        for line in joined
            .lines()
            .filter_map(|line| line.trim().strip_prefix("driftlock "))
        {
            let example: Vec<&str> = line
                .split('|')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            let parsed = <driftlock::cli::args::Arguments as clap::Parser>::try_parse_from(
                std::iter::once("driftlock").chain(example),
            );
            assert!(
                parsed.is_ok(),
                "{words}: {line}: {}",
                parsed.expect_err("checked")
            );
            examples += 1;
        }
    }
    assert!(examples > 40, "the examples were not found: {examples}");
}

#[test]
fn helps_are_as_reviewed() {
    for words in ["--help", "mode set --help", "profile accept --help", "run --help"] {
        let arguments: Vec<&str> = words.split(' ').collect();
        let output = command(Path::new("/nonexistent"), &arguments)
            .output()
            .expect("runs");
        let name = words.replace("--", "").replace(' ', "_");
        insta::assert_snapshot!(name, text(&output.stdout));
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
