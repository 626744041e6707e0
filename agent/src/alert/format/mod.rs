//! Alerts in the words of other products.
//!
//! Input: an [`Alert`]. Output: one JSON object, in one line. Failure: none; these are pure functions.
//!
//! [`falco`] is the JSON output of Falco, [`ocsf`] a Detection Finding of the Open Cybersecurity Schema Framework. What an
//! alert tells and the other product has no field for is kept: [`rest`] is what was not carried over, so that a field that is added to
//! alerts is in every format without being named here. The texts are those of the native alert, escapes included: what a
//! container chose is no more dangerous in one format than in another. `docs/alerts.md` says which field goes where.

pub mod falco;
mod image;
pub mod ocsf;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::model::Alert;
use super::time::Time;
use crate::control::feed::missed_line;
use crate::text::ByteText;

/// In whose words alerts are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::doc_markdown, reason = "what is shown as help has no code")]
pub enum AlertFormat {
    /// The alerts as they are: schema driftlock.alert/v1
    #[default]
    Driftlock,
    /// Falco's JSON output, for Falcosidekick and whatever else reads it
    Falco,
    /// OCSF Detection Finding (class 2004, schema 1.5.0)
    Ocsf,
}

impl AlertFormat {
    /// An alert as a line in this format, with its newline.
    #[must_use]
    pub fn line(self, alert: &Alert) -> String {
        match self {
            Self::Driftlock => alert.to_line(),
            Self::Falco => line(&falco::alert(alert)),
            Self::Ocsf => line(&ocsf::alert(alert)),
        }
    }

    /// What stands in this format for `missed` alerts that a reader missed, as of `now`; with its newline.
    #[must_use]
    pub fn missed_line(self, missed: u64, now: Time) -> String {
        match self {
            Self::Driftlock => missed_line(missed),
            Self::Falco => line(&falco::missed(missed, now)),
            Self::Ocsf => line(&ocsf::missed(missed, now)),
        }
    }
}

/// A document as a line, with its newline.
fn line(document: &Value) -> String {
    format!("{document}\n")
}

/// The native alert as an object.
///
/// # Panics
/// Never: no map has keys that are no text, and nothing in it fails to serialise.
fn native(alert: &Alert) -> Value {
    serde_json::to_value(alert).expect("all keys are texts")
}

/// What is left of a native alert (or of a part of it) without the fields in `carried`, which are named by their names
/// joined with dots, and without what says nothing: `null`, empty lists and empty objects.
fn rest(native: &Value, carried: &[&str]) -> Map<String, Value> {
    match left("", native, carried) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn left(name: &str, value: &Value, carried: &[&str]) -> Option<Value> {
    if carried.contains(&name) || is_void(value) {
        return None;
    }
    let Value::Object(fields) = value else {
        return Some(value.clone());
    };
    let fields = fields.iter().filter_map(|(field, value)| {
        let name = if name.is_empty() {
            field.clone()
        } else {
            format!("{name}.{field}")
        };
        left(&name, value, carried).map(|value| (field.clone(), value))
    });
    let fields: Map<_, _> = fields.collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// Says nothing.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The text of what may not be known.
fn text(bytes: Option<&ByteText>) -> Value {
    bytes.map(ToString::to_string).into()
}

/// Arguments in one line, as they would be typed if none of them had a blank in it.
fn joined(arguments: &[ByteText]) -> String {
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    arguments.join(" ")
}

/// Leaves out of an object what is `null`.
fn known(object: Value) -> Value {
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}
