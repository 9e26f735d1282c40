//! Handshakes that clients do not go on with, spoil or leave, over real sockets: everybody else is served meanwhile,
//! and nothing of them is left behind.

mod brokers;
mod left;
mod renegotiated;
mod slow;
mod spoiled;

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use kafka_protocol::messages::ApiKey;
use rustls::{ClientConnection, Error};
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use crate::support::certificates::Authorities;
use crate::support::configuration::ListenerTls;
use crate::support::frames::{head, log_dirs_answer, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup, ProxyTls};
use crate::support::raw_client::RawClient;
use crate::support::{HOST, wait};

/// A proxy with one executor whose clients speak TLS, and in which no time runs out.
struct Bench {
    proxy: Proxy,
    tls: UpstreamTls,
    /// Whose files are read again and again.
    _files: (Authorities, Keystore),
}

impl Bench {
    fn start(settings: &[&str]) -> Self {
        // It closes the connection over whatever it is asked but its folders.
        let broker = start_broker(|mut socket| {
            while let Some(request) = read_frame(&mut socket).filter(|request| asks_for_folders(request)) {
                let _ = socket.write_all(&log_dirs_answer(&request, FOLDER));
            }
        });
        let authorities = Authorities::create("handshakes");
        let server = authorities.server("server", None);
        let listener = ListenerTls {
            certificate: server.files.certificate,
            key: server.files.key,
            client_ca: None,
            more: "handshake_timeout = \"1m\"".to_owned(),
        };
        let tls = UpstreamTls {
            trust: Trust::File(authorities.of_servers()),
            server_name: None,
            client: None,
            choice: TlsChoice::default(),
        };
        let keystore = Keystore::create(&["orders"]);
        let setup = ProxySetup {
            brokers: broker,
            nodes: vec![0],
            keystore: &keystore,
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n",
            executors: 1,
        };
        let listening = ProxyTls {
            listener: Some(listener),
            upstream: None,
            ..ProxyTls::default()
        };
        let mut proxy = Proxy::start_with_tls(&setup, &listening);
        proxy.terminate();
        let patient = [
            "runtime.self_check=false",
            "limits.idle_timeout=10m",
            "limits.idle_timeout_unauthenticated=5m",
        ];
        proxy.start_again_with(&[&patient, settings].concat());
        Self {
            proxy,
            tls,
            _files: (authorities, keystore),
        }
    }

    /// A client that wants nothing but an answer, and gets it.
    fn served(&self) -> RawClient {
        let client = RawClient::connect_by_tls(&self.proxy.bootstrap(), HOST, &self.tls);
        let mut client = client.unwrap_or_else(|error| panic!("{error}\n{}", self.proxy.output()));
        assert_served(&mut client);
        client
    }

    /// A client that begins with a handshake of this version.
    fn shaking(&self, is_tls12: bool) -> Shaking {
        let choice = TlsChoice {
            tls12: is_tls12,
            tls13: !is_tls12,
            ..TlsChoice::default()
        };
        let tls = UpstreamTls {
            choice,
            ..self.tls.clone()
        };
        let set = tls.load(SystemTime::now()).expect("files of TLS");
        Shaking {
            session: set.session(HOST).expect("a name"),
            socket: self.socket(),
        }
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.proxy.bootstrap()).expect("connecting");
        socket.set_nodelay(true).expect("small pieces");
        socket.set_read_timeout(Some(EVENTUALLY)).expect("a time-out");
        socket
    }

    /// How many clients were disconnected for this reason.
    fn closed(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.proxy.metric("sealwire_connections_closed_total", &[&label])
    }

    /// How many handshakes wait for their client, and how many for their turn.
    fn under_way(&self) -> (f64, f64) {
        let text = self.proxy.metrics();
        let waits_for = |what: &str| {
            let label = format!("waits_for=\"{what}\"");
            crate::support::admin_page::metric(&text, "sealwire_tls_handshakes", &[&label])
        };
        (waits_for("client"), waits_for("turn"))
    }

    fn open(&self) -> f64 {
        self.proxy.metric("sealwire_connections_open", &[])
    }

    /// Waits until nobody is there but so many clients, and nothing is held for anybody else.
    fn is_quiet_but_for(&self, clients: usize) {
        wait::until("that the others are gone", EVENTUALLY, || {
            let held = self.proxy.metric("sealwire_held_bytes", &[]);
            let rest = (self.open(), self.under_way(), held);
            (rest == (clients as f64, (0.0, 0.0), 0.0)).then_some(())
        });
    }
}

/// A client in its handshake.
struct Shaking {
    session: ClientConnection,
    socket: TcpStream,
}

impl Shaking {
    /// What its session wants to send.
    fn words(&mut self) -> Vec<u8> {
        let mut words = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut words).expect("into memory");
        }
        words
    }

    fn says(&mut self) {
        let words = self.words();
        // The proxy may have closed.
        let _ = self.socket.write_all(&words);
    }

    /// Reads once; `false` where nothing more comes.
    fn hears(&mut self) -> io::Result<Result<bool, Error>> {
        if self.session.read_tls(&mut self.socket)? == 0 {
            return Ok(Ok(false));
        }
        Ok(self.session.process_new_packets().map(|_| true))
    }

    /// Reads to the end, which is no reset; what it was told on the way.
    fn is_told(&mut self) -> Option<Error> {
        loop {
            match self.hears().expect("no reset") {
                Ok(true) => self.says(),
                Ok(false) => return None,
                Err(told) => {
                    io::copy(&mut self.socket, &mut io::sink()).expect("no reset");
                    return Some(told);
                }
            }
        }
    }
}

fn assert_served(client: &mut RawClient) {
    assert_eq!(client.log_dirs().expect("an answer"), [FOLDER]);
}

fn asks_for_folders(request: &[u8]) -> bool {
    head(request).0 == ApiKey::DescribeLogDirs as i16
}

const FOLDER: &str = "/data";
/// Less than any time takes that might run out: a handshake has a minute.
const EVENTUALLY: Duration = Duration::from_secs(50);
