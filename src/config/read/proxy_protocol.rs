//! `proxy_protocol` and `proxy_protocol_sources` of a listener, of which neither is there without the other.

use super::node::Node;
use crate::transport::proxy_protocol::Networks;

/// The networks of load balancers; inside, `None` where there is none in front of the listener.
pub(super) fn read_proxy_protocol_sources(listener: &Node<'_>) -> Option<Option<Networks>> {
    let Some(written) = listener.written(PROXY_PROTOCOL) else {
        if let Some(sources) = listener.written(SOURCES) {
            sources.complain(
                "without proxy_protocol nobody says where a connection comes from",
                "add proxy_protocol = \"required\", or remove it",
            );
            return None;
        }
        return Some(None);
    };
    if written.as_text()? != REQUIRED {
        written.complain(
            "there is no such way to take the PROXY protocol",
            "write proxy_protocol = \"required\", or remove it: who may choose could say that it were anybody",
        );
        return None;
    }
    let Some(sources) = listener.written(SOURCES) else {
        listener.missing(SOURCES);
        return None;
    };
    read_networks(&sources).map(Some)
}

fn read_networks(list: &Node<'_>) -> Option<Networks> {
    let elements = list.elements()?;
    if elements.is_empty() || elements.len() > NETWORKS_MAX {
        list.complain(
            &format!("these are not 1 to {NETWORKS_MAX} networks"),
            &list.example(),
        );
        return None;
    }
    let texts: Option<Vec<String>> = elements.iter().map(Node::as_text).collect();
    let mut networks = Networks::default();
    for (text, element) in texts?.iter().zip(&elements) {
        if let Err(problem) = networks.add(text) {
            element.complain(&format!("this {problem}"), &list.example());
            return None;
        }
    }
    Some(networks)
}

const PROXY_PROTOCOL: &str = "proxy_protocol";
const SOURCES: &str = "proxy_protocol_sources";
const REQUIRED: &str = "required";
/// Each is looked at for each connection.
const NETWORKS_MAX: usize = 100;
