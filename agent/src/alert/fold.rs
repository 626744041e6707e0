//! Folding: the first alert of a kind goes out at once, its repeats are counted and summed up when the window ends.
//!
//! Input: alerts with a key each, confirmations of kills, and the time, which is always passed in. Output: alerts that
//! are due. Failure: none; nothing offered is ever dropped: the counts of the alerts that come out add up to the number
//! of those offered plus [`Fold::add_repeats`].
//!
//! An alert about a kill is held until the process was seen to die, at most [`FoldLimits::confirm_wait`], and then goes
//! out as not confirmed. Nothing else delays an alert. Bounds:
//! - [`FoldLimits::folds`] open at once: at the bound the one whose window ends next is summed up early;
//! - [`KILLS_MAX`] kills that wait for their confirmation: at the bound the oldest is taken as not confirmed;
//! - [`EARLY_MAX`] confirmations that came before their alert: at the bound the oldest is forgotten, and its alert goes
//!   out as not confirmed.
//!
//! Each of these is counted in [`FoldCounters`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use agent_common::rule::{Action, BehaviourKey};

use super::hold::RecordHold;
use super::kind::AlertKind;
use super::model::{Alert, AlertId, AlertLost};
use super::time::Time;

/// Most kills that wait for their confirmation at once.
pub const KILLS_MAX: usize = 16_384;
/// Most confirmations that wait for their alert at once.
pub const EARLY_MAX: usize = 4_096;

/// Bounds of folding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldLimits {
    /// How long repeats are counted before they are summed up.
    pub window: Duration,
    /// Most folds that are open at once.
    pub folds: usize,
    /// How long an alert about a kill waits for its confirmation.
    pub confirm_wait: Duration,
}

/// What makes two alerts the same: the agent's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FoldKey {
    /// Container, domain, layer, section and hash of the behaviour.
    pub behaviour: BehaviourKey,
    /// What is wrong.
    pub kind: AlertKind,
    /// What was done.
    pub action: Action,
}

/// A process, beyond the reuse of its id: host pid and start on the boot-time clock in ns.
pub type ProcessKey = (u32, u64);

/// What was cut short at a bound. Only ever incremented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldCounters {
    /// Folds that were summed up before their window ended.
    pub closed_early: u64,
    /// Kills that were taken as not confirmed before their time.
    pub kills_not_awaited: u64,
    /// Confirmations that were forgotten before their alert came.
    pub early_forgotten: u64,
}

/// The alerts whose repeats are being counted.
#[derive(Debug)]
pub struct Fold<K> {
    limits: FoldLimits,
    counters: FoldCounters,
    next_serial: u64,
    /// The fold that counts what is offered under a key.
    open: HashMap<K, u64>,
    /// When each of `open` ends.
    ends: BTreeMap<(Duration, u64), K>,
    /// Those of `open`, and those that ended and wait for a confirmation.
    folds: HashMap<u64, Repeats>,
    /// Kills that wait for their confirmation.
    kills: HashMap<ProcessKey, Kill>,
    /// When that wait ends; a process that is no longer in `kills` was confirmed.
    kill_ends: VecDeque<(Duration, ProcessKey)>,
    /// Confirmations that came before their alert: in order, and for look-up.
    early_order: VecDeque<ProcessKey>,
    early: HashSet<ProcessKey>,
}

/// One fold.
#[derive(Debug)]
struct Repeats {
    /// The first alert, while it waits for its confirmation.
    held: Option<Box<Alert>>,
    /// The id of the first alert.
    first: AlertId,
    /// The latest alert.
    latest: Box<Alert>,
    count: u64,
    first_seen: Option<Time>,
    last_seen: Time,
    lost: Option<AlertLost>,
    /// Kills among the first and the repeats whose confirmation may still come.
    awaited: u64,
    /// There is a repeat that was not confirmed.
    unconfirmed: bool,
    ended: bool,
}

#[derive(Debug)]
struct Kill {
    fold: u64,
    is_first: bool,
}

// === impl FoldLimits ===

impl Default for FoldLimits {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(1),
            folds: 8192,
            confirm_wait: Duration::from_secs(2),
        }
    }
}

// === impl Fold ===

