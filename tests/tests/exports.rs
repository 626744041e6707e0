//! Exported profiles against the tools that enforce them: `AppArmor`'s and `SELinux`'s compilers, and the types of Kubernetes. No agent and no
//! container runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::SecurityContext;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use tempfile::TempDir;
use tests::apparmor::{Automaton, EXECUTE, LINK, LOCK, MAP, READ, WRITE};
use tests::environment::Environment;

/// Documents in the property test, each with many paths: a document costs two processes.
const CASES: u32 = 40;

/// A profile document that is being written, and what is made of it.
struct Document {
    directory: TempDir,
    /// Lists of the role, each with its entries.
    exec: String,
    files: String,
    capabilities: String,
    exec_in: String,
}

impl Document {
    fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            exec: String::new(),
            files: String::new(),
            capabilities: String::new(),
            exec_in: String::new(),
        })
    }

    fn exec(&mut self, path: &[u8]) {
        writeln!(self.exec, "  - {{layer: image, path: {}}}", quoted(&escape(path))).expect("a string");
    }

    fn exec_in(&mut self, path: &[u8]) {
        writeln!(
            self.exec_in,
            "  - {{layer: image, path: {}, accepted: true}}",
            quoted(&escape(path))
        )
        .expect("a string");
    }

    fn file(&mut self, layer: &str, path: &[u8], operation: &str) {
        let path = quoted(&escape(path));
        writeln!(
            self.files,
            "  - {{layer: {layer}, path: {path}, operation: {operation}}}"
        )
        .expect("a string");
    }

    fn pattern(&mut self, pattern: &str) {
        let pattern = quoted(pattern);
        writeln!(
            self.files,
            "  - {{layer: upper, pattern: {pattern}, operation: create}}"
        )
        .expect("a string");
    }

    fn capability(&mut self, name: &str, namespace: &str) {
        writeln!(
            self.capabilities,
            "  - {{capability: {name}, namespace: {namespace}, outcome: granted}}"
        )
        .expect("a string");
    }

    /// Exports it by the binary under test; returns the file.
    fn export(&self, format: &str) -> Result<PathBuf> {
        let list = |name: &str, entries: &str| match entries {
            "" => String::new(),
            entries => format!("  {name}:\n{entries}"),
        };
        let text = [
            format!(
                "apiVersion: driftlock/v1\nkind: ImageProfile\nimage:\n  digest: sha256:{}\nroles:\n- role: /usr/sbin/shop\n",
                "ab".repeat(32)
            ),
            list("exec", &self.exec),
            list("files", &self.files),
            list("capabilities", &self.capabilities),
            list("execIn", &self.exec_in),
        ]
        .concat();
        let document = self.directory.path().join("profile.yaml");
        std::fs::write(&document, &text)?;
        export(&document, format, self.directory.path()).context(text)
    }
}

/// Exports a document by the binary under test; returns the file, in `directory`.
fn export(document: &Path, format: &str, directory: &Path) -> Result<PathBuf> {
    let exported = directory.join("exported");
    let output = Command::new(&Environment::get().driftlock)
        .args(["profile", "export", "--format", format, "--from"])
        .arg(document)
        .arg("--output")
        .arg(&exported)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(exported)
}

/// The text of bytes in a profile document.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string"),
        }
    }
    text
}

/// A text as a string of YAML: as one of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Names as an attacker would choose them, out of bytes that `AppArmor`'s language, its globs or YAML could take for something. Bytes above
/// 0x7f are such that no two of them are valid UTF-8, which a document would have to hold as it is.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b" \"\\*?[]{}^,@#$()|+.-_:=~%&;<>'`!\n\t\r\x01\x7f\xff\xfe0aZ".to_vec()),
        1 => any::<u8>().prop_filter("no name has it", |byte| !matches!(byte, 0 | b'/') && byte.is_ascii()),
    ];
    prop::collection::vec(byte, 1..12).prop_filter("no name", |name| name != b"." && name != b"..")
}

/// What `AppArmor`'s compiler makes of a path is that path and no other, whatever its bytes.
#[test]
fn apparmor_takes_every_path_for_what_it_is() -> Result<()> {
    let paths = prop::collection::btree_set(prop::collection::vec(name(), 1..4), 1..60);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&paths, |paths| {
        let paths: Vec<Vec<u8>> = paths
            .iter()
            .map(|names| [&b"/srv/"[..], &names.join(&b'/')].concat())
            .collect();
        let failed = |error: anyhow::Error| TestCaseError::fail(format!("{error:#}"));
        let mut document = Document::new().map_err(failed)?;
        for path in &paths {
            document.file("image", path, "read");
        }
        let exported = document.export("apparmor").map_err(failed)?;
        let automaton = Automaton::of(&exported).map_err(failed)?;
        for path in &paths {
            let shown = path.escape_ascii();
            prop_assert_eq!(automaton.permissions(path), READ | MAP | LOCK, "{}", shown);
            prop_assert_eq!(
                automaton.permissions(&[path, &b"/"[..]].concat()),
                READ | MAP | LOCK,
                "{}/",
                shown
            );
            for at in 2..path.len() {
                let mut other = path.clone();
                other[at] = if other[at] == b'q' { b'x' } else { b'q' };
                let longer = [path, &b"q"[..]].concat();
                for other in [other, path[..at].to_vec(), longer] {
                    let is_of_another = paths.iter().any(|path| {
                        path == &other
                            || other
                                .strip_suffix(b"/")
                                .is_some_and(|directory| directory == path)
                    });
                    if !is_of_another {
                        prop_assert_eq!(
                            automaton.permissions(&other),
                            0,
                            "{} beside {}",
                            other.escape_ascii(),
                            shown
                        );
                    }
                }
            }
        }
        Ok(())
    });
    result.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Each use of a file and each program has the permissions that it needs, and no others.
