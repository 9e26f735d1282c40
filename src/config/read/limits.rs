//! `[limits]`: reads it, and refuses limits that make no sense together.

use super::node::{Node, Reach, Reader};
use super::sources::{Inputs, Sources};
use crate::config::{ClusterConfig, Limits};
use crate::ids::Ids;

pub(super) fn read_limits(table: &Node<'_>) -> Option<Limits> {
    Limits::read(|name| table.quantity(name), |name| table.duration(name))
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
            .and_then(|list| list.elements())
            .unwrap_or_default();
        for rule in cluster.seal_rules() {
            if rule.seal.max_message_bytes > ceiling
                && let Some(place) = nodes
                    .get(rule.index)
                    .and_then(|node| node.get("max_message_bytes"))
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
        #[cfg_attr(not(test), expect(clippy::expect_used, reason = "see INVARIANT"))]
        defaults.expect("the schema's presets are within its ranges")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
