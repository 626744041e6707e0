//! The JSON output of Falco for a rule that matched.
//!
//! Sources: `format_event` in Falco's `userspace/engine/formats.cpp` and the priorities in `falco_common.cpp`
//! (falcosecurity/falco, commit 130747499bb8, after 0.44.0-rc1); the names and types of fields in
//! `userspace/libsinsp/sinsp_filtercheck_thread.cpp` (falcosecurity/libs, commit 0055562a548a) and in the container plugin
//! (falcosecurity/plugins, commit 0e160860387d, `plugins/container/README.md`); what Falcosidekick takes: `FalcoPayload` and its
//! `Check` in `types/types.go` and `newFalcoPayload` in `handlers.go` (falcosecurity/falcosidekick, commit 8807ab7b0e21, after
//! 2.34.1). Falcosidekick refuses an object without rule, time, one of Falco's priorities or any output field, and fails at a
//! `k8s.ns.name` or `k8s.pod.name` that is neither text nor null.
//!
//! Falco's own fields are there in every object, null where they are not known, so that a template that uses them never
//! fails. What Falco has no field for is below `driftlock.`: nested fields are joined by dots, lists and labels are JSON in a text,
//! because most of Falcosidekick's outputs pass on nothing but texts.

use agent_common::file::FileOperation;
use serde_json::{Map, Value, json};

use super::image::Reference;
use super::{joined, native, rest, text};
use crate::alert::model::{Alert, AlertBehaviour};
use crate::alert::severity::Severity;
use crate::alert::summary;
use crate::alert::time::Time;
use crate::text::escape;

/// What the field `source` says: Falco names there where events come from, `syscall` or a plugin.
const SOURCE: &str = "driftlock";
/// The rule of the object that stands for alerts that a reader missed.
pub const MISSED_RULE: &str = "Driftlock internal: alerts missed";
/// How much of an id Falco shows as `container.id` and `container.image.id`.
const ID_LENGTH: usize = 12;

/// Fields of a native alert that a field of Falco's tells in full.
const CARRIED: &[&str] = &[
    "time",
    "node",
    "container.id",
    "container.name",
    "container.runtime",
    "container.image.reference",
    "container.pod",
    "container.namespace",
    "container.pod_uid",
    "process.pid",
    "process.pid_in_container",
    "process.uid",
    "process.gid",
    "process.comm",
    "process.exe",
    "process.cwd",
    "behaviour.path",
    "behaviour.inode",
    "attack",
];

/// Objects that hold what somebody chose as names.
const LABELS: &[&str] = &["driftlock.container.labels", "driftlock.container.pod_labels"];

/// An alert as Falco would write it.
#[must_use]
pub fn alert(alert: &Alert) -> Value {
    let message = message(alert);
    let priority = priority(alert.severity);
    json!({
        "time": alert.time,
        "rule": alert.kind.title(),
        "priority": priority,
        "source": SOURCE,
        "hostname": alert.node,
        "tags": tags(alert),
        "output": output(alert.time, priority, &message),
        "message": message,
        "output_fields": output_fields(alert),
        "uuid": alert.id,
    })
}

/// What stands for `missed` alerts that a reader missed, as of `now`.
#[must_use]
pub fn missed(missed: u64, now: Time) -> Value {
    let message = summary::missed(missed);
    let priority = priority(Severity::High);
    json!({
        "time": now,
        "rule": MISSED_RULE,
        "priority": priority,
        "source": SOURCE,
        "tags": [SOURCE],
        "output": output(now, priority, &message),
        "message": message,
        "output_fields": {
            "evt.time": now.epoch_ns(),
            "k8s.ns.name": null,
            "k8s.pod.name": null,
            "driftlock.missed": missed,
        },
    })
}

/// The priority, as Falco spells it.
const fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Informational",
        Severity::Low => "Notice",
        Severity::Medium => "Warning",
        Severity::High => "Error",
        Severity::Critical => "Critical",
    }
}

/// The line for people: Falco puts time of day and priority before the message.
fn output(time: Time, priority: &str, message: &str) -> String {
    let time = time.to_string();
    let clock = time
        .split_once('T')
        .map_or("", |(_, clock)| clock.trim_end_matches('Z'));
    format!("{clock}: {priority} {message}")
}

fn message(alert: &Alert) -> String {
    let (container, process) = (&alert.container, &alert.process);
    let image = container
        .image
        .as_ref()
        .and_then(|image| image.reference.as_ref());
    let parent = process.ancestors.first().map(|parent| &parent.comm);
    let or_none = |text: Option<&crate::text::ByteText>| text.map_or("<NA>".to_owned(), ToString::to_string);
    format!(
        "{}: {}, {} (user_uid={} process={} proc_exepath={} parent={} command={} container_id={} container_name={} \
         image={} k8s_ns={} k8s_pod={})",
        alert.kind.title(),
        summary::behaviour(alert),
        summary::action(alert),
        process.uid,
        process.comm,
        or_none(process.exe.as_ref()),
        or_none(parent),
        joined(&process.args),
        short(container.id.as_bytes()),
        or_none(container.name.as_ref()),
        or_none(image),
        or_none(container.namespace.as_ref()),
        or_none(container.pod.as_ref()),
    )
}

