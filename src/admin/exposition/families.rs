//! Writes metric families for a scrape from values that live elsewhere: `prometheus-client` would rather own them.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::keys::statistics::{LATENCY_BOUNDS_US, LatencyBuckets};
use crate::metrics::Latency;

pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) const NONE: Labels = Vec::new();
pub(super) const BYTES: Option<&str> = Some("bytes");
pub(super) const SECONDS: Option<&str> = Some("seconds");

/// Upper bounds of histogram buckets in nanoseconds: 10 µs to 10 s in steps of about 2.2; the last, unbounded one is
/// added.
const BUCKETS_NS: [u64; 19] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Writes metric families: the descriptor always, so that a scrape shows every name, then the samples that there are.
pub(super) struct Families<'e> {
    pub(super) encoder: DescriptorEncoder<'e>,
}

impl Families<'_> {
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Result<(), Error> {
        let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
        let mut family = self
            .encoder
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            labelled(&mut family, &labels, |metric| {
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })?;
        }
        Ok(())
    }

    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> Result<(), Error> {
        let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
        let mut family = self
            .encoder
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            labelled(&mut family, &labels, |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, Buckets)>,
    ) -> Result<(), Error> {
        let unit = Unit::Seconds;
        let mut family = self
            .encoder
            .encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (labels, Buckets { sum, count, buckets }) in samples {
            labelled(&mut family, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }
}

/// A histogram as the encoder wants it, which adds up by itself: each bucket with its upper bound in seconds and its
/// own count.
pub(super) struct Buckets {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Buckets {
    pub(super) fn of(latency: &Latency) -> Self {
        let mut below = 0u64;
        let cumulative = BUCKETS_NS.iter().zip(latency.cumulative(&BUCKETS_NS));
        let mut buckets: Vec<(f64, u64)> = cumulative
            .map(|(bound_ns, count)| {
                let own = count.saturating_sub(below);
                below = count;
                (*bound_ns as f64 / 1e9, own)
            })
            .collect();
        buckets.push((f64::INFINITY, latency.count().saturating_sub(below)));
        Self {
            sum: latency.sum_seconds(),
            count: latency.count(),
            buckets,
        }
    }

    pub(super) fn of_kms(latency: &LatencyBuckets) -> Self {
        let counts = latency.counts();
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
        Self {
            sum: latency.sum_us() as f64 / 1e6,
            count: counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

/// A family without labels would be written with empty braces: it is a metric by itself.
fn labelled(
    family: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if labels.is_empty() {
        encode(family)
    } else {
        encode(&mut family.encode_family(labels)?)
    }
}
