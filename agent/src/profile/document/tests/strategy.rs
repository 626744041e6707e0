//! Any document that can be written, under names that were chosen to do harm.

use proptest::prelude::*;

use agent_common::cap::{CAPABILITIES_MAX, CapOutcome, UserNamespace};
use agent_common::file::FileOperation;
use agent_common::normal_form::{Form, Pattern};
use agent_common::syscall::{SyscallAbi, SyscallPhase};

use super::super::*;
use crate::behaviour::{
    CapBehaviour, Capability, ExecBehaviour, FileBehaviour, FilePattern, SyscallBehaviour,
};
use crate::profile::model::{self, ContentHash, PATH_BYTES_MAX, WindowCounts};
use crate::profile::pattern::PathPattern;

/// Names that a YAML reader could take for something else, and names that attack a terminal or a parser.
pub(super) const HOSTILE_NAMES: &[&[u8]] = &[
    b"~",
    b"null",
    b"Null",
    b"yes",
    b"no",
    b"on",
    b"y",
    b"true",
    b"1e3",
    b"0x10",
    b"0o7",
    b"1_000",
    b".inf",
    b".nan",
    b"12:30:45",
    b"2001-01-01",
    b" leading",
    b"trailing ",
    b"# comment",
    b"a # b",
    b"a: b",
    b"a:",
    b":",
    b"-",
    b"- a",
    b"?",
    b"? a",
    b"---",
    b"...",
    b"'",
    b"\"",
    b"'a'",
    b"\"a\"",
    b"\\",
    b"\\x41",
    b"\\n",
    b"a\nb",
    b"\n",
    b"\r\n",
    b"\t",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\x1b[31m",
    b"\x7f",
    b"{a}",
    b"[a]",
    b"&a",
    b"*a",
    b"!a",
    b"!!binary",
    b"|",
    b">",
    b"%",
    b"@",
    b"`",
    b",",
    b"<<",
    b"=",
    b"${HOME}",
    b"\xf0\x9f\x92\xa9",
    b"\xc3\xa9",
    b"e\xcc\x81",
];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z0-9._-]{1,12}".prop_map(String::into_bytes),
        prop::sample::select(HOSTILE_NAMES).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 1..20),
        "\\PC{1,12}".prop_map(String::into_bytes),
        Just(vec![b' '; 255]),
        Just(vec![b'x'; 255]),
    ]
    .prop_map(|bytes| {
        bytes
            .into_iter()
            .map(|byte| if matches!(byte, 0 | b'/') { b'_' } else { byte })
            .take(255)
            .collect::<Vec<u8>>()
    })
    .prop_filter("a name", |bytes| !matches!(&bytes[..], b"" | b"." | b".."))
}

fn path() -> impl Strategy<Value = ByteText> {
    let short = prop::collection::vec(name(), 1..4);
    let longest = Just(vec![vec![b'a'; 255]; PATH_BYTES_MAX / 256]);
    prop_oneof![20 => short, 1 => longest].prop_map(|names| {
        let mut bytes = Vec::new();
        for name in names {
            bytes.push(b'/');
            bytes.extend(name);
        }
        ByteText::from(bytes)
    })
}

fn program() -> impl Strategy<Value = Behaviour> {
    let layer = prop_oneof![Just(Layer::Image), Just(Layer::Unknown)];
    let applet = prop_oneof![Just(None), Just(Some(Vec::new())), name().prop_map(Some)];
    (layer, path(), applet).prop_map(|(layer, path, applet)| {
        Behaviour::Exec(ExecBehaviour {
            layer,
            path,
            applet: applet.map(ByteText::from),
        })
    })
}

fn file() -> impl Strategy<Value = Behaviour> {
    let layer = prop::sample::select(Layer::ALL);
    let operation = prop::sample::select(FileOperation::ALL);
    (layer, file_pattern(), operation).prop_map(|(layer, pattern, operation)| {
        Behaviour::File(FileBehaviour {
            layer,
            pattern,
            operation,
        })
    })
}

/// A path, everything below it, or its form where it has one.
fn file_pattern() -> impl Strategy<Value = FilePattern> {
    let varying = "(/[a-z0-9]{1,8}){0,2}/[a-z]{2,5}-[0-9]{4,9}\\.[a-z]"
        .prop_map(|path| ByteText::from(path.into_bytes()));
    (prop_oneof![path(), varying], 0..3_u8).prop_map(|(path, kind)| {
        let bytes = path.as_bytes();
        let pattern = match kind {
            0 => None,
            1 => Pattern::subtree(Form::exact(bytes)).ok(),
            _ => Pattern::form(Form::of_path(bytes)).ok(),
        };
        let pattern = pattern.map(PathPattern::from);
        // The escapes make of a long path a longer text.
        match pattern.filter(|pattern| pattern.to_string().len() <= PATH_BYTES_MAX) {
            Some(pattern) => FilePattern::Pattern(pattern),
            None => FilePattern::Exact(path),
        }
    })
}

