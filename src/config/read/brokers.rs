//! Addresses of brokers.

use std::collections::BTreeSet;

use super::listeners::NO_SCHEME;
use super::node::Node;
use crate::config::HostPort;
use crate::config::scalars::parse_host_port;

/// One.
pub(super) fn read_address(place: &Node<'_>) -> Option<HostPort> {
    let text = place.as_text()?;
    if text.contains("://") {
        place.complain("this names a protocol", NO_SCHEME);
        return None;
    }
    parse_host_port(&text)
        .map_err(|problem| {
            place.complain(
                &format!("this {problem}"),
                "write HOST:PORT, such as \"kafka-1:9092\"",
            )
        })
        .ok()
}

/// Brokers to ask, one at least.
pub(super) fn read_brokers(list: &Node<'_>) -> Option<Vec<HostPort>> {
    let places = list.elements()?;
    if places.is_empty() {
        list.complain("there is no broker to ask", &list.example());
        return None;
    }
    let mut seen = BTreeSet::new();
    let read = |place: &Node<'_>| {
        let address = read_address(place)?;
        if !seen.insert(address.clone()) {
            place.complain("this broker is in the list twice", "remove it");
        }
        Some(address)
    };
    places.iter().map(read).collect::<Vec<_>>().into_iter().collect()
}
