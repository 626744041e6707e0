//! The canary, in `driftlock status`.

use std::time::Duration;

use crate::canary::attempt::CanaryResult;
use crate::cli::screen::{Tone, duration};
use crate::control::view::{CanaryTryView, CanaryView};

/// In one line: the last try, how fast it was caught, and how many there were.
pub(super) fn text(canary: &CanaryView) -> String {
    if canary.interval_s == 0 {
        return "off".to_owned();
    }
    let every = format!("every {} s", canary.interval_s);
    let Some(last) = &canary.last else {
        return format!("not tried yet, {every}");
    };
    let ago = duration(Duration::from_secs(last.ago_s));
    let counts = [
        (canary.caught, "caught"),
        (canary.not_stopped, "not stopped"),
        (canary.missed, "missed"),
        (canary.failed, "failed"),
    ];
    // That none was missed is worth a word, that none failed is not.
    let told = counts
        .iter()
        .enumerate()
        .filter(|(place, (number, _))| *number > 0 || *place % 2 == 0);
    let told: Vec<_> = told
        .map(|(_, (number, word))| format!("{number} {word}"))
        .collect();
    format!("{} {ago} ago; {}, {every}", outcome(last), told.join(", "))
}

/// Whether that is bad.
pub(super) fn tone(canary: &CanaryView) -> Tone {
    match canary.last.as_ref().map(|last| last.result) {
        None => Tone::Plain,
        Some(CanaryResult::Caught) => Tone::Good,
        Some(_) => Tone::Bad,
    }
}

/// What needs attention; `None` if the last try was caught.
pub(super) fn problem(canary: &CanaryView) -> Option<String> {
    let last = canary.last.as_ref().filter(|_| canary.interval_s > 0)?;
    let reason = last.reason.as_deref().unwrap_or("no reason known");
    match last.result {
        CanaryResult::Caught => None,
        CanaryResult::NotStopped => Some(format!("the canary was not stopped: {reason}")),
        CanaryResult::Missed => Some(format!("the canary was missed: {reason}")),
        CanaryResult::Failed => Some(format!("the canary could not be tried: {reason}")),
    }
}

fn outcome(last: &CanaryTryView) -> String {
    let program = last
        .program
        .map_or("nobody knows what became of it", |program| program.as_str());
    match (last.result, last.from_hook_us, last.from_start_us) {
        (CanaryResult::Caught, Some(hook), Some(start)) => format!(
            "{program} and caught {} after the hook, {} after its start,",
            milliseconds(hook),
            milliseconds(start)
        ),
        (CanaryResult::Missed, ..) => format!("missed ({program})"),
        (CanaryResult::Failed, ..) => "failed".to_owned(),
        _ => format!("caught, and not stopped ({program})"),
    }
}

/// Microseconds in milliseconds, to a tenth.
fn milliseconds(micros: u64) -> String {
    let tenths = micros.div_ceil(100);
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tier::Exec;

    fn view(result: CanaryResult, program: Option<Exec>) -> CanaryView {
        let is_told = matches!(result, CanaryResult::Caught | CanaryResult::NotStopped);
        CanaryView {
            interval_s: 60,
            caught: 7,
            last: Some(CanaryTryView {
                result,
                program,
                from_hook_us: is_told.then_some(412),
                from_start_us: is_told.then_some(3_021),
                reason: (result != CanaryResult::Caught).then(|| "why".to_owned()),
                ago_s: 12,
            }),
            ..CanaryView::default()
        }
    }

    #[test]
    fn the_last_try_is_told_in_a_line() {
        let caught = view(CanaryResult::Caught, Some(Exec::Denied));
        assert_eq!(
            text(&caught),
            "denied and caught 0.5 ms after the hook, 3.1 ms after its start, 12 s ago; 7 caught, 0 missed, every 60 s"
        );
        assert_eq!((tone(&caught), problem(&caught)), (Tone::Good, None));
        let missed = view(CanaryResult::Missed, Some(Exec::Ran));
        assert!(text(&missed).starts_with("missed (ran) 12 s ago; "));
        assert_eq!(problem(&missed).as_deref(), Some("the canary was missed: why"));
        let weak = view(CanaryResult::NotStopped, Some(Exec::Killed));
        assert!(text(&weak).starts_with("caught, and not stopped (killed) 12 s ago; "));
        assert_eq!(tone(&weak), Tone::Bad);
        let failed = view(CanaryResult::Failed, None);
        assert!(text(&failed).starts_with("failed 12 s ago; "));
    }

    #[test]
    fn without_a_try_nothing_is_wrong() {
        let mut none = CanaryView {
            interval_s: 60,
            ..CanaryView::default()
        };
        assert_eq!(text(&none), "not tried yet, every 60 s");
        none.interval_s = 0;
        assert_eq!((text(&none).as_str(), problem(&none)), ("off", None));
    }
}
