//! The published JSON schema, made from the types of the document.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Where the schema is published, from this crate's directory.
const PUBLISHED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../profiles/image-profile.schema.json"
);
/// Set to write the schema instead of comparing it.
const UPDATE: &str = "DRIFTLOCK_UPDATE_SCHEMA";

/// A type that is written as text, with what that text must look like.
macro_rules! text {
    ($($name:ident, $pattern:literal, $description:literal;)+) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": $description})
            }
        }
    )+};
}

text! {
    Digest, "^sha256:[0-9a-f]{64}$", "Digest of a JSON document in an image.";
    Sha256, "^[0-9a-f]{64}$", "SHA-256 of a file's content.";
    FilePath, "^(/[^/]+)+$", "Absolute path without empty, `.` or `..` components.";
    CapabilityName, "^CAP_[A-Z0-9_]+$", "Name of a capability, as `linux/capability.h` has it.";
    SyscallName, "^[a-z0-9_]+$", "Name of a system call, as the kernel's tables have it.";
    Pattern, "^/.+$", "Rule for more than one path: types in braces stand for what varies, `/**` at the end for all below.";
    RolePath, "^.+$", "Path of an entrypoint.";
}

/// A tag of the ABI, which is written as one of its words.
macro_rules! words {
    ($($name:ident, $tag:ty, $description:literal;)+) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<_> = <$tag>::ALL.iter().map(|value| value.as_str()).collect();
                json_schema!({"type": "string", "enum": words, "description": $description})
            }
        }
    )+};
}

words! {
    AnyLayer, Layer, "Where a file came from.";
    Operation, FileOperation, "What is done with a file.";
    Namespace, UserNamespace, "The user namespace that a capability is for.";
    Outcome, CapOutcome, "What the kernel answers to the use of a capability.";
    Abi, SyscallAbi, "The interface by which a system call is made.";
    Phase, SyscallPhase, "Who makes a system call.";
}

#[test]
fn the_published_schema_is_current() {
    let mut text =
        serde_json::to_string_pretty(&schemars::schema_for!(super::wire::Document)).expect("is JSON");
    text.push('\n');
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(PUBLISHED, &text).expect("writes the schema");
    }
    let published = std::fs::read_to_string(PUBLISHED).unwrap_or_default();
    assert!(
        published == text,
        "profiles/image-profile.schema.json is not what the types say: \
         run `{UPDATE}=1 cargo test -p agent the_published_schema_is_current` and review the difference"
    );
}