impl<K: Clone + Eq + Hash> Fold<K> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: FoldLimits) -> Self {
        Self {
            limits,
            counters: FoldCounters::default(),
            next_serial: 0,
            open: HashMap::new(),
            ends: BTreeMap::new(),
            folds: HashMap::new(),
            kills: HashMap::new(),
            kill_ends: VecDeque::new(),
            early_order: VecDeque::new(),
            early: HashSet::new(),
        }
    }

    /// What was cut short so far.
    #[must_use]
    pub fn counters(&self) -> FoldCounters {
        self.counters
    }

    /// Takes an alert of one occurrence. `killed` is the process of an alert whose kill was sent, so that
    /// [`Fold::confirm`] finds it; `now` never goes back.
    pub fn offer(
        &mut self,
        key: K,
        mut alert: Alert,
        killed: Option<ProcessKey>,
        now: Duration,
    ) -> Vec<Alert> {
        let mut out = Vec::new();
        let mut awaited = None;
        if let Some(process) =
            killed.filter(|_| alert.action.taken == Action::Killed && !alert.action.confirmed)
        {
            if self.take_early(process) {
                alert.action.confirmed = true;
            } else if !self.limits.confirm_wait.is_zero() && !self.kills.contains_key(&process) {
                awaited = Some(process);
            }
        }
        let known = self.open.get(&key).copied();
        let serial = if let Some(serial) = known {
            if let Some(fold) = self.folds.get_mut(&serial) {
                fold.repeat(alert, awaited.is_some());
            }
            serial
        } else {
            if self.open.len() >= self.limits.folds.max(1) {
                self.counters.closed_early += 1;
                self.end_next(&mut out);
            }
            self.begin(key, alert, awaited.is_some(), now, &mut out)
        };
        if let Some(process) = awaited {
            if self.kill_ends.len() >= KILLS_MAX {
                self.counters.kills_not_awaited += 1;
                self.give_up_next_kill(&mut out);
            }
            self.kills.insert(
                process,
                Kill {
                    fold: serial,
                    is_first: known.is_none(),
                },
            );
            self.kill_ends
                .push_back((now.saturating_add(self.limits.confirm_wait), process));
        }
        out
    }

    /// Adds `count` repeats that the kernel counted and sent no records of, the last of them at `last_seen`. False if
    /// nothing is open under this key: then they count for nothing here.
    pub fn add_repeats(&mut self, key: &K, count: u64, last_seen: Time) -> bool {
        let fold = self.open.get(key).and_then(|serial| self.folds.get_mut(serial));
        let Some(fold) = fold else { return false };
        if count > 0 {
            // They happened at unknown times after the first.
            fold.first_seen = Some(fold.first_seen.unwrap_or(fold.latest.time));
            fold.last_seen = fold.last_seen.max(last_seen);
            fold.count = fold.count.saturating_add(count);
            fold.unconfirmed |= fold.latest.action.taken == Action::Killed;
        }
        true
    }

    /// A killed process was seen to die.
    pub fn confirm(&mut self, process: ProcessKey) -> Vec<Alert> {
        let mut out = Vec::new();
        match self.kills.remove(&process) {
            Some(kill) => self.settle(&kill, true, &mut out),
            None => self.remember_early(process),
        }
        out
    }

    /// All that is due at `now`: summaries of what has ended, and alerts that waited long enough.
    pub fn due(&mut self, now: Duration) -> Vec<Alert> {
        let mut out = Vec::new();
        while self.kill_ends.front().is_some_and(|(end, _)| *end <= now) {
            self.give_up_next_kill(&mut out);
        }
        while self
            .ends
            .first_key_value()
            .is_some_and(|((end, _), _)| *end <= now)
        {
            self.end_next(&mut out);
        }
        out
    }

    /// Everything, whether due or not: for the end of the agent.
    pub fn flush(&mut self) -> Vec<Alert> {
        let mut out = Vec::new();
        while !self.kill_ends.is_empty() {
            self.give_up_next_kill(&mut out);
        }
        while !self.ends.is_empty() {
            self.end_next(&mut out);
        }
        out
    }

    /// When [`Fold::due`] has something to do next; `None` while nothing is open.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let kill = self.kill_ends.front().map(|(end, _)| *end);
        let fold = self.ends.first_key_value().map(|((end, _), _)| *end);
        kill.into_iter().chain(fold).min()
    }

    /// The keys whose folds the next [`Fold::due`] ends, and at the bound the one that the next [`Fold::offer`] may
    /// end: the last call for [`Fold::add_repeats`].
    #[must_use]
    pub fn ending(&self, now: Duration) -> Vec<K> {
        let full = usize::from(self.open.len() >= self.limits.folds.max(1));
        let due = self.ends.iter().take_while(|((end, _), _)| *end <= now).count();
        self.ends.values().take(due.max(full)).cloned().collect()
    }

    /// How many folds are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no fold is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn begin(&mut self, key: K, alert: Alert, awaited: bool, now: Duration, out: &mut Vec<Alert>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let end = now.saturating_add(self.limits.window);
        self.open.insert(key.clone(), serial);
        self.ends.insert((end, serial), key);
        self.folds.insert(serial, Repeats::new(&alert, awaited));
        if !awaited {
            out.push(alert);
        }
        serial
    }

    /// Ends the open fold whose window ends next.
    fn end_next(&mut self, out: &mut Vec<Alert>) {
        if let Some(((_, serial), key)) = self.ends.pop_first() {
            self.open.remove(&key);
            if let Some(fold) = self.folds.get_mut(&serial) {
                fold.ended = true;
            }
            self.close_if_settled(serial, out);
        }
    }

    fn give_up_next_kill(&mut self, out: &mut Vec<Alert>) {
        if let Some((_, process)) = self.kill_ends.pop_front()
            && let Some(kill) = self.kills.remove(&process)
        {
            self.settle(&kill, false, out);
        }
    }

    fn settle(&mut self, kill: &Kill, confirmed: bool, out: &mut Vec<Alert>) {
        let Some(fold) = self.folds.get_mut(&kill.fold) else {
            return;
        };
        fold.awaited = fold.awaited.saturating_sub(1);
        if kill.is_first {
            if let Some(mut alert) = fold.held.take() {
                alert.action.confirmed = confirmed;
                out.push(*alert);
            }
        } else {
            fold.unconfirmed |= !confirmed;
        }
        self.close_if_settled(kill.fold, out);
    }

    fn close_if_settled(&mut self, serial: u64, out: &mut Vec<Alert>) {
        let settled = |fold: &Repeats| fold.ended && fold.awaited == 0;
        if self.folds.get(&serial).is_some_and(settled)
            && let Some(fold) = self.folds.remove(&serial)
        {
            out.extend(fold.summary());
        }
    }

    fn take_early(&mut self, process: ProcessKey) -> bool {
        let found = self.early.remove(&process);
        if found {
            self.early_order.retain(|early| *early != process);
        }
        found
    }

    fn remember_early(&mut self, process: ProcessKey) {
        if self.early.insert(process) {
            self.early_order.push_back(process);
        }
        if self.early_order.len() > EARLY_MAX
            && let Some(oldest) = self.early_order.pop_front()
        {
            self.early.remove(&oldest);
            self.counters.early_forgotten += 1;
        }
    }
}

