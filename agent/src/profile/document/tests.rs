//! Tests of the document: round trips under hostile bytes, one document in full, and every way to be refused.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::behaviour::ExecBehaviour;
use crate::profile::model::{self, BEHAVIOURS_MAX, ContentHash, WindowCounts};
use strategy::HOSTILE_NAMES;

mod strategy;
pub(crate) use strategy::document;

proptest! {
    #[test]
    fn the_same_content_and_the_same_bytes_come_back(document in document()) {
        let text = document.render().expect("renders");
        prop_assert!(text.chars().all(|shown| shown == '\n' || !shown.is_control()), "{text}");
        let read = ProfileDocument::parse(text.as_bytes(), "test").map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read, &document);
        prop_assert_eq!(read.render().expect("renders"), text);
    }

    #[test]
    fn no_file_makes_the_reader_panic(text in "(apiVersion: driftlock/v1\nkind: ImageProfile\n)?[-a-z:\\[\\]{}&*!|>'\"#%@,? \n0-9~\\\\]{0,200}") {
        let _ = ProfileDocument::parse(text.as_bytes(), "test");
    }
}

#[test]
fn every_hostile_name_survives_as_applet_role_note_and_reference() {
    for name in HOSTILE_NAMES {
        let mut profile = RoleProfile::default();
        let behaviour = ExecBehaviour {
            layer: Layer::Image,
            path: "/bin/busybox".into(),
            applet: Some(name.to_vec().into()),
        };
        profile.main.insert(behaviour.into(), Evidence::default());
        let note = String::from_utf8_lossy(name).into_owned();
        let mut document = ProfileDocument {
            digest: format!("sha256:{}", "0".repeat(64)).parse().expect("a digest"),
            image: ImageRecord::default(),
            roles: BTreeMap::new(),
        };
        if model::check_text("note", &note).is_ok() {
            document.image.references.insert(note.clone());
            let accepted = AcceptedDrift {
                sha256: [ContentHash([0; 32])].into(),
                note,
            };
            profile.drift.insert((Layer::Volume, "/job".into()), accepted);
        }
        document
            .roles
            .insert(Role::new(name.to_vec().into()).expect("a role"), profile);
        let text = document.render().expect("renders");
        let read = ProfileDocument::parse(text.as_bytes(), "test");
        assert_eq!(read.as_ref(), Ok(&document), "{}\n{text}", name.escape_ascii());
    }
}

const MINIMAL: &str = "\
apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
roles:
- role: /init
  exec:
  - layer: image
    path: /bin/a
    applet: ls
  execIn:
  - {layer: image, path: /bin/sh, accepted: true}
  acceptedDrift:
  - layer: volume
    path: /job
    sha256:
    - 1111111111111111111111111111111111111111111111111111111111111111
  files:
  - {layer: upper, path: /run/a.pid, operation: create, windows: 2}
  - {layer: upper, pattern: '/tmp/a-{random}/**', operation: create}
  capabilities:
  - {capability: CAP_NET_RAW, namespace: initial, outcome: granted}
  filesIn:
  - {layer: foreign, path: /data/x, operation: read, accepted: false}
  capabilitiesIn:
  - {capability: CAP_41, namespace: other, outcome: refused, accepted: true}
";

