use proptest::prelude::*;

use super::*;
use crate::alert::example;
use crate::alert::model::AlertAction;

const LIMITS: FoldLimits = FoldLimits {
    window: Duration::from_mins(1),
    folds: 4,
    confirm_wait: Duration::from_secs(2),
};

fn at(seconds: u64) -> Time {
    format!("2026-03-01T12:{:02}:{:02}Z", seconds / 60, seconds % 60)
        .parse()
        .expect("a date")
}

fn seen(action: AlertAction, seconds: u64) -> Alert {
    let mut alert = example::alert(at(seconds));
    alert.action = action;
    alert
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_first_goes_out_at_once_and_the_rest_as_one() {
    let mut fold = Fold::new(LIMITS);
    let first = fold.offer(1, seen(AlertAction::NONE, 0), None, secs(0));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].count, 1);
    for second in [3, 5, 59] {
        assert_eq!(
            fold.offer(1, seen(AlertAction::NONE, second), None, secs(second)),
            []
        );
    }
    assert!(fold.add_repeats(&1, 10, at(58)));
    assert_eq!(fold.due(secs(59)), []);
    assert_eq!(fold.next_due(), Some(secs(60)));
    assert_eq!(fold.ending(secs(60)), [1]);
    let summary = fold.due(secs(60));
    assert_eq!(summary.len(), 1);
    let summary = &summary[0];
    assert_eq!(
        (summary.count, summary.first_seen, summary.last_seen),
        (13, at(3), at(59))
    );
    assert_eq!(summary.repeats_of, Some(first[0].id));
    assert_ne!(summary.id, first[0].id);
    assert_eq!(summary.time, at(59));
    assert!(fold.is_empty());
    assert!(!fold.add_repeats(&1, 1, at(61)), "nothing is open");
    assert_eq!(
        fold.offer(1, seen(AlertAction::NONE, 61), None, secs(61)).len(),
        1,
        "silence has ended"
    );
}

#[test]
fn what_did_not_repeat_has_no_summary() {
    let mut fold = Fold::new(LIMITS);
    assert_eq!(
        fold.offer(1, seen(AlertAction::DENIED, 0), None, secs(0)).len(),
        1
    );
    assert!(fold.add_repeats(&1, 0, at(1)));
    assert_eq!(fold.due(secs(1000)), []);
    assert_eq!(fold.next_due(), None);
}

#[test]
fn a_kill_waits_for_its_confirmation() {
    let mut fold = Fold::new(LIMITS);
    assert_eq!(
        fold.offer(1, seen(AlertAction::KILL_SENT, 0), Some((7, 70)), secs(0)),
        []
    );
    assert_eq!(fold.confirm((7, 71)), [], "another process with the same id");
    let out = fold.confirm((7, 70));
    assert_eq!(out.len(), 1);
    assert!(out[0].action.confirmed);
    assert_eq!(fold.confirm((7, 70)), [], "only once");
}

#[test]
fn a_kill_does_not_wait_longer_than_it_may() {
    let mut fold = Fold::new(LIMITS);
    assert_eq!(
        fold.offer(1, seen(AlertAction::KILL_SENT, 0), Some((7, 70)), secs(0)),
        []
    );
    assert_eq!(fold.next_due(), Some(secs(2)));
    let out = fold.due(secs(2));
    assert_eq!(out.len(), 1);
    assert!(!out[0].action.confirmed);
    assert_eq!(fold.confirm((7, 70)), []);

    let mut fold = Fold::new(FoldLimits {
        confirm_wait: Duration::ZERO,
        ..LIMITS
    });
    assert_eq!(
        fold.offer(1, seen(AlertAction::KILL_SENT, 0), Some((7, 70)), secs(0))
            .len(),
        1
    );
}

#[test]
fn a_confirmation_may_come_first() {
    let mut fold = Fold::new(LIMITS);
    assert_eq!(fold.confirm((7, 70)), []);
    let out = fold.offer(1, seen(AlertAction::KILL_SENT, 0), Some((7, 70)), secs(0));
    assert!(out.len() == 1 && out[0].action.confirmed);
    for pid in 0..=u32::try_from(EARLY_MAX).expect("small") {
        fold.confirm((pid, 0));
    }
    assert_eq!(fold.counters().early_forgotten, 1);
    assert_eq!(
        fold.offer(2, seen(AlertAction::KILL_SENT, 0), Some((0, 0)), secs(0)),
        [],
        "forgotten"
    );
}

#[test]
fn a_summary_is_confirmed_if_every_kill_was() {
    for (confirmed, kernel_repeats) in [(true, 0), (false, 0), (true, 5)] {
        let mut fold = Fold::new(LIMITS);
        fold.confirm((0, 0));
        fold.offer(1, seen(AlertAction::KILL_SENT, 0), Some((0, 0)), secs(0));
        for pid in 1..4 {
            fold.offer(1, seen(AlertAction::KILL_SENT, 59), Some((pid, 0)), secs(59));
        }
        fold.add_repeats(&1, kernel_repeats, at(59));
        fold.confirm((1, 0));
        fold.confirm((2, 0));
        assert_eq!(fold.due(secs(60)), [], "one kill is still awaited");
        let again = fold.offer(1, seen(AlertAction::NONE, 60), None, secs(60));
        assert_eq!(again.len(), 1, "the window has ended all the same");
        let out = if confirmed {
            fold.confirm((3, 0))
        } else {
            fold.due(secs(61))
        };
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].count, 3 + kernel_repeats);
        assert_eq!(out[0].action.confirmed, confirmed && kernel_repeats == 0);
    }
}

