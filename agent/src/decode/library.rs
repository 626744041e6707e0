//! A file was mapped executable.

use agent_common::domain::{Mode, Section};
use agent_common::file::Layer;
use agent_common::record::library::{LIBRARY_ARGS_UNREADABLE, LIBRARY_PROTECTED, LibraryRecord};
use agent_common::rule::{Action, Verdict};

use super::{DecodeError, origin, part, tag};
use crate::event::{FilePart, LibraryUse, UseEvent, Used};

pub(super) fn decode(record: &LibraryRecord) -> Result<UseEvent, DecodeError> {
    let has = |flag| record.flags & flag != 0;
    let layer = tag(Layer::from_raw, record.layer, "layer")?;
    Ok(UseEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        args: part::args(&record.args, record.args_bytes, !has(LIBRARY_ARGS_UNREADABLE)),
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        behaviour_hash: record.behaviour_hash,
        behaviour_layer: layer,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: tag(Action::from_raw, record.action, "action")?,
        action_error: None,
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        used: Used::Library(LibraryUse {
            file: FilePart {
                identity: record.file,
                layer,
                path: part::path(&record.path, "library's path")?,
            },
            exe: part::path(&record.exe, "program's path")?,
            protected: has(LIBRARY_PROTECTED),
        }),
    })
}
