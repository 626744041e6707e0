//! System calls.

use agent_common::domain::{Mode, Section};
use agent_common::file::Layer;
use agent_common::record::syscall::{SYSCALL_ARGS_UNREADABLE, SyscallRecord};
use agent_common::rule::{Action, Verdict};
use agent_common::syscall::{SyscallAbi, SyscallPhase};

use super::{DecodeError, origin, part, tag};
use crate::behaviour::SyscallBehaviour;
use crate::event::{SyscallUse, UseEvent, Used};

pub(super) fn decode(record: &SyscallRecord) -> Result<UseEvent, DecodeError> {
    let args_known = record.flags & SYSCALL_ARGS_UNREADABLE == 0;
    let behaviour = SyscallBehaviour {
        abi: tag(SyscallAbi::from_raw, record.abi, "interface of system calls")?,
        number: record.number,
        phase: tag(SyscallPhase::from_raw, record.operation, "phase")?,
    };
    Ok(UseEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        args: part::args(&record.args, record.args_bytes, args_known),
        args_truncated: u32::from(record.args_bytes) < record.args_total_bytes,
        behaviour_hash: behaviour.hash(),
        behaviour_layer: Layer::Unknown,
        verdict: tag(Verdict::from_raw, record.verdict, "verdict")?,
        action: Action::None,
        action_error: None,
        mode: tag(Mode::from_raw, record.mode, "mode")?,
        section: tag(Section::from_raw, record.section, "section")?,
        profile: (record.profile != 0).then_some((record.profile, record.generation)),
        used: Used::Syscall(SyscallUse {
            behaviour,
            raw_number: record.raw_number,
            exe: part::path(&record.exe, "program's path")?,
        }),
    })
}
