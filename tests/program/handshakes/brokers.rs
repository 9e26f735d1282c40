//! Brokers with whom the proxy does not shake hands.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use rustls::{AlertDescription, Error, ServerConnection};
use sealwire::testing::tls_meeting::{Meeting, VERSIONS};

use super::EVENTUALLY;
use crate::support::certificates::Authorities;
use crate::support::frames::start_broker;
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup, ProxyTls};
use crate::support::raw_client::RawClient;

/// PARTING-1: it has sent more than was read when its certificate was refused, which would have been a reset.
#[test]
fn a_broker_that_is_refused_is_told_why() {
    let authorities = Authorities::create("refusing");
    let keystore = Keystore::create(&["orders"]);
    for version in VERSIONS {
        // Signed by somebody else.
        let config = Meeting::of(version).server();
        let (told, all_told) = channel();
        let told = Mutex::new(told);
        let broker = start_broker(move |socket| {
            let session = ServerConnection::new(config.clone()).expect("a session");
            let told = told.lock().expect("no broker panics").clone();
            let _ = shake_hands(session, socket, &told);
        });
        let mut proxy = Proxy::start_with_tls(
            &ProxySetup {
                brokers: broker,
                nodes: vec![0],
                keystore: &keystore,
                rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n",
                executors: 1,
            },
            &ProxyTls {
                listener: None,
                upstream: Some(format!("ca = {:?}\n", authorities.of_servers())),
                ..ProxyTls::default()
            },
        );
        // The self-check meets it too.
        proxy.terminate();
        proxy.start_again_with(&["runtime.self_check=false"]);
        while all_told.try_recv().is_ok() {}
        RawClient::connect(&proxy.bootstrap()).log_dirs();
        let (alert, end) = all_told.recv_timeout(EVENTUALLY).expect("it is connected to");
        let unknown = Error::AlertReceived(AlertDescription::UnknownCA);
        assert_eq!(
            (alert, end),
            (Some(unknown), None),
            "{version:?}: {}",
            proxy.output()
        );
        proxy.terminate();
    }
}

/// What a broker was told, and how else than well its connection ended.
type Told = (Option<Error>, Option<io::ErrorKind>);

fn shake_hands(mut session: ServerConnection, mut socket: TcpStream, told: &Sender<Told>) -> io::Result<()> {
    let mut alert = None;
    while session.read_tls(&mut socket)? > 0 {
        alert = session.process_new_packets().err();
        if alert.is_some() {
            break;
        }
        let mut words = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut words)?;
        }
        // With more behind it than is read at a time.
        words.resize(words.len() + BEHIND_BYTES, 0);
        let _ = socket.write_all(&words);
    }
    let end = io::copy(&mut socket, &mut io::sink()).err();
    let _ = told.send((alert, end.map(|error| error.kind())));
    Ok(())
}

const BEHIND_BYTES: usize = 32 * 1024;
