//! Which events are told twice: once by the programs of an agent that ended, once by those of the agent that takes over.
//!
//! Input: events in the order of the ring buffer. Output: whether the programs of another load have told the same one already. Failure: none;
//! beyond the bounds an event counts as one of its own.
//!
//! While a link is replaced both agents' programs are attached to its hook, one after the other, on the same maps
//! (`bpf_trampoline_link_prog`, kernel/bpf/trampoline.c; `__bpf_trace_run`, `kernel/trace/bpf_trace.c`): whatever happens then leads to two
//! records, of the same process and behaviour, by different loads, some microseconds apart. What a process does twice is told twice by each load,
//! so each record is the second of at most one other.

use std::collections::VecDeque;

use agent_common::rule::{Action, BehaviourKey};

use crate::event::UseEvent;

/// Most that two programs at one hook are apart: in between the process may have to wait for a processor.
const APART_MAX_NS: u64 = 10_000_000;
/// Most events that are remembered. Beyond it the oldest goes, and what is its second counts as one of its own.
const REMEMBERED_MAX: usize = 1_024;

/// The events of the last moments.
#[derive(Debug, Default)]
pub struct Duplicates {
    /// In the order in which they came, of all loads.
    recent: VecDeque<Told>,
}

/// An event of which no other load has told so far.
#[derive(Debug)]
struct Told {
    key: BehaviourKey,
    /// What one has done and the other not is told.
    action: Action,
    pid: u32,
    load: u16,
    time_ns: u64,
}

impl Duplicates {
    /// Whether the programs of another load have told this event already.
    pub fn is_second(&mut self, event: &UseEvent) -> bool {
        let origin = event.origin;
        let told = Told {
            key: event.key(),
            action: event.action,
            pid: event.process.pid,
            load: origin.load,
            time_ns: origin.time_ns,
        };
        let is_past = |first: &Told| first.time_ns.saturating_add(APART_MAX_NS) < told.time_ns;
        while self.recent.front().is_some_and(is_past) || self.recent.len() >= REMEMBERED_MAX {
            self.recent.pop_front();
        }
        let is_first_of = |first: &Told| {
            first.load != told.load
                && first.pid == told.pid
                && first.key == told.key
                && first.action == told.action
                && first.time_ns.abs_diff(told.time_ns) <= APART_MAX_NS
        };
        if let Some(first) = self.recent.iter().position(is_first_of) {
            self.recent.remove(first);
            return true;
        }
        self.recent.push_back(told);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::example;

    /// What of events by load, process and microsecond is taken as one of its own.
    fn kept(events: &[(u16, u32, u64)]) -> Vec<bool> {
        let mut duplicates = Duplicates::default();
        let mut is_kept = |&(load, pid, time_us): &(u16, u32, u64)| {
            let mut event = example::exec();
            event.origin.load = load;
            event.origin.time_ns = time_us * 1_000;
            event.process.pid = pid;
            !duplicates.is_second(&event)
        };
        events.iter().map(&mut is_kept).collect()
    }

    #[test]
    fn each_event_of_two_loads_counts_once() {
        assert_eq!(kept(&[(1, 40, 5), (2, 40, 9)]), [true, false]);
        // In whichever order, and between others.
        let mixed = [(2, 41, 1), (1, 40, 2), (1, 41, 3), (2, 40, 4)];
        assert_eq!(kept(&mixed), [true, true, false, false]);
    }

    #[test]
    fn what_is_done_twice_counts_twice() {
        assert_eq!(kept(&[(1, 40, 5), (1, 40, 6)]), [true, true]);
        // Once before the other load is attached, twice with both, once with it alone.
        let repeats = [
            (1, 40, 1),
            (1, 40, 2),
            (2, 40, 3),
            (2, 40, 4),
            (1, 40, 5),
            (2, 40, 20_000),
        ];
        assert_eq!(kept(&repeats), [true, true, false, false, true, true]);
    }

    #[test]
    fn another_process_or_another_action_is_no_second() {
        assert_eq!(kept(&[(1, 40, 5), (2, 41, 6)]), [true, true]);
        let mut duplicates = Duplicates::default();
        let mut event = example::exec();
        assert!(!duplicates.is_second(&event));
        event.origin.load += 1;
        event.action = Action::Killed;
        assert!(!duplicates.is_second(&event));
        event.origin.load += 1;
        assert!(duplicates.is_second(&event));
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let mut events: Vec<_> = (0..2_000).map(|pid| (1, pid, 1)).collect();
        events.push((2, 0, 2));
        events.push((2, 1_999, 2));
        let kept = kept(&events);
        assert_eq!(kept[2_000..], [true, false]);
    }
}
