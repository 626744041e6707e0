//! Observation windows: one container and one minute of the boot-time clock. What each brings to the profile it is learned into.
//!
//! Input: what the kernel counted, and the containers that are there or went during the window. Output: evidence for
//! behaviours, and windows, losses, starts and ends per domain. Failure: a window in which a container lost records of a domain does not
//! count for that domain, neither for its behaviours nor for their number; what the store does not take is logged and gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};
use agent_common::instance::Instance;
use agent_common::rule::{BehaviourKey, RuleKey, WINDOW_NS};

use super::Engine;
use super::container::{Known, Tracked};
use crate::behaviour::LEARNED_DOMAINS;
use crate::metrics::fact::{KernelFailed, KernelOperation, StoreFailed, StoreOperation};
use crate::profile::model::{ObservationCounts, ProfileKey, WindowCounts};
use crate::profile::store::EvidenceGain;

/// Most containers that went in one window and whose part of it is counted. At the bound that of a further one is not, which
/// is logged.
const DEPARTED_MAX: usize = 16_384;

/// What is followed of one container from window to window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// By domain: records that had been lost when the last window ended.
    lost_before: [u64; DOMAIN_SLOTS],
    /// By domain: it is seen from its first program on, and no window of it has been counted yet.
    is_start_due: [bool; DOMAIN_SLOTS],
    /// Its end was counted, or could not be seen.
    has_ended: bool,
}

/// How a window ends for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// The minute is over, and the container goes on.
    Minute,
    /// The container's cgroup is gone.
    End,
}

/// A container that went before the window ended.
#[derive(Debug)]
pub(super) struct Departed {
    profile: u32,
    key: ProfileKey,
    counts: ObservationCounts,
    has_lost: [bool; DOMAIN_SLOTS],
}

/// Number of the observation window at `now`.
pub(super) fn window(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) / WINDOW_NS
}

/// Adds to the evidence of the kernel what was seen once and learned in the window that has ended: the kernel counts only what
/// conforms.
fn with_first_sightings(
    evidence: Vec<(BehaviourKey, u64)>,
    learned_now: HashSet<BehaviourKey>,
) -> HashMap<BehaviourKey, u64> {
    let mut all: HashMap<BehaviourKey, u64> = learned_now.into_iter().map(|key| (key, 1)).collect();
    all.extend(evidence);
    all
}

// === impl Watch ===

impl Watch {
    /// Of a container that is seen from its first program on, if `whole`.
    pub(super) const fn new(whole: bool) -> Self {
        Self {
            lost_before: [0; DOMAIN_SLOTS],
            is_start_due: [whole; DOMAIN_SLOTS],
            has_ended: false,
        }
    }

    /// What was lost up to now was counted by an earlier agent.
    pub(super) fn skip_lost(&mut self, instance: &Instance) {
        self.lost_before = instance.counters.map(|counters| counters.lost());
    }

    /// Something that the container did in `domain` at its start was not learned.
    pub(super) const fn miss_start(&mut self, domain: Domain) {
        self.is_start_due[domain as usize] = false;
    }

    /// Nothing that the container did at its start was learned into the profile that it has now.
    pub(super) const fn miss_starts(&mut self) {
        self.is_start_due = [false; DOMAIN_SLOTS];
    }

    /// What the window that ends brings for `domain`, of which `lost` records were lost up to now; and whether any were in this window.
    fn close(
        &mut self,
        domain: Domain,
        lost: u64,
        is_learned: bool,
        closing: Closing,
    ) -> (WindowCounts, bool) {
        let before = std::mem::replace(&mut self.lost_before[domain as usize], lost);
        let lost_now = lost.saturating_sub(before);
        let mut counts = WindowCounts::default();
        if is_learned {
            counts.count_window(lost_now);
            // A start or an end of which something was lost was not seen.
            let is_start_due = std::mem::take(&mut self.is_start_due[domain as usize]);
            counts.starts = u64::from(is_start_due && lost == 0);
            counts.ends = u64::from(closing == Closing::End && !self.has_ended && lost_now == 0);
        }
        (counts, lost_now > 0)
    }
}

impl Tracked {
    /// A start is seen only in the domains that are learned now.
    pub(super) fn keep_learned_starts(&mut self) {
        for &domain in Domain::ALL {
            if self.mode(domain) != Mode::Learn {
                self.watch.miss_start(domain);
            }
        }
    }

