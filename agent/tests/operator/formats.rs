//! `driftlock alerts --format`: what the binary prints, and what py-ocsf-models, which others read such findings with, makes of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::agent::{Agent, text};
use crate::example;

/// Names the Python interpreter that has py-ocsf-models; `cargo xtask test` installs it and sets this.
const PYTHON: &str = "DRIFTLOCK_OCSF_PYTHON";

/// Reads findings, one on a line, by the models; a model reads past what it does not know, so what it does know must be
/// what was written: a value that it took for something else would differ.
const VALIDATE: &str = r#"
import json, sys
from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

def same(written, read, where):
    if isinstance(read, dict) and isinstance(written, dict):
        for name in read:
            same(written[name], read[name], where + "." + name)
    elif isinstance(read, list) and isinstance(written, list):
        assert len(read) == len(written), where
        for index, value in enumerate(read):
            same(written[index], value, f"{where}[{index}]")
    else:
        assert type(read) is type(written) and read == written, f"{where}: {written!r} was read as {read!r}"

kinds = []
for line in sys.stdin:
    written = json.loads(line)
    model = DetectionFinding if written["class_uid"] == 2004 else BaseEvent
    read = model.model_validate_json(line)
    same(written, json.loads(read.model_dump_json(exclude_unset=True)), model.__name__)
    if model is DetectionFinding:
        assert read.type_uid == read.class_uid * 100 + read.activity_id and read.category_uid == 2
    kinds.append(f"{model.__name__} {read.severity} {read.status} {read.message}")
print("\n".join(kinds))
"#;

/// Lines as an agent of this version writes them: every kind of behaviour, a summary of repeats in a pod, and missed lines.
fn lines() -> Vec<String> {
    let native: Value = serde_json::from_str(&example::alert(1, r"/tmp/a b\\x0a\\xff")).expect("json");
    let file = |more: Value| {
        let mut behaviour = native["behaviour"].clone();
        let fields = behaviour.as_object_mut().expect("an object");
        for name in ["part", "applet", "filename", "interpreter", "script"] {
            fields.remove(name);
        }
        fields.extend(more.as_object().expect("an object").clone());
        behaviour
    };
    let cap = json!({"capability": "CAP_NET_RAW", "namespace": "initial", "outcome": "granted",
        "namespace_number": 7, "system_call": 41});
    let syscall =
        json!({"name": "unshare", "number": 272, "abi": "x86_64", "phase": "program", "raw_number": 272});
    let behaviours = [
        ("exec", "exec.drift", native["behaviour"].clone()),
        ("library", "library.drift", file(json!({"protected": true}))),
        (
            "file",
            "file.unknown",
            file(json!({"operation": "create", "open_flags": 65, "typed": null})),
        ),
        ("cap", "cap.into", cap),
        ("syscall", "syscall.unknown", syscall),
        (
            "exec",
            "exec.left_cgroup",
            json!({"destination": 1, "destination_name": "user.slice"}),
        ),
        ("exec", "exec.cgroup_limit", json!({"entered_cgroups": 256})),
    ];
    let of = |(domain, kind, behaviour): (&str, &str, Value)| {
        let mut alert = native.clone();
        alert["domain"] = domain.into();
        alert["kind"] = kind.into();
        alert["behaviour"] = behaviour;
        alert
    };
    let mut alerts: Vec<Value> = behaviours.into_iter().map(of).collect();
    let mut repeats = native.clone();
    repeats["repeats_of"] = native["id"].clone();
    repeats["count"] = 99_999.into();
    repeats["container"]["pod"] = "shop-7f\\x1b".into();
    repeats["container"]["namespace"] = "default".into();
    repeats["container"]["pod_uid"] = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a".into();
    repeats["attack"] = json!(["T1574.006", "T9999.001"]);
    alerts.push(repeats);
    let mut lines: Vec<String> = alerts.iter().map(|alert| format!("{alert}\n")).collect();
    lines.push("{\"schema\":\"driftlock.missed/v1\",\"missed\":7}\n".to_owned());
    lines
}

/// What `driftlock alerts` prints of these lines.
fn printed(format: &str) -> String {
    let agent = Agent::start();
    for line in lines() {
        agent.feed.publish(line.into());
    }
    agent.done(&["alerts", "--format", format])
}

#[test]
fn the_native_format_is_what_the_agent_wrote() {
    assert_eq!(printed("driftlock"), lines().concat());
}

#[test]
fn every_line_is_one_object_of_the_format() {
    let documents = |format| -> Vec<Value> {
        let printed = printed(format);
        let documents = printed
            .lines()
            .map(|line| serde_json::from_str(line).expect("json"));
        documents.collect()
    };
    let falco = documents("falco");
    assert_eq!(falco.len(), lines().len());
    assert_eq!(falco[0]["rule"], "Program that did not come with the image");
    assert_eq!(falco[0]["output_fields"]["fd.name"], "/tmp/a b\\x0a\\xff");
    assert_eq!(falco[7]["output_fields"]["k8s.pod.name"], "shop-7f\\x1b");
    assert_eq!(falco[8]["output_fields"]["driftlock.missed"], 7);
    let ocsf = documents("ocsf");
    assert_eq!(ocsf.len(), lines().len());
    assert!(ocsf[..8].iter().all(|finding| finding["class_uid"] == 2004));
    assert_eq!(
        ocsf[7]["finding_info"]["attacks"][1]["technique"],
        json!({"uid": "T9999", "name": "T9999"})
    );
    assert_eq!(ocsf[8]["unmapped"]["missed"], 7);
}

/// An alert of a later version is not left out in silence.
#[test]
fn what_cannot_be_told_in_other_words_is_a_failure() {
    let agent = Agent::start();
    agent.feed.publish("{\"schema\":\"driftlock.alert/v9\"}\n".into());
    for format in ["falco", "ocsf"] {
        let output = agent.run(&["alerts", "--format", format]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(
            text(&output.stderr).contains("an alert that this version does not know"),
            "{output:?}"
        );
    }
}

/// The interpreter; `None`, and a note, where it is not there; `cargo xtask test` installs it.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON).map(PathBuf::from);
    if python.is_none() {
        eprintln!("{PYTHON} is not set: findings were not validated by py-ocsf-models");
    }
    python
}

#[test]
fn py_ocsf_models_reads_every_finding() {
    let Some(python) = python() else {
        return;
    };
    let validate = |findings: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("findings.ndjson");
        std::fs::write(&file, findings).expect("written");
        Command::new(&python)
            .args(["-c", VALIDATE])
            .stdin(Stdio::from(std::fs::File::open(&file).expect("just written")))
            .output()
            .expect("the interpreter runs")
    };
    let findings = printed("ocsf");
    let output = validate(&findings);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = text(&output.stdout);
    assert_eq!(read.lines().count(), lines().len(), "{read}");
    assert!(
        read.starts_with("DetectionFinding High New Program that did not come with the image in shop"),
        "{read}"
    );

    // It can fail.
    let wrong = [
        findings.replacen("\"severity_id\":4", "\"severity_id\":44", 1),
        findings.replacen("\"finding_info\"", "\"finding\"", 1),
        findings.replacen("\"type_uid\":200401", "\"type_uid\":200402", 1),
        findings.replacen("\"count\":1", "\"count\":\"1\"", 1),
    ];
    for findings in wrong {
        assert!(!validate(&findings).status.success(), "{findings}");
    }
}
