//! A Detection Finding (class 2004) of the Open Cybersecurity Schema Framework.
//!
//! Source: ocsf/ocsf-schema, tag 1.5.0: `events/findings/detection_finding.json`, `events/findings/finding.json`,
//! `events/base_event.json`, the profiles `security_control` and `container`, and the objects `finding_info`, `attack`, `evidences`,
//! `process`, `process_entity`, `file`, `fingerprint`, `container`, `image`, `resource_details`, `device`, `metadata`. No attribute
//! that 1.5.0 calls deprecated is used, and those that are used are in 1.8.0 as well.
//!
//! The first alert of a kind creates a finding, and the summaries of its repeats update it: `finding_info.uid` is the same,
//! `metadata.uid` is the alert's own id. What OCSF has no attribute for is in `unmapped`, as it is in the native alert; what the process
//! did is in `evidences`, whole. Times are milliseconds there, so those in nanoseconds stay in `unmapped`, too.

use agent_common::rule::Action;
use serde_json::{Value, json};
use uuid::Uuid;

use super::image::Reference;
use super::{joined, known, native, rest};
use crate::alert::model::{Alert, AlertBehaviour, AlertContainer, AlertFile, AlertProcess};
use crate::alert::severity::Severity;
use crate::alert::summary;
use crate::alert::technique::technique;
use crate::alert::time::Time;
use crate::text::{ByteText, escape};

/// The schema's version.
pub const VERSION: &str = "1.5.0";
/// Detection Finding.
const CLASS: u32 = 2004;

/// Fields of a native alert that an attribute of OCSF tells in full.
const CARRIED: &[&str] = &[
    "id",
    "time",
    "node",
    "kind",
    "severity",
    "container.id",
    "container.name",
    "container.runtime",
    "container.image.config_digest",
    "container.labels",
    "container.pod",
    "container.namespace",
    "container.pod_uid",
    "container.pod_labels",
    "process.pid",
    "process.pid_in_container",
    "process.uid",
    "process.comm",
    "process.exe",
    "process.cwd",
    "process.ancestors",
    "behaviour",
    "count",
    "repeats_of",
    "attack",
];

/// An alert as a finding.
#[must_use]
pub fn alert(alert: &Alert) -> Value {
    let (activity_id, activity) = match alert.repeats_of {
        None => (1, "Create"),
        Some(_) => (2, "Update"),
    };
    let (severity_id, severity) = severity(alert.severity);
    let (action_id, action, disposition_id, disposition) = outcome(alert);
    json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CLASS / 1000,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "time": alert.time.epoch_ms(),
        "timezone_offset": 0,
        "start_time": alert.first_seen.epoch_ms(),
        "end_time": alert.last_seen.epoch_ms(),
        "count": alert.count,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "is_alert": true,
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        "message": message(alert),
        "metadata": known(json!({
            "version": VERSION,
            "product": product(),
            "profiles": ["container", "security_control"],
            "uid": alert.id,
            "event_code": alert.kind,
            "original_time": alert.time,
        })),
        "finding_info": finding(alert),
        "evidences": [evidence(alert)],
        "resources": resources(&alert.container),
        "device": {
            "hostname": alert.node,
            "type_id": 0,
            "type": "Unknown",
            "os": {"name": "Linux", "type_id": 200, "type": "Linux"},
        },
        "unmapped": unmapped(alert),
    })
}

/// What stands for `missed` alerts that a reader missed, as of `now`: a Base Event, because it is no finding.
#[must_use]
pub fn missed(missed: u64, now: Time) -> Value {
    let (severity_id, severity) = severity(Severity::High);
    json!({
        "activity_id": 0,
        "category_uid": 0,
        "class_uid": 0,
        "class_name": "Base Event",
        "type_uid": 0,
        "time": now.epoch_ms(),
        "timezone_offset": 0,
        "severity_id": severity_id,
        "severity": severity,
        "message": summary::missed(missed),
        "metadata": {"version": VERSION, "product": product(), "event_code": "missed"},
        "unmapped": {"missed": missed},
    })
}

