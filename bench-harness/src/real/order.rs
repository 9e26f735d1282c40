//! What a client is told to do, and what it says that it has done.

use std::net::SocketAddr;

use crate::measure::Latency;
use crate::scenario::{ClientCodec, Point};

/// Produce, or fetch from the beginning, so many records.
pub(super) struct Order<'a> {
    pub(super) bootstrap: SocketAddr,
    pub(super) topic: &'a str,
    /// Way, client, size of batches and records, codec, rate.
    pub(super) point: &'a Point,
    /// How many come before those that are timed.
    pub(super) warm_up: u64,
    pub(super) records: u64,
}

/// Of what is timed, except for frames.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) records_per_second: f64,
    /// Requests, from the beginning; 0: the client does not say.
    pub(super) frames: u64,
    pub(super) latency_ns: Option<Latency>,
}

impl Order<'_> {
    /// Records a second, if not as many as can be.
    pub(super) fn rate(&self) -> Option<f64> {
        let bytes = self.point.rate_mb_per_s? * 1e6;
        Some(bytes / self.point.record_bytes as f64)
    }

    /// How long a client waits for a batch to fill, as its properties have it.
    pub(super) fn linger_ms(&self) -> &'static str {
        match self.rate() {
            // What both clients do without being told.
            Some(_) => "5",
            // Long enough for batches to be full.
            None => "20",
        }
    }

    pub(super) fn batch_bytes(&self) -> String {
        (self.point.frame_kib << 10).to_string()
    }

    pub(super) fn codec(&self) -> &'static str {
        match self.point.codec {
            ClientCodec::None => "none",
            ClientCodec::Lz4 => "lz4",
            ClientCodec::Zstd => "zstd",
        }
    }

    /// How many of the records that were due came too late to keep the rate, if more than a few did.
    pub(super) fn late(&self, done: &Done) -> u64 {
        let share = self.rate().map_or(1.0, |rate| done.records_per_second / rate);
        match share < KEPT_SHARE {
            true => ((1.0 - share) * self.records as f64) as u64,
            false => 0,
        }
    }
}

/// A number of records that a turn can have.
pub(super) fn records(wanted: f64) -> u64 {
    (wanted as u64).clamp(RECORDS_MIN, RECORDS_MAX)
}

/// What is due in the last moments is not had at the end.
const KEPT_SHARE: f64 = 0.95;
const RECORDS_MIN: u64 = 1_000;
/// The broker's log of a turn may lie in memory.
const RECORDS_MAX: u64 = 20_000_000;

/// The largest message of a topic.
pub(super) const MESSAGE_BYTES_MAX: &str = "16777216";
/// Of a topic.
pub(super) const PARTITIONS: i32 = 4;
/// Longer than any turn.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Direction, What};

    #[test]
    fn a_rate_is_kept_or_its_late_records_are_counted() {
        let mut point = Point::of(What::Seal, Direction::Produce);
        let late = |point: &Point, records_per_second| {
            let order = Order {
                bootstrap: SocketAddr::from(([127, 0, 0, 1], 1)),
                topic: "t",
                point,
                warm_up: 0,
                records: 1000,
            };
            order.late(&Done {
                records_per_second,
                frames: 0,
                latency_ns: None,
            })
        };
        assert_eq!(late(&point, 1.0), 0, "without a rate nothing is late");
        point.rate_mb_per_s = Some(1.024);
        assert_eq!((late(&point, 990.0), late(&point, 750.0)), (0, 250));
    }
}
