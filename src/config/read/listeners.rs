//! `[[cluster.NAME.listeners]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use figment::value::Value;

use super::later::{LATER, is_later_client_auth};
use super::node::{Node, unless_mistaken};
use super::ports::PortBook;
use super::proxy_protocol::read_proxy_protocol_sources;
use super::sasl::read_sasl;
use super::served::Served;
use super::tls::read_listener_tls;
use super::{by_name, by_port};
use crate::config::{ClientAuth, ListenerConfig};

pub(super) fn read_listeners(
    cluster_name: &str,
    cluster: &Node<'_>,
    ports: &mut PortBook,
) -> Option<Vec<ListenerConfig>> {
    let list = cluster.get("listeners")?;
    let nodes = cluster.tables("listeners");
    if nodes.is_empty() && matches!(&list.value, Value::Array(_, values) if values.is_empty()) {
        list.complain(
            "there is no listener, so that no client can connect",
            "add [[cluster.main.listeners]]",
        );
    }
    let mut names = BTreeSet::new();
    let listeners: Vec<_> = nodes
        .iter()
        .map(|node| read_listener(cluster_name, node, &mut names, ports))
        .collect();
    listeners.into_iter().collect()
}

fn read_listener(
    cluster_name: &str,
    node: &Node<'_>,
    names: &mut BTreeSet<String>,
    ports: &mut PortBook,
) -> Option<ListenerConfig> {
    let name = read_name(node, names);
    let listen = read_socket_address(node, "listen");
    let client_auth = read_client_auth(node);
    let proxy_protocol_sources = read_proxy_protocol_sources(node);
    let is_by_name = by_name::is_wanted(node);
    let served = if is_by_name {
        by_name::read_served(node, listen, ports)
    } else {
        by_port::read_served(node, listen, ports)
    };
    let hosts = served.as_ref().map(Served::hosts).unwrap_or_default();
    let tls = node
        .written("tls")
        .map(|table| read_listener_tls(table, client_auth, &hosts));
    if let (Some(listen), Some(written)) = (listen, node.written("listen")) {
        let patience = tls.iter().flatten().map(|tls| tls.handshake_timeout).next();
        match is_by_name {
            true => ports.share(
                &written,
                listen,
                format!("{proxy_protocol_sources:?} {patience:?}"),
            ),
            false => ports.take(&written, listen),
        };
    }
    if let (Some(ClientAuth::Mtls), None, Some(written)) = (client_auth, &tls, node.written("client_auth")) {
        written.complain(
            "without TLS no client can show a certificate",
            "add [cluster.main.listeners.tls] with certificate, key and client_ca",
        );
    }
    let sasl = read_sasl(node, client_auth, tls.is_some());
    let served = served?;
    let name = name?;
    let full_name = format!("{cluster_name}/{name}");
    Some(ListenerConfig {
        id: node.reader.ids.borrow_mut().listeners.id_of(&full_name),
        name,
        listen: listen?,
        client_auth: client_auth?,
        tls: unless_mistaken(tls)?,
        sasl: sasl?,
        proxy_protocol_sources: proxy_protocol_sources?,
        advertised_host: served.advertised_host,
        bootstrap_host: served.bootstrap_host,
        nodes: served.nodes,
        node_ports: served.node_ports,
    })
}

fn read_name(node: &Node<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let name = node.text("name")?;
    let written = node.written("name")?;
    let legal = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !legal {
        written.complain("this is not a name", "use 1 to 64 letters, digits, -, _ and .");
        return None;
    }
    if !names.insert(name.clone()) {
        written.complain(
            "another listener of this cluster has this name",
            "give each listener a name of its own",
        );
        return None;
    }
    Some(name)
}

pub(super) fn read_socket_address(node: &Node<'_>, name: &str) -> Option<SocketAddr> {
    let text = node.text(name)?;
    let written = node.written(name)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            written.complain(
                "0 is not a port that anyone could be told",
                "write a port from 1 to 65535",
            );
            None
        }
        Ok(address) => Some(address),
        Err(_) if text.contains("://") => {
            written.complain("this names a protocol", NO_SCHEME);
            None
        }
        Err(_) => {
            let fix = format!(
                "write IP:PORT (IPv6 as [IP]:PORT), such as {}",
                "\"0.0.0.0:9192\""
            );
            written.complain("this is not an IP address with a port", &fix);
            None
        }
    }
}

fn read_client_auth(node: &Node<'_>) -> Option<ClientAuth> {
    let Some(written) = node.written("client_auth") else {
        node.missing_with("client_auth", proposed_client_auth(node));
        return None;
    };
    let fix = proposed_client_auth(node);
    match written.as_text()?.as_str() {
        "network" => return Some(ClientAuth::Network),
        "broker" => return Some(ClientAuth::Broker),
        "mtls" => return Some(ClientAuth::Mtls),
        "sasl" => return Some(ClientAuth::Sasl),
        later if is_later_client_auth(later) => {
            written.complain(LATER, fix);
        }
        _ => written.complain("there is no such way to authenticate clients", fix),
    }
    None
}

/// By what stands beside it; otherwise all that there are.
fn proposed_client_auth(node: &Node<'_>) -> &'static str {
    let tls = node.written("tls");
    if node.written("sasl").is_some() {
        "write client_auth = \"sasl\": clients log in as the table sasl says"
    } else if tls.is_some_and(|tls| tls.written("client_ca").is_some()) {
        "write client_auth = \"mtls\": clients show certificates that tls.client_ca vouches for"
    } else {
        "write client_auth = \"sasl\" if clients log in here, \"mtls\" if they show certificates, \"broker\" if they \
         log in at the brokers, which then say who reads, or \"network\" if whoever reaches this listener is trusted"
    }
}

/// Kafka's own properties have `SSL://` and the like before addresses.
pub(super) const NO_SCHEME: &str = "write the address alone, without `…://`: TLS is set in \
    [cluster.NAME.listeners.tls] and [cluster.NAME.upstream_tls], and logins pass through with \
    client_auth = \"broker\"";
