//! A capability was used, or refused.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Mode, Section};
use agent_common::file::Layer;
use agent_common::record::cap::{CAP_ARGS_UNREADABLE, CapRecord};
use agent_common::rule::{Action, Verdict};

use super::{DecodeError, origin, part, tag};
use crate::behaviour::Capability;
use crate::event::{CapUse, UseEvent, Used};

pub(super) fn decode(record: &CapRecord) -> Result<UseEvent, DecodeError> {
    let args_known = record.flags & CAP_ARGS_UNREADABLE == 0;
    Ok(UseEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        args: part::args(&record.args, record.args_bytes, args_known),
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        behaviour_hash: agent_common::cap::hash(record.capability, record.namespace),
        behaviour_layer: Layer::Unknown,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: tag(Action::from_raw, record.action, "action")?,
        action_error: (record.action_error < 0).then(|| record.action_error.saturating_neg()),
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        used: Used::Cap(CapUse {
            capability: tag(Capability::from_raw, record.capability, "capability")?,
            namespace: tag(UserNamespace::from_raw, record.namespace, "user namespace")?,
            namespace_number: record.namespace_number,
            outcome: tag(CapOutcome::from_raw, record.operation, "outcome")?,
            system_call: u32::try_from(record.system_call).ok(),
            exe: part::path(&record.exe, "program's path")?,
        }),
    })
}
