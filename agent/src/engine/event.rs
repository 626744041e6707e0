//! Records, in batches: decode, resolve, compare, decide; then what was decided is carried out for the whole batch.

use agent_common::container::SELF_TEST;
use agent_common::domain::{Mode, Section};
use aya::maps::{MapData, RingBuf};

use super::container::{Resolution, waiting_max};
use super::inherit::Change;
use super::learn::Learning;
use super::{BATCH_RECORDS, Engine};
use crate::alert::time::since_boot;
use crate::behaviour::Behaviour;
use crate::compare::{Comparison, Deviation, compare};
use crate::decide::{Decision, decide};
use crate::decode::decode;
use crate::event::{Event, UseEvent, Used};

impl Engine {
    /// Takes at most a batch of records; returns how many there were.
    pub(super) fn take_records(&mut self, ring: &mut RingBuf<MapData>) -> usize {
        self.unsettled.begin(self.positions.reader());
        let mut taken = 0;
        let mut learning = Learning::default();
        while taken < BATCH_RECORDS {
            let Some(record) = ring.next() else { break };
            taken += 1;
            match decode(&record) {
                Ok(Event::Use(event)) if self.duplicates.is_second(&event) => {
                    self.counters.duplicate += 1;
                }
                Ok(event) => {
                    drop(record);
                    self.handle(event, &mut learning);
                }
                Err(error) => {
                    self.counters.undecodable += 1;
                    tracing::error!(%error, "a record of the kernel programs is not as agreed");
                }
            }
        }
        self.learn(learning);
        self.unsettled.end();
        taken
    }

    /// Handles one event. What is to be learned is added to `learning`.
    pub(super) fn handle(&mut self, event: Event, learning: &mut Learning) {
        // What the agent does to see that the programs act is nobody's behaviour.
        if event.origin().container == SELF_TEST {
            return self.canary_recorded(&event);
        }
        match event {
            Event::Cgroup(event) => self.cgroup_changed(&event, learning),
            Event::Exit(event) => {
                let alerts = self.fold.confirm((event.pid, event.started_ns));
                self.ready.extend(alerts);
            }
            Event::Use(_) | Event::Leave(_) => self.attribute(event, learning),
        }
    }

    /// Finds the container of an event; until it is known which image that has, the event waits.
    fn attribute(&mut self, mut event: Event, learning: &mut Learning) {
        let origin = event.origin();
        if !self.containers.contains_key(&origin.container) {
            // Its cgroup's own record was lost.
            self.enter_unseen(origin.container, origin.slot, learning);
        }
        // Before anything waits: the process may be there still.
        if let Event::Use(event) = &mut event {
            self.locate(event);
        }
        if let Event::Use(event) = &event {
            // The sooner, the likelier the process is still there.
            self.ask_for_inheritance(origin.container, Some(&event.process));
            self.note_layers(origin.container, &event.process);
        }
        let Some(tracked) = self.containers.get_mut(&origin.container) else {
            self.counters.unattributed += 1;
            return;
        };
        let room = waiting_max(&event);
        let hold = self.unsettled.current();
        match &tracked.resolution {
            Resolution::Pending(_) if tracked.waiting.len() < room => {
                tracked.waiting.push_back((event, hold));
            }
            Resolution::Known(_) if tracked.awaited.is_some() && tracked.waiting.len() < room => {
                tracked.waiting.push_back((event, hold));
            }
            // At the bound, and where nothing more is to be found out, what is known must do.
            _ => {
                if let (Resolution::Pending(_), Event::Use(event)) = (&tracked.resolution, &event) {
                    tracked.watch.miss_start(event.domain());
                }
                self.judge(&event, learning);
            }
        }
    }

    /// Compares and decides.
    pub(super) fn judge(&mut self, event: &Event, learning: &mut Learning) {
        match event {
            Event::Use(event) => self.judge_use(event, learning),
            Event::Leave(event) => self.report_leave(event),
            Event::Cgroup(_) | Event::Exit(_) => {}
        }
    }

