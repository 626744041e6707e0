//! What an operator should know first: whether anything is enforced, whether anything was lost, what needs attention.
//!
//! Input: [`StatusView`]. Output: a headline and points with their [`Tone`]. Failure: none. Pure: `status` and `top` show the same.

use super::{canary, count};
use crate::cli::screen::Tone;
use crate::control::view::{CountersView, StatusView, Tier};

/// A text with how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// One line.
    pub text: String,
    /// How it is.
    pub tone: Tone,
}

/// In one line: what is enforced, and whether anything was lost.
#[must_use]
pub fn headline(status: &StatusView) -> Point {
    let modes = &status.modes;
    let total =
        modes.learn + modes.monitor + modes.enforce + modes.pending + modes.unresolved + modes.not_observable;
    let enforcing = match (modes.enforce, total) {
        (_, 0) => "no containers".to_owned(),
        (0, _) => format!("enforcing nothing: {}", counts(status)),
        (all, total) if all == total => format!("enforcing all of {}", count(total, "container")),
        (some, total) => format!("enforcing {some} of {}", count(total, "container")),
    };
    let lost = match lost(&status.counters) {
        0 => "nothing lost".to_owned(),
        lost => format!("{} lost", count(lost, "record")),
    };
    let points = points(status);
    let is_bad = points.iter().any(|point| point.tone == Tone::Bad);
    let tone = match (is_bad, points.is_empty() && modes.enforce > 0) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Good,
        (false, false) => Tone::Notable,
    };
    Point {
        text: format!("{enforcing}; {lost}"),
        tone,
    }
}

/// What needs attention, the gravest first.
#[must_use]
pub fn points(status: &StatusView) -> Vec<Point> {
    let counters = &status.counters;
    let mut points = Vec::new();
    let mut add = |is_so: bool, tone: Tone, text: String| {
        if is_so {
            points.push(Point { text, tone });
        }
    };
    let lost = lost(counters);
    add(
        lost > 0,
        Tone::Bad,
        format!("{} lost: {}", count(lost, "record"), causes(counters)),
    );
    add(
        counters.kills_failed > 0,
        Tone::Bad,
        format!(
            "{} failed: what was to be killed went on",
            count(counters.kills_failed, "kill")
        ),
    );
    for hook in status.hooks.iter().filter(|hook| !hook.attached) {
        let reason = hook.detail.as_deref().unwrap_or("no reason known");
        add(
            true,
            Tone::Bad,
            format!("{} is not attached: {reason}", hook.name),
        );
    }
    let watches = status.tiers.iter().any(|tier| tier.can > Tier::None);
    add(!watches, Tone::Bad, "nothing is watched on this node".to_owned());
    let problem = canary::problem(&status.canary);
    add(problem.is_some(), Tone::Bad, problem.unwrap_or_default());
    add(
        counters.untracked_tasks > 0,
        Tone::Bad,
        format!("{} not tracked", count(counters.untracked_tasks, "task")),
    );
    add(
        status.modes.unresolved + status.modes.provisional > 0,
        Tone::Notable,
        format!(
            "{} whose image is not known: see `driftlock containers`",
            count(status.modes.unresolved + status.modes.provisional, "container")
        ),
    );
    add(
        status.modes.not_observable > 0,
        Tone::Bad,
        format!(
            "{} not observable, in a sandbox with a kernel of its own: see `driftlock containers`",
            count(status.modes.not_observable, "container")
        ),
    );
    add(
        status.overwritten_bytes > 0,
        Tone::Bad,
        format!(
            "records of {} KiB were lost when the agent before this one was killed",
            status.overwritten_bytes.div_ceil(1 << 10)
        ),
    );
    let given_up = status.spool.dropped + status.sinks.iter().map(|sink| sink.refused).sum::<u64>();
    add(
        given_up > 0,
        Tone::Bad,
        format!("{} given up: see the sinks below", count(given_up, "alert")),
    );
    for sink in status.sinks.iter().filter(|sink| sink.failing_since.is_some()) {
        add(
            true,
            Tone::Bad,
            format!(
                "{} for sink {}",
                count(sink.backlog, "alert") + " waiting",
                sink.name
            ),
        );
    }
    add(
        status.spool.error.is_some(),
        Tone::Bad,
        "alerts are in memory alone: the spool cannot be written".to_owned(),
    );
    let is_pinned = status.hooks.iter().any(|hook| hook.pinned);
    add(
        !is_pinned && !status.hooks.is_empty(),
        Tone::Notable,
        "what is enforced ends with the agent: nothing is pinned".to_owned(),
    );
    points
}

/// `2 enforce, 1 learn`: how many containers there are of each mode.
#[must_use]
pub fn counts(status: &StatusView) -> String {
    let modes = &status.modes;
    let counts = [
        (modes.enforce, "enforce"),
        (modes.monitor, "monitor"),
        (modes.learn, "learn"),
        (modes.pending, "pending"),
        (modes.unresolved, "unresolved"),
        (modes.not_observable, "not observable"),
    ];
    let present = counts.iter().filter(|(number, _)| *number > 0);
    let texts: Vec<_> = present.map(|(number, mode)| format!("{number} {mode}")).collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    }
}

/// How many records were lost, for whatever reason.
#[must_use]
pub fn lost(counters: &CountersView) -> u64 {
    causes_of(counters)
        .into_iter()
        .fold(0, |sum, (number, _)| sum.saturating_add(number))
}

/// Why records were lost.
#[must_use]
pub fn causes(counters: &CountersView) -> String {
    let causes = causes_of(counters).into_iter().filter(|(number, _)| *number > 0);
    let texts: Vec<_> = causes
        .map(|(number, cause)| format!("{number} {cause}"))
        .collect();
    texts.join(", ")
}

fn causes_of(counters: &CountersView) -> [(u64, &'static str); 4] {
    [
        (counters.lost_ring, "ring full"),
        (counters.lost_quota, "over quota"),
        (counters.undecodable, "undecodable"),
        (counters.unattributed, "unattributed"),
    ]
}
