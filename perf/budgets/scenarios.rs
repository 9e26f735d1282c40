//! The scenarios: what is sent, and what must come of it.

use std::hint::black_box;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse, MetadataResponse};
use sealwire::pipeline::LearnedAddress;
use sealwire::record_batch::{BatchHeader, Codec, HEADER_BYTES, RecordCursor};
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::libc_calls::tally;
use crate::rig::{Halt, PAYMENTS, Rig, address, contains, sealed};
use crate::wire::{
    SESSIONLESS, fetch_of, fetch_request, fetch_response, fetched, metadata_request, only_frame, produce,
    produced, request, response, stored, text, to_produce,
};
use crate::{COUNTED, WARM_UP};

/// All that there are, as `perf/budgets.toml` names them.
pub(crate) const NAMES: [&str; 13] = [
    "pass_produce",
    "pass_fetch",
    "seal_1_kib_records",
    "seal_100_byte_records",
    "seal_100_byte_records_and_keys",
    "open_1_kib_records",
    "open_100_byte_records",
    "open_compact_1_kib_records",
    "open_compact_100_byte_records",
    "open_compact_100_byte_records_and_keys",
    "walk_100_byte_records",
    "rewrite_metadata_of_1000_topics",
    "small_request_and_answer",
];

/// A topic whose record keys are sealed.
const KEYS_SEALED: &str = "keys-a";
/// What a record's value begins with: not to be seen once it is sealed.
const CANARY: &[u8] = b"plaintext-canary";
const BATCH_BYTES: usize = 64 << 10;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

/// A request and its answer.
struct Exchange {
    request: Vec<u8>,
    response: Vec<u8>,
}

/// Runs one scenario and prints what it allocated and copied; callgrind counts the instructions of [`counted_region`].
pub(crate) fn count(name: &str) {
    if name == "walk_100_byte_records" {
        let batch = batch(100);
        return measure(|_| walk(&batch));
    }
    let mut rig = rig();
    let exchanges: Vec<Exchange> = (0..WARM_UP + COUNTED).map(|_| exchange(name)).collect();
    if name == "rewrite_metadata_of_1000_topics" {
        let brokers = [(0, "kafka-0"), (1, "kafka-1"), (2, "kafka-2")];
        let learned = brokers.map(|(node_id, host)| LearnedAddress {
            node_id,
            address: address(host, 9092),
        });
        rig.learn(learned.to_vec());
    }
    check(name, &mut rig, &exchanges[0]);
    measure(|number| {
        let Exchange { request, response } = &exchanges[number];
        assert_eq!(rig.client_sends(request), Ok(Halt::More));
        assert_eq!(rig.broker_sends(response), Ok(Halt::More));
        rig.forget_output();
    });
}

fn exchange(name: &str) -> Exchange {
    let produce = |topic: &str, value_bytes: usize| {
        let request = produce(
            PRODUCE_VERSION,
            1,
            1,
            &[to_produce(topic, 0, &batch(value_bytes))],
        );
        let response = stored(PRODUCE_VERSION, 1, &request[4..]);
        Exchange { request, response }
    };
    let fetch = |topic: &str, records: &[u8]| Exchange {
        request: fetch_request(FETCH_VERSION, 1),
        response: fetch_response(FETCH_VERSION, 1, &[fetched(topic, 0, records)]),
    };
    match name {
        "pass_produce" => produce("pass-a", 1024),
        "pass_fetch" => Exchange {
            request: fetch_of(FETCH_VERSION, 1, SESSIONLESS, &["pass-a"]),
            ..fetch("pass-a", &batch(1024))
        },
        "seal_1_kib_records" => produce("sealed-a", 1024),
        "seal_100_byte_records" => produce("sealed-a", 100),
        "seal_100_byte_records_and_keys" => produce(KEYS_SEALED, 100),
        "open_1_kib_records" => fetch("sealed-a", &sealed(&batch(1024), &PAYMENTS, "sealed-a")),
        "open_100_byte_records" => fetch("sealed-a", &sealed(&batch(100), &PAYMENTS, "sealed-a")),
        "open_compact_1_kib_records" => fetch("sealed-a", &compact("sealed-a", &batch(1024))),
        "open_compact_100_byte_records" => fetch("sealed-a", &compact("sealed-a", &batch(100))),
        "open_compact_100_byte_records_and_keys" => fetch(KEYS_SEALED, &compact(KEYS_SEALED, &batch(100))),
        "rewrite_metadata_of_1000_topics" => Exchange {
            request: metadata_request(1),
            response: metadata_of_1000_topics(),
        },
        "small_request_and_answer" => Exchange {
            request: request(ApiKey::Heartbeat, 4, 1, &HeartbeatRequest::default()),
            response: response(4, 1, &HeartbeatResponse::default()),
        },
        _ => panic!("no scenario is called {name}"),
    }
}