#[test]
fn at_the_bound_the_oldest_is_summed_up_early() {
    let mut fold = Fold::new(LIMITS);
    for key in 0..4 {
        fold.offer(key, seen(AlertAction::NONE, key), None, secs(key));
        fold.offer(key, seen(AlertAction::NONE, key), None, secs(key));
    }
    assert_eq!(fold.ending(secs(5)), [0]);
    let out = fold.offer(4, seen(AlertAction::NONE, 5), None, secs(5));
    assert_eq!(
        out.iter().map(|alert| alert.time).collect::<Vec<_>>(),
        [at(0), at(5)]
    );
    assert_eq!((fold.len(), fold.counters().closed_early), (4, 1));
}

/// Whoever asks before each offer asks about at most one once what was due has ended.
#[test]
fn what_has_ended_is_not_asked_about_again() {
    let mut fold = Fold::new(LIMITS);
    for key in 0..3 {
        fold.offer(key, seen(AlertAction::NONE, key), None, secs(0));
    }
    let later = LIMITS.window;
    assert_eq!(fold.ending(later).len(), 3);
    assert!(fold.due(later).is_empty(), "nothing was repeated");
    assert!(fold.ending(later).is_empty());
}

#[test]
fn blind_windows_of_repeats_are_told() {
    let lost = |from, to, records| {
        let mut alert = seen(AlertAction::NONE, to);
        alert.lost = Some(AlertLost {
            from: at(from),
            to: at(to),
            records,
        });
        alert
    };
    let mut fold = Fold::new(LIMITS);
    assert_eq!(
        fold.offer(1, lost(0, 1, 5), None, secs(1))[0].lost,
        Some(AlertLost {
            from: at(0),
            to: at(1),
            records: 5
        })
    );
    fold.offer(1, lost(1, 2, 3), None, secs(2));
    fold.offer(1, lost(4, 9, 2), None, secs(9));
    assert_eq!(
        fold.flush()[0].lost,
        Some(AlertLost {
            from: at(1),
            to: at(9),
            records: 5
        })
    );
}

#[derive(Clone, Debug)]
enum Step {
    Offer { key: u8, kill: bool },
    Repeats { key: u8, count: u64 },
    Confirm { back: usize },
    Pass { milliseconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u8, any::<bool>()).prop_map(|(key, kill)| Step::Offer { key, kill }),
        1 => (0..8_u8, 0..5_u64).prop_map(|(key, count)| Step::Repeats { key, count }),
        2 => (0..10_usize).prop_map(|back| Step::Confirm { back }),
        2 => (0..40_000_u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_waits_too_long(steps in prop::collection::vec(step(), 0..120)) {
        let mut fold = Fold::new(LIMITS);
        let mut now = Duration::ZERO;
        let mut next_pid = 0_u32;
        let (mut offered, mut out) = (0_u64, Vec::<(Duration, Alert)>::new());
        let mut offered_at = HashMap::new();
        for step in steps {
            let alerts = match step {
                Step::Offer { key, kill } => {
                    next_pid += 1;
                    offered += 1;
                    let action = if kill { AlertAction::KILL_SENT } else { AlertAction::NONE };
                    let alert = seen(action, 0);
                    offered_at.insert(alert.id, (now, kill));
                    fold.offer((key, kill), alert, kill.then_some((next_pid, 0)), now)
                }
                Step::Repeats { key, count } => {
                    offered += if fold.add_repeats(&(key, true), count, at(0)) { count } else { 0 };
                    Vec::new()
                }
                Step::Confirm { back } => {
                    fold.confirm((next_pid.saturating_sub(u32::try_from(back).expect("small")), 0))
                }
                Step::Pass { milliseconds } => {
                    let until = now + Duration::from_millis(milliseconds);
                    // As the agent does: woken whenever something is due.
                    while let Some(next) = fold.next_due().filter(|next| *next <= until) {
                        now = now.max(next);
                        out.extend(fold.due(now).into_iter().map(|alert| (now, alert)));
                    }
                    now = until;
                    Vec::new()
                }
            };
            prop_assert!(fold.len() <= LIMITS.folds);
            out.extend(alerts.into_iter().map(|alert| (now, alert)));
        }
        prop_assert!(fold.next_due().is_none_or(|next| next > now));
        out.extend(fold.flush().into_iter().map(|alert| (now, alert)));
        prop_assert_eq!(out.iter().map(|(_, alert)| alert.count).sum::<u64>(), offered);
        prop_assert!(fold.folds.is_empty() && fold.kills.is_empty() && fold.open.is_empty());
        for (when, alert) in out.iter().filter(|(_, alert)| alert.repeats_of.is_none()) {
            let (offered, kill) = offered_at[&alert.id];
            let bound = if kill { LIMITS.confirm_wait } else { Duration::ZERO };
            prop_assert!(*when <= offered + bound);
        }
    }
}
