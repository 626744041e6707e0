//! Who may ask a running agent what: by user, by group, and from within a container.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::agent::Options;
use tests::environment::Environment;
use tests::runtime::Layout;
use tests::stage::{IMAGE, Stage};

/// What a client sends first.
const HELLO: &str = r#"{"protocol":1,"version":"0"}"#;
const STATUS: &str = r#"{"request":"status"}"#;
const SET_LEARN: &str = r#"{"request":"mode_set","mode":"learn","target":{"for":"default"}}"#;

/// A user who is nobody in particular, and asks with the binary at `program`.
struct User<'a> {
    program: &'a Path,
    socket: &'a Path,
    uid: &'a str,
    gid: &'a str,
    groups: &'a str,
}

impl User<'_> {
    /// Runs a command as this user; exit code and standard error.
    fn ask(&self, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let groups = if self.groups.is_empty() {
            "--clear-groups".to_owned()
        } else {
            format!("--groups={}", self.groups)
        };
        let output = Command::new("setpriv")
            .args(["--reuid", self.uid, "--regid", self.gid, &groups])
            .arg(self.program)
            .args(arguments)
            .env("DRIFTLOCK_SOCKET", self.socket)
            .output()?;
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

/// A copy of the binary where every user may execute it.
fn program(stage: &Stage) -> anyhow::Result<PathBuf> {
    let copy = stage.runtime.place().directory().join("driftlock");
    std::fs::copy(&Environment::get().driftlock, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// The lists of the configuration hold, the client's supplementary groups count, and a change by a reader changes nothing.
#[test]
fn users_and_groups_may_what_the_configuration_says() -> anyhow::Result<()> {
    let options = Options {
        config: "control:\n  readers: [3001]\n  changers: ['gid:3002']\n".to_owned(),
        ..Options::named("rights")
    };
    let stage = Stage::start(Layout::Hybrid, &options)?;
    let (program, socket) = (program(&stage)?, stage.agent.directory().join("socket"));
    let user = |uid, gid, groups| User {
        program: &program,
        socket: &socket,
        uid,
        gid,
        groups,
    };
    assert_eq!(
        std::fs::metadata(&socket)?.mode() & 0o777,
        0o666,
        "a user and a group"
    );
    let change = ["mode", "set", "monitor", "--default"];

    let reader = user("3001", "3001", "");
    let (code, error) = reader.ask(&["status"])?;
    assert_eq!(code, Some(0), "{error}");
    let (code, error) = reader.ask(&change)?;
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("uid 3001 may ask the agent to show"), "{error}");
    let (code, error) = user("3003", "3003", "").ask(&["status"])?;
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("uid 3003 may not ask the agent"), "{error}");
    assert_eq!(
        stage.agent.json(&["status"])?["default_mode"],
        "learn",
        "nothing was changed"
    );

    let (code, error) = user("3004", "3004", "3000,3002").ask(&change)?;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(stage.agent.json(&["status"])?["default_mode"], "monitor");
    Ok(())
}

/// Without configuration, and with one group, the socket's file itself keeps others out.
#[test]
fn the_sockets_file_is_open_to_those_who_may_ask() -> anyhow::Result<()> {
    let mut stage = Stage::start(Layout::Hybrid, &Options::named("closed"))?;
    let (program, socket) = (program(&stage)?, stage.agent.directory().join("socket"));
    let user = |uid, gid| User {
        program: &program,
        socket: &socket,
        uid,
        gid,
        groups: "",
    };
    assert_eq!(std::fs::metadata(&socket)?.mode() & 0o777, 0o600);
    let (code, error) = user("3001", "3001").ask(&["status"])?;
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("may not connect"), "{error}");

    let group = Options {
        config: "control: {readers: ['gid:3002']}\n".to_owned(),
        ..Options::named("closed")
    };
    stage.agent.restart(stage.runtime.as_ref(), &group)?;
    let file = std::fs::metadata(&socket)?;
    assert_eq!((file.mode() & 0o777, file.gid()), (0o660, 3002));
    assert_eq!(user("3001", "3002").ask(&["status"])?.0, Some(0));
    assert_eq!(user("3001", "3001").ask(&["status"])?.0, Some(4));
    Ok(())
}

