//! One turn of one system at one point of a scenario: what everything else is made of.

use serde::Serialize;

use crate::measure::Measured;
use crate::scenario::Point;

/// A line of the JSON: `kind` is `sample`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) point: Point,
    pub(crate) system: String,
    /// Systems of one round ran one after the other, in shuffled order. None: a turn of its own, in which system calls
    /// were counted, which costs time.
    pub(crate) round: Option<usize>,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}

/// A turn in which a system used so much CPU for a GB.
#[cfg(test)]
pub(super) fn of_cpu(point: &Point, system: &str, round: usize, cpu_ns: u64) -> Sample {
    use crate::measure::{Exchanged, System};
    Sample {
        scenario: "test".to_owned(),
        point: point.clone(),
        system: system.to_owned(),
        round: Some(round),
        measured: Measured {
            exchanged: Exchanged {
                wall_ns: 1_000_000_000,
                frames: 10,
                records: 640,
                bytes: 1_000_000_000,
                dropped: 0,
                latency_ns: None,
                load_cpu_share: 0.5,
                broker_cpu_ns: None,
            },
            of_system: Some(System {
                cpu_ns,
                busiest_thread_ns: cpu_ns,
                resident_bytes: 0,
                peak_bytes: 0,
                voluntary_switches: 0,
                involuntary_switches: 0,
                kms_calls: None,
            }),
            system_calls: None,
            start_ns: None,
            first_frame_ns: None,
        },
    }
}
