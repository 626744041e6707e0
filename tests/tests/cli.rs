//! The command line as operators and programs meet it.

use std::process::Command;

use tests::agent::Options;
use tests::environment::Environment;
use tests::runtime::Layout;
use tests::stage::{IMAGE, Stage};

/// Runs the binary without any agent; returns exit code, standard output and standard error.
fn driftlock(arguments: &[&str]) -> anyhow::Result<(Option<i32>, String, String)> {
    let output = Command::new(&Environment::get().driftlock)
        .args(arguments)
        .env("DRIFTLOCK_SOCKET", "/nonexistent/driftlock.sock")
        .output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

/// 2 for wrong usage, 3 if the agent is not reachable, with a message on standard error and nothing on standard output.
#[test]
fn failures_have_their_exit_codes() -> anyhow::Result<()> {
    for arguments in [
        &["fly"][..],
        &["mode", "set", "strict"],
        &["status", "--jsn"],
        &[],
    ] {
        let (code, output, error) = driftlock(arguments)?;
        assert_eq!((code, output.as_str()), (Some(2), ""), "{arguments:?}: {error}");
        assert!(!error.is_empty(), "{arguments:?}");
    }
    for arguments in [
        &["status"][..],
        &["containers", "--json"],
        &["mode", "get"],
        &["profile", "list"],
        &["alerts"],
    ] {
        let (code, output, error) = driftlock(arguments)?;
        assert_eq!((code, output.as_str()), (Some(3), ""), "{arguments:?}: {error}");
        assert!(
            error.contains("/nonexistent/driftlock.sock"),
            "{arguments:?}: {error}"
        );
    }
    Ok(())
}

/// Help exists for every command and shows examples.
#[test]
fn every_command_has_help_with_examples() -> anyhow::Result<()> {
    let commands = [
        "run",
        "status",
        "containers",
        "mode",
        "profile",
        "alerts",
        "top",
        "doctor",
        "teardown",
        "completions",
        "man",
    ];
    for command in commands {
        let (code, output, error) = driftlock(&[command, "--help"])?;
        assert_eq!(code, Some(0), "{command}: {error}");
        assert!(output.contains("Example"), "{command}:\n{output}");
    }
    Ok(())
}

/// All reading commands print one JSON document, all of them agree, and refusals are exit code 1.
#[test]
fn reading_commands_print_json() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("cli"))?;
    let agent = &stage.agent;
    let service = stage.service("cli", &[])?;
    let status = agent.json(&["status"])?;
    assert_eq!(status["pid"], agent.pid(), "{status:#}");
    assert_eq!(status["default_mode"], "learn", "{status:#}");
    let described = agent.wait_until_resolved(&service.container.id)?;
    assert_eq!(described["name"], "cli", "{described:#}");
    assert_eq!(described["digest"], stage.digest.as_str(), "{described:#}");
    assert_eq!(described["modes"][0]["mode"], "learn", "{described:#}");
    assert_eq!(described["drift_recognisable"], true, "{described:#}");
    let profiles = agent.json(&["profile", "list"])?;
    assert_eq!(profiles[0]["digest"], stage.digest.as_str(), "{profiles:#}");
    let doctor = agent.json(&["doctor"])?;
    assert_eq!(doctor["checked_by"], "agent", "{doctor:#}");
    for (mode, target) in [("enforce", "--image"), ("monitor", "--container")] {
        let name = if target == "--image" { IMAGE } else { "cli" };
        agent.done(&["mode", "set", mode, target, name])?;
        let described = agent.wait_until_resolved(&service.container.id)?;
        assert_eq!(described["modes"][0]["mode"], mode, "{described:#}");
    }
    agent.done(&["mode", "set", "monitor", "--default"])?;
    assert_eq!(agent.json(&["status"])?["default_mode"], "monitor");
    let modes = agent.json(&["mode", "get"])?;
    assert_eq!(modes["images"][0]["mode"], "enforce", "{modes:#}");
    assert_eq!(modes["containers"][0]["mode"], "monitor", "{modes:#}");
    for command in ["status", "containers", "mode get", "profile list", "doctor"] {
        let words: Vec<&str> = command.split(' ').collect();
        assert!(
            !agent.done(&words)?.trim().is_empty(),
            "{command} prints nothing for people"
        );
    }
    // A profile compared with its document in a file, before and after a change.
    let file = agent.directory().join("profile.yaml");
    let name = file.to_str().unwrap_or_default();
    agent.done(&["profile", "export", IMAGE, "-o", name])?;
    let diff = agent.json(&["profile", "diff", name, IMAGE])?;
    assert_eq!(diff["roles"].as_array().map(Vec::len), Some(0), "{diff:#}");
    agent.accept(IMAGE, "/usr/bin/backup")?;
    let diff = agent.json(&["profile", "diff", name, &stage.digest])?;
    assert_eq!(
        diff["roles"][0]["behaviours"][0]["path"], "/usr/bin/backup",
        "{diff:#}"
    );
    assert_eq!(diff["roles"][0]["behaviours"][0]["change"], "added", "{diff:#}");
    assert_eq!(
        agent.cli(&["profile", "diff", name, IMAGE, "--exit-code"])?.code,
        1
    );
    for refused in [
        &["profile", "show", "nope:1"][..],
        &["mode", "set", "enforce", "--container", "nope"],
    ] {
        let reply = agent.cli(refused)?;
        assert_eq!(reply.code, 1, "{refused:?}: {reply:?}");
        assert!(reply.stderr.contains("nope"), "{refused:?}: {reply:?}");
    }
    Ok(())
}

/// The socket's stream has what standard output has, for any number of readers.
#[test]
fn alerts_reach_every_reader() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("readers"))?;
    let service = stage.service("readers", &[])?;
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/rotate", "/tmp/witness"])?.all(stage.stop));
    let alert = stage.expect_alert(mark, &service);
    for _ in 0..3 {
        let text = stage.agent.done(&["alerts", "--json"])?;
        let ids: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).map(|alert| alert["id"].clone()))
            .collect::<Result<_, _>>()?;
        assert!(ids.contains(&alert["id"]), "{text}");
    }
    assert_eq!(
        stage.agent.stray_output(),
        None,
        "standard output holds what is no JSON"
    );
    Ok(())
}

/// What the agent pinned goes with `teardown`, and enforcement with it.
#[test]
fn teardown_ends_enforcement() -> anyhow::Result<()> {
    let mut stage = Stage::enforcing(&Options::named("teardown"))?;
    let service = stage.service("teardown", &[])?;
    assert!(service.start(&["/bin/rotate", "/tmp/enforced"])?.all(stage.stop));
    stage.agent.stop()?;
    let pinned = stage.runtime.place().directory().join("bpf");
    // `maps.debug` and `progs.debug` come with every BPF file system.
    let left: Vec<_> = std::fs::read_dir(&pinned)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "debug"))
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
    assert!(service.start(&["/bin/rotate", "/tmp/free"])?.all_succeeded());
    Ok(())
}
