//! One page of metrics: what is known at the moment, written family by family.
//!
//! Input: names, labels and values. Output: the families, through the library's encoder. Failure: the encoder's, which writes to memory
//! and has none.
//!
//! The library writes a label's value as it is. None needs to be escaped: they are words of this program, and names of sinks, which are made of
//! letters, digits, `.`, `_` and `-`.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The families of a page.
pub(super) struct Page<'e>(pub(super) DescriptorEncoder<'e>);

impl Page<'_> {
    /// What only grows. The name is without `_total`, which the encoder adds.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        ConstCounter::new(value).encode(self.family(name, help, MetricType::Counter)?)
    }

    /// The same where it is no whole number.
    pub(super) fn sum(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        ConstCounter::new(value).encode(self.family(name, help, MetricType::Counter)?)
    }

    /// What only grows, by labels.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// What rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        ConstGauge::new(value).encode(self.family(name, help, MetricType::Gauge)?)
    }

    /// What rises and falls, by labels.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, Error> {
        // The registry ends its own descriptions alike.
        self.0.encode_descriptor(name, &format!("{help}."), None, kind)
    }
}

/// A whole number as a gauge: exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers; a figure of more than 2^53 may be off by one"
)]
pub(super) const fn number(value: u64) -> f64 {
    value as f64
}

/// A yes or no as a gauge.
pub(super) const fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}
