//! The spool and the sinks, as metrics.
//!
//! Input: their part of the engine's answer to `status`. Output: families; sinks are told apart by their names in the configuration, of which
//! there are at most 16. Failure: none.

use std::fmt::Error;

use super::page::{Page, flag, number};
use crate::sink::SinkView;
use crate::spool::SpoolView;

/// What waits, and what was given up.
pub(super) fn spool(page: &mut Page<'_>, spool: &SpoolView) -> Result<(), Error> {
    page.gauge(
        "driftlock_spool_alerts",
        "Alerts that a sink does not have yet",
        number(spool.alerts),
    )?;
    page.gauge(
        "driftlock_spool_bytes",
        "Bytes of these alerts",
        number(spool.bytes),
    )?;
    page.gauge(
        "driftlock_spool_max_bytes",
        "Most bytes; beyond them alerts are given up",
        number(spool.max_bytes),
    )?;
    page.gauge(
        "driftlock_spool_unsaved_alerts",
        "Alerts that are in memory alone, because the disk took none",
        number(spool.unsaved),
    )?;
    page.counter(
        "driftlock_spool_dropped",
        "Alerts that were given up at a bound before all sinks had them",
        spool.dropped,
    )?;
    page.counter(
        "driftlock_spool_write_failures",
        "Writes of the spool that failed",
        spool.write_failures,
    )
}

/// What each sink has, and how it fares.
pub(super) fn sinks(page: &mut Page<'_>, sinks: &[SinkView]) -> Result<(), Error> {
    page.gauges(
        "driftlock_sink_backlog",
        "Alerts that the sink does not have yet",
        by_sink(sinks, |sink| number(sink.backlog)),
    )?;
    page.gauges(
        "driftlock_sink_failing",
        "Whether nothing goes through to the sink now",
        by_sink(sinks, |sink| flag(sink.failing_since.is_some())),
    )?;
    page.counters(
        "driftlock_sink_delivered",
        "Alerts that the sink has acknowledged",
        by_sink(sinks, |sink| sink.delivered),
    )?;
    page.counters(
        "driftlock_sink_filtered",
        "Alerts that are less grave than the sink wants",
        by_sink(sinks, |sink| sink.filtered),
    )?;
    page.counters(
        "driftlock_sink_failures",
        "Times that a connection or a write failed",
        by_sink(sinks, |sink| sink.failures),
    )?;
    page.counters(
        "driftlock_sink_refused",
        "Alerts that the sink refused for good",
        by_sink(sinks, |sink| sink.refused),
    )?;
    page.counters(
        "driftlock_sink_dropped",
        "Alerts that were given up at the bound of the spool before the sink had them",
        by_sink(sinks, |sink| sink.dropped),
    )
}

fn by_sink<V>(
    sinks: &[SinkView],
    figure: impl Fn(&SinkView) -> V,
) -> impl Iterator<Item = ([(&'static str, &str); 2], V)> {
    sinks.iter().map(move |sink| {
        let labels = [("sink", sink.name.as_str()), ("kind", sink.kind.as_str())];
        (labels, figure(sink))
    })
}
