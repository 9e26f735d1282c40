//! The ports that everything binds, and the names by which listeners at one port are told apart.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::node::Node;

/// Who binds which port.
#[derive(Default)]
pub(super) struct PortBook {
    taken: BTreeMap<u16, Vec<Taken>>,
    /// Of listeners that are told apart by name: each name at its address, and who has it.
    names: BTreeMap<(SocketAddr, String), String>,
    before: BTreeMap<SocketAddr, String>,
}

struct Taken {
    address: IpAddr,
    /// Where that is written.
    by: String,
    /// Others that are told apart by name may have the same address.
    is_shared: bool,
}

impl PortBook {
    /// Notes that `node` binds `address`; a mistake, and `false`, where something else does.
    pub(super) fn take(&mut self, node: &Node<'_>, address: SocketAddr) -> bool {
        self.take_as(node, address, false)
    }

    /// The same, where other listeners that are told apart by name may bind the very same address.
    /// What is asked of a connection before it is known whose it is (`before`) has to be the same for all of them.
    pub(super) fn share(&mut self, node: &Node<'_>, address: SocketAddr, before: String) -> bool {
        let first = self.before.entry(address).or_insert_with(|| before.clone());
        if *first != before {
            node.complain(
                "listeners that share this port differ in proxy_protocol, its sources or tls.handshake_timeout, which \
                 count before it is known whose a connection is",
                "write the same in all of them, or give this one a port of its own",
            );
            return false;
        }
        self.take_as(node, address, true)
    }

    /// Notes that `node` has a name at an address that is shared; a mistake where another listener has it.
    pub(super) fn take_name(&mut self, node: &Node<'_>, address: SocketAddr, name: &str) {
        let key = (address, name.to_ascii_lowercase());
        match self.names.get(&key) {
            Some(other) => node.complain(
                &format!("{name} is a name of {other} at this address too"),
                "give each listener, and each of its brokers, names of its own",
            ),
            None => {
                self.names.insert(key, node.path());
            }
        }
    }

    fn take_as(&mut self, node: &Node<'_>, address: SocketAddr, is_shared: bool) -> bool {
        let taken = self.taken.entry(address.port()).or_default();
        // The wildcard of IPv6 takes IPv4 as well, unless the kernel is told otherwise.
        let overlap = |other: &&Taken| {
            let is_one = other.address == address.ip();
            is_one && !(is_shared && other.is_shared)
                || !is_one && (other.address.is_unspecified() || address.ip().is_unspecified())
        };
        if let Some(other) = taken.iter().find(overlap) {
            node.complain(
                &format!("port {} is taken by {}", address.port(), other.by),
                "give everything that listens a port of its own",
            );
            return false;
        }
        let line = node
            .line()
            .map(|line| format!(" (line {line})"))
            .unwrap_or_default();
        taken.push(Taken {
            address: address.ip(),
            by: format!("{}{line}", node.path()),
            is_shared,
        });
        true
    }
}