#[test]
fn one_document_in_full() {
    let mut document = ProfileDocument::parse(MINIMAL.as_bytes(), "test").expect("reads");
    document.image.references = ["docker.io/library/app:1".into(), "registry:5000/app:1".into()].into();
    document.image.manifests = [format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest")].into();
    document.image.descends_from = Some(format!("sha256:{}", "cd".repeat(32)).parse().expect("a digest"));
    let profile = document.roles.values_mut().next().expect("one role");
    profile.approved = true;
    profile.scripts = true;
    profile.counts = ObservationCounts {
        exec: WindowCounts {
            instances: 3,
            windows: 60,
            lost_windows: 1,
            lost_records: 12,
            starts: 2,
            ends: 1,
        },
        file: WindowCounts {
            windows: 59,
            ..WindowCounts::default()
        },
        cap: WindowCounts::default(),
        syscall: WindowCounts::default(),
    };
    for (path, applet) in [
        (&b"/opt/two\nlines"[..], None),
        (b"/opt/\xff", None),
        ("/opt/naïve".as_bytes(), None),
        (b"/bin/busybox", Some("~")),
        (b"/bin/busybox", None),
        (b"/opt/a # b: c", None),
    ] {
        let behaviour = ExecBehaviour {
            layer: Layer::Image,
            path: path.into(),
            applet: applet.map(ByteText::from),
        };
        profile.main.insert(behaviour.into(), Evidence::of_windows(7));
    }
    insta::assert_snapshot!(document.render().expect("renders"));
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ONES: &str = "    - 1111111111111111111111111111111111111111111111111111111111111111\n";

/// What is replaced in [`MINIMAL`], by what, and the beginning of what the reader says to that.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "driftlock/v1",
        "driftlock/v2",
        "f.yaml:1:13: unknown variant `driftlock/v2`",
    ),
    ("kind: ImageProfile\n", "", "missing field `kind`"),
    (
        "kind: ImageProfile",
        "kind: ImageProfile\nextra: 1",
        "f.yaml:3:1: unknown field `extra`",
    ),
    (
        "  digest:",
        "  size: 1\n  digest:",
        "f.yaml:4:3: unknown field `size`",
    ),
    (ZEROS, "00", "f.yaml:4:11: `sha256:00` is not a digest"),
    (
        "  exec:",
        "  exek: []\n  exec:",
        "f.yaml:7:3: unknown field `exek`",
    ),
    (
        "applet: ls",
        "appletx: ls",
        "f.yaml:10:5: unknown field `appletx`",
    ),
    (
        "applet: ls",
        "applet: ~",
        "f.yaml:10:13: null is not allowed here, at: applet: ~",
    ),
    ("applet: ls", "applet:", "f.yaml:10:11: null is not allowed"),
    (
        "applet: ls",
        "applet: a/b",
        "f.yaml:8:5: exec: applet `a/b` is not a name",
    ),
    (
        "applet: ls",
        "applet: ls\n    applet: ls",
        "f.yaml:11:5: duplicate mapping key: applet",
    ),
    (
        "applet: ls",
        "windows: -3",
        "f.yaml:10:14: invalid u64, at: windows: -3",
    ),
    (
        "applet: ls",
        "windows: 18446744073709551616",
        "f.yaml:10:14: invalid u64",
    ),
    ("applet: ls", "windows: 1.5", "f.yaml:10:14: invalid u64"),
    (
        "path: /bin/a",
        "path: bin/a",
        "f.yaml:8:5: exec: path `bin/a` is not in normal form",
    ),
    ("path: /bin/a", "path: /bin/../a", "f.yaml:8:5: exec: path"),
    (
        "path: /bin/a",
        "path: /bin/\\x41",
        "f.yaml:9:11: `/bin/\\x41` has a backslash",
    ),
    ("path: /bin/a", "path: \"/bin/\\e[31m\"", "f.yaml:9:11: "),
    (
        "layer: image",
        "layer: upper",
        "f.yaml:8:12: unknown variant `upper`",
    ),
    (
        "layer: volume",
        "layer: foreign",
        "f.yaml:14:12: unknown variant `foreign`",
    ),
    ("layer: volume", "layer: anonymous", "unknown variant `anonymous`"),
    ("layer: image", "layer: &a image", "Anchors"),
    ("layer: image", "layer: *a", "f.yaml:8:12: "),
    ("layer: image", "layer: !custom image", "unsupported tag"),
    ("layer: image", "<<: {layer: image}", "f.yaml:8:5: "),
    (", accepted: true", "", "f.yaml:12:20: missing field `accepted`"),
    ("accepted: true", "accepted: yes", "f.yaml:12:45: "),
    (
        "role: /init",
        "role: ''",
        "f.yaml:6:9: a role is the entrypoint's path",
    ),
    (
        "  execIn:",
        "  - {layer: image, path: /bin/a, applet: ls}\n  execIn:",
        "f.yaml:11:5: exec: `image /bin/a (ls)` occurs twice",
    ),
    (
        "  acceptedDrift:",
        "  - {layer: image, path: /bin/sh, accepted: false}\n  acceptedDrift:",
        "f.yaml:13:5: execIn: `image /bin/sh` occurs twice",
    ),
    (ONES, "", "f.yaml:14:5: acceptedDrift: sha256 is empty"),
    (ONES, "    - 11\n", "f.yaml:17:7: `11` is not a SHA-256"),
    (
        "    sha256:\n",
        "    note: \"a\\nb\"\n    sha256:\n",
        "f.yaml:14:5: acceptedDrift: note `a\\nb` is too long",
    ),
    (
        "operation: create",
        "operation: execute",
        "f.yaml:19:49: `execute` is no operation, expected one of: read, write",
    ),
    (
        "layer: upper",
        "layer: top",
        "f.yaml:19:13: `top` is no layer, expected one of: unknown, image",
    ),
    (
        "operation: create",
        "applet: a",
        "f.yaml:19:38: unknown field `applet`",
    ),
    (
        "/run/a.pid",
        "run/a.pid",
        "f.yaml:19:5: files: path `run/a.pid` is not in",
    ),
    (
        "  capabilities:\n",
        "  - {layer: upper, path: /run/a.pid, operation: create}\n  capabilities:\n",
        "f.yaml:21:5: files: `create upper /run/a.pid` occurs twice",
    ),
    (
        "'/tmp/a-{random}/**'",
        "/tmp/a",
        "f.yaml:20:29: `/tmp/a` is no rule for paths: nothing in it varies",
    ),
    (
        "pattern: ",
        "path: /tmp/a, pattern: ",
        "f.yaml:20:5: files: exactly one of `path` and `pattern` must be given",
    ),
    (
        "path: /run/a.pid, ",
        "",
        "f.yaml:19:5: files: exactly one of `path` and `pattern` must be given",
    ),
    (
        "CAP_NET_RAW",
        "NET_RAW",
        "f.yaml:22:18: `NET_RAW` is no capability: expected a name as `CAP_NET_RAW`",
    ),
    ("namespace: initial, ", "", "missing field `namespace`"),
    (
        "capabilitiesIn:",
        "capabilitiesIn:\n  - {capability: CAP_41, namespace: other, outcome: refused, accepted: false}",
        "f.yaml:27:5: capabilitiesIn: `CAP_41 refused in a user namespace of its own` occurs twice",
    ),
    (", accepted: false", "", "missing field `accepted`"),
    ("roles:", "roles: []\n---\nroles:", "Documents"),
    (
        "  exec:",
        "  observation: {windows: 1, seen: 2}\n  exec:",
        "f.yaml:7:29: unknown field `seen`",
    ),
];

