//! What a turn has brought: what was exchanged, how long it took, and what the process between clients and broker has
//! used meanwhile.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::SystemCalls;

/// Everything that is known of a turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) exchanged: Exchanged,
    /// None: there is nothing between client and broker.
    pub(crate) of_system: Option<System>,
    pub(crate) system_calls: Option<SystemCalls>,
    /// Of `sealwire`, where it was started for this turn: until it was ready.
    pub(crate) start_ns: Option<u64>,
    /// Where the system was started for this turn: from before the first client connected until its first request was
    /// answered.
    pub(crate) first_frame_ns: Option<u64>,
}

/// What went there and back in what counts of a turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exchanged {
    pub(crate) wall_ns: u64,
    /// Requests that were answered.
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Of requests and responses as clients have them.
    pub(crate) bytes: u64,
    /// Requests that were due and not sent.
    pub(crate) dropped: u64,
    pub(crate) latency_ns: Option<Latency>,
    /// The share of its core that the load had; 0 where it had none of its own.
    pub(crate) load_cpu_share: f64,
    /// What a real broker used.
    pub(crate) broker_cpu_ns: Option<u64>,
}

/// Quantiles of one turn, as far as what drove it says them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: Option<u64>,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) p9999: Option<u64>,
    pub(crate) max: u64,
}

/// What the process of a system used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct System {
    pub(crate) cpu_ns: u64,
    /// Of that, what the thread had that had the most.
    pub(crate) busiest_thread_ns: u64,
    /// At the end.
    pub(crate) resident_bytes: u64,
    /// The most there was during the turn; where the kernel does not let it be set back, since the process began.
    pub(crate) peak_bytes: u64,
    /// How often a thread went to sleep, and so was woken.
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// Of `sealwire`: calls to a KMS.
    pub(crate) kms_calls: Option<u64>,
}

impl Exchanged {
    /// Whether the load could not have done more, so that a system may have been faster than was seen.
    pub(crate) fn is_load_saturated(&self) -> bool {
        self.load_cpu_share >= SATURATED_SHARE
    }
}

impl Latency {
    /// All of them.
    pub(crate) fn of(nanoseconds: &Histogram<u64>) -> Self {
        let at = |quantile| nanoseconds.value_at_quantile(quantile);
        Self {
            p50: at(0.5),
            p90: Some(at(0.9)),
            p99: at(0.99),
            p999: at(0.999),
            p9999: Some(at(0.9999)),
            max: nanoseconds.max(),
        }
    }
}

const SATURATED_SHARE: f64 = 0.95;