fn cap() -> impl Strategy<Value = Behaviour> {
    let namespace = prop::sample::select(UserNamespace::ALL);
    let outcome = prop::sample::select(CapOutcome::ALL);
    (0..CAPABILITIES_MAX, namespace, outcome).prop_map(|(number, namespace, outcome)| {
        Behaviour::Cap(CapBehaviour {
            capability: Capability::from_raw(number).expect("below the bound"),
            namespace,
            outcome,
        })
    })
}

fn system_call() -> impl Strategy<Value = Behaviour> {
    let abi = prop::sample::select(SyscallAbi::ALL);
    let phase = prop::sample::select(SyscallPhase::ALL);
    (abi, any::<u16>(), phase)
        .prop_map(|(abi, number, phase)| Behaviour::Syscall(SyscallBehaviour { abi, number, phase }))
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![program(), file(), cap(), system_call()]
}

fn windows() -> impl Strategy<Value = WindowCounts> {
    any::<[u64; 6]>().prop_map(|[instances, windows, lost_windows, lost_records, starts, ends]| {
        WindowCounts {
            instances,
            windows,
            lost_windows,
            lost_records,
            starts,
            ends,
        }
    })
}

fn digest() -> impl Strategy<Value = ImageDigest> {
    "sha256:[0-9a-f]{64}".prop_map(|text| text.parse().expect("a digest"))
}

fn text() -> impl Strategy<Value = String> {
    let hostile =
        prop::sample::select(HOSTILE_NAMES).prop_map(|name| String::from_utf8_lossy(name).into_owned());
    prop_oneof!["[a-z0-9./:@-]{1,40}", hostile, "\\PC{0,200}"].prop_filter("a text that is kept", |text| {
        model::check_text("text", text).is_ok()
    })
}

fn role() -> impl Strategy<Value = RoleProfile> {
    let counts = [windows(), windows(), windows(), windows()].prop_map(|[exec, file, cap, syscall]| {
        ObservationCounts {
            exec,
            file,
            cap,
            syscall,
        }
    });
    let hash = prop_oneof![
        any::<[u8; 32]>(),
        Just([0; 32]),
        // Reads as a number in scientific notation: 64 digits, one of them `e`.
        Just({
            let mut bytes = [0x11; 32];
            bytes[1] = 0x1e;
            bytes
        }),
    ]
    .prop_map(ContentHash);
    let accepted = (prop::collection::btree_set(hash, 1..3), text())
        .prop_map(|(sha256, note)| AcceptedDrift { sha256, note });
    let drift_layer = prop_oneof![Just(Layer::Upper), Just(Layer::Volume)];
    let evidence = || {
        (any::<u64>(), any::<bool>()).prop_map(|(windows, inherited)| Evidence {
            inherited,
            ..Evidence::of_windows(windows)
        })
    };
    let entry =
        (evidence(), any::<bool>()).prop_map(|(evidence, accepted)| ExecInEntry { evidence, accepted });
    (
        any::<[bool; 2]>(),
        counts,
        prop::collection::btree_map(behaviour(), evidence(), 0..6),
        prop::collection::btree_map(behaviour(), entry, 0..4),
        prop::collection::btree_map((drift_layer, path()), accepted, 0..3),
    )
        .prop_map(
            |([approved, scripts], counts, main, exec_in, drift)| RoleProfile {
                approved,
                scripts,
                counts,
                main,
                exec_in,
                drift,
            },
        )
}

/// Any document that can be written.
pub(crate) fn document() -> impl Strategy<Value = ProfileDocument> {
    let role_path = prop_oneof![path(), name().prop_map(ByteText::from)]
        .prop_map(|path| Role::new(path).expect("a role"));
    (
        digest(),
        prop::collection::btree_set(text(), 0..3),
        prop::collection::btree_set(digest(), 0..3),
        prop::option::of(digest()),
        prop::collection::btree_map(role_path, role(), 0..3),
    )
        .prop_map(
            |(digest, references, manifests, descends_from, roles)| ProfileDocument {
                digest,
                image: ImageRecord {
                    provisional_of: None,
                    references,
                    manifests,
                    descends_from,
                },
                roles,
            },
        )
}
