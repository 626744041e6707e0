//! The published description of an alert, made from its types: a JSON schema, and a page for people.

use std::fmt::Write as _;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain as AbiDomain, Mode as AbiMode};
use agent_common::file::{FileOperation, Layer as AbiLayer};
use agent_common::rule::Action as AbiAction;
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use agent_common::task::TaskState;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::kind::AlertKind;
use super::model::Alert;

/// Where both are published, from this crate's directory.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
/// Set to write them instead of comparing them.
const UPDATE: &str = "DRIFTLOCK_UPDATE_SCHEMA";

/// A type that is written in its own way.
macro_rules! schema {
    ($($name:ident, $schema:tt;)+) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

schema! {
    Text, {"type": "string"};
    Date, {"type": "string", "format": "date-time"};
    Id, {"type": "string", "format": "uuid"};
    Digest, {"type": "string", "pattern": "^[a-z0-9.+-]+:.+$"};
    CapabilityName, {"type": "string", "pattern": "^CAP_[A-Z0-9_]+$"};
    Labels, {"type": "object", "additionalProperties": {"type": "string"}};
}

/// A tag of the ABI, which is written as one of its words.
macro_rules! words {
    ($($name:ident, $tag:ty;)+) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<_> = <$tag>::ALL.iter().map(|value| value.as_str()).collect();
                json_schema!({"type": "string", "enum": words})
            }
        }
    )+};
}

words! {
    DomainWord, AbiDomain;
    ModeWord, AbiMode;
    ActionWord, AbiAction;
    StateWord, TaskState;
    LayerWord, AbiLayer;
    OperationWord, FileOperation;
    NamespaceWord, UserNamespace;
    OutcomeWord, CapOutcome;
    AbiWord, SyscallAbi;
    PhaseWord, SyscallPhase;
}

/// The page: a table of kinds, then one for each object.
fn page(schema: &Value) -> String {
    let mut page = String::from(
        "# Alert reference\n\n\
         What stands in an alert of schema `driftlock.alert/v1`, made from the agent's types (`agent/src/alert/model.rs`); `alert.schema.json` says\n\
         the same for programs. Every alert is one line of JSON. Texts that a container chose have `\\xNN` for every byte that is no printable text.\n\
         [alerts.md](alerts.md) tells the formats of other products.\n\n\
         ## Kinds\n\n| `kind` | what it is |\n|---|---|\n",
    );
    for kind in AlertKind::ALL {
        let _ = writeln!(page, "| `{kind}` | {} |", kind.title());
    }
    object(&mut page, "Alert", schema);
    let Some(parts) = schema["$defs"].as_object() else {
        return page;
    };
    for (name, part) in parts {
        object(&mut page, name, part);
    }
    page
}

/// A section for an object or for a choice of words.
fn object(page: &mut String, name: &str, schema: &Value) {
    let title = name.strip_prefix("Alert").filter(|rest| !rest.is_empty());
    let _ = writeln!(
        page,
        "\n## {}\n\n{}\n",
        title.unwrap_or(name),
        description(schema)
    );
    if let Some(fields) = schema["properties"].as_object() {
        page.push_str("| field | type | what it says |\n|---|---|---|\n");
        for (field, schema) in fields {
            let _ = writeln!(page, "| `{field}` | {} | {} |", kind(schema), description(schema));
        }
    }
    for choice in ["oneOf", "anyOf"] {
        for one in schema[choice].as_array().into_iter().flatten() {
            let word = one["const"]
                .as_str()
                .map_or_else(|| kind(one), |word| format!("`{word}`"));
            let _ = writeln!(page, "- {word}: {}", description(one));
        }
    }
}

/// What a value is, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let name = name.strip_prefix("Alert").unwrap_or(name);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choices: Vec<_> = choices.iter().map(kind).collect();
        return choices.join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => String::new(),
    }
}

/// The documentation of a type or field in one line, without the links of the source.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ")
        .replace("[`SCHEMA`]", "`driftlock.alert/v1`")
        .replace('|', "\\|")
}

#[test]
fn the_published_reference_is_current() {
    let schema = serde_json::to_value(schemars::schema_for!(Alert)).expect("is JSON");
    let text = serde_json::to_string_pretty(&schema).expect("is JSON") + "\n";
    for (name, text) in [("alert.schema.json", text), ("alert-reference.md", page(&schema))] {
        let file = format!("{DOCS}/{name}");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, &text).expect("written");
        }
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            published == text,
            "docs/{name} is not what the types say: run `{UPDATE}=1 cargo test -p agent the_published_reference_is_current` and review \
             the difference"
        );
    }
}