    /// What the window that ends brings in all domains, and in which of them records were lost in it.
    fn close_window(&mut self, instance: &Instance) -> (ObservationCounts, [bool; DOMAIN_SLOTS]) {
        let closing = if self.is_removed() {
            Closing::End
        } else {
            Closing::Minute
        };
        let mut counts = ObservationCounts::default();
        let mut has_lost = [false; DOMAIN_SLOTS];
        for domain in LEARNED_DOMAINS {
            let lost = instance.counters[domain as usize].lost();
            // Where a domain is not watched on this node, no container is an instance of it, and a window in which nothing was seen
            // says nothing.
            let is_learned = self.known().is_some()
                && self.mode(domain) == Mode::Learn
                && self.is_counted[domain as usize];
            let (of_domain, lost_now) = self.watch.close(domain, lost, is_learned, closing);
            has_lost[domain as usize] = lost_now;
            if let Some(count) = counts.of_mut(domain) {
                *count = of_domain;
            }
        }
        self.watch.has_ended |= closing == Closing::End;
        (counts, has_lost)
    }
}

impl Engine {
    /// Whether a container that the kernel programs entered has executed nothing yet: its start is still to be seen.
    pub(super) fn has_not_begun(&self, slot: u32) -> bool {
        self.maps
            .instance(slot)
            .is_ok_and(|instance| instance.first_exec == 0)
    }

    /// Keeps what a container that is being removed did in the window that is still open.
    pub(super) fn depart(&mut self, cgroup: u64, instance: &Instance) {
        let open = self.last_window;
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        // What was gone when the last window ended was counted in that one.
        let was_there = tracked.removed.is_none_or(|removed| window(removed) >= open);
        if !was_there || tracked.watch.has_ended {
            return;
        }
        let (counts, has_lost) = tracked.close_window(instance);
        let Some(Known { profile, key, .. }) = tracked.known() else {
            return;
        };
        if self.departed.len() >= DEPARTED_MAX {
            tracing::warn!(container = %tracked.name, "too many containers went in this minute: what this one did in it does not count");
            return;
        }
        let departed = Departed {
            profile: *profile,
            key: key.clone(),
            counts,
            has_lost,
        };
        self.departed.insert(cgroup, departed);
    }

