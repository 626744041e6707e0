//! A program was executed.

use agent_common::domain::{Mode, Section};
use agent_common::file::Layer;
use agent_common::record::exec::{
    EXEC_APPLET_JUDGED, EXEC_APPLET_TOO_LONG, EXEC_ARGS_UNREADABLE, EXEC_SCRIPT, EXEC_VERIFIED_AS_IMAGE,
    ExecRecord,
};
use agent_common::rule::{Action, Verdict};

use super::{DecodeError, origin, part, tag};
use crate::event::ExecEvent;
use crate::text::ByteText;

pub(super) fn decode(record: &ExecRecord) -> Result<ExecEvent, DecodeError> {
    let has = |flag| record.flags & flag != 0;
    let args_known = !has(EXEC_ARGS_UNREADABLE);
    let applet = part::text(bytemuck::cast_slice(&record.applet));
    Ok(ExecEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        file: record.file,
        layer: tag(Layer::from_raw, record.layer, "layer")?,
        path: part::path(&record.path, "program's path")?,
        path_hash: record.path_hash,
        behaviour_hash: record.behaviour_hash,
        invoked_as: (args_known && !has(EXEC_APPLET_TOO_LONG)).then_some(applet),
        applet_judged: has(EXEC_APPLET_JUDGED),
        cwd: part::directory(&record.cwd, "working directory")?,
        filename: part::text(&record.filename),
        interpreter: has(EXEC_SCRIPT).then(|| part::text(&record.interpreter)),
        args: if args_known { args(record) } else { Vec::new() },
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: tag(Action::from_raw, record.action, "action")?,
        action_error: (record.action_error < 0).then(|| record.action_error.saturating_neg()),
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        verified_as_image: has(EXEC_VERIFIED_AS_IMAGE),
    })
}

fn args(record: &ExecRecord) -> Vec<ByteText> {
    let bytes = &record.args[..usize::from(record.args_bytes).min(record.args.len())];
    if bytes.is_empty() {
        return Vec::new();
    }
    // Each argument ends with a NUL, the last one too, unless it was cut.
    bytes
        .strip_suffix(&[0])
        .unwrap_or(bytes)
        .split(|byte| *byte == 0)
        .map(ByteText::from)
        .collect()
}