// === impl Repeats ===

impl Repeats {
    fn new(first: &Alert, awaited: bool) -> Self {
        Self {
            held: awaited.then(|| Box::new(first.clone())),
            first: first.id,
            latest: Box::new(Alert {
                records: RecordHold::default(),
                ..first.clone()
            }),
            count: 0,
            first_seen: None,
            last_seen: first.time,
            lost: None,
            awaited: u64::from(awaited),
            unconfirmed: false,
            ended: false,
        }
    }

    fn repeat(&mut self, alert: Alert, awaited: bool) {
        self.count = self.count.saturating_add(1);
        self.first_seen = Some(self.first_seen.map_or(alert.time, |seen| seen.min(alert.time)));
        self.last_seen = self.last_seen.max(alert.time);
        if awaited {
            self.awaited += 1;
        } else {
            self.unconfirmed |= alert.action.taken == Action::Killed && !alert.action.confirmed;
        }
        if let Some(more) = &alert.lost {
            self.lost = Some(match self.lost.take() {
                None => more.clone(),
                Some(lost) => AlertLost {
                    from: lost.from.min(more.from),
                    to: lost.to.max(more.to),
                    records: lost.records.saturating_add(more.records),
                },
            });
        }
        // Repeats are counted, not told: a count need not survive the agent.
        *self.latest = Alert {
            records: RecordHold::default(),
            ..alert
        };
    }

    /// The summary: the latest occurrence, in the name of all repeats. `None` if there were none.
    fn summary(self) -> Option<Alert> {
        let mut alert = *self.latest;
        alert.action.confirmed = match alert.action.taken {
            Action::None => false,
            Action::Denied => true,
            Action::Killed => !self.unconfirmed,
        };
        alert.id = AlertId::new();
        alert.time = self.last_seen;
        alert.count = self.count;
        alert.first_seen = self.first_seen.unwrap_or(self.last_seen);
        alert.last_seen = self.last_seen;
        alert.repeats_of = Some(self.first);
        alert.lost = self.lost;
        (self.count > 0).then_some(alert)
    }
}

#[cfg(test)]
mod tests;
