//! Every bound of the running program that an operator may set, with its default.

use std::time::Duration;

use super::ClusterConfig;
use super::node::{Node, Reach, Reader};
use super::sources::{Inputs, Sources};
use crate::ids::Ids;
use crate::rules::RuleAction;

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
    /// Bytes that one executor holds for all its connections; at the bound long frames take turns.
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

pub(super) fn read_limits(table: &Node<'_>) -> Option<Limits> {
    let quantity = |name| table.quantity(name);
    let duration = |name| table.duration(name);
    // All are read before the first `?`, so that all mistakes are noted.
    let connections_max = quantity("connections_max");
    let in_flight_requests_max = quantity("in_flight_requests_max");
    let in_flight_bytes_max = quantity("in_flight_bytes_max");
    let request_bytes_max = quantity("request_bytes_max");
    let unauthenticated_request_bytes_max = quantity("unauthenticated_request_bytes_max");
    let fetch_response_bytes_max = quantity("fetch_response_bytes_max");
    let decompressed_batch_bytes_max = quantity("decompressed_batch_bytes_max");
    let executor_bytes_max = quantity("executor_bytes_max");
    let topics_max = quantity("topics_max");
    let opened_keys_max = quantity("opened_keys_max");
    let sealing_keys_max = quantity("sealing_keys_max");
    let idle_timeout = duration("idle_timeout");
    let idle_timeout_unauthenticated = duration("idle_timeout_unauthenticated");
    let connect_timeout = duration("connect_timeout");
    let seal_wait = duration("seal_wait");
    let fetch_hold = duration("fetch_hold");
    let drain_timeout = duration("drain_timeout");
    Some(Limits {
        connections_max: connections_max?,
        in_flight_requests_max: in_flight_requests_max?,
        in_flight_bytes_max: in_flight_bytes_max?,
        request_bytes_max: request_bytes_max?,
        unauthenticated_request_bytes_max: unauthenticated_request_bytes_max?,
        fetch_response_bytes_max: fetch_response_bytes_max?,
        decompressed_batch_bytes_max: decompressed_batch_bytes_max?,
        executor_bytes_max: executor_bytes_max?,
        topics_max: topics_max?,
        opened_keys_max: opened_keys_max?,
        sealing_keys_max: sealing_keys_max?,
        idle_timeout: idle_timeout?,
        idle_timeout_unauthenticated: idle_timeout_unauthenticated?,
        connect_timeout: connect_timeout?,
        seal_wait: seal_wait?,
        fetch_hold: fetch_hold?,
        drain_timeout: drain_timeout?,
    })
}

/// Limits that are good by themselves and make no sense together.
pub(super) fn refuse_contradictions(root: &Node<'_>, limits: &Limits, clusters: &[ClusterConfig]) {
    let Some(table) = root.table("limits") else { return };
    let at_least = |name: &str, value: usize, other: &str, floor: usize| {
        if value < floor
            && let Some(place) = table.get(name)
        {
            place.complain(
                &format!("this is less than {other} ({floor} bytes), which could then never be used up"),
                &format!("raise {name} to at least {floor}, or lower {other}"),
            );
        }
    };
    let request = limits.request_bytes_max;
    at_least(
        "in_flight_bytes_max",
        limits.in_flight_bytes_max,
        "limits.request_bytes_max",
        request,
    );
    at_least(
        "executor_bytes_max",
        limits.executor_bytes_max,
        "limits.request_bytes_max",
        request,
    );
    at_least(
        "executor_bytes_max",
        limits.executor_bytes_max,
        "limits.fetch_response_bytes_max",
        limits.fetch_response_bytes_max,
    );
    at_least(
        "request_bytes_max",
        request,
        "limits.unauthenticated_request_bytes_max",
        limits.unauthenticated_request_bytes_max,
    );
    if limits.idle_timeout_unauthenticated > limits.idle_timeout
        && let Some(place) = table.get("idle_timeout_unauthenticated")
    {
        place.complain(
            "this is longer than limits.idle_timeout",
            "lower it, or raise limits.idle_timeout",
        );
    }
    let ceiling = request.min(limits.decompressed_batch_bytes_max);
    for cluster in clusters {
        let topics = root
            .written("cluster")
            .and_then(|table| table.written(&cluster.name));
        let nodes = topics
            .and_then(|table| table.written("topics"))
            .and_then(|list| list.elements());
        for (rule, node) in cluster.rules.rules().iter().zip(nodes.unwrap_or_default()) {
            if let RuleAction::Seal(seal) = &rule.action
                && seal.max_message_bytes > ceiling
                && let Some(place) = node.get("max_message_bytes")
            {
                place.complain(
                    &format!("no batch of this size gets through: a limit stops at {ceiling} bytes"),
                    "lower it, or raise limits.request_bytes_max and limits.decompressed_batch_bytes_max",
                );
            }
        }
    }
}

impl Default for Limits {
    /// What the schema presets.
    fn default() -> Self {
        let defaults = Sources::merge(Inputs::default()).ok().and_then(|sources| {
            let reader = Reader::new(sources, Reach::Skip, Ids::default());
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
