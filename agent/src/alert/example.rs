//! Alerts with every field set, for tests.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode};
use agent_common::file::{FileOperation, Layer};
use agent_common::task::TaskState;

use super::hold::RecordHold;
use super::kind::AlertKind;
use super::model::{
    Alert, AlertAction, AlertAncestor, AlertBehaviour, AlertCap, AlertContainer, AlertExec, AlertFile,
    AlertFileUse, AlertId, AlertImage, AlertLibrary, AlertProcess, AlertProfile, SCHEMA, device_text,
};
use super::severity::{Circumstances, Subject, rate};
use super::time::Time;
use crate::behaviour::Capability;
use crate::event::ExecPart;

/// A dropped program in a container called `shop`, killed.
pub(crate) fn alert(time: Time) -> Alert {
    let rating = rate(Circumstances {
        kind: AlertKind::ExecDrift,
        layer: Layer::Upper,
        subject: Subject::Program,
        state: TaskState::Main,
        metadata_only: false,
    });
    let digest: crate::image::ImageDigest = format!("sha256:{}", "0123456789abcdef".repeat(4))
        .parse()
        .expect("a digest");
    Alert {
        records: RecordHold::default(),
        schema: SCHEMA.into(),
        id: AlertId::new(),
        time,
        node: "worker-1".to_owned(),
        domain: Domain::Exec,
        kind: AlertKind::ExecDrift,
        severity: rating.severity,
        mode: Mode::Enforce,
        action: AlertAction::KILL_SENT,
        container: AlertContainer {
            id: "4f2d".into(),
            name: Some("shop".into()),
            runtime: Some("docker".to_owned()),
            image: Some(AlertImage {
                reference: Some("shop:1".into()),
                config_digest: Some(digest.clone()),
                manifests: Vec::new(),
            }),
            labels: [("team".into(), "a\nb".into())].into(),
            pod: None,
            namespace: None,
            pod_uid: None,
            pod_labels: std::collections::BTreeMap::new(),
            nested: None,
        },
        process: AlertProcess {
            pid: 4242,
            pid_in_container: 7,
            state: TaskState::Main,
            uid: 0,
            gid: 0,
            started: time,
            comm: "dropped".into(),
            exe: Some("/tmp/dropped".into()),
            args: vec!["./dropped".into(), (&b"\x1b[31m\xff"[..]).into()],
            args_truncated: false,
            cwd: Some("/tmp".into()),
            ancestors: vec![AlertAncestor {
                pid: 4200,
                comm: "sh".into(),
            }],
            ancestors_truncated: false,
        },
        behaviour: AlertBehaviour::Exec(AlertExec {
            file: file("/tmp/dropped"),
            part: ExecPart::Program,
            applet: None,
            filename: "./dropped".into(),
            interpreter: None,
            script: false,
        }),
        profile: Some(AlertProfile {
            digest,
            provisional: false,
            role: "default".into(),
            generation: 3,
            coverage: Some(0.75),
        }),
        count: 1,
        first_seen: time,
        last_seen: time,
        repeats_of: None,
        lost: None,
        attack: rating.attack.into_iter().map(Into::into).collect(),
    }
}

/// A dropped library, refused to a program in the same container.
pub(crate) fn library(time: Time) -> Alert {
    Alert {
        domain: Domain::Library,
        kind: AlertKind::LibraryDrift,
        action: AlertAction::DENIED,
        behaviour: AlertBehaviour::Library(AlertLibrary {
            file: file("/tmp/dropped.so"),
            protected: false,
        }),
        ..alert(time)
    }
}

/// A job for cron, put in its place by a rename in the same container.
pub(crate) fn file_use(time: Time) -> Alert {
    let mut file = file("/etc/cron.d/job");
    file.sha256 = None;
    Alert {
        domain: Domain::File,
        kind: AlertKind::FileUnknown,
        mode: Mode::Monitor,
        action: AlertAction::NONE,
        behaviour: AlertBehaviour::File(AlertFileUse {
            file,
            operation: FileOperation::Rename,
            open_flags: 0,
            typed: Some("../cron.d/job".into()),
        }),
        ..alert(time)
    }
}

/// A raw socket, opened in the same container.
pub(crate) fn cap(time: Time) -> Alert {
    Alert {
        domain: Domain::Cap,
        kind: AlertKind::CapUnknown,
        mode: Mode::Monitor,
        action: AlertAction::NONE,
        behaviour: AlertBehaviour::Cap(AlertCap {
            capability: Capability::from_raw(13).expect("a capability"),
            namespace: UserNamespace::Initial,
            outcome: CapOutcome::Granted,
            namespace_number: 0xefff_fffd,
            system_call: Some(41),
        }),
        ..alert(time)
    }
}

fn file(path: &str) -> AlertFile {
    AlertFile {
        layer: Layer::Upper,
        path: path.into(),
        path_too_long: false,
        device: device_text(8 << 20 | 1),
        inode: 99,
        sha256: Some("ab".repeat(32)),
        note: None,
    }
}