#[test]
fn apparmor_permits_what_was_learned() -> Result<()> {
    let mut document = Document::new()?;
    document.exec(b"/bin/shop");
    document.exec_in(b"/bin/probe");
    for (layer, path, operation) in [
        ("image", "/etc/shop.conf", "read"),
        ("volume", "/data/in", "read"),
        ("upper", "/run/shop.pid", "create"),
        ("volume", "/data/out", "write"),
        ("upper", "/run/new", "rename"),
        ("upper", "/run/name", "link"),
        ("anonymous", "/nowhere", "write"),
    ] {
        document.file(layer, path.as_bytes(), operation);
    }
    let long = [&b"/long/"[..], &[b"\xff".repeat(255).as_slice(); 14].join(&b'/')].concat();
    document.file("image", &long, "read");
    let automaton = Automaton::of(&document.export("apparmor")?)?;
    let written = READ | WRITE | LOCK;
    for (path, permissions) in [
        ("/bin/shop", READ | MAP | EXECUTE),
        ("/bin/probe", READ | MAP | EXECUTE),
        ("/bin/other", 0),
        ("/etc/shop.conf", READ | MAP | LOCK),
        ("/data/in", READ | LOCK),
        ("/run/shop.pid", written),
        ("/data/out", written),
        ("/run/new", written),
        ("/run/name", written | LINK),
        ("/nowhere", 0),
        ("/etc/shadow", 0),
        ("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", READ | MAP),
        ("/", READ),
    ] {
        assert_eq!(automaton.permissions(path.as_bytes()), permissions, "{path}");
    }
    assert_eq!(automaton.permissions(&long), READ | MAP | LOCK);
    Ok(())
}

/// A rule for several paths holds for all that it held for; what else `AppArmor`'s glob holds for is near it.
#[test]
fn apparmor_has_globs_for_rules() -> Result<()> {
    let rules: [(&str, &[&str], &[&str]); 8] = [
        (
            "/tmp/cc{random}.s",
            &["/tmp/ccZ1q2Xy.s"],
            &["/tmp/cc.s", "/tmp/ccache.s", "/tmp/ccZ1q2Xy.o"],
        ),
        ("/tmp/tmp{random}", &["/tmp/tmpab_c1d2e"], &["/tmp/tmp", "/tmp/x"]),
        (
            "/srv/{decimal}/stat",
            &["/srv/1/stat", "/srv/4711/stat"],
            &["/srv/x/stat", "/srv/1/2/stat"],
        ),
        (
            "/o/{hexadecimal-pair}/{hexadecimal}",
            &["/o/ab/0123456789abcdef"],
            &["/o/abc/0123456789abcdef", "/o/ab/x"],
        ),
        (
            "/u/{uuid}.json",
            &["/u/0b8ba4d6-6a4e-4d8c-9c0e-3b1d2f5e6a70.json"],
            &["/u/0b8ba4d6.json"],
        ),
        (
            "/l/{date}.log",
            &["/l/2026-11-21.log", "/l/2026-11-21T10:11:12.log"],
            &["/l/26-11-21.log"],
        ),
        (
            "/go-build{decimal}/**",
            &["/go-build123456/b001", "/go-build123456/b001/x"],
            &["/go-build123456", "/go-build/x"],
        ),
        (
            "/a b/\\{c\\}\"/**",
            &["/a b/{c}\"/d"],
            &["/a b/c/d", "/a b/{c}\""],
        ),
    ];
    let mut document = Document::new()?;
    for (rule, ..) in rules {
        document.pattern(rule);
    }
    let automaton = Automaton::of(&document.export("apparmor")?)?;
    for (rule, within, beside) in rules {
        for path in within {
            assert_eq!(
                automaton.permissions(path.as_bytes()),
                READ | WRITE | LOCK,
                "{rule}: {path}"
            );
        }
        for path in beside {
            assert_eq!(automaton.permissions(path.as_bytes()), 0, "{rule}: {path}");
        }
    }
    Ok(())
}