    /// At the end of a window: how often each behaviour was seen, and whether the window counts.
    pub(super) fn count_windows(&mut self, now: Duration) {
        let current = window(now);
        if current == self.last_window {
            return;
        }
        self.last_window = current;
        self.look_at_calls_again(|_| true);
        let departed = std::mem::take(&mut self.departed);
        let evidence = match self.maps.drain_evidence(current) {
            Ok(evidence) => evidence,
            Err(error) => {
                self.metrics
                    .tell(&KernelFailed::new(KernelOperation::Evidence, &error));
                return;
            }
        };
        let mut counts: HashMap<ProfileKey, ObservationCounts> = HashMap::new();
        let mut has_lost: HashMap<u64, [bool; DOMAIN_SLOTS]> = HashMap::new();
        for (cgroup, departed) in &departed {
            has_lost.insert(*cgroup, departed.has_lost);
            counts
                .entry(departed.key.clone())
                .or_default()
                .add(&departed.counts);
        }
        for tracked in self.containers.values_mut() {
            let Ok(instance) = self.maps.instance(tracked.slot) else {
                continue;
            };
            let (of_container, lost) = tracked.close_window(&instance);
            has_lost.insert(tracked.cgroup, lost);
            if let Some(known) = tracked.known() {
                counts.entry(known.key.clone()).or_default().add(&of_container);
            }
        }
        let is_whole = |key: &BehaviourKey| {
            let lost = has_lost
                .get(&key.container)
                .and_then(|lost| lost.get(usize::from(key.domain)));
            lost.is_none_or(|lost| !lost)
        };
        let evidence = with_first_sightings(evidence, std::mem::take(&mut self.learned_now));
        let evidence = evidence.into_iter().filter(|(key, _)| is_whole(key));
        let gains = self.gains(evidence, &departed);
        let nothing = ObservationCounts::default();
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|(_, counts)| *counts != nothing)
            .collect();
        if gains.is_empty() && counts.is_empty() {
            return;
        }
        if let Err(error) = self.store.add_windows(&gains, &counts) {
            self.metrics
                .tell(&StoreFailed::new(StoreOperation::CountWindow, &error));
        }
    }

    /// What windows bring, by profile: the containers of one image count together.
    fn gains(
        &self,
        evidence: impl Iterator<Item = (BehaviourKey, u64)>,
        departed: &HashMap<u64, Departed>,
    ) -> Vec<EvidenceGain> {
        let mut seen: HashMap<u32, HashMap<RuleKey, u64>> = HashMap::new();
        for (key, windows) in evidence {
            let known = self.containers.get(&key.container).and_then(Tracked::known);
            let present = known.map(|known| known.profile);
            let gone = || departed.get(&key.container).map(|departed| departed.profile);
            let Some(profile) = present.or_else(gone) else {
                continue;
            };
            let rule = RuleKey {
                hash: key.hash,
                profile,
                generation: 0,
                domain: key.domain,
                layer: key.layer,
                section: key.section,
                operation: key.operation,
                reserved: [0; 4],
            };
            *seen.entry(profile).or_default().entry(rule).or_default() += windows;
        }
        let profiles = seen
            .into_iter()
            .filter_map(|(profile, seen)| Some((self.store.profile_by_id(profile)?, seen)));
        profiles
            .flat_map(|(profile, seen)| {
                let behaviours = self.publisher.seen_behaviours(profile, &seen);
                behaviours
                    .into_iter()
                    .map(|(section, behaviour, windows)| EvidenceGain {
                        key: profile.key.clone(),
                        section,
                        behaviour,
                        windows,
                    })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: Domain = Domain::Exec;

    #[test]
    fn what_was_learned_in_a_window_was_seen_in_it_once() {
        let key = |hash| BehaviourKey {
            hash,
            ..BehaviourKey::default()
        };
        // Seen again in the same window, the kernel counts it; seen before, it is not new.
        let kernel = vec![(key(1), 1), (key(2), 3)];
        let all = with_first_sightings(kernel, HashSet::from([key(1), key(3)]));
        assert_eq!(all, HashMap::from([(key(1), 1), (key(2), 3), (key(3), 1)]));
    }

    #[test]
    fn a_start_is_counted_once_with_the_first_window_that_is_learned() {
        let mut watch = Watch::new(true);
        let pending = watch.close(EXEC, 0, false, Closing::Minute).0;
        assert_eq!(pending, WindowCounts::default(), "nothing is known of it yet");
        let first = watch.close(EXEC, 0, true, Closing::Minute).0;
        assert_eq!((first.windows, first.starts, first.ends), (1, 1, 0));
        let second = watch.close(EXEC, 0, true, Closing::Minute).0;
        assert_eq!((second.windows, second.starts, second.ends), (1, 0, 0));
        let last = watch.close(EXEC, 0, true, Closing::End).0;
        assert_eq!((last.windows, last.starts, last.ends), (1, 0, 1));
    }

    #[test]
    fn what_lives_for_less_than_a_window_is_seen_from_its_start_to_its_end() {
        let counts = Watch::new(true).close(EXEC, 0, true, Closing::End).0;
        assert_eq!((counts.windows, counts.starts, counts.ends), (1, 1, 1));
    }

    #[test]
    fn a_start_that_was_not_seen_whole_does_not_count() {
        let starts = |mut watch: Watch, lost| watch.close(EXEC, lost, true, Closing::Minute).0.starts;
        assert_eq!(starts(Watch::new(true), 0), 1);
        assert_eq!(starts(Watch::new(false), 0), 0, "it ran before");
        assert_eq!(starts(Watch::new(true), 3), 0, "records were lost");
        let mut overflowed = Watch::new(true);
        overflowed.miss_start(EXEC);
        assert_eq!(starts(overflowed, 0), 0);
        let mut lost_while_pending = Watch::new(true);
        lost_while_pending.close(EXEC, 2, false, Closing::Minute);
        assert_eq!(starts(lost_while_pending, 2), 0);
    }

    #[test]
    fn what_an_earlier_agent_counted_as_lost_is_not_counted_again() {
        let mut instance = Instance::default();
        instance.counters[EXEC as usize].lost_ring = 5;
        let mut watch = Watch::new(false);
        watch.skip_lost(&instance);
        let counts = watch.close(EXEC, 5, true, Closing::Minute).0;
        assert_eq!((counts.windows, counts.lost_windows), (1, 0));
    }

    #[test]
    fn a_window_that_lost_records_counts_as_that_alone() {
        let mut watch = Watch::new(false);
        let (counts, has_lost) = watch.close(EXEC, 5, true, Closing::Minute);
        assert!(has_lost);
        assert_eq!(
            (counts.windows, counts.lost_windows, counts.lost_records),
            (0, 1, 5)
        );
        let (counts, has_lost) = watch.close(EXEC, 5, true, Closing::Minute);
        assert!(!has_lost, "those were lost before");
        assert_eq!((counts.windows, counts.lost_windows), (1, 0));
        let (counts, _) = watch.close(EXEC, 6, true, Closing::End);
        assert_eq!((counts.windows, counts.ends), (0, 0));
        let (other, _) = watch.close(Domain::File, 0, true, Closing::End);
        assert_eq!((other.windows, other.ends), (1, 1), "the domains are told apart");
    }
}
