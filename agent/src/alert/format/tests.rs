//! Every kind of alert in both formats, plain and with hostile names.

use std::collections::BTreeSet;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Mode;
use agent_common::file::FileOperation;
use agent_common::rule::Action;
use agent_common::syscall::{SyscallAbi, SyscallPhase};

use super::*;
use crate::alert::example;
use crate::alert::kind::AlertKind;
use crate::alert::model::{
    AlertAction, AlertAncestor, AlertBehaviour, AlertCgroupLimit, AlertId, AlertLeftCgroup, AlertLost,
    AlertSyscall,
};
use crate::alert::severity::Severity;
use crate::alert::time::Time;
use crate::text::unescape;

/// What ends strings, lines, objects and terminals, and what is no text.
const HOSTILE: &[u8] =
    b"a\"b\\c\n\r\t\x00\x1b[31m\xff\xc3\x28} , {\"rule\":\"x\"} k8s.ns.name=<script>${jndi:x}%n\xe2\x80\xae";

fn time() -> Time {
    "2026-03-01T12:00:00.123456789Z".parse().expect("a date")
}

fn fixed(mut alert: Alert) -> Alert {
    alert.id = id(7);
    alert
}

fn id(number: u8) -> AlertId {
    serde_json::from_value(format!("00000000-0000-0000-0000-0000000000{number:02x}").into()).expect("an id")
}

/// One alert of each kind.
fn of_every_kind() -> Vec<Alert> {
    let of = |kind: &AlertKind| {
        let mut alert = match kind {
            AlertKind::ExecDrift | AlertKind::ExecUnknown | AlertKind::ExecInto => example::alert(time()),
            AlertKind::LibraryDrift => example::library(time()),
            AlertKind::FileUnknown | AlertKind::FileInto => example::file_use(time()),
            AlertKind::CapUnknown | AlertKind::CapInto => example::cap(time()),
            AlertKind::ExecLeftCgroup
            | AlertKind::ExecCgroupLimit
            | AlertKind::SyscallUnknown
            | AlertKind::SyscallInto => Alert {
                behaviour: other_behaviour(*kind),
                action: AlertAction::NONE,
                ..example::alert(time())
            },
        };
        (alert.kind, alert.domain) = (*kind, kind.domain());
        fixed(alert)
    };
    AlertKind::ALL.iter().map(of).collect()
}

fn other_behaviour(kind: AlertKind) -> AlertBehaviour {
    match kind {
        AlertKind::ExecLeftCgroup => AlertBehaviour::LeftCgroup(AlertLeftCgroup {
            destination: 1,
            destination_name: "user.slice".into(),
        }),
        AlertKind::ExecCgroupLimit => AlertBehaviour::CgroupLimit(AlertCgroupLimit { entered_cgroups: 256 }),
        _ => AlertBehaviour::Syscall(AlertSyscall {
            name: "unshare".into(),
            number: 272,
            abi: SyscallAbi::ALL[0],
            phase: SyscallPhase::ALL[0],
            raw_number: 272,
        }),
    }
}

/// A summary of repeats in a pod, in which everything that a container chooses is hostile.
fn hostile() -> Alert {
    let bytes = || ByteText::from(HOSTILE);
    let mut alert = fixed(example::alert(time()));
    alert.repeats_of = Some(id(6));
    alert.count = u64::MAX;
    alert.lost = Some(AlertLost {
        from: time(),
        to: time(),
        records: 5,
    });
    alert.action = AlertAction {
        taken: Action::Killed,
        confirmed: true,
        error: None,
    };
    let container = &mut alert.container;
    container.name = Some(bytes());
    container.labels = [(bytes(), bytes())].into();
    container.pod = Some(bytes());
    container.namespace = Some(bytes());
    container.pod_uid = Some(bytes());
    container.pod_labels = [(bytes(), bytes())].into();
    container.nested = Some("inner".to_owned());
    let image = container.image.as_mut().expect("has one");
    image.reference = Some(bytes());
    image.manifests = vec![bytes()];
    let process = &mut alert.process;
    process.comm = bytes();
    process.exe = Some(bytes());
    process.args = vec![bytes(), bytes()];
    process.cwd = Some(bytes());
    process.ancestors = vec![AlertAncestor {
        pid: 1,
        comm: bytes(),
    }];
    let AlertBehaviour::Exec(exec) = &mut alert.behaviour else {
        panic!("an exec");
    };
    exec.file.path = bytes();
    exec.file.inode = u64::MAX;
    exec.filename = bytes();
    exec.applet = Some(bytes());
    exec.interpreter = Some(bytes());
    alert
}

/// Of which nothing is known but what is always known.
fn bare() -> Alert {
    let mut alert = fixed(example::alert(time()));
    alert.container = crate::alert::model::AlertContainer {
        id: "docker-4f2d.scope".into(),
        ..Default::default()
    };
    alert.process.exe = None;
    alert.process.args = Vec::new();
    alert.process.cwd = None;
    alert.process.ancestors = Vec::new();
    alert.profile = None;
    alert.attack = Vec::new();
    alert.action = AlertAction::failed("no such process".to_owned());
    alert
}

