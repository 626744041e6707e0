//! A program was executed, or is about to be.

use agent_common::domain::{Mode, Section};
use agent_common::file::Layer;
use agent_common::record::exec::{
    EXEC_APPLET_JUDGED, EXEC_APPLET_TOO_LONG, EXEC_ARGS_UNREADABLE, EXEC_BEFORE, EXEC_IS_LOADER,
    EXEC_IS_SCRIPT, EXEC_SCRIPT, EXEC_VERIFIED_AS_IMAGE, ExecRecord,
};
use agent_common::rule::{Action, Verdict};

use super::{DecodeError, origin, part, tag};
use crate::event::{ExecPart, ExecUse, FilePart, UseEvent, Used};

pub(super) fn decode(record: &ExecRecord) -> Result<UseEvent, DecodeError> {
    let has = |flag| record.flags & flag != 0;
    let args_known = !has(EXEC_ARGS_UNREADABLE);
    let applet = part::text(bytemuck::cast_slice(&record.applet));
    let layer = tag(Layer::from_raw, record.layer, "layer")?;
    let exec = ExecUse {
        file: FilePart {
            identity: record.file,
            layer,
            path: part::path(&record.path, "program's path")?,
        },
        part: match (has(EXEC_IS_SCRIPT), has(EXEC_IS_LOADER)) {
            (_, true) => ExecPart::Loader,
            (true, false) => ExecPart::Script,
            (false, false) => ExecPart::Program,
        },
        before: has(EXEC_BEFORE),
        invoked_as: (args_known && !has(EXEC_APPLET_TOO_LONG)).then_some(applet),
        applet_judged: has(EXEC_APPLET_JUDGED),
        cwd: part::directory(&record.cwd, "working directory")?,
        filename: part::text(&record.filename),
        interpreter: has(EXEC_SCRIPT).then(|| part::text(&record.interpreter)),
        verified_as_image: has(EXEC_VERIFIED_AS_IMAGE),
    };
    Ok(UseEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        args: part::args(&record.args, record.args_bytes, args_known),
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        behaviour_hash: record.behaviour_hash,
        behaviour_layer: layer,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: tag(Action::from_raw, record.action, "action")?,
        action_error: (record.action_error < 0).then(|| record.action_error.saturating_neg()),
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        used: Used::Exec(exec),
    })
}
