//! What the log of the real program says, in front of a broker of the test's own that lies: each line is its own,
//! short, and names who and what. And what happens when there are no descriptors left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};
use sealwire::crypto::SecretKey;
use sealwire::envelope::{
    BatchPlace, Domain, HeaderMode, SaltSource, SealBuffers, SealTerms, SealingKey, WrappedDek,
};
use sealwire::record_batch::{BatchHeader, BatchWriter, HEADER_BYTES, RecordCursor};

use crate::support::configuration::Cluster;
use crate::support::frames::{self, answer, head, only_broker, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::raw_client::{RawClient, batch};
use crate::support::{HOST, admin_page, wait};

/// What has been used to write into other people's logs and terminals.
const HOSTILE: &str = "x\n2026-01-01T00:00:00Z  WARN sealwire::audit: refused cluster=\"fake\"\
    \r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{200b}";

/// LOG-3, FOREIGN-1, FOREIGN-2, ADDR-4
#[test]
fn whatever_clients_brokers_and_records_are_named_lines_are_the_programs_own() {
    let keystore = Keystore::create(&["orders"]);
    let broker = LyingBroker::start();
    for format in ["text", "json"] {
        let mut proxy = Proxy::start(
            &keystore,
            &broker.address,
            &[&format!("log.format=\"{format}\"")],
            None,
        );

        let illegal: Vec<String> = (0..4000)
            .map(|number| format!("{number}{HOSTILE}{}", "y".repeat(500)))
            .collect();
        let mut client = RawClient::connect(&proxy.bootstrap.address());
        client.send_frame(&produce_frame(&illegal));
        assert!(!client.receive_frame().is_empty());

        let mut client = RawClient::connect(&proxy.bootstrap.address());
        let verdict = client.produce("absent", batch(None, "value"));
        assert_eq!(verdict.error_code, 44);
        let message = verdict.error_message.expect("a message");
        assert!(message.contains("not in the KMS (absent)"), "{message}");
        assert_eq!(client.fetch(&["orders"])[0].error_code, 29);

        broker.lies_about_hosts.store(true, Ordering::Relaxed);
        let mut client = RawClient::connect(&proxy.bootstrap.address());
        client.send_frame(&metadata_frame());
        client.assert_closed();
        broker.lies_about_hosts.store(false, Ordering::Relaxed);

        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0];
        for foreign in [&hello[..], b"GET /metrics HTTP/1.1\r\n\r\n", &hello] {
            let mut socket = TcpStream::connect(proxy.bootstrap.address()).expect("connecting");
            socket.write_all(foreign).expect("sending");
            let _ = socket.read(&mut [0; 16]);
        }

        let log = proxy.log_with("GET", "an HTTP request");
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines {
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            assert!(line.len() < 1500, "{line}");
            assert!(
                !line.starts_with("2026-01-01"),
                "a line of somebody else's: {line}"
            );
        }
        let with = |what: &[&str]| {
            let found: Vec<&str> = lines
                .iter()
                .copied()
                .filter(|line| what.iter().all(|what| line.contains(what)))
                .collect();
            assert_eq!(found.len(), 1, "{what:?} in\n{log}");
            found[0]
        };
        let names = with(&["illegal_name", "4000"]);
        assert!(names.contains("0x\\"), "the first name: {names}");
        assert!(names.contains("client_id") && names.contains("x1b[2J"), "{names}");
        assert!(names.contains(HOST), "the client's address: {names}");
        with(&["a key-encryption key is refused", "absent", "not in this KMS"]);
        with(&["sealwire::audit", "kek_refused", "absent", "produce"]);
        let foreign = with(&["sealwire::audit", "kek_not_named", "fetch"]);
        assert!(
            foreign.contains("x1b[2J"),
            "the KEK that the record names: {foreign}"
        );
        with(&["malformed_frame", "neither a name nor an address", "main/test"]);
        with(&["a TLS ClientHello", "main/test", HOST]);
        with(&["an HTTP request", "main/test", HOST]);
        proxy.process.terminate(EVENTUALLY);
    }
}

#[test]
fn a_broker_that_is_not_reached_is_named_with_the_cause() {
    let keystore = Keystore::create(&["orders"]);
    let nobody = ReservedPort::take();
    let mut proxy = Proxy::start(&keystore, &nobody.address(), &[], None);
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    client.send_frame(&metadata_frame());
    client.assert_closed();
    let log = proxy.log_with("the broker", "no broker could be connected to");
    let line = log
        .lines()
        .find(|line| line.contains("no broker could"))
        .expect("the line");
    assert!(line.contains(&nobody.address()), "{line}");
    assert!(line.contains("Connection refused"), "{line}");
    proxy.process.terminate(EVENTUALLY);
}

