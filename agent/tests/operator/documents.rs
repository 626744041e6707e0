//! Comparisons of profiles, completions and manual pages.

use std::path::Path;
use std::process::Command;

use crate::agent::{command, text};

const FIRST: &str = "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
roles:
- role: /bin/shop
  approved: true
  exec:
  - {layer: image, path: /bin/shop, windows: 4}
  - {layer: image, path: /bin/busybox, applet: sh}
  execIn:
  - {layer: image, path: /bin/health, accepted: false}
  acceptedDrift:
  - layer: volume
    path: /sbin/docker-init
    sha256:
    - 1111111111111111111111111111111111111111111111111111111111111111
- role: /bin/old
  exec:
  - {layer: image, path: /bin/old}
";

const SECOND: &str = "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:2222222222222222222222222222222222222222222222222222222222222222
roles:
- role: /bin/shop
  exec:
  - {layer: image, path: /bin/shop, windows: 9}
  - {layer: image, path: \"/opt/e\\\\x1bvil\"}
  execIn:
  - {layer: image, path: /bin/health, accepted: true}
  acceptedDrift:
  - layer: volume
    path: /sbin/docker-init
    sha256:
    - 2222222222222222222222222222222222222222222222222222222222222222
    note: the new one
";

/// Runs a command in a directory, without an agent; exit code, standard output and standard error.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(Path::new("/nonexistent"), arguments)
        .current_dir(directory)
        .output()
        .expect("runs");
    let code = output.status.code();
    (
        code,
        text(&output.stdout).to_owned(),
        text(&output.stderr).to_owned(),
    )
}

fn documents() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in [
        ("first.yaml", FIRST),
        ("second.yaml", SECOND),
        ("broken.yaml", "kind: x\n"),
    ] {
        std::fs::write(directory.path().join(name), content).expect("written");
    }
    directory
}

#[test]
fn a_comparison_says_what_would_be_permitted() {
    let directory = documents();
    let diff = |arguments: &[&str]| run(directory.path(), &[&["profile", "diff"], arguments].concat());
    let (code, shown, error) = diff(&["first.yaml", "second.yaml"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    insta::assert_snapshot!("table", shown);
    let (code, json, _) = diff(&["first.yaml", "second.yaml", "--json", "--exit-code"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("json", json);

    let (code, same, error) = diff(&["first.yaml", "first.yaml", "--exit-code"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(same.ends_with("both permit the same\n"), "{same}");

    let (code, _, error) = diff(&["first.yaml", "broken.yaml"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("broken.yaml:"), "{error}");
    let (code, _, error) = diff(&["first.yaml", "shop:1"]);
    assert_eq!(code, Some(3), "what is no file is asked of the agent: {error}");
}

/// Shells that are there take the script; bash completes with it.
#[test]
fn shells_take_their_completions() {
    let directory = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, error) = run(directory.path(), &["completions", shell]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{shell}");
        assert!(
            script.contains("profile") && script.contains("exit-code"),
            "{shell}"
        );
        assert!(
            !script.contains("answer-execs\n"),
            "{shell}: what is hidden is not offered"
        );
        std::fs::write(directory.path().join(shell), script).expect("written");
    }
    assert_eq!(run(directory.path(), &["completions", "csh"]).0, Some(2));
    let words = "source ./bash && COMP_WORDS=(driftlock pro) COMP_CWORD=1 && \
                 _driftlock driftlock pro driftlock && echo \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash")
        .args(["--norc", "-ec", words])
        .current_dir(directory.path())
        .output()
        .expect("bash is there");
    assert_eq!(text(&completed.stdout).trim(), "profile", "{completed:?}");
}

/// Every command has its page, and where groff is there, it has nothing to say against them.
#[test]
fn manual_pages_can_be_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let (code, page, _) = run(path, &["man"]);
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH driftlock 1"), "{page}");
    let (code, _, error) = run(path, &["man", "--dir", "."]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let mut pages: Vec<_> = std::fs::read_dir(path)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    pages.sort();
    for page in [
        "driftlock.1",
        "driftlock-run.1",
        "driftlock-profile-diff.1",
        "driftlock-mode-set.1",
    ] {
        assert!(pages.iter().any(|one| one == page), "{page}: {pages:?}");
    }
    assert!(
        !pages.iter().any(|page| page.contains("answer-execs")),
        "{pages:?}"
    );
    for page in &pages {
        let read = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", page])
            .current_dir(path)
            .output();
        let Ok(read) = read else {
            eprintln!("groff is not there: the pages were not rendered");
            break;
        };
        assert!(
            read.status.success() && read.stderr.is_empty(),
            "{page}: {read:?}"
        );
    }
    let (code, _, error) = run(path, &["man", "--dir", "missing"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("missing"), "{error}");
}

/// Exports need no agent: a document's file is enough. An image with several roles wants one named.
#[test]
fn exports_are_made_of_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("first.yaml"), FIRST).expect("written");
    std::fs::write(directory.path().join("second.yaml"), SECOND).expect("written");
    let export = |words: &str| {
        let arguments: Vec<&str> = ["profile", "export", "--from"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        run(directory.path(), &arguments)
    };
    let (code, output, error) = export("second.yaml --format apparmor");
    assert_eq!((code, error.as_str()), (Some(0), ""), "{output}");
    assert!(
        output.contains("profile driftlock-222222222222-bin-shop "),
        "{output}"
    );
    assert!(output.contains("\"/opt/e\\x1bvil\" rmix,"), "{output}");

    let (code, output, error) = export("first.yaml --format selinux");
    assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("--role: /bin/old, /bin/shop"), "{error}");
    let (code, _, error) = export("first.yaml --format selinux --role /bin/new");
    assert_eq!(code, Some(2), "{error}");
    let (code, output, error) = export("first.yaml --format selinux --role /bin/old");
    assert_eq!(code, Some(0), "{error}");
    assert!(
        output.contains("(block driftlock_000000000000_bin_old"),
        "{output}"
    );

    let (code, output, error) = export("second.yaml --format security-context --json");
    assert_eq!(code, Some(0), "{error}");
    let value: serde_json::Value = serde_json::from_str(&output).expect("json");
    assert_eq!(
        (&value["role"], &value["format"]),
        (&"/bin/shop".into(), &"security-context".into())
    );
    assert!(
        value["notes"].as_array().is_some_and(|notes| notes.len() > 3),
        "{value}"
    );
    let (code, output, error) = export("second.yaml --format security-context -o shop.yaml");
    assert_eq!((code, output.as_str()), (Some(0), ""), "{error}");
    let written = std::fs::read_to_string(directory.path().join("shop.yaml")).expect("written");
    assert_eq!(value["text"], written);

    let (code, output, _) = export("second.yaml");
    assert_eq!(
        (code, output.as_str()),
        (Some(0), SECOND),
        "the document itself is the default"
    );
    std::fs::write(directory.path().join("wrong.yaml"), "kind: Nothing\n").expect("written");
    let (code, output, error) = export("wrong.yaml --format apparmor");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("wrong.yaml:1"), "{error}");
}
