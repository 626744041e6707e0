//! What several records have in common: processes, paths, arguments, NUL-terminated texts.

use agent_common::path::{PATH_TOO_LONG, PathWords};
use agent_common::record::ProcessPart;
use agent_common::task::TaskState;

use super::{DecodeError, tag};
use crate::event::{ProcessEvent, WalkedPath};
use crate::text::ByteText;

/// How the text of a path starts of which only the end is known.
const CUT: &[u8] = b".../";

/// The bytes before the first NUL, or all.
pub(super) fn text(bytes: &[u8]) -> ByteText {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes).into()
}

/// The arguments in the first `used` of `bytes`; none unless they are known.
pub(super) fn args(bytes: &[u8], used: u16, are_known: bool) -> Vec<ByteText> {
    let bytes = &bytes[..usize::from(used).min(bytes.len())];
    if bytes.is_empty() || !are_known {
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

pub(super) fn process(part: &ProcessPart) -> Result<ProcessEvent, DecodeError> {
    let used = usize::from(part.ancestor_count).min(part.ancestors.len());
    Ok(ProcessEvent {
        started_ns: part.started_ns,
        pid: part.pid,
        pid_in_container: part.pid_in_container,
        parent_pid: part.parent_pid,
        uid: part.uid,
        gid: part.gid,
        state: tag(TaskState::from_raw, part.state, "state of a task")?,
        comm: text(&part.comm),
        ancestors: part.ancestors[..used]
            .iter()
            .map(|ancestor| (ancestor.pid, text(&ancestor.comm)))
            .collect(),
        ancestors_truncated: part.ancestors_truncated != 0,
    })
}

pub(super) fn path(words: &PathWords, field: &'static str) -> Result<WalkedPath, DecodeError> {
    let too_long = words.flags & PATH_TOO_LONG != 0;
    let mut bytes = Vec::new();
    for component in words.components().ok_or(DecodeError::Path { field })?.rev() {
        bytes.push(b'/');
        bytes.extend_from_slice(component);
    }
    if too_long {
        bytes.splice(..bytes.len().min(1), CUT.iter().copied());
    }
    Ok(WalkedPath {
        text: bytes.into(),
        too_long,
    })
}

/// A directory's path: the root has no components.
pub(super) fn directory(words: &PathWords, field: &'static str) -> Result<WalkedPath, DecodeError> {
    let mut walked = path(words, field)?;
    if walked.text.as_bytes().is_empty() {
        walked.text = "/".into();
    }
    Ok(walked)
}