/// BUDGET-3: what goes to either side is what the scenario is named for.
fn check(name: &str, rig: &mut Rig, exchange: &Exchange) {
    let Exchange { request, response } = exchange;
    assert_eq!(rig.client_sends(request), Ok(Halt::More));
    assert_eq!(rig.broker_sends(response), Ok(Halt::More));
    let (at_broker, at_client) = (rig.at_broker(), rig.at_client());
    let kind = name.split('_').next().unwrap_or_default();
    match kind {
        "seal" => assert!(!contains(&at_broker, CANARY) && contains(&at_broker, "sealwire")),
        "open" => assert!(contains(&at_client, CANARY) && !contains(response, CANARY)),
        "rewrite" => assert!(contains(&at_client, "proxy.example.com") && !contains(&at_client, "kafka-0")),
        _ => assert!(at_broker == *request && at_client == *response),
    }
}

/// A producer's batch of about 64 KiB.
fn batch(value_bytes: usize) -> Vec<u8> {
    let mut value = vec![b'.'; value_bytes];
    value[..CANARY.len()].copy_from_slice(CANARY);
    let records = BATCH_BYTES / (value_bytes + 16);
    let batch = (0..records).fold(BatchBuilder::new(), |batch, _| {
        batch.record(RecordInput {
            timestamp: 1_700_000_000_000,
            key: Some(b"key"),
            value: Some(&value),
            headers: &[],
        })
    });
    batch.build().expect("a batch")
}

/// With all keys at hand.
fn rig() -> Rig {
    let mut rig = Rig::with_keys();
    rig.give_stable_key(&[KEYS_SEALED]);
    rig.topics_fit(&["sealed-a"]);
    rig
}

/// What the proxy has a broker store of a batch.
fn compact(topic: &str, batch: &[u8]) -> Vec<u8> {
    let mut rig = rig();
    let request = produce(PRODUCE_VERSION, 1, 1, &[to_produce(topic, 0, batch)]);
    assert_eq!(rig.client_sends(&request), Ok(Halt::More));
    let (_, _, stored) = produced(&only_frame(&rig.at_broker()), PRODUCE_VERSION).remove(0);
    let header = BatchHeader::parse(&stored).expect("a batch");
    assert_eq!(header.attributes.codec(), Ok(Codec::Lz4));
    stored
}

/// Counts although it is this program's: the walk is compiled into it.
#[inline(never)]
fn walk(batch: &[u8]) {
    let header = BatchHeader::parse(batch).expect("a batch");
    let mut cursor = RecordCursor::produced(&header, HEADER_BYTES);
    while let Some(record) = cursor.next(batch).expect("a record") {
        black_box(&record);
    }
}

/// With three brokers and as many replicas of each topic's only partition.
fn metadata_of_1000_topics() -> Vec<u8> {
    let broker = |id: i32| {
        MetadataResponseBroker::default()
            .with_node_id(id.into())
            .with_host(text(&format!("kafka-{id}")))
            .with_port(9092)
    };
    let topic = |number: i32| {
        let nodes = [0, 1, 2].map(Into::into).to_vec();
        let partition = MetadataResponsePartition::default()
            .with_leader_id((number % 3).into())
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes);
        let name = kafka_protocol::messages::TopicName(text(&format!("orders-of-day-{number}")));
        MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_partitions(vec![partition])
    };
    let body = MetadataResponse::default()
        .with_brokers((0..3).map(broker).collect())
        .with_topics((0..1000).map(topic).collect());
    response(12, 1, &body)
}

fn measure(mut work: impl FnMut(usize)) {
    for number in 0..WARM_UP {
        work(number);
    }
    let before = tally();
    counted_region(&mut || {
        for number in WARM_UP..WARM_UP + COUNTED {
            work(number);
        }
    });
    let after = tally();
    println!(
        "{} {}",
        after.allocations - before.allocations,
        after.copied - before.copied
    );
}

/// Callgrind counts from when this begins until it ends, by its name.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut()) {
    work();
    black_box(());
}
