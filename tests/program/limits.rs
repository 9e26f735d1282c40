//! Limits of the whole process, each reached: how many connections there may be, and how long the end may take.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;

use crate::support::frames::{head, log_dirs_answer, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::raw_client::RawClient;
use crate::support::wait;

/// ACCEPTOR-1, PARTING-2: `connections_max` counts those of all executors, from the first byte to the closed socket.
#[test]
fn as_many_are_served_as_connections_max_says_and_who_leaves_makes_room_for_one() {
    const SEATS: usize = 4;
    // It closes the connection over whatever it is asked but its folders.
    let broker = start_broker(|mut socket| {
        while let Some(request) = read_frame(&mut socket).filter(|request| asks_for_folders(request)) {
            let _ = socket.write_all(&log_dirs_answer(&request, FOLDER));
        }
    });
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start_proxy(&broker, &keystore, &[&format!("limits.connections_max={SEATS}")]);
    let count = |name: &str| proxy.metric(&format!("sealwire_connections_{name}"), &[]);
    let closed = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        proxy.metric("sealwire_connections_closed_total", &[&label])
    };
    let served = || {
        let mut client = RawClient::connect(&proxy.bootstrap());
        client.log_dirs().map(|_| client)
    };

    let mut seated: Vec<RawClient> = (0..SEATS)
        .map(|number| served().unwrap_or_else(|| panic!("number {number} is not served")))
        .collect();
    // On whichever port.
    for (beyond, port) in [proxy.bootstrap(), proxy.node_address(0)].iter().enumerate() {
        RawClient::connect(port).assert_closed();
        wait::until("that it is counted", EVENTUALLY, || {
            (closed("limit") == (beyond + 1) as f64).then_some(())
        });
    }
    for client in &mut seated {
        assert!(client.log_dirs().is_some(), "who has a place keeps it");
    }
    assert_eq!(count("open"), SEATS as f64);
    assert_eq!(count("accepted_total"), (SEATS + 2) as f64);
    let to_brokers = proxy.metric("sealwire_broker_connections_total", &[]);
    assert_eq!(to_brokers, SEATS as f64, "who is not served costs no broker");
    let log = wait::until("the line that says so", EVENTUALLY, || {
        Some(proxy.output()).filter(|log| log.contains("no more are served"))
    });
    assert_eq!(log.matches("no more are served").count(), 1, "{log}");
    assert!(log.contains(&format!("connections_max={SEATS}")), "{log}");

    // The broker ends it, and the client keeps its socket: so long as there are sockets, the place is taken.
    let mut lingering = seated.pop().expect("a client");
    let begun = Instant::now();
    lingering.send_frame(&METADATA_REQUEST);
    lingering.assert_closed();
    seated.push(wait::until("the place of one that is closed", EVENTUALLY, served));
    assert!(begun.elapsed() >= PARTING, "{:?}", begun.elapsed());
    assert_eq!(closed("broker_closed"), 1.0);
    RawClient::connect(&proxy.bootstrap()).assert_closed();
    drop(lingering);

    drop(seated.pop());
    seated.push(wait::until("the place of one that has left", EVENTUALLY, served));
    RawClient::connect(&proxy.bootstrap()).assert_closed();
    for client in &mut seated {
        assert!(client.log_dirs().is_some(), "who has a place keeps it");
    }
    drop(seated);
    proxy.terminate();
}

