//! Every bound of the running program that an operator may set, with its default.

use std::time::Duration;

use super::load::read_limits;
use super::node::{Reach, Reader};
use super::sources::{Inputs, Sources};

/// `[limits]`. Sizes are in bytes. What happens at each bound is said in `docs/configuration.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of the whole process; one more is accepted and closed at once.
    pub connections_max: usize,
    /// Requests of one connection that are not answered yet; at the bound no more is read from it.
    pub in_flight_requests_max: usize,
    /// Bytes of one connection's requests that are not answered yet; at the bound no more is read from it.
    pub in_flight_bytes_max: usize,
    /// One request frame of an authenticated connection; a longer one closes the connection.
    pub request_bytes_max: usize,
    /// One request frame before SASL authentication has succeeded; a longer one closes the connection.
    pub unauthenticated_request_bytes_max: usize,
    /// One Fetch response; a longer one closes the connection.
    pub fetch_response_bytes_max: usize,
    /// One batch after decompression; a larger one is refused.
    pub decompressed_batch_bytes_max: usize,
    /// Bytes that one executor holds for all its connections; at the bound it stops reading.
    pub executor_bytes_max: usize,
    /// Topics whose rule an executor remembers and that have counters of their own.
    pub topics_max: usize,
    /// Opened keys that one executor remembers; the least recently used one goes.
    pub opened_keys_max: usize,
    /// KEKs that the process holds sealing keys for; the least recently used one goes.
    pub sealing_keys_max: usize,
    /// A connection without a frame for this long is closed.
    pub idle_timeout: Duration,
    /// The same, before the connection's first request that a broker only answers to authenticated clients.
    pub idle_timeout_unauthenticated: Duration,
    /// How long connecting to a broker may take, the look-up of its name included.
    pub connect_timeout: Duration,
    /// How long a produce request waits for a sealing key before its partitions are refused as retriable.
    pub seal_wait: Duration,
    /// How long a fetch response that has nothing to deliver yet is held back.
    pub fetch_hold: Duration,
    /// How long what is in flight may take to finish after SIGTERM.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// What the schema presets.
    fn default() -> Self {
        let defaults = Sources::merge(Inputs::default()).ok().and_then(|sources| {
            let reader = Reader::new(sources, Reach::Skip);
            read_limits(&reader.root().table("limits")?)
        });
        // INVARIANT: the schema is a constant, and a test reads every preset of it.
        defaults.expect("the schema's presets are within its ranges")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_their_ranges() {
        let limits = Limits::default();
        assert_eq!(limits.in_flight_requests_max, 1000);
        assert_eq!(limits.request_bytes_max, 100 << 20);
        assert_eq!(limits.seal_wait, Duration::from_secs(2));
        assert_eq!(limits.fetch_hold, Duration::from_millis(200));
    }
}
