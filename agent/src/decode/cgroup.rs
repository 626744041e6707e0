//! A container's cgroup appeared or went, or was left.

use agent_common::record::cgroup::{CgroupChange, CgroupRecord, LeaveRecord};

use super::{DecodeError, origin, part, tag};
use crate::event::{CgroupEvent, LeaveEvent};

pub(super) fn decode(record: &CgroupRecord) -> Result<CgroupEvent, DecodeError> {
    Ok(CgroupEvent {
        origin: origin(&record.header),
        parent: record.parent,
        change: tag(CgroupChange::from_raw, record.change, "change of a cgroup")?,
        name: part::text(&record.name),
    })
}

pub(super) fn decode_leave(record: &LeaveRecord) -> Result<LeaveEvent, DecodeError> {
    Ok(LeaveEvent {
        origin: origin(&record.header),
        process: part::process(&record.process)?,
        destination: record.destination,
        destination_name: part::text(&record.name),
    })
}
