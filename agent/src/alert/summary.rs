//! What an alert is about, in a few words for people: the same words in a terminal and in every format.
//!
//! Input: an alert. Output: a part of a line; whatever a container chose is escaped. Failure: none.

use agent_common::rule::Action;

use super::model::{Alert, AlertBehaviour};
use crate::behaviour::CapBehaviour;
use crate::event::ExecPart;

/// What was done, in short.
#[must_use]
pub fn behaviour(alert: &Alert) -> String {
    match &alert.behaviour {
        AlertBehaviour::Exec(exec) => {
            let applet = exec
                .applet
                .as_ref()
                .map(|applet| format!(" ({applet})"))
                .unwrap_or_default();
            let what = match exec.part {
                ExecPart::Program if exec.script => format!(" for {}", exec.filename),
                ExecPart::Program => String::new(),
                ExecPart::Script => " (script)".to_owned(),
                ExecPart::Loader => " (loader)".to_owned(),
            };
            format!("{} {}{applet}{what}", exec.file.layer, exec.file.path)
        }
        AlertBehaviour::Library(library) => {
            let program = alert.process.exe.as_ref().map(|exe| format!(" in {exe}"));
            let program = program.unwrap_or_default();
            format!("{} {}{program}", library.file.layer, library.file.path)
        }
        AlertBehaviour::File(used) => format!("{} {} {}", used.operation, used.file.layer, used.file.path),
        AlertBehaviour::Cap(cap) => {
            let behaviour = CapBehaviour {
                capability: cap.capability,
                namespace: cap.namespace,
                outcome: cap.outcome,
            };
            behaviour.to_string()
        }
        AlertBehaviour::Syscall(call) => call.behaviour().to_string(),
        AlertBehaviour::LeftCgroup(left) => format!("to {}", left.destination_name),
        AlertBehaviour::CgroupLimit(limit) => format!("more than {} cgroups", limit.entered_cgroups),
    }
}

/// What became of it.
#[must_use]
pub fn action(alert: &Alert) -> &'static str {
    match (alert.action.taken, alert.action.confirmed, &alert.action.error) {
        (_, _, Some(_)) => "action failed",
        (Action::None, _, None) => "reported",
        (Action::Denied, _, None) => "denied",
        (Action::Killed, true, None) => "killed",
        (Action::Killed, false, None) => "kill not confirmed",
    }
}

/// That a reader missed so many alerts.
#[must_use]
pub fn missed(missed: u64) -> String {
    format!("missed {missed} alerts: this reader was too slow")
}
