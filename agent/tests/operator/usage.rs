//! What is typed: wrong usage, help, and the examples in it.

use std::path::Path;

use crate::agent::{command, text};

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
        &["profile", "accept", "a", "/b", "--refused"],
        &["profile", "accept", "a", "/b", "--proposed"],
        &["profile", "accept", "a", "/b", "--domain", "file"],
        &["profile", "accept", "a", "/b", "--pattern"],
        &["profile", "accept", "a", "/b", "--pattern", "--operation", "read"],
        &["profile", "accept", "a", "/b", "--operation", "execute"],
        &["profile", "accept", "a", "CAP_CHOWN", "--upper"],
        &["profile", "export", "a", "--json", "-o", "b"],
        &["profile", "export", "a", "--from", "b"],
        &["profile", "export", "a", "--format", "docker"],
        &["profile", "export"],
        &["alerts", "--format", "cef"],
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

/// An agent with a broken configuration ends before it touches anything, and says which file, line and field is wrong.
#[test]
fn a_broken_configuration_has_no_effect() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (file, state, socket, bpffs) = (path("config.yaml"), path("state"), path("socket"), path("bpf"));
    let nested = format!("log: {}", "{a: ".repeat(10_000));
    for (text_of_file, said) in [
        (
            "polices: {}\n",
            "config.yaml:1:1: in `polices: {}`: unknown field `polices`",
        ),
        ("log:\n  level: 7\n", "config.yaml:2:10: in `level: 7`"),
        (
            "limits: {clients: 18446744073709551616}\n",
            "config.yaml:1:19: in",
        ),
        ("control:\n  changers: ['ops team']\n", "config.yaml:2:14: in"),
        (
            "control:\n  readers: [no-such-group-here]\n",
            "control.readers: there is no group `no-such-group-here`",
        ),
        ("\u{0}", "config.yaml:1:"),
        (&nested, "config.yaml:1:"),
    ] {
        std::fs::write(&file, text_of_file).expect("written");
        let output = command(
            Path::new(&socket),
            &["run", "--config", &file, "--state-dir", &state, "--bpffs", &bpffs],
        )
        .output()
        .expect("runs");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said) && !error.contains('\x1b'), "{said}: {error}");
        assert!(error.len() < 2000 && output.stdout.is_empty(), "{error}");
        for touched in [&state, &socket, &bpffs] {
            assert!(!Path::new(touched).exists(), "{touched}");
        }
    }
    std::fs::write(&file, "# long\n".repeat(200_000)).expect("written");
    let output = command(Path::new(&socket), &["run", "--config", &file]).output();
    let output = output.expect("runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("is longer than"), "{output:?}");
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
        "profile diff",
        "profile export",
        "profile import",
        "profile approve",
        "profile accept",
        "alerts",
        "top",
        "completions",
        "man",
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
                .split(['|', '>'])
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
