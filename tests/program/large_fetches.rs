//! Every consumer at once, as after an outage: more large responses than an executor may hold. Those that are held take
//! turns, and no client is worse off by more than what waiting costs; those that only pass are not held at all.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest, ProduceResponse, TopicName,
};
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::support::HOST;
use crate::support::frames::{all_stored, answer, decoded, head, only_broker, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup};
use crate::support::raw_client::{RawClient, batch};
use crate::support::wait;

const CLIENTS: usize = 40;
const FETCHES: usize = 2;
const RESPONSE_BYTES: usize = 2 << 20;
/// Three quarters of it are for long frames, which count twice: three of forty at a time.
const EXECUTOR_BYTES_MAX: usize = 16 << 20;
/// What the broker sends in a second, to all together: little enough for a proxy without optimisations on a busy
/// machine.
const BROKER_BYTES_PER_SECOND: usize = 80 << 20;

const RULES: &str = r#"
[[cluster.main.topics]]
match = "passed"
pass = true

[[cluster.main.topics]]
match = "sealed"
kms = "local"
kek = "payments"
"#;

/// A proxy in front of `broker` that holds little.
fn start_proxy(broker: &str, keystore: &Keystore) -> Proxy {
    let mut proxy = Proxy::start(&ProxySetup {
        brokers: broker.to_owned(),
        nodes: vec![0],
        keystore,
        rules: RULES,
        executors: 1,
    });
    proxy.terminate();
    let frame_bytes_max = 2 * RESPONSE_BYTES;
    proxy.start_again_with(&[
        "runtime.self_check=false",
        &format!("limits.executor_bytes_max={EXECUTOR_BYTES_MAX}"),
        &format!("limits.request_bytes_max={frame_bytes_max}"),
        &format!("limits.fetch_response_bytes_max={frame_bytes_max}"),
        &format!("limits.decompressed_batch_bytes_max={frame_bytes_max}"),
    ]);
    proxy
}

#[test]
fn forty_large_fetches_at_a_time_are_served_in_turns() {
    let broker = start_slow_broker();
    let keystore = Keystore::create(&["payments"]);
    let proxy = start_proxy(&broker, &keystore);
    for topic in ["passed", "sealed"] {
        let value = vec![b'x'; 200_000];
        let batch = BatchBuilder::new().record(RecordInput {
            value: Some(&value),
            ..RecordInput::default()
        });
        RawClient::connect(&proxy.bootstrap()).produce(topic, batch.build().expect("a batch"));
    }
    for topic in ["passed", "sealed"] {
        let direct = fetch_all(&broker, topic);
        let watched = AtomicBool::new(true);
        let (through, most_held) = thread::scope(|scope| {
            let held = scope.spawn(|| {
                let mut most = 0.0_f64;
                while watched.load(Ordering::Relaxed) {
                    most = most.max(proxy.metric("sealwire_held_bytes", &[]));
                    wait::pause(Duration::from_millis(20));
                }
                most
            });
            let through = fetch_all(&proxy.bootstrap(), topic);
            watched.store(false, Ordering::Relaxed);
            (through, held.join().expect("metrics"))
        });
        let ratio = direct.as_secs_f64() / through.as_secs_f64();
        assert!(
            ratio > 0.6,
            "{topic}: {direct:?} without and {through:?} with a proxy: {ratio:.2}"
        );
        // The beginnings of forty frames, a read each, and what is written and not read yet come on top of the frames
        // that have their turn; all forty would be five times the bound.
        let expected = match topic {
            "passed" => 0.0..RESPONSE_BYTES as f64,
            _ => RESPONSE_BYTES as f64..1.5 * EXECUTOR_BYTES_MAX as f64,
        };
        assert!(
            expected.contains(&most_held),
            "{topic}: {most_held} bytes were held"
        );
    }
    assert_eq!(
        proxy.metric("sealwire_connections_closed_total", &["reason=\"limit\""]),
        0.0
    );
}

