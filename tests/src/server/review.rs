//! What a reviewer does with a document besides accepting rules: takes out the paths that a rule holds for as well.
//!
//! Input: a profile document, as a value. Output: the same without those entries. Failure: none; an entry that this does not understand
//! stays.

use agent_common::normal_form::{Form, Part};
use serde_json::Value;

/// Takes out of each role's files every exact path that a rule of the same layer and operation holds for. Returns how many those were.
pub fn drop_what_rules_hold_for(document: &mut Value) -> usize {
    let mut dropped = 0;
    for role in document["roles"].as_array_mut().into_iter().flatten() {
        let Some(files) = role["files"].as_array_mut() else {
            continue;
        };
        let rules: Vec<Value> = files
            .iter()
            .filter(|entry| entry["pattern"].is_string())
            .cloned()
            .collect();
        let before = files.len();
        files.retain(|entry| {
            let Some(path) = entry["path"].as_str() else {
                return true;
            };
            !rules.iter().any(|rule| {
                rule["layer"] == entry["layer"]
                    && rule["operation"] == entry["operation"]
                    && holds_for(rule["pattern"].as_str().unwrap_or_default(), path)
            })
        });
        dropped += before - files.len();
    }
    dropped
}

/// Whether a rule holds for a path, for rules without escapes and for subtrees of one directory: others hold for nothing here.
fn holds_for(rule: &str, path: &str) -> bool {
    if let Some(directory) = rule.strip_suffix("**") {
        return !directory.contains('{') && path.len() > directory.len() && path.starts_with(directory);
    }
    form(path) == rule
}

/// The form of a path, as rules write it.
fn form(path: &str) -> String {
    let form = Form::of_path(path.as_bytes());
    let mut text = String::new();
    for name in form.names() {
        text.push('/');
        for part in name {
            match part {
                Part::Literal(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
                Part::Varying(kind) => text.extend(["{", kind.as_str(), "}"]),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_a_rule_holds_for_goes_and_all_else_stays() {
        let file = |layer: &str, name: &str, value: &str, operation: &str| json!({"layer": layer, name: value, "operation": operation});
        let gone = [
            file("volume", "path", "/data/base/1/2", "write"),
            file("foreign", "path", "/dev/shm/Segment.1234567", "create"),
        ];
        let stays = [
            file("volume", "pattern", "/data/**", "write"),
            file("foreign", "pattern", "/dev/shm/Segment.{decimal}", "create"),
            file("volume", "path", "/data", "write"),
            file("volume", "path", "/database/1", "write"),
            file("volume", "path", "/data/base/1/2", "read"),
            file("upper", "path", "/data/base/1/2", "write"),
            file("foreign", "path", "/dev/shm/Segment.x", "create"),
        ];
        let files = [&stays[..3], &gone, &stays[3..]].concat();
        let mut document = json!({"roles": [{"files": files}, {}]});
        assert_eq!(super::drop_what_rules_hold_for(&mut document), 2);
        assert_eq!(document["roles"][0]["files"], json!(stays));
    }
}
