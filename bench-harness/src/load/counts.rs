//! What was exchanged, and how long each exchange took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Since it was last taken.
pub(crate) struct Counts {
    /// Requests that were answered.
    pub(crate) frames: u64,
    /// Records in them, or in their answers.
    pub(crate) records: u64,
    /// Bytes that clients sent and got.
    pub(crate) bytes: u64,
    /// Requests that were due and not sent: the rate was too much.
    pub(crate) dropped: u64,
    /// Nanoseconds from when a request was sent, or due, until its answer was there whole.
    pub(crate) latency_ns: Histogram<u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            frames: 0,
            records: 0,
            bytes: 0,
            dropped: 0,
            // INVARIANT: 1 ns to a minute in three digits is what the library can do.
            latency_ns: Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("a histogram"),
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, bytes: usize, records: usize, latency: Duration) {
        self.frames += 1;
        self.records += records as u64;
        self.bytes += bytes as u64;
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX);
        self.latency_ns.saturating_record(nanoseconds);
    }
}

const LATENCY_NS_MAX: u64 = 60_000_000_000;