fn all() -> Vec<Alert> {
    let mut alerts = of_every_kind();
    alerts.extend([hostile(), bare()]);
    for operation in FileOperation::ALL {
        let mut alert = fixed(example::file_use(time()));
        if let AlertBehaviour::File(used) = &mut alert.behaviour {
            used.operation = *operation;
        }
        alerts.push(alert);
    }
    let mut refused = fixed(example::cap(time()));
    if let AlertBehaviour::Cap(cap) = &mut refused.behaviour {
        (cap.outcome, cap.namespace) = (CapOutcome::ALL[1], UserNamespace::ALL[1]);
    }
    refused.mode = Mode::Enforce;
    alerts.push(refused);
    alerts
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).expect("json")
}

/// All scalars and what is in texts that are JSON.
fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(Value::from(name.as_str()).to_string());
                leaves(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(value, found)),
        Value::String(text) => {
            found.insert(value.to_string());
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                leaves(&inner, found);
            }
        }
        _ => {
            found.insert(value.to_string());
        }
    }
}

/// What a native alert says: its values, and the names that labels have.
fn said(alert: &Alert) -> BTreeSet<String> {
    fn values(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.values().for_each(|value| values(value, found)),
            Value::Array(list) => list.iter().for_each(|value| values(value, found)),
            Value::Null => {}
            _ => {
                found.insert(value.to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    values(&native(alert), &mut found);
    let labels = alert
        .container
        .labels
        .keys()
        .chain(alert.container.pod_labels.keys());
    found.extend(labels.map(|name| Value::from(name.to_string()).to_string()));
    found
}

/// Values that are there in another form, which the snapshots show.
fn is_told_otherwise(format: AlertFormat, alert: &Alert, value: &str) -> bool {
    let severity = Value::from(alert.severity.as_str()).to_string();
    let uid = Value::from(alert.process.uid).to_string();
    format == AlertFormat::Ocsf && (value == severity || value == uid)
}

#[test]
fn nothing_that_an_alert_says_is_lost() {
    for alert in all() {
        for format in [AlertFormat::Falco, AlertFormat::Ocsf] {
            let document = serde_json::from_str(&format.line(&alert)).expect("json");
            let mut found = BTreeSet::new();
            leaves(&document, &mut found);
            for value in said(&alert) {
                assert!(
                    found.contains(&value) || is_told_otherwise(format, &alert, &value),
                    "{format:?} of {}: {value} is missing in {document:#}",
                    alert.kind
                );
            }
        }
    }
}

#[test]
fn a_field_that_is_new_in_alerts_is_kept() {
    let native = serde_json::json!({"time": 1, "new": {"a": [1], "b": null, "c": {}}, "process": {"pid": 1, "x": "y"}});
    let left = rest(&native, &["time", "process.pid"]);
    assert_eq!(
        Value::Object(left),
        serde_json::json!({"new": {"a": [1]}, "process": {"x": "y"}})
    );
}

/// One line, nothing that acts on a terminal, and every text that a container chose can be read back.
#[test]
fn hostile_names_stay_texts() {
    let hostile = hostile();
    for format in [AlertFormat::Falco, AlertFormat::Ocsf] {
        let line = format.line(&hostile);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert!(
            !line.contains(|letter: char| letter != '\n' && letter.is_control()),
            "{line}"
        );
        assert!(!line.contains('\u{202e}'), "{line}");
        let document: Value = serde_json::from_str(&line).expect("json");
        let chosen = match format {
            AlertFormat::Falco => [
                &document["output_fields"]["fd.name"],
                &document["output_fields"]["proc.exepath"],
                &document["output_fields"]["k8s.pod.name"],
            ],
            _ => [
                &document["evidences"][0]["file"]["path"],
                &document["evidences"][0]["process"]["name"],
                &document["resources"][1]["name"],
            ],
        };
        for text in chosen {
            let text = text.as_str().expect("a text");
            assert_eq!(unescape(text).expect("escaped"), HOSTILE);
        }
    }
}

/// What Falcosidekick demands of an object before it takes it, and where it fails without saying so.
#[test]
fn falcosidekick_takes_every_object() {
    const PRIORITIES: [&str; 8] = [
        "Emergency",
        "Alert",
        "Critical",
        "Error",
        "Warning",
        "Notice",
        "Informational",
        "Debug",
    ];
    let mut documents: Vec<_> = all().iter().map(falco::alert).collect();
    documents.push(falco::missed(7, time()));
    for document in documents {
        let field = |name: &str| {
            document[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {document:#}"))
        };
        assert!(PRIORITIES.contains(&field("priority")), "{document:#}");
        assert!(!field("rule").is_empty() && !field("source").is_empty() && !field("output").is_empty());
        assert_eq!(field("time"), "2026-03-01T12:00:00.123456789Z");
        assert!(
            document["tags"]
                .as_array()
                .is_some_and(|tags| tags.iter().all(Value::is_string))
        );
        let fields = document["output_fields"].as_object().expect("an object");
        for name in ["k8s.ns.name", "k8s.pod.name"] {
            let value = fields.get(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(value.is_string() || value.is_null(), "{name}: {value}");
        }
        for (name, value) in fields {
            assert!(!value.is_array() && !value.is_object(), "{name}: {value}");
        }
    }
}

#[test]
fn severities_are_told_in_their_order() {
    let severities = [
        (Severity::Info, "Informational", 1),
        (Severity::Low, "Notice", 2),
        (Severity::Medium, "Warning", 3),
        (Severity::High, "Error", 4),
        (Severity::Critical, "Critical", 5),
    ];
    for (severity, priority, number) in severities {
        let alert = Alert {
            severity,
            ..example::alert(time())
        };
        assert_eq!(falco::alert(&alert)["priority"], priority);
        assert_eq!(ocsf::alert(&alert)["severity_id"], number);
    }
}

/// Every title, and every field of Falco's, is in the table that receivers go by.
#[test]
fn the_document_knows_every_field() {
    let document = include_str!("../../../../docs/alerts.md");
    for kind in AlertKind::ALL {
        let row = format!("| `{kind}` | {} |", kind.title());
        assert!(document.contains(&row), "{row}");
    }
    let falco = falco::alert(&fixed(example::alert(time())));
    let fields = falco["output_fields"].as_object().expect("an object").keys();
    let own = fields.filter(|name| !name.starts_with("driftlock."));
    for name in falco
        .as_object()
        .expect("an object")
        .keys()
        .filter(|name| *name != "output_fields")
        .chain(own)
    {
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
    for name in ocsf::alert(&hostile()).as_object().expect("an object").keys() {
        // Names of what is numbered, and what is the same in every finding.
        let fixed = [
            "activity_name",
            "category_uid",
            "category_name",
            "class_uid",
            "class_name",
            "type_name",
            "timezone_offset",
        ];
        let fixed = [
            &fixed[..],
            &[
                "is_alert",
                "action",
                "disposition",
                "metadata",
                "finding_info",
                "evidences",
                "device",
            ],
        ]
        .concat();
        assert!(
            fixed.contains(&name.as_str()) || document.contains(&format!("`{name}`")),
            "{name}"
        );
    }
}

#[test]
fn repeats_update_the_finding_that_the_first_created() {
    let (first, repeats) = (
        ocsf::alert(&fixed(example::alert(time()))),
        ocsf::alert(&hostile()),
    );
    assert_eq!(first["type_uid"], 200_401);
    assert_eq!(first["finding_info"]["uid"], first["metadata"]["uid"]);
    assert_eq!(repeats["type_uid"], 200_402);
    assert_eq!(
        repeats["finding_info"]["uid"],
        "00000000-0000-0000-0000-000000000006"
    );
    assert_eq!(repeats["metadata"]["uid"], "00000000-0000-0000-0000-000000000007");
}

#[test]
fn the_falco_format_is_as_reviewed() {
    insta::assert_snapshot!("falco_hostile", pretty(&falco::alert(&hostile())));
    insta::assert_snapshot!("falco_bare", pretty(&falco::alert(&bare())));
    insta::assert_snapshot!("falco_missed", pretty(&falco::missed(7, time())));
    insta::assert_snapshot!(
        "falco_kinds",
        outputs(|alert| {
            let document = falco::alert(alert);
            let fields = &document["output_fields"];
            format!(
                "{}\n  {} {} {}",
                document["output"], fields["evt.type"], fields["fd.name"], document["tags"]
            )
        })
    );
    insta::assert_snapshot!(
        "falco_exec",
        pretty(&falco::alert(&fixed(example::alert(time()))))
    );
}

#[test]
fn the_ocsf_format_is_as_reviewed() {
    insta::assert_snapshot!("ocsf_hostile", pretty(&ocsf::alert(&hostile())));
    insta::assert_snapshot!("ocsf_bare", pretty(&ocsf::alert(&bare())));
    insta::assert_snapshot!("ocsf_missed", pretty(&ocsf::missed(7, time())));
    insta::assert_snapshot!(
        "ocsf_kinds",
        outputs(|alert| {
            let document = ocsf::alert(alert);
            format!(
                "{}\n  {}\n  {} {}",
                document["message"],
                document["evidences"][0]["data"],
                document["disposition"],
                document["finding_info"]["attacks"]
            )
        })
    );
    insta::assert_snapshot!("ocsf_exec", pretty(&ocsf::alert(&fixed(example::alert(time())))));
}

/// One paragraph for each kind.
fn outputs(of: impl Fn(&Alert) -> String) -> String {
    let paragraphs: Vec<_> = of_every_kind()
        .iter()
        .map(|alert| format!("{}: {}", alert.kind, of(alert)))
        .collect();
    paragraphs.join("\n")
}
