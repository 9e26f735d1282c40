//! A latency histogram: hdrhistogram in nanoseconds, with the sum that Prometheus wants beside it.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations from 1 µs to 60 s at two significant digits; what lies outside is counted at the nearer end.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty histogram; all of its memory (about 26 KiB) is reserved here and never grows.
    pub fn new() -> Self {
        // INVARIANT: constant arguments that satisfy low >= 1, high >= 2 * low, digits <= 5.
        #[expect(clippy::unwrap_used, reason = "see INVARIANT")]
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).unwrap();
        Self { histogram, sum_ns: 0 }
    }

    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns);
        self.sum_ns = self.sum_ns.wrapping_add(ns);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their sum in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// How many were at most each of `bounds_ns`, which ascend: cumulative, as Prometheus has them.
    pub fn cumulative(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut counts = vec![0u64; bounds_ns.len()];
        for value in self.histogram.iter_recorded() {
            let at = value.value_iterated_to();
            let first = bounds_ns.partition_point(|bound| *bound < at);
            if let Some(count) = counts.get_mut(first) {
                *count = count.wrapping_add(value.count_at_value());
            }
        }
        let mut sum = 0u64;
        for count in &mut counts {
            sum = sum.wrapping_add(*count);
            *count = sum;
        }
        counts
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        // INVARIANT: both were made by `new` with the same bounds, so the addition cannot be refused.
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok());
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }
}

/// Nothing that is timed here is shorter in a way that matters.
const LOWEST_NS: u64 = 1_000;
/// Longer than every deadline of the program.
const HIGHEST_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_outside_the_range_are_counted_at_its_ends() {
        let mut latency = Latency::new();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_secs(3600));
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.cumulative(&[59_000_000_000]), [1]);
    }

    #[test]
    fn cumulative_counts_ascend_to_the_total() {
        let mut latency = Latency::new();
        for us in [5, 50, 500, 5_000] {
            latency.record(Duration::from_micros(us));
        }
        let counts = latency.cumulative(&[10_000, 100_000, 1_000_000, 10_000_000]);
        assert_eq!(counts, [1, 2, 3, 4]);
    }

    #[test]
    fn merging_adds_counts_and_sums() {
        let mut one = Latency::new();
        one.record(Duration::from_millis(1));
        let mut two = Latency::new();
        two.record(Duration::from_millis(2));
        one.merge(&two);
        assert_eq!(one.count(), 2);
        assert!((one.sum_seconds() - 0.003).abs() < 1e-9);
    }
}
