//! What brokers have said of their addresses, over a restart of the program: kept in the state file, and believed only
//! where that is one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::frames::{answer, head, read_frame};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::raw_client::RawClient;
use crate::support::{HOST, wait};

const SETTINGS: [&str; 2] = [
    "runtime.self_check=false",
    "cluster.main.state_file=addresses.json",
];

/// STATE-1: not even a crash takes what was written, and it is written where the file is, not where a link leads.
#[test]
fn an_address_that_was_learned_leads_to_its_node_after_a_crash() {
    let brokers = Brokers::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = stopped_proxy(&brokers, &keystore);
    symlink(proxy.file("elsewhere.json"), proxy.file("addresses.json")).expect("a link");
    proxy.start_again_with(&SETTINGS);
    learn(&proxy);
    let kept = wait::until("the state file", EVENTUALLY, || {
        let text = fs::read(proxy.file("addresses.json")).ok()?;
        let kept: BTreeMap<i32, String> = serde_json::from_slice(&text).expect("all of it, or nothing");
        (kept.len() == 2).then_some(kept)
    });
    assert_eq!(
        [&kept[&0], &kept[&1]],
        [&brokers.addresses[0], &brokers.addresses[1]]
    );
    assert!(!proxy.file("elsewhere.json").exists());
    proxy.kill();

    let before = brokers.connections(0);
    proxy.start_again_with(&SETTINGS);
    assert_eq!(answered_by(&proxy, 1).as_deref(), Some("broker-1"));
    assert_eq!(brokers.connections(0), before, "nobody has to be asked first");
    proxy.terminate();

    // Whoever remembers nothing has to ask.
    proxy.start_again_with(&SETTINGS[..1]);
    assert_eq!(answered_by(&proxy, 1), None);
    assert!(brokers.connections(0) > before);
    proxy.terminate();
}

/// STATE-3
#[test]
fn a_damaged_state_file_is_told_of_and_neither_believed_nor_replaced() {
    let brokers = Brokers::start();
    let keystore = Keystore::create(&["orders"]);
    let mut proxy = stopped_proxy(&brokers, &keystore);
    // Its end is missing.
    let damaged = format!("{{\"1\": \"{}\", \"0\": \"{HOST}", brokers.addresses[1]);
    fs::write(proxy.file("addresses.json"), &damaged).expect("writing the state file");
    let told = |proxy: &Proxy| proxy.output().matches("the state file cannot be used").count();
    assert_eq!(told(&proxy), 0);
    proxy.start_again_with(&SETTINGS);
    assert_eq!(
        answered_by(&proxy, 1),
        None,
        "an address that is there is not taken"
    );
    assert!(brokers.connections(0) > 0);
    assert_eq!(answered_by(&proxy, 1).as_deref(), Some("broker-1"));
    proxy.terminate();
    assert_eq!(told(&proxy), 1, "{}", proxy.output());
    let left = fs::read_to_string(proxy.file("addresses.json"));
    assert_eq!(left.expect("the state file"), damaged);
}

/// In front of both brokers, with the first as the only one to ask first; it is not running.
fn stopped_proxy(brokers: &Brokers, keystore: &Keystore) -> Proxy {
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: brokers.addresses[0].clone(),
        nodes: vec![0, 1],
        keystore,
        rules: "[[cluster.main.topics]]\nmatch = \"sealed*\"\nkms = \"local\"\nkek = \"orders\"\n",
        // Each has its own book of what it doubts.
        executors: 1,
    });
    proxy.terminate();
    proxy
}

/// A client asks for metadata, and is told of both nodes.
fn learn(proxy: &Proxy) {
    let mut client = RawClient::connect(&proxy.bootstrap());
    // Version 1, no client id, no topics.
    client.send_frame(&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0]);
    let answer = client.receive_frame();
    assert_eq!(answer[4..8], [0, 0, 0, 2], "two brokers");
}

/// Whose folder is told to a client at the port of a node; `None` where it is closed instead.
fn answered_by(proxy: &Proxy, node: usize) -> Option<String> {
    let folders = RawClient::connect(&proxy.node_address(node)).log_dirs()?;
    Some(folders.concat())
}

/// Two brokers that say where both are, and which of them is asked.
struct Brokers {
    addresses: [String; 2],
    connections: [Arc<AtomicUsize>; 2],
}

impl Brokers {
    /// Their threads end with their connections, and with the process.
    fn start() -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind((HOST, 0)).expect("a port"));
        let ports = [0, 1].map(|node: usize| listeners[node].local_addr().expect("an address").port());
        let connections: [Arc<AtomicUsize>; 2] = Default::default();
        for ((node, listener), count) in listeners.into_iter().enumerate().zip(connections.clone()) {
            thread::spawn(move || {
                for socket in listener.incoming().flatten() {
                    count.fetch_add(1, Ordering::SeqCst);
                    thread::spawn(move || serve(socket, node, ports));
                }
            });
        }
        Self {
            addresses: ports.map(|port| format!("{HOST}:{port}")),
            connections,
        }
    }

    fn connections(&self, node: usize) -> usize {
        self.connections[node].load(Ordering::SeqCst)
    }
}

fn serve(mut socket: TcpStream, node: usize, ports: [u16; 2]) {
    while let Some(request) = read_frame(&mut socket) {
        let (api_key, version, correlation_id) = head(&request);
        let answer = if api_key == ApiKey::Metadata as i16 {
            let brokers = (0..).zip(ports).map(|(node, port)| {
                MetadataResponseBroker::default()
                    .with_node_id(node.into())
                    .with_host(StrBytes::from_static_str(HOST))
                    .with_port(port.into())
            });
            let told = MetadataResponse::default().with_brokers(brokers.collect());
            answer::<MetadataRequest>(version, correlation_id, &told)
        } else if api_key == ApiKey::DescribeLogDirs as i16 {
            let folder = StrBytes::from_string(format!("broker-{node}"));
            let folders = vec![DescribeLogDirsResult::default().with_log_dir(folder)];
            let told = DescribeLogDirsResponse::default().with_results(folders);
            answer::<DescribeLogDirsRequest>(version, correlation_id, &told)
        } else {
            answer::<ApiVersionsRequest>(version, correlation_id, &ApiVersionsResponse::default())
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

const EVENTUALLY: Duration = Duration::from_secs(30);
