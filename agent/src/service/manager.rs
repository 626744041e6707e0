//! What the service manager is told: systemd's notification protocol, by the crate `sd-notify`.
//!
//! Input: the environment that systemd gives (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), and the engine's [`Pulse`]. Output: ready, reloading,
//! stopping, a line of status, and that the agent lives. Failure: what cannot be told is logged once it matters; where nobody asked for it
//! nothing is told.
//!
//! The watchdog is fed for the engine, not for the task that feeds it: only if the engine has turned since the last time.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::control::feed::AlertFeed;
use crate::engine::pulse::{Beat, Pulse};

/// How often the line of status is told where there is no watchdog.
const STATUS_PERIOD: Duration = Duration::from_secs(30);

/// The agent works from now on; also after a reload.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The agent reads its configuration again; ends with [`ready`].
pub fn reloading() {
    // systemd wants to know since when, to tell one reload from the other.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(%error, "there is no clock: the service manager is not told of the reload");
        }
    }
}

/// The agent ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, ?state, "the service manager cannot be told");
    }
}

/// Feeds the watchdog, and tells how the agent is, for as long as it runs.
pub async fn keep_told(pulse: Arc<Pulse>, feed: Arc<AlertFeed>) {
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(STATUS_PERIOD, |patience| patience / 2);
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once; the agent was just said to be ready.
    tick.tick().await;
    let mut before = pulse.beat();
    tell(&[NotifyState::Status(&status(before, feed.emitted()))]);
    loop {
        tick.tick().await;
        let now = pulse.beat();
        if !has_turned(before, now) {
            tracing::error!(seconds = period.as_secs(), "the engine stands still");
            tell(&[NotifyState::Status("the engine stands still")]);
            continue;
        }
        before = now;
        let status = status(now, feed.emitted());
        if watchdog.is_some() {
            tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        } else {
            tell(&[NotifyState::Status(&status)]);
        }
    }
}

/// Whether the engine did anything between two looks.
fn has_turned(before: Beat, now: Beat) -> bool {
    now.turns != before.turns
}

fn status(beat: Beat, alerts: u64) -> String {
    format!("{} containers, {alerts} alerts since the start", beat.containers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_stands_still_does_not_count_as_alive() {
        let pulse = Pulse::default();
        pulse.turned(3);
        let before = pulse.beat();
        assert!(!has_turned(before, pulse.beat()));
        pulse.turned(3);
        assert!(has_turned(before, pulse.beat()));
        assert_eq!(status(pulse.beat(), 2), "3 containers, 2 alerts since the start");
    }
}
