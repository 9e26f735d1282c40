//! The ports that this program listens on: nothing is connected to them.
//!
//! A broker whose advertised address is a port of the proxy (a mistake that is easily made, or a lie) would have each
//! connection make another one, until no descriptor is left for any cluster.
//!
//! - OWN-PORTS-1: an address that leads back to this program is never dialled, whoever names it: configuration, state
//!   file, broker. (One that leads here by way of another host is recognised by what comes back: `executor::way_back`.)
//! - OWN-PORTS-2: a configuration that names one is refused, if its name resolves to one within [`LOOKUP_MAX`]. Only
//!   names with the number of an own port are looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::node::Node;
use crate::config::{AdminConfig, ClusterConfig, Config, HostPort, UpstreamLogin};

/// See the module.
#[derive(Default)]
pub(crate) struct OwnPorts {
    listening: Vec<SocketAddr>,
}

impl OwnPorts {
    pub(crate) fn of(config: &Config) -> Self {
        Self::of_parts(&config.clusters, config.admin.as_ref())
    }

    fn of_parts(clusters: &[ClusterConfig], admin: Option<&AdminConfig>) -> Self {
        let listeners = clusters.iter().flat_map(|cluster| &cluster.listeners);
        let brokers = listeners.flat_map(|listener| {
            let nodes = listener.node_listeners().map(|(_, address)| address);
            std::iter::once(listener.listen).chain(nodes)
        });
        Self {
            listening: brokers.chain(admin.map(|admin| admin.listen)).collect(),
        }
    }

    /// Whether a connection to `address` would come back here. May ask the kernel for the way to it; sends nothing.
    pub(crate) fn include(&self, address: SocketAddr) -> bool {
        let target = address.ip().to_canonical();
        self.listening
            .iter()
            .filter(|own| own.port() == address.port())
            .any(|own| {
                let own = own.ip().to_canonical();
                // The kernel takes "any address" as a target for "this host".
                own == target
                    || ((own.is_unspecified() || target.is_unspecified()) && is_of_this_host(target))
            })
    }
}

/// Notes brokers' addresses that are the program's own (OWN-PORTS-2).
pub(super) fn refuse_own_addresses(root: &Node<'_>, clusters: &[ClusterConfig], admin: Option<&AdminConfig>) {
    let own = OwnPorts::of_parts(clusters, admin);
    let deadline = Instant::now() + LOOKUP_MAX;
    let check = |place: Option<Node<'_>>, broker: &HostPort| {
        let Some(place) = place else { return };
        if own.listening.iter().any(|own| own.port() == broker.port)
            && look_up(broker, deadline)
                .iter()
                .any(|address| own.include(*address))
        {
            place.complain(
                "this is a port of the proxy itself, which would connect to itself",
                "write the address of a broker; if a broker has this port too, give the proxy another one (listen, \
                 node_ports)",
            );
        }
    };
    for cluster in clusters {
        let Some(node) = root
            .written("cluster")
            .and_then(|table| table.written(&cluster.name))
        else {
            continue;
        };
        let check_list = |list: Option<Node<'_>>, brokers: &[HostPort]| {
            let places = list.and_then(|list| list.elements()).unwrap_or_default();
            for (broker, place) in brokers.iter().zip(places) {
                check(Some(place), broker);
            }
        };
        check_list(node.written("bootstrap"), &cluster.bootstrap);
        if let Some(UpstreamLogin::DelegationTokens { made_at, .. }) = &cluster.upstream_login {
            let table = node.written("upstream_login");
            check_list(table.and_then(|table| table.written("made_at")), made_at);
        }
        let addresses = node.written("node_addresses");
        for (id, broker) in &cluster.node_addresses {
            check(
                addresses
                    .as_ref()
                    .and_then(|table| table.written(&id.to_string())),
                broker,
            );
        }
    }
}

/// The addresses of a name, if they are found in time. The thread of a resolver that takes longer is left to itself.
fn look_up(broker: &HostPort, deadline: Instant) -> Vec<SocketAddr> {
    if let Ok(address) = broker.host.parse::<IpAddr>() {
        return vec![SocketAddr::new(address, broker.port)];
    }
    let (found, answer) = channel();
    let name = (broker.host.clone(), broker.port);
    let started = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let addresses = name.to_socket_addrs();
        // Whoever asked may have given up.
        let _ = found.send(addresses.map(Iterator::collect).unwrap_or_default());
    });
    if started.is_err() {
        return Vec::new();
    }
    let left = deadline.saturating_duration_since(Instant::now());
    answer.recv_timeout(left).unwrap_or_default()
}

/// Whether the kernel would send to `target` from that same address, as it does within a host.
fn is_of_this_host(target: IpAddr) -> bool {
    if target.is_unspecified() || target.is_loopback() {
        return true;
    }
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((target, DISCARD_PORT))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip().to_canonical() == target)
}

/// What a start may wait for resolvers, of all names together.
const LOOKUP_MAX: Duration = Duration::from_secs(2);
/// Nothing is sent to it: any port will do (RFC 863).
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listening: &[&str]) -> OwnPorts {
        OwnPorts {
            listening: listening
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect(),
        }
    }

    fn include(listening: &str, target: &str) -> bool {
        own(&["192.0.2.1:1", listening]).include(target.parse().expect("an address"))
    }

    /// OWN-PORTS-1
    #[test]
    fn what_leads_back_here_is_known_and_nothing_else() {
        for (listening, target) in [
            ("127.0.0.1:9192", "127.0.0.1:9192"),
            ("127.0.0.1:9192", "0.0.0.0:9192"),
            ("127.0.0.1:9192", "[::ffff:127.0.0.1]:9192"),
            ("0.0.0.0:9192", "127.0.0.1:9192"),
            ("0.0.0.0:9192", "127.1.2.3:9192"),
            ("[::]:9192", "127.0.0.1:9192"),
            ("[::]:9192", "[::1]:9192"),
        ] {
            assert!(include(listening, target), "{target} at {listening}");
        }
        for (listening, target) in [
            ("127.0.0.1:9192", "127.0.0.1:9193"),
            ("127.0.0.1:9192", "127.0.0.2:9192"),
            // Of documentation, RFC 5737: no host's own.
            ("0.0.0.0:9192", "192.0.2.7:9192"),
            ("0.0.0.0:9192", "127.0.0.1:9193"),
        ] {
            assert!(!include(listening, target), "{target} at {listening}");
        }
    }
}