/// `SELinux`'s compiler takes the block, and its rules permit the capabilities, each in its class.
#[test]
fn selinux_permits_the_capabilities_that_were_used() -> Result<()> {
    let mut document = Document::new()?;
    document.exec(b"/bin/\"shop\"\n(block evil)\xff");
    document.file("volume", b"/data)(\n;x/y", "read");
    for (name, namespace) in [
        ("CAP_CHOWN", "initial"),
        ("CAP_SETFCAP", "initial"),
        ("CAP_BPF", "initial"),
        ("CAP_CHECKPOINT_RESTORE", "initial"),
        ("CAP_SYS_CHROOT", "other"),
        ("CAP_50", "initial"),
    ] {
        document.capability(name, namespace);
    }
    assert_eq!(
        permitted_by_selinux(&document)?,
        [
            "capability { chown setfcap }",
            "capability2 { bpf checkpoint_restore }",
            "cap_userns { sys_chroot }",
        ]
    );
    // A profile that tells nothing of capabilities restricts none.
    let permitted = permitted_by_selinux(&Document::new()?)?;
    assert_eq!(permitted.len(), 4, "{permitted:?}");
    assert!(permitted[0].contains(" sys_admin "), "{permitted:?}");
    Ok(())
}

/// The classes and permissions of the exported block's own type, as `SELinux`'s compiler has them in the whole policy.
fn permitted_by_selinux(document: &Document) -> Result<Vec<String>> {
    let text = compiled_by_selinux(&document.export("selinux")?, document.directory.path())?;
    let rules = text.lines().filter_map(|line| {
        let rule = line.strip_prefix("allow driftlock_abababababab_usr_sbin_shop.process ")?;
        let (_, rule) = rule.split_once(" : ")?;
        (!rule.starts_with("tcp_socket")).then(|| rule.trim_end_matches(';').to_owned())
    });
    Ok(rules.collect())
}

/// The whole policy with an exported block, after `SELinux`'s compiler took it.
fn compiled_by_selinux(exported: &Path, directory: &Path) -> Result<String> {
    let base = directory.join("base.cil");
    std::fs::write(&base, include_str!("exports/base.cil"))?;
    let run = |command: &mut Command| -> Result<()> {
        let output = command
            .output()
            .with_context(|| format!("cannot run {command:?}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {error}");
        Ok(())
    };
    let (policy, contexts) = (directory.join("policy"), directory.join("contexts"));
    let files = [base.as_path(), exported];
    run(Command::new("secilc")
        .arg("-o")
        .arg(&policy)
        .arg("-f")
        .arg(contexts)
        .args(files))?;
    let written = directory.join("policy.conf");
    run(Command::new("secil2conf").arg("-o").arg(&written).args(files))?;
    Ok(std::fs::read_to_string(written)?)
}

/// Kubernetes knows every field, each with a value of its type: what it does not know would be lost on the way through its types, which
/// are generated from its own schema.
#[test]
fn kubernetes_knows_every_field() -> Result<()> {
    let mut document = Document::new()?;
    document.exec(b"/bin/shop");
    document.file("image", b"/etc/: #\n- x", "read");
    document.capability("CAP_NET_BIND_SERVICE", "initial");
    let exported = security_context(&document)?;
    assert_eq!(known_to_kubernetes(&exported)?, exported);
    assert_eq!(
        exported["capabilities"]["add"],
        serde_json::json!(["NET_BIND_SERVICE"])
    );
    assert_eq!(exported["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(exported["readOnlyRootFilesystem"], true);
    assert_eq!(exported["allowPrivilegeEscalation"], false);
    document.file("upper", b"/run/shop.pid", "create");
    assert_eq!(
        security_context(&document)?["readOnlyRootFilesystem"],
        Value::Null
    );

    // The comparison above tells what is not known.
    let mut wrong = exported.clone();
    wrong["readOnlyRootFileSystem"] = true.into();
    assert_ne!(known_to_kubernetes(&wrong)?, wrong);
    Ok(())
}

/// The same after it went through the type of Kubernetes.
fn known_to_kubernetes(value: &Value) -> Result<Value> {
    let known: SecurityContext = serde_json::from_value(value.clone())?;
    Ok(serde_json::to_value(known)?)
}

/// The documents in `profiles`, learned from real servers, are taken by all of these tools.
#[test]
fn published_documents_are_taken_by_every_tool() -> Result<()> {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles");
    let directory = tempfile::tempdir()?;
    let mut documents = 0;
    for entry in std::fs::read_dir(published)? {
        let document = entry?.path();
        if document.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let export = |format| export(&document, format, directory.path());
        Automaton::of(&export("apparmor")?)?;
        compiled_by_selinux(&export("selinux")?, directory.path())?;
        let context = security_context_in(&export("security-context")?)?;
        assert_eq!(known_to_kubernetes(&context)?, context, "{}", document.display());
        documents += 1;
    }
    ensure!(documents > 0, "there is no document");
    Ok(())
}

fn security_context(document: &Document) -> Result<Value> {
    security_context_in(&document.export("security-context")?)
}

fn security_context_in(exported: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(exported)?;
    let value: Value = serde_saphyr::from_str(&text).with_context(|| text.clone())?;
    Ok(value["securityContext"].clone())
}