/// DESCRIPTORS-1, ACCEPTOR-1
#[test]
fn without_descriptors_probes_answer_and_the_log_stays_short() {
    const LIMIT: usize = 320;
    let keystore = Keystore::create(&["orders"]);
    let broker = LyingBroker::start();
    let mut proxy = Proxy::start(&keystore, &broker.address, &[], Some(LIMIT));
    let log = proxy.log_with("the limit", "the limit of file descriptors is too low");
    let line = log
        .lines()
        .find(|line| line.contains("too low"))
        .expect("the line");
    assert!(line.contains(&format!("limit={LIMIT}")), "{line}");

    // Each of them has a broker, or is closed.
    let connect = || {
        let mut socket = TcpStream::connect(proxy.bootstrap.address()).expect("connecting");
        socket.set_read_timeout(Some(EVENTUALLY)).expect("a time-out");
        let frame = metadata_frame();
        let request = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
        let served =
            socket.write_all(&request).is_ok() && socket.read(&mut [0; 512]).is_ok_and(|read| read > 0);
        (socket, served)
    };
    let crowd: Vec<_> = (0..LIMIT).map(|_| connect()).collect();
    let served = crowd.iter().filter(|(_, served)| *served).count();
    assert!(served >= 10, "{served} are served");
    assert!(served * 2 < LIMIT, "{served} are served");
    for path in ["/livez", "/readyz", "/metrics"] {
        let answered = admin_page::get(proxy.admin.number(), path);
        assert_eq!(answered.map(|(status, _)| status), Some(200), "{path}");
    }
    let log = proxy.process.output();
    let refusals = log.lines().filter(|line| line.contains("no more are served"));
    assert_eq!(refusals.count(), 1, "{log}");
    assert!(!log.contains("not accepted"), "{log}");
    assert!(log.lines().count() < 20, "{log}");

    drop(crowd);
    wait::until("a place", EVENTUALLY, || connect().1.then_some(()));
    proxy.process.terminate(EVENTUALLY);
}

/// ACCEPTOR-2
#[test]
fn a_port_that_cannot_be_accepted_from_is_left_alone_and_said_once() {
    let keystore = Keystore::create(&["orders"]);
    let broker = LyingBroker::start();
    let mut proxy = Proxy::start(&keystore, &broker.address, &[], None);
    let limit = |descriptors: &str| {
        let id = proxy.process.id().to_string();
        let mut command = Command::new("prlimit");
        command.args(["--pid", &id, &format!("--nofile={descriptors}:")]);
        assert!(command.status().expect("prlimit").success());
    };
    // Fewer than are open.
    limit("3");
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    client.send_frame(&metadata_frame());
    proxy.log_with("the refusal", "a connection was not accepted");
    // Once more after 50 ms each would be ten lines.
    wait::pause(Duration::from_millis(500));
    limit("1000");
    assert!(!client.receive_frame().is_empty(), "it had waited in the kernel");
    let log = proxy.process.output();
    assert_eq!(log.matches("was not accepted").count(), 1, "{log}");
    assert!(log.contains("Too many open files"), "{log}");
    proxy.process.terminate(EVENTUALLY);
}

const RULES: &str = r#"
[[cluster.main.topics]]
match = "orders"
kms = "local"
kek = "orders"

[[cluster.main.topics]]
match = "absent"
kms = "local"
kek = "absent"
"#;

/// The program in front of one broker, without a port that others could meet.
struct Proxy {
    process: Process,
    bootstrap: ReservedPort,
    admin: ReservedPort,
    _node: ReservedPort,
    _folder: DataFolder,
}