/// SERVER-2
#[test]
fn who_is_not_done_at_the_end_of_drain_timeout_is_closed_then_and_the_program_ends_well() {
    let broker = SlowBroker::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start_proxy(&broker.address, &keystore, &[&drain_timeout()]);
    let [mut unanswered, mut answered, mut idle] = [(); 3].map(|()| connect(&proxy));
    broker.is_slow.store(true, Ordering::Relaxed);
    unanswered.send_frame(&METADATA_REQUEST);
    wait_for_requests(&proxy, 1.0);
    let port = proxy.bootstrap();
    thread::scope(|scope| {
        let answered = scope.spawn(move || {
            let folders = answered.log_dirs();
            answered.assert_closed();
            folders
        });
        wait_for_requests(&proxy, 2.0);
        let begun = Instant::now();
        let unanswered = scope.spawn(move || {
            unanswered.assert_closed();
            begun.elapsed()
        });
        let others = scope.spawn(move || {
            idle.assert_closed();
            wait::until("that the port is closed", EVENTUALLY, || {
                TcpStream::connect(&port).is_err().then_some(())
            });
            begun.elapsed()
        });
        // With exit code 0.
        proxy.terminate();
        let ended = begun.elapsed();
        assert!((DRAIN..DRAIN + GRACE).contains(&ended), "{ended:?}");
        let folders = answered.join().expect("it is closed when it has its answer");
        assert_eq!(folders.expect("an answer within the time"), [FOLDER]);
        let unanswered = unanswered.join().expect("it is closed");
        assert!((DRAIN..DRAIN + GRACE).contains(&unanswered), "{unanswered:?}");
        let others = others.join().expect("they are not waited for");
        assert!(others < DRAIN, "{others:?}");
    });
    assert_eq!(
        proxy.output().matches(STILL_BUSY).count(),
        1,
        "{}",
        proxy.output()
    );
}

/// SERVER-2
#[test]
fn a_drain_whose_clients_are_done_in_time_ends_then_and_nothing_is_said() {
    let broker = SlowBroker::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = start_proxy(&broker.address, &keystore, &[&drain_timeout()]);
    let mut answered = connect(&proxy);
    broker.is_slow.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        let answered = scope.spawn(move || answered.log_dirs());
        wait_for_requests(&proxy, 1.0);
        let begun = Instant::now();
        proxy.terminate();
        assert!(begun.elapsed() < DRAIN, "{:?}", begun.elapsed());
        assert!(answered.join().expect("it is closed").is_some());
    });
    let log = proxy.output();
    assert!(log.contains("draining") && !log.contains(STILL_BUSY), "{log}");
}

/// Tells its folders, slowly where it is said, and never answers anything else.
struct SlowBroker {
    address: String,
    is_slow: Arc<AtomicBool>,
}

impl SlowBroker {
    fn start() -> Self {
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let address = start_broker(move |mut socket| {
            while let Some(request) = read_frame(&mut socket) {
                if asks_for_folders(&request) {
                    if slow.load(Ordering::Relaxed) {
                        wait::pause(SLOW);
                    }
                    let _ = socket.write_all(&log_dirs_answer(&request, FOLDER));
                }
            }
        });
        Self { address, is_slow }
    }
}

/// A client that has had an answer already.
fn connect(proxy: &Proxy) -> RawClient {
    let mut client = RawClient::connect(&proxy.bootstrap());
    assert!(client.log_dirs().is_some());
    client
}

/// Returns when the broker has so many to answer.
fn wait_for_requests(proxy: &Proxy, wanted: f64) {
    wait::until("that the broker has it", EVENTUALLY, || {
        (proxy.metric("sealwire_requests_in_flight", &[]) == wanted).then_some(())
    });
}

fn drain_timeout() -> String {
    format!("limits.drain_timeout={}s", DRAIN.as_secs())
}

fn start_proxy(broker: &str, keystore: &Keystore, settings: &[&str]) -> Proxy {
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: broker.to_owned(),
        nodes: vec![0],
        keystore,
        rules: "[[cluster.main.topics]]\nmatch = \"sealed*\"\nkms = \"local\"\nkek = \"orders\"\n",
        executors: 2,
    });
    proxy.terminate();
    // The program's own questions to the broker would be among those that are counted.
    proxy.start_again_with(&[&["runtime.self_check=false"], settings].concat());
    proxy
}

fn asks_for_folders(request: &[u8]) -> bool {
    head(request).0 == ApiKey::DescribeLogDirs as i16
}

/// Version 1, no client id, no topics.
const METADATA_REQUEST: [u8; 14] = [0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0, 0];
const FOLDER: &str = "/data/broker";
const STILL_BUSY: &str = "connections were still busy at the end of drain_timeout and are closed";
/// How long a client is given to end its side.
const PARTING: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(5);
/// Longer than a drain waits for those that need no answer, and well within [`DRAIN`].
const SLOW: Duration = Duration::from_secs(2);
/// For the end itself, on a busy machine.
const GRACE: Duration = Duration::from_secs(10);
const EVENTUALLY: Duration = Duration::from_secs(30);
