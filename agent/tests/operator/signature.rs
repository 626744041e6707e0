//! Signatures, made and verified here and by Debian's minisign, in both directions.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use driftlock::control::protocol::Request;

use crate::agent::{Agent, command, text};

const DOCUMENT: &str = "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
roles:
- role: /bin/shop
  exec:
  - {layer: image, path: /bin/shop, windows: 4}
";
/// Twelve digits of the image's digest, as the commands show it.
const IMAGE: &str = "000000000000";
const PASSWORD: &str = "a password with spaces\n";

/// A directory with a document, a key without a password (`plain`) and one with it (`locked`), made by minisign. `None`, and a
/// note, where minisign is not there; `cargo xtask test` installs it.
fn keys() -> Option<tempfile::TempDir> {
    if Command::new("minisign").arg("-v").output().is_err() {
        eprintln!("minisign is not there: signatures were not compared with it");
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    std::fs::write(path.join("shop.yaml"), DOCUMENT).expect("written");
    minisign(path, &["-G", "-W", "-p", "plain.pub", "-s", "plain.key"], "\n");
    let twice = PASSWORD.repeat(2);
    minisign(path, &["-G", "-p", "locked.pub", "-s", "locked.key"], &twice);
    Some(directory)
}

/// What minisign printed; it must succeed.
fn minisign(directory: &Path, arguments: &[&str], input: &str) -> String {
    let output = fed(Command::new("minisign").args(arguments), directory, input);
    assert!(output.status.success(), "minisign {arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

fn fed(command: &mut Command, directory: &Path, input: &str) -> Output {
    let mut process = command
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = process.stdin.take().expect("a pipe");
    // What needs no password may end before it was offered one.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    process.wait_with_output().expect("ends")
}

/// Exit code, standard output and standard error of a command without an agent.
fn driftlock(directory: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let output = fed(
        &mut command(Path::new("/nonexistent"), arguments),
        directory,
        input,
    );
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out.to_owned(), error.to_owned())
}

/// What a key's file says its id is.
fn id(directory: &Path, key: &str) -> String {
    let text = std::fs::read_to_string(directory.join(key)).expect("a key");
    let (_, id) = text
        .lines()
        .next()
        .expect("a comment")
        .rsplit_once(' ')
        .expect("an id");
    id.to_owned()
}

#[test]
fn what_is_signed_here_minisign_verifies() {
    let Some(directory) = keys() else { return };
    let path = directory.path();
    for name in ["plain", "locked"] {
        let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
        let sign = ["profile", "sign", "shop.yaml", "--key", &secret];
        let (code, shown, error) = driftlock(path, &sign, PASSWORD);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        let key = id(path, &public);
        assert_eq!(
            shown,
            format!("shop.yaml.minisig: profile of {IMAGE}, signed with key {key}\n")
        );
        let verified = minisign(path, &["-V", "-H", "-p", &public, "-m", "shop.yaml"], "");
        assert!(
            verified.contains("Signature and comment signature verified")
                && verified.contains("file:shop.yaml"),
            "{verified}"
        );
        let verify = ["profile", "verify", "shop.yaml", "--public-key", &public];
        let (code, shown, error) = driftlock(path, &verify, "");
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert!(
            shown.contains(&key) && shown.contains("file:shop.yaml"),
            "{shown}"
        );
    }
    let locked = [
        "profile",
        "sign",
        "shop.yaml",
        "--key",
        "locked.key",
        "-o",
        "other",
    ];
    let (code, _, error) = driftlock(path, &locked, "another password\n");
    assert_eq!(code, Some(1));
    assert!(error.contains("the password is wrong"), "{error}");
    assert!(!path.join("other").exists());
}

#[test]
fn what_minisign_signed_is_verified_here() {
    let Some(directory) = keys() else { return };
    let path = directory.path();
    let comment = "reviewed by the platform team";
    for name in ["plain", "locked"] {
        let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
        minisign(
            path,
            &["-S", "-s", &secret, "-m", "shop.yaml", "-t", comment],
            PASSWORD,
        );
        let verify = ["profile", "verify", "shop.yaml", "--public-key", &public];
        let (code, shown, error) = driftlock(path, &verify, "");
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert_eq!(
            shown,
            format!(
                "shop.yaml: profile of {IMAGE}, signed with key {} ({comment})\n",
                id(path, &public)
            )
        );
        let key = std::fs::read_to_string(path.join(&public)).expect("a key");
        let bare = key.lines().nth(1).expect("a key");
        let verify = ["profile", "verify", "shop.yaml", "--public-key", bare];
        assert_eq!(driftlock(path, &verify, "").0, Some(0));
    }
    // The same signature, byte for byte, but for the comment that nobody signs.
    let of = |file: &str| {
        let text = std::fs::read_to_string(path.join(file)).expect("a signature");
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    minisign(
        path,
        &["-S", "-s", "plain.key", "-m", "shop.yaml", "-t", comment],
        "",
    );
    let sign = [
        "profile",
        "sign",
        "shop.yaml",
        "--key",
        "plain.key",
        "--comment",
        comment,
        "-o",
        "own",
    ];
    assert_eq!(driftlock(path, &sign, "").0, Some(0));
    assert_eq!(of("own"), of("shop.yaml.minisig"));
}

#[test]
fn what_does_not_hold_is_told() {
    let Some(directory) = keys() else { return };
    let path = directory.path();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("written");
    minisign(
        path,
        &["-S", "-s", "plain.key", "-m", "shop.yaml", "-t", "by ops"],
        "",
    );
    minisign(
        path,
        &["-S", "-l", "-s", "plain.key", "-m", "shop.yaml", "-x", "legacy"],
        "",
    );
    let signature = std::fs::read_to_string(path.join("shop.yaml.minisig")).expect("a signature");
    write("comment", &signature.replace("by ops", "by eve"));
    write("cut", &signature[..signature.len() - 40]);
    write("long", &signature.repeat(100));
    write("changed.yaml", &DOCUMENT.replace("/bin/shop,", "/bin/sh,"));
    write("no.yaml", "kind: x\n");
    let verify = |document: &str, key: &str, signature: &str| {
        let arguments = [
            "profile",
            "verify",
            document,
            "--public-key",
            key,
            "--signature",
            signature,
        ];
        let (code, shown, error) = driftlock(path, &arguments, "");
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{arguments:?}: {error}");
        error
    };
    for (document, key, signature, told) in [
        (
            "shop.yaml",
            "plain.pub",
            "comment",
            "its trusted comment: that was changed",
        ),
        ("shop.yaml", "plain.pub", "cut", "cut: signature: line 4"),
        ("shop.yaml", "plain.pub", "long", "longer than 10240 bytes"),
        (
            "shop.yaml",
            "plain.pub",
            "legacy",
            "algorithm `Ed` is not supported",
        ),
        ("shop.yaml", "plain.pub", "/dev/zero", "longer than"),
        ("shop.yaml", "plain.pub", "absent", "absent"),
        ("shop.yaml", "locked.pub", "shop.yaml.minisig", "signed with key"),
        (
            "shop.yaml",
            "plain.key",
            "shop.yaml.minisig",
            "plain.key: public key: ",
        ),
        (
            "changed.yaml",
            "plain.pub",
            "shop.yaml.minisig",
            "the file is not what was signed",
        ),
        ("no.yaml", "plain.pub", "shop.yaml.minisig", "no.yaml:"),
    ] {
        let error = verify(document, key, signature);
        assert!(error.contains(told), "{told}: {error}");
    }
    let (code, _, error) = driftlock(path, &["profile", "sign", "no.yaml", "--key", "plain.key"], "");
    assert_eq!(code, Some(1));
    assert!(
        error.contains("no.yaml:") && !path.join("no.yaml.minisig").exists(),
        "{error}"
    );
    let (code, _, error) = driftlock(path, &["profile", "sign", "shop.yaml", "--key", "plain.pub"], "");
    assert_eq!(code, Some(1));
    assert!(error.contains("is it a public key?"), "{error}");
}

/// The signature beside a document goes with it, unless the operator says otherwise.
#[test]
fn an_import_takes_the_signature_along() {
    let agent = Agent::start();
    let path = agent.directory.path();
    let document = path.join("shop.yaml");
    std::fs::write(&document, DOCUMENT).expect("written");
    let document = document.to_str().expect("text");
    let imported = |arguments: &[&str]| {
        agent.done(&[&["profile", "import", document], arguments].concat());
        match agent.asked() {
            Request::ProfileImport { signature, .. } => signature,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(imported(&[]), None);
    // No key made it: the agent is who judges.
    let of = |comment: &str| {
        format!(
            "untrusted comment: x\nRUQ{}=\ntrusted comment: {comment}\n{}==\n",
            "A".repeat(96),
            "A".repeat(86)
        )
    };
    std::fs::write(path.join("shop.yaml.minisig"), of("beside")).expect("written");
    std::fs::write(path.join("other"), of("elsewhere")).expect("written");
    assert_eq!(imported(&[]), Some(of("beside")));
    assert_eq!(imported(&["--unsigned"]), None);
    let other = path.join("other");
    let other = other.to_str().expect("text");
    assert_eq!(imported(&["--signature", other]), Some(of("elsewhere")));
    std::fs::write(other, "no signature").expect("written");
    let output = agent.run(&["profile", "import", document, "--signature", other]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 1"), "{output:?}");
}