impl Proxy {
    fn start(keystore: &Keystore, broker: &str, settings: &[&str], descriptors: Option<usize>) -> Self {
        let folder = DataFolder::create("proxy");
        let [bootstrap, node, admin] = [(); 3].map(|()| ReservedPort::take());
        let text = keystore
            .configuration("[runtime]\nexecutors = 1")
            .cluster(&Cluster {
                brokers: vec![broker.to_owned()],
                port: bootstrap.number(),
                nodes: vec![(0, node.number())],
                rules: RULES,
                ..Cluster::default()
            })
            .admin(admin.number())
            .text();
        let configuration = folder.path().join("sealwire.toml");
        std::fs::write(&configuration, text).expect("writing the configuration");
        let program = env!("CARGO_BIN_EXE_sealwire");
        let mut command = match descriptors {
            None => Command::new(program),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg(program);
                command
            }
        };
        command.args(["run", "--config"]).arg(&configuration);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut process = Process::start("sealwire", &command, &folder.path().join("sealwire.log"));
        wait::until("/readyz", EVENTUALLY, || {
            process.assert_running();
            admin_page::get(admin.number(), "/readyz").filter(|(status, _)| *status == 200)
        });
        Self {
            process,
            bootstrap,
            admin,
            _node: node,
            _folder: folder,
        }
    }

    /// The log, once `text` is in it.
    fn log_with(&self, what: &str, text: &str) -> String {
        wait::until(what, EVENTUALLY, || {
            let log = self.process.output();
            log.contains(text).then_some(log)
        })
    }
}

/// Stores nothing, delivers a record whose key-encryption key has a hostile name, and says that it is at a host that is
/// none while it is told to.
struct LyingBroker {
    address: String,
    lies_about_hosts: Arc<AtomicBool>,
}

impl LyingBroker {
    fn start() -> Self {
        let lies_about_hosts = Arc::new(AtomicBool::new(false));
        let lies = Arc::clone(&lies_about_hosts);
        Self {
            address: start_broker(move |socket| serve(socket, &lies)),
            lies_about_hosts,
        }
    }
}

fn serve(mut socket: TcpStream, lies_about_hosts: &AtomicBool) {
    let port = socket.local_addr().expect("an address").port();
    while let Some(request) = read_frame(&mut socket) {
        let (api_key, version, correlation_id) = head(&request);
        let answer = if api_key == ApiKey::Metadata as i16 {
            let host = if lies_about_hosts.load(Ordering::Relaxed) {
                HOSTILE
            } else {
                HOST
            };
            answer::<MetadataRequest>(version, correlation_id, &only_broker(host, port))
        } else if api_key == ApiKey::Fetch as i16 {
            let partition = PartitionData::default()
                .with_high_watermark(1)
                .with_records(Some(sealed_under_a_hostile_name().into()));
            let topic = FetchableTopicResponse::default()
                .with_topic(StrBytes::from_static_str("orders").into())
                .with_partitions(vec![partition]);
            let response = FetchResponse::default().with_responses(vec![topic]);
            answer::<FetchRequest>(version, correlation_id, &response)
        } else {
            answer::<ProduceRequest>(version, correlation_id, &ProduceResponse::default())
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

/// A batch of one record.
fn sealed_under_a_hostile_name() -> Vec<u8> {
    let mut wrapped = Vec::new();
    let wrapped_dek = WrappedDek {
        provider: 1,
        authority: [0; 4],
        kek: HOSTILE.as_bytes(),
        version: &[1],
        blob: &[7; 40],
    };
    wrapped_dek.write(&mut wrapped).expect("a wrapped DEK");
    let dek = SecretKey::from_bytes(&mut [7; 32]).expect("a key");
    let key = SealingKey::new(&dek, &*wrapped).expect("a key");
    let domain = Domain::new("orders").expect("a domain");
    let mut sealer = key
        .begin(
            &mut SaltSource::new(0),
            &BatchPlace::default(),
            &SealTerms::new(&domain, HeaderMode::Sealed),
            SealBuffers::default(),
        )
        .expect("a sealer");
    let plain = batch(None, "value");
    let header = BatchHeader::parse(&plain).expect("a batch");
    let mut stored = Vec::new();
    let writer = BatchWriter::begin(&mut stored, &plain).expect("a batch");
    let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
    while let Some(record) = cursor.next(&plain).expect("a record") {
        sealer
            .seal_record(&plain, &record, &mut stored)
            .expect("it is sealed");
    }
    writer.finish(&mut stored).expect("a batch");
    stored
}

fn produce_frame(topics: &[String]) -> Vec<u8> {
    let topic_data = topics.iter().map(|topic| {
        let partition = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"records")));
        TopicProduceData::default()
            .with_name(StrBytes::from_string(topic.clone()).into())
            .with_partition_data(vec![partition])
    });
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(topic_data.collect());
    frame(9, &request)
}

fn metadata_frame() -> Vec<u8> {
    frame(1, &MetadataRequest::default().with_topics(Some(Vec::new())))
}

fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    frames::request(version, 0, HOSTILE, request)
}

const EVENTUALLY: Duration = Duration::from_secs(60);
