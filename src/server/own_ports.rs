//! The ports that this program listens on: nothing is connected to them.
//!
//! A broker whose advertised address is a port of the proxy (a mistake that is easily made, or a lie) would have each connection
//! make another one, until no descriptor is left for any cluster.
//!
//! - OWN-PORTS-1: an address that leads back to this program is never dialled, whoever names it: configuration, state file,
//!   broker. (One that leads here by way of another host is that host's to refuse.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::Config;

/// See the module.
pub(super) struct OwnPorts {
    listening: Vec<SocketAddr>,
}

impl OwnPorts {
    pub(super) fn of(config: &Config) -> Self {
        let listeners = config.clusters.iter().flat_map(|cluster| &cluster.listeners);
        let brokers = listeners.flat_map(|listener| {
            let nodes = listener.node_listeners().map(|(_, address)| address);
            std::iter::once(listener.listen).chain(nodes)
        });
        let admin = config.admin.iter().map(|admin| admin.listen);
        Self {
            listening: brokers.chain(admin).collect(),
        }
    }

    /// Whether a connection to `address` would come back here. May ask the kernel for the way to it; sends nothing.
    pub(super) fn include(&self, address: SocketAddr) -> bool {
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
