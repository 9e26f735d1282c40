//! Sessions of TLS are resumed where the listener says so, and nowhere else.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use super::every_way::RIG;
use super::{PROXIES, Side, listener};
use crate::support::broker_properties::Login;
use crate::support::configuration::ListenerTls;
use crate::support::proxy::ProxyTls;
use crate::support::raw_client::RawClient;
use crate::support::skipped;

#[test]
fn sessions_are_resumed_where_the_listener_says_so() {
    for (more, expected) in [
        ("resumption = true", HandshakeKind::Resumed),
        ("", HandshakeKind::Full),
    ] {
        let tls = ProxyTls {
            listener: listener(Side::Tls).map(|tls| ListenerTls {
                more: more.to_owned(),
                ..tls
            }),
            upstream: None,
            ..ProxyTls::default()
        };
        let Some(mut proxy) = RIG.another_proxy_with_tls(Login::Plaintext, &tls) else {
            return skipped::there_is_no_proxy();
        };
        for tls13 in [false, true] {
            let config = Arc::new(resuming(tls13));
            for expected in [HandshakeKind::Full, expected] {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(Arc::clone(&config), name).expect("a session");
                let mut client = RawClient::connect_with(&proxy.bootstrap(), session).expect("they meet");
                assert_eq!(client.handshake_kind(), Some(expected), "{more}, 1.3: {tls13}");
                // Its answer comes behind what a server sends for the next time.
                client.coordinator("resumed");
            }
        }
        proxy.terminate();
    }
}

/// A client that resumes what it can.
pub(super) fn resuming(tls13: bool) -> ClientConfig {
    let client = UpstreamTls {
        trust: Trust::File(PROXIES.authorities.of_servers()),
        server_name: None,
        client: None,
        choice: TlsChoice {
            tls12: !tls13,
            tls13,
            suites: Vec::new(),
        },
    };
    let set = client.load(SystemTime::now()).expect("its files are good");
    let mut config = ClientConfig::clone(&set.config);
    config.resumption = Resumption::in_memory_sessions(8);
    config
}