/// Root of a container that was given the socket has user id 0 and is nobody; `from_containers` may say otherwise, within bounds.
#[test]
fn root_of_a_container_is_not_root_of_the_node() -> anyhow::Result<()> {
    let mut stage = Stage::learned(Layout::Hybrid, &Options::named("from-container"))?;
    // The fixture is not of the image.
    let programs = stage.host_directory("programs")?;
    std::fs::copy(Environment::get().fixture("ask"), programs.join("ask"))?;
    let directory = stage.agent.directory().to_owned();
    let volumes = [
        format!("--volume={}:/agent", directory.display()),
        format!("--volume={}:/programs", programs.display()),
    ];
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    let service = stage.service("given", &volumes)?;
    let ask = |stage: &Stage, request: &str| -> anyhow::Result<String> {
        let output = stage.runtime.exec(
            &service.container,
            &["/programs/ask", "/agent/socket", HELLO, request],
        )?;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for request in [STATUS, SET_LEARN] {
        let answer = ask(&stage, request)?;
        assert!(
            answer.contains("not_permitted")
                && answer.contains("uid 0 may not ask the agent from a container"),
            "{request}: {answer}"
        );
    }
    assert_eq!(stage.agent.cli(&["status"])?.code, 0, "the node's root still may");

    for (setting, may_read, may_change) in [("read", true, false), ("change", true, true)] {
        let options = Options {
            config: format!("control: {{from_containers: {setting}}}\n"),
            ..Options::named("from-container")
        };
        stage.agent.restart(stage.runtime.as_ref(), &options)?;
        stage.agent.done(&["mode", "set", "monitor", "--default"])?;
        let answer = ask(&stage, STATUS)?;
        assert_eq!(
            answer.contains("\"default_mode\":\"monitor\""),
            may_read,
            "{answer}"
        );
        let answer = ask(&stage, SET_LEARN)?;
        assert_eq!(answer.contains("not_permitted"), !may_change, "{answer}");
        let mode = stage.agent.json(&["status"])?["default_mode"].clone();
        assert_eq!(mode, if may_change { "learn" } else { "monitor" });
    }
    assert!(stage.agent.json(&["profile", "show", IMAGE])?.is_object());
    Ok(())
}

/// Whoever makes a namespace of his own in which he is root, or is root where the agent cannot look, is not more for it.
#[test]
fn root_of_a_namespace_is_not_root_of_the_node() -> anyhow::Result<()> {
    let options = Options {
        config: "control: {readers: [3001]}\n".to_owned(),
        ..Options::named("namespaces")
    };
    let stage = Stage::start(Layout::Hybrid, &options)?;
    let (program, socket) = (program(&stage)?, stage.agent.directory().join("socket"));
    let ask = |words: &[&str], arguments: &[&str]| -> anyhow::Result<(Option<i32>, String)> {
        let output = Command::new(words[0])
            .args(&words[1..])
            .arg(&program)
            .args(arguments)
            .env("DRIFTLOCK_SOCKET", &socket)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), error))
    };
    let change = ["mode", "set", "monitor", "--default"];
    let user = ["setpriv", "--reuid=3001", "--regid=3001", "--clear-groups"];
    let as_root_of_his_own = [&user[..], &["unshare", "--user", "--map-root-user"]].concat();
    let (code, error) = ask(&as_root_of_his_own, &["status"])?;
    if error.contains("unshare failed") {
        // Some distributions let only root make user namespaces.
        eprintln!("user namespaces are not for users here: {error}");
    } else {
        assert_eq!(code, Some(0), "a reader is a reader there too: {error}");
        let (code, error) = ask(&as_root_of_his_own, &change)?;
        assert_eq!(code, Some(4), "{error}");
        assert!(error.contains("uid 3001 may ask the agent to show"), "{error}");
    }
    let (code, error) = ask(&["unshare", "--pid", "--fork", "--kill-child"], &change)?;
    assert_eq!(code, Some(4), "another process id namespace: {error}");
    assert!(
        error.contains("uid 0 may not ask the agent from a container"),
        "{error}"
    );
    // A mount namespace alone is no container: operators and services have them.
    let (code, error) = ask(&["unshare", "--mount"], &change)?;
    assert_eq!(code, Some(0), "{error}");
    Ok(())
}