fn product() -> Value {
    json!({"name": "Driftlock", "vendor_name": "Driftlock", "version": env!("CARGO_PKG_VERSION")})
}

const fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// What was done, as the profile `security_control` has it: action and disposition, each with its number. A kill is a
/// block only once it is certain.
const fn outcome(alert: &Alert) -> (u32, &'static str, u32, &'static str) {
    match (alert.action.taken, alert.action.confirmed, &alert.action.error) {
        (_, _, Some(_)) => (3, "Observed", 27, "Error"),
        (Action::None, _, None) => (3, "Observed", 19, "Alert"),
        (Action::Denied, _, None) | (Action::Killed, true, None) => (2, "Denied", 2, "Blocked"),
        (Action::Killed, false, None) => (2, "Denied", 0, "Unknown"),
    }
}

fn message(alert: &Alert) -> String {
    let container = alert.container.name.as_ref().unwrap_or(&alert.container.id);
    format!(
        "{} in {container}: {} ({})",
        alert.kind.title(),
        summary::behaviour(alert),
        summary::action(alert)
    )
}

fn finding(alert: &Alert) -> Value {
    let time = alert.time.epoch_ms();
    let first = alert.repeats_of.is_none();
    let attacks: Vec<_> = alert.attack.iter().map(|id| attack(id)).collect();
    known(json!({
        "uid": alert.repeats_of.unwrap_or(alert.id),
        "title": alert.kind.title(),
        "desc": message(alert),
        "types": [alert.kind],
        "analytic": {"name": alert.kind.title(), "uid": alert.kind, "type_id": 2, "type": "Behavioral"},
        "attacks": (!attacks.is_empty()).then_some(attacks),
        "created_time": first.then_some(time),
        "modified_time": (!first).then_some(time),
        "first_seen_time": alert.first_seen.epoch_ms(),
        "last_seen_time": alert.last_seen.epoch_ms(),
    }))
}

/// A technique that has no name here goes by its id: the schema does not demand a name, but models of it do.
fn attack(id: &str) -> Value {
    let technique = technique(id);
    let page = |id: &str| format!("https://attack.mitre.org/techniques/{}/", id.replace('.', "/"));
    let object = |id: &str, name: Option<&str>| {
        known(json!({"uid": id, "name": name.unwrap_or(id), "src_url": name.map(|_| page(id))}))
    };
    known(json!({
        "technique": object(technique.id, technique.name),
        "sub_technique": technique.sub.map(|name| object(id, name)),
    }))
}

fn evidence(alert: &Alert) -> Value {
    let native = native(alert);
    known(json!({
        "process": process(&alert.process),
        "file": alert.behaviour.file().map(|used| file(&alert.behaviour, used)),
        "container": container(&alert.container),
        "data": native.get("behaviour"),
    }))
}

fn process(process: &AlertProcess) -> Value {
    let entities: Vec<_> = process
        .ancestors
        .iter()
        .map(|ancestor| json!({"pid": ancestor.pid, "name": ancestor.comm}))
        .collect();
    known(json!({
        "pid": process.pid,
        "namespace_pid": process.pid_in_container,
        "name": process.comm,
        "path": process.exe,
        "file": process.exe.as_ref().map(|exe| json!({"name": file_name(exe), "path": exe, "type_id": 1, "type": "Regular File"})),
        "cmd_line": (!process.args.is_empty()).then(|| joined(&process.args)),
        "working_directory": process.cwd,
        "created_time": process.started.epoch_ms(),
        "user": {"uid": process.uid.to_string()},
        "parent_process": entities.first(),
        "ancestry": (!entities.is_empty()).then_some(&entities),
    }))
}

