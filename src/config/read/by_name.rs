//! Listeners whose brokers are told apart by name: one port for all of them, and for other listeners of the kind.

use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::DnsName;

use super::node::Node;
use super::ports::PortBook;
use super::served::{Served, read_nodes};
use crate::config::model::{NODE_MARK, node_host};
use crate::config::scalars::check_host;

/// Whether that is what the listener says.
pub(super) fn is_wanted(node: &Node<'_>) -> bool {
    let host = node.written("advertised_host");
    host.is_some_and(|host| host.value.as_str().is_some_and(|host| host.contains("$(")))
}

pub(super) fn read_served(
    node: &Node<'_>,
    listen: Option<SocketAddr>,
    ports: &mut PortBook,
) -> Option<Served> {
    let advertised_host = read_pattern(node);
    let bootstrap_host = read_bootstrap_host(node);
    let nodes = read_nodes(node);
    if let Some(written) = node.written("node_ports") {
        written.complain(
            "these brokers are told apart by name, at the port of listen",
            "remove it, or write an advertised_host without $(node)",
        );
    }
    if node.written("tls").is_none()
        && let Some(written) = node.written("advertised_host")
    {
        written.complain(
            "without TLS a client does not say which name it has connected to",
            "add [cluster.main.listeners.tls], or give each broker a port (node_ports)",
        );
    }
    let (advertised_host, bootstrap_host, nodes) = (advertised_host?, bootstrap_host?, nodes?);
    if let (Some(listen), Some(written)) = (listen, node.written("advertised_host")) {
        if let Some(written) = node.written("bootstrap_host") {
            ports.take_name(&written, listen, &bootstrap_host);
        }
        for id in &nodes {
            ports.take_name(&written, listen, &node_host(&advertised_host, *id));
        }
    }
    Some(Served {
        advertised_host,
        bootstrap_host: Some(bootstrap_host),
        nodes,
        node_ports: Vec::new(),
    })
}

fn read_pattern(node: &Node<'_>) -> Option<String> {
    let pattern = node.text("advertised_host")?;
    let written = node.written("advertised_host")?;
    let fix = "write $(node) once, within a name, such as \"b$(node).kafka.example.com\"";
    if pattern.matches("$(").count() != 1 || !pattern.contains(NODE_MARK) {
        written.complain("this does not have $(node) once, and nothing else in $()", fix);
        return None;
    }
    // The longest id that there is.
    check_name(&written, &node_host(&pattern, i32::MAX), fix)?;
    Some(pattern)
}

fn read_bootstrap_host(node: &Node<'_>) -> Option<String> {
    let Some(written) = node.written("bootstrap_host") else {
        node.missing("bootstrap_host");
        return None;
    };
    let host = written.as_text()?;
    check_name(&written, &host, &written.example())?;
    Some(host)
}

/// Whether Java's clients say that they have connected to this (server name indication).
pub(super) fn is_said(host: &str) -> bool {
    host.contains('.') && !host.contains('_') && !host.ends_with('.') && host.parse::<IpAddr>().is_err()
}

/// Whether every client sends this name when it connects to it ([`is_said`]), and rustls takes it.
fn check_name(place: &Node<'_>, name: &str, fix: &str) -> Option<()> {
    if let Err(problem) = check_host(name) {
        place.complain(&format!("this {problem}"), fix);
        return None;
    }
    if !is_said(name) {
        place.complain(
            "Java's clients do not say that they have connected to such a name (server name indication)",
            "write a name with a dot, without underscores, that does not end in a dot",
        );
        return None;
    }
    if DnsName::try_from(name).is_err() {
        place.complain(
            "a client cannot name this in a handshake (server name indication): the last label has digits alone, or \
             one is longer than 63 characters",
            fix,
        );
        return None;
    }
    Some(())
}
