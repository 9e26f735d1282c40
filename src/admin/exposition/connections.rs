//! Connections, what went over them, and what of it is on its way.

use std::fmt::Error;

use super::families::{BYTES, Families, Labels, NONE};
use super::{Exposition, text_of};
use crate::metrics::{BrokerLoginKind, BrokerLoginResult, CloseReason, Direction, RequestRefusal, Snapshot};
use crate::protocol::policy::api_name;

impl Exposition {
    pub(super) fn connections(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let connections = &self.sum.connections;
        let accepted = [(NONE, connections.accepted)];
        families.counter(
            "sealwire_connections_accepted",
            "Client connections accepted",
            None,
            accepted,
        )?;
        families.counter(
            "sealwire_broker_connections",
            "Connections to brokers established",
            None,
            [(NONE, connections.broker_connected)],
        )?;
        families.gauge(
            "sealwire_hidden_brokers",
            "Brokers that clients are not told of, since the listener's nodes do not have them",
            None,
            self.collection.hidden.iter().map(|hidden| {
                let labels = vec![
                    ("cluster", hidden.cluster.clone()),
                    ("listener", hidden.listener.clone()),
                ];
                (labels, hidden.nodes.len() as u64)
            }),
        )?;
        families.counter(
            "sealwire_hidden_coordinators",
            "Answers that named a coordinator which clients are not told of",
            None,
            [(NONE, connections.coordinators_hidden)],
        )?;
        families.counter(
            "sealwire_tls_ends_unannounced",
            "TLS connections that a peer has ended without saying so (close_notify)",
            None,
            [
                ("clients", connections.clients_unannounced),
                ("brokers", connections.brokers_unannounced),
            ]
            .map(|(side, count)| (vec![("side", text_of(side))], count)),
        )?;
        self.logins(families)?;
        families.counter(
            "sealwire_connections_closed",
            "Client connections that ended, by reason",
            None,
            CloseReason::ALL.iter().map(|reason| {
                (
                    vec![("reason", text_of(reason.as_str()))],
                    connections.closed_by(*reason),
                )
            }),
        )?;
        families.gauge(
            "sealwire_connections_open",
            "Client connections open now, by executor",
            None,
            self.sum
                .connections_open_by_executor
                .iter()
                .map(|(executor, open)| (vec![("executor", executor.to_string())], *open)),
        )
    }

    pub(super) fn traffic(&self, families: &mut Families<'_>) -> Result<(), Error> {
        families.counter(
            "sealwire_frames",
            "Kafka frames, by direction and API",
            None,
            Direction::ALL.iter().flat_map(|direction| {
                let frames = self.sum.frames(*direction).by_api();
                frames.map(move |(key, count)| (api_labels(*direction, key), count))
            }),
        )?;
        let by_direction = |bytes: fn(&Snapshot, Direction) -> u64| {
            Direction::ALL
                .iter()
                .map(move |direction| (direction_label(*direction), bytes(&self.sum, *direction)))
        };
        let read = by_direction(|sum, direction| sum.frames(direction).bytes_in);
        families.counter(
            "sealwire_read",
            "Bytes read from sockets, by direction",
            BYTES,
            read,
        )?;
        let written = by_direction(|sum, direction| sum.frames(direction).bytes_out);
        families.counter(
            "sealwire_written",
            "Bytes written to sockets, by direction",
            BYTES,
            written,
        )
    }

    /// What is on its way now.
    pub(super) fn under_way(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let gauges = self.sum.gauges;
        let held = [(NONE, gauges.bytes_held)];
        families.gauge("sealwire_held", "Bytes of frames held in buffers", BYTES, held)?;
        families.gauge(
            "sealwire_frames_queued",
            "Long frames that wait for their turn",
            None,
            [(NONE, gauges.frames_queued)],
        )?;
        families.gauge(
            "sealwire_tls_handshakes",
            "TLS handshakes with clients under way, by what they wait for",
            None,
            [
                ("client", gauges.handshakes_silent),
                ("turn", gauges.handshakes_queued),
            ]
            .map(|(what, count)| (vec![("waits_for", text_of(what))], count)),
        )?;
        families.gauge(
            "sealwire_requests_in_flight",
            "Requests sent to brokers and not answered yet",
            None,
            [(NONE, gauges.requests_in_flight)],
        )?;
        families.gauge(
            "sealwire_frames_parked",
            "Frames that wait for a key",
            None,
            [("produce", gauges.produce_parked), ("fetch", gauges.fetch_parked)]
                .map(|(kind, count)| (vec![("kind", text_of(kind))], count)),
        )
    }

    fn logins(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let connections = &self.sum.connections;
        families.counter(
            "sealwire_logins",
            "Logins that ended at the proxy, by how",
            None,
            [
                ("accepted", connections.logins_accepted),
                ("refused", connections.logins_refused),
            ]
            .map(|(result, count)| (vec![("result", text_of(result))], count)),
        )?;
        families.counter(
            "sealwire_broker_logins",
            "Logins of the proxy's own at brokers, by how",
            None,
            BrokerLoginKind::ALL.iter().flat_map(|kind| {
                BrokerLoginResult::ALL.iter().map(move |result| {
                    let labels = vec![
                        ("kind", text_of(kind.as_str())),
                        ("result", text_of(result.as_str())),
                    ];
                    (labels, connections.broker_logins(*kind, *result))
                })
            }),
        )?;
        families.counter(
            "sealwire_refused_requests",
            "Requests that were not their clients' to send, by what they are about",
            None,
            RequestRefusal::ALL.iter().map(|reason| {
                (
                    vec![("about", text_of(reason.as_str()))],
                    connections.requests_refused(*reason),
                )
            }),
        )
    }
}

fn direction_label(direction: Direction) -> Labels {
    vec![("direction", text_of(direction.as_str()))]
}

/// Of keys that the policy has never heard of only the number is told: any client may send any.
fn api_labels(direction: Direction, key: Option<i16>) -> Labels {
    vec![
        ("direction", text_of(direction.as_str())),
        ("api", text_of(key.and_then(api_name).unwrap_or("unknown"))),
        (
            "api_key",
            key.map_or_else(|| text_of("other"), |key| key.to_string()),
        ),
    ]
}