/// A file that is executed or mapped is a regular one; what else a process opens may be anything.
fn file(behaviour: &AlertBehaviour, file: &AlertFile) -> Value {
    let (type_id, kind) = match behaviour {
        AlertBehaviour::Exec(_) | AlertBehaviour::Library(_) => (1, "Regular File"),
        _ => (0, "Unknown"),
    };
    let hash = |value| json!([{"algorithm_id": 3, "algorithm": "SHA-256", "value": value}]);
    known(json!({
        "name": file_name(&file.path),
        "path": file.path,
        "type_id": type_id,
        "type": kind,
        "hashes": file.sha256.as_ref().map(hash),
    }))
}

/// What follows the last slash; all of a path that ends with one.
fn file_name(path: &ByteText) -> String {
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next();
    escape(name.filter(|name| !name.is_empty()).unwrap_or(path.as_bytes()))
}

fn container(container: &AlertContainer) -> Value {
    known(json!({
        "uid": container.id,
        "name": container.name,
        "runtime": container.runtime,
        "orchestrator": container.pod.as_ref().map(|_| "Kubernetes"),
        "pod_uuid": container.pod_uid.as_ref().filter(|uid| is_uuid(uid)),
        "image": image(container),
        "tags": tags(&container.labels),
    }))
}

fn is_uuid(uid: &ByteText) -> bool {
    let text = std::str::from_utf8(uid.as_bytes());
    text.is_ok_and(|text| text.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(text).is_ok())
}

/// The image by its config digest, else by its reference; `None` if neither is known, as OCSF demands an id.
fn image(container: &AlertContainer) -> Option<Value> {
    let image = container.image.as_ref()?;
    let reference = image.reference.as_ref().map(ToString::to_string);
    let parts = reference.as_deref().map(Reference::parse);
    let uid = image.config_digest.as_ref().map(ToString::to_string);
    let tag = parts.and_then(|parts| parts.tag);
    Some(known(json!({
        "uid": uid.as_ref().or(reference.as_ref())?,
        "name": parts.and_then(|parts| parts.repository),
        "tags": tag.map(|tag| json!([{"name": "tag", "value": tag}])),
    })))
}

fn tags(labels: &std::collections::BTreeMap<ByteText, ByteText>) -> Option<Value> {
    let tags: Vec<_> = labels
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    (!tags.is_empty()).then(|| tags.into())
}

fn resources(container: &AlertContainer) -> Vec<Value> {
    let own = known(json!({
        "type": "Container",
        "uid": container.id,
        "name": container.name,
        "namespace": container.namespace,
        "tags": tags(&container.labels),
    }));
    let pod = known(json!({
        "type": "Pod",
        "uid": container.pod_uid,
        "name": container.pod,
        "namespace": container.namespace,
        "tags": tags(&container.pod_labels),
    }));
    [Some(own), is_in_a_pod(container).then_some(pod)]
        .into_iter()
        .flatten()
        .collect()
}

const fn is_in_a_pod(container: &AlertContainer) -> bool {
    container.pod.is_some() || container.pod_uid.is_some()
}

fn unmapped(alert: &Alert) -> Value {
    // Outside of a pod there is no resource that could carry them.
    let in_a_pod = is_in_a_pod(&alert.container);
    let carried = CARRIED.iter().copied();
    let carried: Vec<_> = carried
        .filter(|name| in_a_pod || *name != "container.pod_labels")
        .collect();
    rest(&native(alert), &carried).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name() {
        for (path, name) in [
            (&b"/tmp/dropped"[..], "dropped"),
            (b"memfd:x", "memfd:x"),
            (b"/", "/"),
            (b"", ""),
            (b"/tmp/a\nb", "a\\x0ab"),
        ] {
            assert_eq!(file_name(&path.into()), name);
        }
    }

    #[test]
    fn an_id_of_a_pod_is_one_only_in_its_usual_form() {
        assert!(is_uuid(&"3e41dc6b-08a8-44db-bc2a-3724b18ab19a".into()));
        for other in [
            "3e41dc6b08a844dbbc2a3724b18ab19a",
            "{3e41dc6b-08a8-44db-bc2a-3724b18ab19a}",
            "static",
            "",
        ] {
            assert!(!is_uuid(&other.into()), "{other}");
        }
    }
}