/// Each had held what others could not have any more, for five seconds.
#[test]
fn requests_that_stop_keep_no_neighbour_waiting() {
    let broker = start_slow_broker();
    let keystore = Keystore::create(&["payments"]);
    let proxy = start_proxy(&broker, &keystore);
    let mut neighbour = RawClient::connect(&proxy.bootstrap());
    let length = u32::try_from(2 * RESPONSE_BYTES).expect("a length");
    // A Produce request of version 3 without a client's name, all but one byte of it.
    let head = [0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff];
    let part = [
        &length.to_be_bytes()[..],
        &head,
        &vec![0; 2 * RESPONSE_BYTES - 11],
    ]
    .concat();
    let mut stopped = Vec::new();
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let most = |most: f64, ()| most.max(proxy.metric("sealwire_held_bytes", &[]));
            let pauses = (0..100).map(|_| wait::pause(Duration::from_millis(20)));
            pauses.fold(0.0, most)
        });
        for _ in 0..14 {
            let mut socket = TcpStream::connect(proxy.bootstrap()).expect("connecting");
            stopped.push(socket.try_clone().expect("another handle"));
            let part = &part;
            // What the proxy does not read, or closes, is not sent.
            scope.spawn(move || socket.write_all(part).is_ok());
        }
        while !held.is_finished() {
            let start = Instant::now();
            neighbour.produce("passed", batch(None, "short"));
            longest = longest.max(start.elapsed());
        }
        assert!(
            held.join().expect("metrics") > RESPONSE_BYTES as f64,
            "one holds nearly all"
        );
        stopped
            .iter()
            .for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    });
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}

/// All clients fetch, each for itself; says how long it took until all had all.
fn fetch_all(address: &str, topic: &str) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = RawClient::connect(address);
                // Whose login is not known is held.
                assert_eq!(client.ask(1, &MetadataRequest::default()).brokers.len(), 1);
                for _ in 0..FETCHES {
                    let partitions = client.fetch(&[topic]);
                    assert_eq!(partitions.len(), 1);
                    assert_eq!(partitions[0].error_code, 0);
                    let records = partitions[0].records.as_ref().map_or(0, Bytes::len);
                    assert!(records > RESPONSE_BYTES * 3 / 4, "{records} bytes");
                }
            });
        }
    });
    start.elapsed()
}

/// What was stored by topic, and when the line is free again.
#[derive(Default)]
struct Stored {
    batches: Mutex<Vec<(TopicName, Bytes)>>,
    line: Mutex<Option<Instant>>,
}

/// A broker of one node that gives back the last batch of a topic, again and again, until a response is long; all its
/// connections share a line.
fn start_slow_broker() -> String {
    let stored = Stored::default();
    start_broker(move |socket| {
        // Whoever is connected may go at any time.
        let _ = serve(socket, &stored);
    })
}

fn serve(mut socket: TcpStream, stored: &Stored) -> io::Result<()> {
    let port = socket.local_addr()?.port();
    while let Some(request) = read_frame(&mut socket) {
        let (key, version, id) = head(&request);
        let answer = match ApiKey::try_from(key).expect("an API") {
            ApiKey::Produce => {
                answer::<ProduceRequest>(version, id, &stored.take_in(decoded(request, version)))
            }
            ApiKey::Fetch => {
                answer::<FetchRequest>(version, id, &stored.give_out(&decoded(request, version)))
            }
            ApiKey::Metadata => answer::<MetadataRequest>(version, id, &only_broker(HOST, port)),
            other => panic!("nobody asks for {other:?}"),
        };
        stored.send(&mut socket, &answer)?;
    }
    Ok(())
}

impl Stored {
    fn take_in(&self, request: ProduceRequest) -> ProduceResponse {
        let topics = request.topic_data.into_iter().map(|topic| {
            let records = topic.partition_data[0].records.clone().expect("records");
            let batch = (topic.name.clone(), records);
            self.batches.lock().expect("no panic").push(batch);
            topic.name
        });
        all_stored(topics)
    }

    fn give_out(&self, request: &FetchRequest) -> FetchResponse {
        let topic = &request.topics[0].topic;
        let batches = self.batches.lock().expect("no panic");
        let (_, batch) = batches.iter().find(|(name, _)| name == topic).expect("a batch");
        let records = batch.repeat(RESPONSE_BYTES / batch.len());
        FetchResponse::default().with_responses(vec![
            FetchableTopicResponse::default()
                .with_topic(topic.clone())
                .with_partitions(vec![PartitionData::default().with_records(Some(records.into()))]),
        ])
    }

    /// Piece by piece, each when the line is free.
    fn send(&self, socket: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
        for piece in answer.chunks(64 << 10) {
            let takes = Duration::from_secs_f64(piece.len() as f64 / BROKER_BYTES_PER_SECOND as f64);
            let free_at = {
                let mut line = self.line.lock().expect("no panic");
                let now = Instant::now();
                let free_at = line.map_or(now, |free_at| free_at.max(now)) + takes;
                *line = Some(free_at);
                free_at
            };
            wait::pause(free_at.saturating_duration_since(Instant::now()));
            socket.write_all(piece)?;
        }
        Ok(())
    }
}
