//! The sinks and the spool, in `driftlock status`.

use super::count;
use crate::cli::screen::{Screen, Tone, keep_whole, lines};
use crate::sink::SinkView;
use crate::spool::SpoolView;

/// A row per sink.
pub(super) fn table(sinks: &[SinkView], screen: Screen) -> String {
    let mut table = screen.table(&["SINK", "KIND", "WAITING", "DELIVERED", "GIVEN UP", "STATE"]);
    keep_whole(&mut table, &[0, 1, 2, 3, 4]);
    for sink in sinks {
        let given_up = sink.refused.saturating_add(sink.dropped);
        let (state, tone) = match (sink.failing_since, &sink.error) {
            (Some(since), error) => {
                let error = error.as_deref().unwrap_or_default();
                (
                    format!("nothing goes through since {since:.0}: {error}"),
                    Tone::Bad,
                )
            }
            (None, _) if sink.failures > 0 => (
                format!("works; {} so far", count(sink.failures, "failure")),
                Tone::Plain,
            ),
            (None, _) => ("works".to_owned(), Tone::Good),
        };
        table.add_row([
            screen.cell(&sink.name, Tone::Plain),
            screen.cell(&sink.kind, Tone::Plain),
            screen.cell(sink.backlog, Tone::Plain),
            screen.cell(sink.delivered, Tone::Plain),
            screen.cell(given_up, if given_up > 0 { Tone::Bad } else { Tone::Plain }),
            screen.cell(state, tone),
        ]);
    }
    lines(&table)
}

/// The spool in one line.
pub(super) fn spool(spool: &SpoolView) -> String {
    let given_up = (spool.dropped > 0).then(|| format!("{} given up", count(spool.dropped, "alert")));
    let unsaved = spool.error.as_ref();
    let unsaved = unsaved.map(|error| format!("{} in memory alone: {error}", spool.unsaved));
    let waiting = format!(
        "{} waiting, {} of {} MB, then {}",
        count(spool.alerts, "alert"),
        spool.bytes.div_ceil(1 << 20),
        spool.max_bytes >> 20,
        spool.at_limit
    );
    let parts: Vec<_> = [Some(waiting), given_up, unsaved].into_iter().flatten().collect();
    parts.join("; ")
}

/// Whether that is bad.
pub(super) fn spool_tone(spool: &SpoolView) -> Tone {
    if spool.dropped > 0 || spool.error.is_some() {
        Tone::Bad
    } else {
        Tone::Plain
    }
}
