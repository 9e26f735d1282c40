//! Counters of the key service, for the metrics page and readiness. Written by the control thread, readable from any.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Counters of all KMSs, in the order of the configuration.
#[derive(Debug)]
pub struct KeyStatistics {
    /// One for each KMS.
    pub kms: Vec<KmsStatistics>,
}

impl KeyStatistics {
    pub(super) fn new(kms_count: usize) -> Self {
        Self {
            kms: (0..kms_count).map(|_| KmsStatistics::default()).collect(),
        }
    }

    /// Statistics of KMSs that answered their last call, or did not.
    #[cfg(test)]
    pub(crate) fn for_test(answered: &[bool]) -> Self {
        let statistics = Self::new(answered.len());
        for (kms, answered) in statistics.kms.iter().zip(answered) {
            kms.set_available(*answered);
        }
        statistics
    }

    /// Whether every KMS answered when it was last asked; one that was never asked counts as available.
    #[must_use]
    pub fn all_available(&self) -> bool {
        self.kms.iter().all(KmsStatistics::is_available)
    }
}

/// Counters of one KMS, since the process started.
#[derive(Debug, Default)]
pub struct KmsStatistics {
    /// DEKs made.
    pub generated: Counter,
    /// Wrapped DEKs unwrapped because a reader needed one.
    pub unwrapped: Counter,
    /// Known DEKs unwrapped anew to see whether their KEK is still enabled.
    pub rechecked: Counter,
    /// Questions for the current version of a KEK.
    pub version_polls: Counter,
    /// Calls that ended in an outage, timeouts included.
    pub outages: Counter,
    /// Calls that ended in a verdict: disabled, destroyed, not found, malformed.
    pub verdicts: Counter,
    /// KEK versions whose keys were taken away from every executor.
    pub revocations: Counter,
    /// How long calls took.
    pub latency: LatencyBuckets,
    unavailable: AtomicBool,
}

impl KmsStatistics {
    /// Whether the last call was answered.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !self.unavailable.load(Ordering::Relaxed)
    }

    /// Notes whether a call was answered; returns whether that is news.
    pub(super) fn set_available(&self, available: bool) -> bool {
        self.unavailable.swap(!available, Ordering::Relaxed) == available
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Latencies in buckets with the upper bounds [`LATENCY_BOUNDS_US`], and one above.
#[derive(Debug, Default)]
pub struct LatencyBuckets {
    counts: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Upper bounds of the buckets, in microseconds: from a file keystore's microseconds to a timeout.
pub const LATENCY_BOUNDS_US: [u64; 11] = [
    100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000,
];

impl LatencyBuckets {
    /// Number of calls in each bucket, not cumulated; the last one is above all bounds.
    #[must_use]
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|index| {
            self.counts
                .get(index)
                .map_or(0, |count| count.load(Ordering::Relaxed))
        })
    }

    /// All latencies together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    pub(super) fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < took_us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let buckets = LatencyBuckets::default();
        for us in [0, 100, 101, 10_000_000, 10_000_001] {
            buckets.record(Duration::from_micros(us));
        }
        assert_eq!(buckets.counts(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(buckets.sum_us(), 20_000_202);
    }

    #[test]
    fn availability_is_news_once() {
        let kms = KmsStatistics::default();
        assert!(kms.is_available());
        assert!(!kms.set_available(true));
        assert!(kms.set_available(false));
        assert!(!kms.set_available(false));
        assert!(!kms.is_available());
        assert!(kms.set_available(true));
    }
}
