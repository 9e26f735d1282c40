//! `[[cluster.NAME.listeners]]`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use figment::value::Value;

use super::by_name::{self, NODE_MARK};
use super::later::{LATER, is_later_client_auth};
use super::node::{Node, whole_number};
use super::ports::PortBook;
use super::proxy_protocol::read_proxy_protocol_sources;
use super::tls::read_listener_tls;
use crate::config::scalars::{check_host, parse_ranges};
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
    if let (Some(listen), Some(written)) = (listen, node.written("listen")) {
        match is_by_name {
            true => ports.share(&written, listen),
            false => ports.take(&written, listen),
        };
    }
    let served = match (is_by_name, listen) {
        (true, listen) => by_name::read_served(node, listen, ports),
        (false, listen) => read_served(node, listen, ports),
    };
    let hosts = served.as_ref().map(Served::hosts).unwrap_or_default();
    let tls = node
        .written("tls")
        .map(|table| read_listener_tls(table, client_auth, &hosts));
    if let (Some(ClientAuth::Mtls), None, Some(written)) = (client_auth, &tls, node.written("client_auth")) {
        written.complain(
            "without TLS no client can show a certificate",
            "add [cluster.main.listeners.tls] with certificate, key and client_ca",
        );
    }
    let served = served?;
    let name = name?;
    let full_name = format!("{cluster_name}/{name}");
    Some(ListenerConfig {
        id: node.reader.ids.borrow_mut().listeners.id_of(&full_name),
        name,
        listen: listen?,
        client_auth: client_auth?,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        proxy_protocol_sources: proxy_protocol_sources?,
        advertised_host: served.advertised_host,
        bootstrap_host: served.bootstrap_host,
        nodes: served.nodes,
        node_ports: served.node_ports,
    })
}

/// Which brokers a listener serves, and how clients reach each.
pub(super) struct Served {
    pub(super) advertised_host: String,
    /// Brokers are told apart by name.
    pub(super) bootstrap_host: Option<String>,
    pub(super) nodes: Vec<i32>,
    /// Brokers are told apart by port.
    pub(super) node_ports: Vec<u16>,
}

impl Served {
    /// Every host that clients are told to connect to.
    fn hosts(&self) -> Vec<String> {
        match &self.bootstrap_host {
            None => vec![self.advertised_host.clone()],
            Some(bootstrap) => {
                let nodes = self.nodes.iter();
                let nodes = nodes.map(|node| self.advertised_host.replace(NODE_MARK, &node.to_string()));
                std::iter::once(bootstrap.clone()).chain(nodes).collect()
            }
        }
    }
}

pub(super) fn read_nodes(node: &Node<'_>) -> Option<Vec<i32>> {
    let nodes = read_numbers(node, "nodes", NODE_ID_MAX)?;
    refuse_repetition(node, "nodes", "broker id", &nodes);
    let ids = nodes.into_iter().map(i32::try_from);
    ids.collect::<Result<_, _>>().ok()
}

/// `nodes`, and as many `node_ports`, which are taken.
fn read_served(node: &Node<'_>, listen: Option<SocketAddr>, ports: &mut PortBook) -> Option<Served> {
    let advertised_host = read_advertised_host(node);
    if let Some(written) = node.written("bootstrap_host") {
        written.complain(
            "this is for listeners whose brokers have names of their own",
            "write $(node) into advertised_host, or remove it",
        );
    }
    let nodes = read_nodes(node);
    if node.written("node_ports").is_none() {
        node.missing("node_ports");
    }
    let node_ports = read_numbers(node, "node_ports", u32::from(u16::MAX));
    if let (Some(nodes), Some(node_ports), Some(written)) = (&nodes, &node_ports, node.written("node_ports"))
        && nodes.len() != node_ports.len()
    {
        written.complain(
            &format!("these are {} ports for {} nodes", node_ports.len(), nodes.len()),
            "give one port for each node, in the order of nodes",
        );
    }
    let node_ports: Option<Vec<u16>> = node_ports.map(|ports| {
        ports
            .into_iter()
            .filter_map(|port| u16::try_from(port).ok())
            .collect()
    });
    if let (Some(listen), Some(node_ports), Some(written)) = (listen, &node_ports, node.written("node_ports"))
    {
        for &port in node_ports {
            if port == 0 {
                written.complain(
                    "0 is not a port that clients could be told",
                    "write ports from 1 to 65535",
                );
                return None;
            }
            if !ports.take(&written, SocketAddr::new(listen.ip(), port)) {
                break;
            }
        }
    }
    Some(Served {
        advertised_host: advertised_host?,
        bootstrap_host: None,
        nodes: nodes?,
        node_ports: node_ports?,
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
    let text = node.text("client_auth")?;
    let written = node.written("client_auth")?;
    let fix = "write client_auth = \"network\" if only trusted clients can reach this listener, or \"mtls\" if they \
        have certificates";
    match text.as_str() {
        "network" => return Some(ClientAuth::Network),
        "mtls" => return Some(ClientAuth::Mtls),
        later if is_later_client_auth(later) => {
            written.complain(LATER, fix);
        }
        _ => written.complain("there is no such way to authenticate clients", fix),
    }
    None
}

fn read_advertised_host(node: &Node<'_>) -> Option<String> {
    let host = node.text("advertised_host")?;
    let written = node.written("advertised_host")?;
    let fix = "write a name or an address that reaches this listener, without port and brackets, such as \
        \"proxy.example.com\"";
    match (host.parse::<IpAddr>(), check_host(&host)) {
        (Ok(address), _) if address.is_unspecified() => {
            written.complain("clients cannot connect to this address", fix);
        }
        (_, Err(problem)) => written.complain(&format!("this {problem}"), fix),
        (_, Ok(_)) => return Some(host),
    }
    None
}

/// Text with ranges, a list of numbers, or one number.
fn read_numbers(node: &Node<'_>, name: &str, max: u32) -> Option<Vec<u32>> {
    let written = node.get(name)?;
    let number = |value: &Value| {
        whole_number(value)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number <= max)
            .ok_or_else(|| format!("has an entry that is not a number from 0 to {max}"))
    };
    let numbers = match &written.value {
        Value::String(_, text) => parse_ranges(text, max, NODES_MAX),
        Value::Array(_, values) if values.len() > NODES_MAX => {
            Err(format!("has more than {NODES_MAX} entries"))
        }
        Value::Array(_, values) => values.iter().map(number).collect(),
        single => number(single).map(|number| vec![number]),
    };
    match numbers {
        Ok(numbers) if numbers.is_empty() => written.complain("this is empty", &written.example()),
        Ok(numbers) => return Some(numbers),
        Err(problem) => written.complain(&format!("this {problem}"), &written.example()),
    }
    None
}

fn refuse_repetition(node: &Node<'_>, name: &str, what: &str, numbers: &[u32]) {
    let mut seen = BTreeSet::new();
    if let (Some(twice), Some(written)) = (
        numbers.iter().find(|number| !seen.insert(**number)),
        node.written(name),
    ) {
        written.complain(
            &format!("the {what} {twice} is in it twice"),
            "name each one once",
        );
    }
}

/// Kafka's own properties have `SSL://` and the like before addresses.
pub(super) const NO_SCHEME: &str = "write the address alone, without `…://`: TLS is set in \
    [cluster.NAME.listeners.tls] and [cluster.NAME.upstream_tls], and SASL passes through";

/// Kafka's broker ids are non-negative 32-bit numbers.
const NODE_ID_MAX: u32 = i32::MAX as u32;

/// More brokers than any Kafka cluster has, and few enough to bind a port for each.
const NODES_MAX: usize = 4096;