#[test]
fn what_is_wrong_is_told_with_its_place_and_field() {
    ProfileDocument::parse(MINIMAL.as_bytes(), "test").expect("is what the cases below change");
    for (from, to, expected) in WRONG {
        assert_ne!(MINIMAL.replace(from, to), MINIMAL, "{from}");
        let error = ProfileDocument::parse(MINIMAL.replacen(from, to, 1).as_bytes(), "f.yaml")
            .expect_err(to)
            .to_string();
        assert!(
            error.contains(expected) && error.starts_with("f.yaml:"),
            "{to}: {error}"
        );
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let twice = MINIMAL.replacen(ONES, &ONES.repeat(2), 1);
    let error = ProfileDocument::parse(twice.as_bytes(), "f.yaml")
        .expect_err("twice")
        .to_string();
    assert!(
        error.starts_with("f.yaml:18:7: acceptedDrift.sha256: `1111"),
        "{error}"
    );
    let twice = format!("{MINIMAL}- role: /init\n");
    let error = ProfileDocument::parse(twice.as_bytes(), "f.yaml")
        .expect_err("twice")
        .to_string();
    assert!(
        error.starts_with("f.yaml:27:3: roles: role `/init` occurs twice"),
        "{error}"
    );
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let started = std::time::Instant::now();
    let mut bomb = String::from("roles:\n- &a0 [x, x]\n");
    for level in 1..64 {
        writeln!(bomb, "- &a{level} [*a{0}, *a{0}]", level - 1).expect("writes to a string");
    }
    let mut deep_block = String::new();
    for level in 0..2000 {
        writeln!(deep_block, "{}roles:", " ".repeat(level)).expect("writes to a string");
    }
    for (text, expected) in [
        (bomb, "f.yaml:2:"),
        (format!("roles: {}", "[".repeat(1 << 20)), "f.yaml:1:"),
        (deep_block, "f.yaml:"),
        (
            format!("{MINIMAL}{}", "- role: /a\n".repeat(1 << 14)),
            "f.yaml:28:3: roles: role `/a` occurs twice",
        ),
    ] {
        let error = ProfileDocument::parse(text.as_bytes(), "f.yaml")
            .expect_err("is refused")
            .to_string();
        assert!(error.starts_with(expected) && error.len() < 300, "{error}");
    }
    let many_nodes = MINIMAL.replace("roles:", "  references: [a, b, c, d, e, f, g, h, i, j]\nroles:");
    let error = serde_saphyr::from_str_with_options::<wire::Document>(&many_nodes, options(20))
        .expect_err("is refused");
    assert!(error.to_string().contains("Nodes"), "{error}");
    let large = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    assert!(matches!(
        ProfileDocument::parse(&large, "f.yaml"),
        Err(DocumentError::TooLarge { bytes, .. }) if bytes == DOCUMENT_BYTES_MAX + 1
    ));
    assert!(matches!(
        ProfileDocument::parse(b"kind: \xff", "f.yaml"),
        Err(DocumentError::NotText { offset: 6, .. })
    ));
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn a_full_profile_is_written_and_read() {
    let mut document = ProfileDocument::parse(MINIMAL.as_bytes(), "test").expect("reads");
    let profile = document.roles.values_mut().next().expect("one role");
    profile.main = (0..BEHAVIOURS_MAX)
        .map(|number| {
            let behaviour = ExecBehaviour {
                layer: Layer::Image,
                path: format!("/usr/lib/a-directory-of-some-length/program-{number}")
                    .as_str()
                    .into(),
                applet: None,
            };
            (behaviour.into(), Evidence::default())
        })
        .collect();
    let text = document.render().expect("renders");
    assert_eq!(
        ProfileDocument::parse(text.as_bytes(), "test"),
        Ok(document.clone())
    );

    let one_more = text.replacen("  exec:\n", "  exec:\n  - {layer: image, path: /one/more}\n", 1);
    let error = ProfileDocument::parse(one_more.as_bytes(), "f.yaml").expect_err("too many");
    assert!(error.to_string().contains("more than 8192 behaviours"), "{error}");

    let profile = document.roles.values_mut().next().expect("one role");
    profile.main = (0..BEHAVIOURS_MAX)
        .map(|number| {
            let path = format!("/{number:08}{}", format!("/{}", "x".repeat(255)).repeat(8));
            let behaviour = ExecBehaviour {
                layer: Layer::Image,
                path: path.as_str().into(),
                applet: None,
            };
            (behaviour.into(), Evidence::default())
        })
        .collect();
    assert!(matches!(document.render(), Err(DocumentError::TooLarge { .. })));
}

#[test]
fn the_example_in_the_manual_is_canonical() {
    let manual = include_str!("../../../../profiles/README.md");
    let (_, rest) = manual.split_once("```yaml\n").expect("has an example");
    let (example, _) = rest.split_once("```").expect("it ends");
    let document = ProfileDocument::parse(example.as_bytes(), "README.md").expect("reads");
    assert_eq!(document.render().expect("renders"), example);
}
