//! Connections that bring nothing, and connections that come back to where they came from: neither costs a broker, a
//! descriptor for long, or a busy loop.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use sealwire::testing::TlsPeer;
use sealwire::testing::tls_meeting::{self, Meeting, Version};

use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup, ProxyTls};
use crate::support::{HOST, wait};

/// SERVE-2: a load balancer's probe is a connection and nothing else.
#[test]
fn whoever_only_connects_costs_no_broker_connection() {
    let broker = Counting::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start(&broker.address, &keystore);
    let before = broker.connections();
    let ports = [proxy.bootstrap(), proxy.node_address(0)];
    for number in 0..200 {
        connect(&ports[number % 2]);
    }
    let closed = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        proxy.metric("sealwire_connections_closed_total", &[&label])
    };
    wait::until("that the probes are gone", EVENTUALLY, || {
        (closed("client_closed") >= 200.0).then_some(())
    });
    let begun = Instant::now();
    let mut silent = connect(&ports[0]);
    assert!(
        is_closed(&mut silent),
        "the limit on those that say nothing holds"
    );
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(closed("idle_unauthenticated"), 1.0);
    assert_eq!(broker.connections(), before, "nobody has said anything");
    // The first byte is worth a connection.
    let mut client = connect(&ports[0]);
    client.write_all(&[0]).expect("sending");
    wait::until("the broker's connection", EVENTUALLY, || {
        (broker.connections() == before + 1).then_some(())
    });
    proxy.terminate();
}

/// SESSION-5: one turn of the circle, and not one for each descriptor that there is.
#[test]
fn a_proxy_that_leads_to_itself_by_way_of_a_port_forward_knows_itself() {
    let forward = Forward::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start(&forward.address, &keystore);
    forward.leads_to(proxy.bootstrap());
    for _ in 0..10 {
        assert!(is_closed(&mut greet(&proxy.bootstrap())));
    }
    // The client's own, the one that came back, and what that was connected to before it had said what it is.
    wait::until("that all have come and are gone", EVENTUALLY, || {
        let accepted = proxy.metric("sealwire_connections_accepted_total", &[]);
        ((accepted, proxy.metric("sealwire_connections_open", &[])) == (30.0, 0.0)).then_some(())
    });
    let label = "reason=\"loop\"";
    assert_eq!(proxy.metric("sealwire_connections_closed_total", &[label]), 10.0);
    let lines = |proxy: &Proxy| proxy.output().matches("has come back to it").count();
    wait::until("the line that says so", EVENTUALLY, || {
        (lines(&proxy) > 0).then_some(())
    });
    proxy.terminate();
    assert_eq!(lines(&proxy), 1, "{}", proxy.output());
}

/// WAY-BACK-1
#[test]
fn a_client_that_shows_no_way_is_not_connected_to_where_it_came_from() {
    let forward = Forward::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start(&forward.address, &keystore);
    forward.leads_to(proxy.bootstrap());
    let tags: Vec<u8> = (0..16).flat_map(|tag| [tag, 1, 0]).collect();
    let many_tags = [
        &[0, 18, 0, 3, 0, 0, 0, 7, 0, 0, 16][..],
        &tags,
        &[2, b'x', 2, b'1', 0],
    ]
    .concat();
    let (api_versions, metadata) = (
        [0, 18, 0, 0, 0, 0, 0, 7, 0, 0],
        [0, 3, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0],
    );
    for frame in [&api_versions[..], &metadata, &many_tags] {
        for _ in 0..5 {
            assert!(is_closed(&mut say(&proxy.bootstrap(), frame)));
        }
    }
    // The client's own, the question that came back, and what that was connected to before it had said what it is.
    wait::until("that all have come and are gone", EVENTUALLY, || {
        let accepted = proxy.metric("sealwire_connections_accepted_total", &[]);
        ((accepted, proxy.metric("sealwire_connections_open", &[])) == (45.0, 0.0)).then_some(())
    });
    let label = "reason=\"loop\"";
    assert_eq!(proxy.metric("sealwire_connections_closed_total", &[label]), 15.0);
    wait::until("the line that says which address it is", EVENTUALLY, || {
        let output = proxy.output();
        output
            .lines()
            .any(|line| line.contains("it leads back to this proxy") && line.contains(&forward.address))
            .then_some(())
    });
    proxy.terminate();
}

/// WAY-BACK-1, WAY-BACK-2: a client like that is served by whoever does not lead back, answering the question or not.
#[test]
fn an_address_is_asked_once_for_many_clients_and_silence_is_no_way_back() {
    let broker = Counting::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start(&broker.address, &keystore);
    let _client = say(&proxy.bootstrap(), &[0, 18, 0, 0, 0, 0, 0, 7, 0, 0]);
    wait::until("the question and the client's own", EVENTUALLY, || {
        (broker.connections() == 2).then_some(())
    });
    proxy.terminate();
    let certificates = tempfile::tempdir().expect("a folder");
    tls_meeting::write_files(certificates.path());
    let authority = certificates.path().join("ca.pem");
    let upstream = format!("ca = {authority:?}\nserver_name = \"{}\"\n", tls_meeting::SERVER);
    for upstream in [None, Some(upstream)] {
        let broker = Counting::answering(upstream.is_some());
        let mut proxy = start_with(&broker.address, &keystore, upstream);
        let before = broker.connections();
        for _ in 0..10 {
            let mut client = say(&proxy.bootstrap(), &[0, 18, 0, 0, 0, 0, 0, 7, 0, 0]);
            assert!(client.read(&mut [0]).is_ok_and(|bytes| bytes == 1));
        }
        let asked = broker.connections() - before;
        assert!((11..=12).contains(&asked), "once by each executor: {asked}");
        proxy.terminate();
    }
}

