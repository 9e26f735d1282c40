//! Listeners whose brokers are told apart by port.

use std::net::{IpAddr, SocketAddr};

use super::node::Node;
use super::ports::PortBook;
use super::served::{Served, read_nodes, read_numbers};
use crate::config::scalars::check_host;

/// `nodes`, and as many `node_ports`, which are taken.
pub(super) fn read_served(
    node: &Node<'_>,
    listen: Option<SocketAddr>,
    ports: &mut PortBook,
) -> Option<Served> {
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
