//! TLS on both sides of the proxy, with and without certificates of clients, between real clients and real brokers.

mod document;
mod every_way;
pub(crate) mod logins;
mod named_by_certificate;
mod refused;
mod renewed;
mod resumed;
mod sasl;

use std::sync::LazyLock;

use crate::support::broker_properties::Login;
use crate::support::certificates::{self, Authorities, Identity};
use crate::support::configuration::ListenerTls;
use crate::support::operations::ClientTls;
use crate::support::proxy::ProxyTls;

/// What one side of the proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Plain,
    Tls,
    /// With a certificate of the client.
    Mutual,
}

const SIDES: [Side; 3] = [Side::Plain, Side::Tls, Side::Mutual];

impl Side {
    /// The brokers' listener that speaks it.
    fn login(self) -> Login {
        match self {
            Side::Plain => Login::Plaintext,
            Side::Tls => Login::Tls,
            Side::Mutual => Login::MutualTls,
        }
    }
}

/// What the proxies of these tests show, and who their clients are.
struct OfProxies {
    authorities: Authorities,
    server: Identity,
    client: Identity,
    /// What brokers are shown.
    upstream: Identity,
}

static PROXIES: LazyLock<OfProxies> = LazyLock::new(|| {
    let authorities = Authorities::create("proxy");
    OfProxies {
        server: authorities.server("server", None),
        client: authorities.client("application", None),
        upstream: certificates::of_brokers().authorities.client("sealwire", None),
        authorities,
    }
});

/// The listener as its clients meet it.
fn listener(side: Side) -> Option<ListenerTls> {
    let OfProxies {
        authorities, server, ..
    } = &*PROXIES;
    let tls = ListenerTls {
        certificate: server.files.certificate.clone(),
        key: server.files.key.clone(),
        client_ca: (side == Side::Mutual).then(|| authorities.of_clients()),
        more: String::new(),
    };
    (side != Side::Plain).then_some(tls)
}

fn proxy_tls(listening: Side, upstream: Side) -> ProxyTls {
    let ca = certificates::of_brokers().authorities.of_servers();
    let shown = &PROXIES.upstream.files;
    let shown = match upstream {
        Side::Mutual => format!("certificate = {:?}\nkey = {:?}\n", shown.certificate, shown.key),
        Side::Plain | Side::Tls => String::new(),
    };
    ProxyTls {
        listener: listener(listening),
        upstream: (upstream != Side::Plain).then(|| format!("ca = {ca:?}\n{shown}")),
        ..ProxyTls::default()
    }
}

/// What a client of the proxy's listener has to know; of the broker's where the route is direct.
fn client_tls(side: Side, through_proxy: bool) -> Option<ClientTls> {
    let (authorities, identity) = if through_proxy {
        (&PROXIES.authorities, &PROXIES.client)
    } else {
        (&certificates::of_brokers().authorities, &PROXIES.upstream)
    };
    let tls = ClientTls::believing(authorities.of_servers());
    match side {
        Side::Plain => None,
        Side::Tls => Some(tls),
        Side::Mutual => Some(tls.showing(&identity.together)),
    }
}