    fn judge_use(&mut self, event: &UseEvent, learning: &mut Learning) {
        let Some(tracked) = self.containers.get(&event.origin.container) else {
            return;
        };
        let known = tracked.known();
        let number = known.map(|known| known.profile);
        let profile = known.and_then(|known| self.store.profile(&known.key));
        let mode_now = tracked.mode(event.domain());
        let deviation = match compare(event, profile) {
            Comparison::Departs(deviation) => deviation,
            Comparison::Conforms(behaviour) => {
                // The rule may have come with a profile that was published later.
                if let Some(number) = number {
                    self.permit(number, event, &behaviour);
                }
                if mode_now == Mode::Learn {
                    // The kernel counts what its own rules held; what it had to ask about was seen all the same.
                    let key = self.kernel.hash_key;
                    let container = event.origin.container;
                    self.learned_now
                        .insert(behaviour.key(key, container, event.section));
                }
                return;
            }
        };
        if let (Some(number), Used::Exec(exec), Some(Behaviour::Exec(behaviour))) =
            (number, &event.used, &deviation.learnable)
            && behaviour.applet.is_some()
            && !exec.applet_judged
        {
            let (layer, path) = (behaviour.layer, &behaviour.path);
            let marked = self
                .publisher
                .mark_multi_call(&mut self.maps, number, layer, path);
            Self::log_map_failure(marked);
        }
        match self.change(event, &deviation) {
            Change::Yes => return learning.add(event, deviation),
            Change::Asked => return,
            Change::No => {}
        }
        match decide(&deviation, event.mode, mode_now, event.action) {
            Decision::Learn => learning.add(event, deviation),
            Decision::Alert { in_hand } => self.report(event, &deviation, in_hand),
            Decision::Wait => self.counters.unattributed += 1,
            Decision::Ignore => {}
        }
    }

    /// Lets the kernel know that the profile with this number permits `behaviour`, as which `event` is now known.
    pub(super) fn permit(&mut self, profile: u32, event: &UseEvent, behaviour: &Behaviour) {
        // What entered is permitted by an operator's word alone, with which the profile is published anew.
        if event.section == Section::Main {
            let grown = self
                .publisher
                .grow(&mut self.maps, profile, event.section, behaviour);
            Self::log_map_failure(grown);
        }
        if matches!(behaviour, Behaviour::Exec(_)) {
            return;
        }
        // A rule that the kernel does not find, because it has the behaviour by another name: that which was typed, or one
        // with a slash in it, as memory without a file can have.
        let hook = event.key();
        if behaviour.key(self.kernel.hash_key, event.origin.container, event.section) != hook {
            Self::log_map_failure(self.maps.set_seen(&hook));
        }
    }

    /// The kernel need not send the repeats of this behaviour.
    pub(super) fn take_in_hand(&mut self, event: &UseEvent, deviation: &Deviation) {
        let key = self.seen_key(event, deviation);
        let set = self.maps.set_seen(&key);
        Self::log_map_failure(set);
    }

    pub(super) fn log_map_failure(result: Result<(), crate::kernel::maps::MapsError>) {
        if let Err(error) = result {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the kernel did not take what was decided"
            );
        }
    }

    /// Handles what had to wait for a container's image.
    pub(super) fn handle_waiting(&mut self, cgroup: u64, learning: &mut Learning) {
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        if tracked.awaited.is_some() {
            return;
        }
        for (event, hold) in std::mem::take(&mut tracked.waiting) {
            let before = self.unsettled.resume(hold);
            self.judge(&event, learning);
            self.unsettled.resume(before);
        }
    }

    /// Number of records that wait.
    pub(super) fn waiting(&self) -> usize {
        self.containers
            .values()
            .map(|tracked| tracked.waiting.len())
            .sum()
    }

    /// Time, for what is decided in this batch.
    pub(super) fn now() -> std::time::Duration {
        since_boot()
    }
}