/// Falco writes them sorted.
fn tags(alert: &Alert) -> Vec<String> {
    let fixed = ["container", SOURCE, alert.domain.as_str()].map(str::to_owned);
    let attack = alert.attack.iter().map(|id| id.clone().into_owned());
    let mut tags: Vec<_> = attack.chain(fixed).collect();
    tags.sort();
    tags.dedup();
    tags
}

fn output_fields(alert: &Alert) -> Map<String, Value> {
    let (container, process) = (&alert.container, &alert.process);
    let parent = process.ancestors.first();
    let file = alert.behaviour.file();
    let image = container.image.as_ref();
    let reference = image
        .and_then(|image| image.reference.as_ref())
        .map(ToString::to_string);
    let parts = reference.as_deref().map(Reference::parse);
    let manifest = image
        .and_then(|image| image.manifests.first())
        .map(ToString::to_string);
    let digest = parts
        .and_then(|parts| parts.digest)
        .or_else(|| manifest.as_deref().and_then(|name| Reference::parse(name).digest));
    let image_id = image
        .and_then(|image| image.config_digest.as_ref())
        .map(ToString::to_string);
    let image_id = image_id
        .as_deref()
        .map(|id| id.strip_prefix("sha256:").unwrap_or(id));

    let arguments = process.args.split_first();
    let mut fields = Map::new();
    let own = json!({
        "evt.time": alert.time.epoch_ns(),
        "evt.type": event_type(&alert.behaviour),
        "container.id": short(container.id.as_bytes()),
        "container.full_id": container.id,
        "container.name": container.name,
        "container.type": container.runtime,
        "container.image": reference,
        "container.image.repository": parts.and_then(|parts| parts.repository),
        "container.image.tag": parts.and_then(|parts| parts.tag),
        "container.image.digest": digest,
        "container.image.id": image_id.map(|id| short(id.as_bytes())),
        "k8s.ns.name": container.namespace,
        "k8s.pod.name": container.pod,
        "k8s.pod.uid": container.pod_uid,
        "proc.name": process.comm,
        "proc.exe": text(arguments.map(|(first, _)| first)),
        "proc.exepath": process.exe,
        "proc.args": arguments.map(|(_, others)| joined(others)),
        "proc.cmdline": command_line(alert),
        "proc.cwd": process.cwd,
        "proc.pid": process.pid,
        "proc.vpid": process.pid_in_container,
        "proc.ppid": parent.map(|parent| parent.pid),
        "proc.pname": text(parent.map(|parent| &parent.comm)),
        "proc.pid.ts": process.started.epoch_ns(),
        "user.uid": process.uid,
        "group.gid": process.gid,
        "fd.name": text(file.map(|file| &file.path)),
        "fd.ino": file.map(|file| file.inode),
    });
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    flatten(SOURCE, &Value::Object(rest(&native(alert), CARRIED)), &mut fields);
    fields
}

/// Falco's `proc.cmdline`: the process's name and its arguments from the second on.
fn command_line(alert: &Alert) -> String {
    let arguments = joined(alert.process.args.get(1..).unwrap_or_default());
    [alert.process.comm.to_string(), arguments]
        .join(" ")
        .trim_end()
        .to_owned()
}

/// The system call, by the name that stands for all its variants: which of them it was is not known. That of a use of a
/// capability is known by its number alone.
fn event_type(behaviour: &AlertBehaviour) -> Option<String> {
    let name = match behaviour {
        AlertBehaviour::Exec(_) => "execve",
        AlertBehaviour::Library(library) if library.protected => "mprotect",
        AlertBehaviour::Library(_) => "mmap",
        AlertBehaviour::File(used) => match used.operation {
            FileOperation::Read | FileOperation::Write | FileOperation::Create => "open",
            FileOperation::Rename => "rename",
            FileOperation::Link => "link",
        },
        AlertBehaviour::Syscall(call) => return Some(call.name.clone().into_owned()),
        AlertBehaviour::Cap(_) | AlertBehaviour::LeftCgroup(_) | AlertBehaviour::CgroupLimit(_) => {
            return None;
        }
    };
    Some(name.to_owned())
}

/// An id as Falco shows it.
fn short(id: &[u8]) -> String {
    escape(id.get(..ID_LENGTH).unwrap_or(id))
}

/// Adds `value` under `name`, and what is in an object under names of their own.
fn flatten(name: &str, value: &Value, fields: &mut Map<String, Value>) {
    match value {
        Value::Object(inner) if !LABELS.contains(&name) => {
            for (field, value) in inner {
                flatten(&format!("{name}.{field}"), value, fields);
            }
        }
        Value::Object(_) | Value::Array(_) => {
            fields.insert(name.to_owned(), value.to_string().into());
        }
        _ => {
            fields.insert(name.to_owned(), value.clone());
        }
    }
}