#[test]
fn the_self_check_says_that_an_address_leads_back() {
    let forward = Forward::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start(&forward.address, &keystore);
    forward.leads_to(proxy.bootstrap());
    proxy.terminate();
    proxy.start_again_with(&["runtime.self_check=true"]);
    wait::until("the self-check", EVENTUALLY, || {
        proxy
            .output()
            .contains("self-check: it leads back to this proxy")
            .then_some(())
    });
    proxy.terminate();
}

/// SESSION-5
#[test]
fn two_proxies_that_lead_to_each_other_end_it_after_one_turn() {
    let (to_one, to_other) = (Forward::start(), Forward::start());
    let keystore = Keystore::create(&["orders"]);
    let mut one = start(&to_other.address, &keystore);
    let mut other = start(&to_one.address, &keystore);
    to_one.leads_to(one.bootstrap());
    to_other.leads_to(other.bootstrap());
    assert!(is_closed(&mut greet(&one.bootstrap())));
    let accepted = |proxy: &Proxy| proxy.metric("sealwire_connections_accepted_total", &[]);
    wait::until("that all is over", EVENTUALLY, || {
        let open = [&one, &other].map(|proxy| proxy.metric("sealwire_connections_open", &[]));
        (open == [0.0, 0.0]).then_some(())
    });
    // The second connection of the other one is what the one that came back was connected to.
    assert_eq!((accepted(&one), accepted(&other)), (2.0, 2.0));
    one.terminate();
    other.terminate();
}

/// A proxy that connects to nobody of its own accord.
fn start(broker: &str, keystore: &Keystore) -> Proxy {
    start_with(broker, keystore, None)
}

/// The same, which speaks TLS with its broker where `upstream` has the keys of that.
fn start_with(broker: &str, keystore: &Keystore, upstream: Option<String>) -> Proxy {
    let setup = ProxySetup {
        brokers: broker.to_owned(),
        nodes: vec![0],
        keystore,
        rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"\n",
        executors: 2,
    };
    let tls = ProxyTls {
        listener: None,
        upstream,
        ..ProxyTls::default()
    };
    let mut proxy = Proxy::start_with_tls(&setup, &tls);
    proxy.terminate();
    proxy.start_again_with(&[
        "runtime.self_check=false",
        "limits.idle_timeout_unauthenticated=1s",
    ]);
    proxy
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connecting");
    socket.set_read_timeout(Some(EVENTUALLY)).expect("a time-out");
    socket
}

/// Asks for ApiVersions 3, as most libraries do first.
fn greet(address: &str) -> TcpStream {
    let frame = [
        &[0, 18, 0, 3, 0, 0, 0, 7, 0, 3][..],
        b"raw",
        &[0, 2, b'x', 2, b'1', 0],
    ]
    .concat();
    say(address, &frame)
}

/// Connects and sends a frame.
fn say(address: &str, frame: &[u8]) -> TcpStream {
    let mut socket = connect(address);
    let length = u32::try_from(frame.len()).expect("a short frame");
    socket
        .write_all(&[&length.to_be_bytes()[..], frame].concat())
        .expect("sending");
    socket
}

fn is_closed(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Takes connections, and counts them.
struct Counting {
    address: String,
    taken: Arc<AtomicUsize>,
}

impl Counting {
    /// Says nothing.
    fn start() -> Self {
        let mut kept = Vec::new();
        Self::taking(move |socket| kept.push(socket))
    }

    /// Answers each request: there are no versions at all.
    fn answering(speaks_tls: bool) -> Self {
        let config = speaks_tls.then(|| Meeting::of(Version::Tls13).server());
        Self::taking(move |socket| {
            let config = config.clone();
            thread::spawn(move || match config {
                None => answer(socket),
                Some(config) => {
                    if let Ok((peer, _)) = TlsPeer::accept(socket, config) {
                        answer(peer);
                    }
                }
            });
        })
    }

    fn taking(mut take: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                take(socket);
            }
        });
        Self { address, taken }
    }

    fn connections(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

fn answer(mut socket: impl Read + Write) {
    let mut request = [0; 512];
    while socket.read(&mut request).is_ok_and(|bytes| bytes > 12) {
        // With the request's correlation id.
        let answer = [&[0, 0, 0, 10][..], &request[8..12], &[0; 6]].concat();
        let _ = socket.write_all(&answer);
    }
}

/// A port that leads to another one, as those of containers and load balancers do.
struct Forward {
    address: String,
    target: Arc<OnceLock<String>>,
}

impl Forward {
    fn start() -> Self {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let target = Arc::new(OnceLock::<String>::new());
        let leads_to = Arc::clone(&target);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let target = leads_to.get().and_then(|target| TcpStream::connect(target).ok());
                let Some(target) = target else { continue };
                for (from, to) in [(&socket, &target), (&target, &socket)] {
                    let from = from.try_clone().expect("a handle");
                    let to = to.try_clone().expect("a handle");
                    thread::spawn(move || pass_on(from, to));
                }
            }
        });
        Self { address, target }
    }

    fn leads_to(&self, target: String) {
        self.target.set(target).expect("it leads nowhere yet");
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, both ends learn of it.
    let _ = std::io::copy(&mut from, &mut to);
    for socket in [&from, &to] {
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}

const EVENTUALLY: Duration = Duration::from_secs(30);
