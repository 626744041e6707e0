//! A file was opened, or put in its place by a rename or as a link.

use agent_common::domain::{Mode, Section};
use agent_common::file::{FileOperation, Layer};
use agent_common::record::file::{FILE_ARGS_UNREADABLE, FILE_BEFORE, FILE_TYPED, FileRecord};
use agent_common::rule::{Action, Verdict};

use super::{DecodeError, origin, part, tag};
use crate::container::typed;
use crate::event::{FilePart, FileUse, TypedName, UseEvent, Used, WalkedPath};

pub(super) fn decode(record: &FileRecord) -> Result<UseEvent, DecodeError> {
    let has = |flag| record.flags & flag != 0;
    let layer = tag(Layer::from_raw, record.layer, "layer")?;
    let (path, typed) = if has(FILE_TYPED) {
        let directory = part::directory(&record.path, "directory of a file")?;
        let name = part::text(&record.name);
        let path = WalkedPath {
            text: typed::by_text(&directory.text, &name),
            // A name that fills its place was cut there.
            too_long: directory.too_long || name.as_bytes().len() >= record.name.len(),
        };
        let directory = directory.text;
        (path, Some(TypedName { directory, name }))
    } else {
        (part::path(&record.path, "file's path")?, None)
    };
    Ok(UseEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        args: part::args(&record.args, record.args_bytes, !has(FILE_ARGS_UNREADABLE)),
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        behaviour_hash: record.behaviour_hash,
        behaviour_layer: layer,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: tag(Action::from_raw, record.action, "action")?,
        action_error: (record.action_error < 0).then(|| record.action_error.saturating_neg()),
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        used: Used::File(FileUse {
            file: FilePart {
                identity: record.file,
                layer,
                path,
            },
            operation: tag(FileOperation::from_raw, record.operation, "operation")?,
            open_flags: record.open_flags,
            exe: part::path(&record.exe, "program's path")?,
            typed,
            before: has(FILE_BEFORE),
        }),
    })
}
