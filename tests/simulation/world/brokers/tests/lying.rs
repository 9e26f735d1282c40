//! A broker that lies, and says so to whoever checks.

use std::collections::BTreeSet;

use sealwire::record_batch::{Batches, crc_matches};

use super::super::{Event, Lie};
use super::*;

#[test]
fn what_differs_from_the_log_is_told_of_and_looks_like_batches() {
    let mut bench = Bench::new();
    bench.brokers = Brokers::new(&[1], &[("a", 2), ("b", 1), ("c", 1)], 1, 7);
    let id = bench.connect(1);
    for (sequence, value) in (0..).zip(["one", "two", "three"]) {
        for (producer, topic, partition) in [(7, "a", 0), (8, "a", 1), (9, "b", 0), (10, "c", 0)] {
            let batch = batch_of(&[value]).producer(producer, 0, sequence);
            let mut body = to_produce(1, partition, &batch);
            body.topic_data[0].name = topic_name(topic);
            let _: ProduceResponse = bench.ask(id, (ApiKey::Produce, 9), &body);
        }
    }
    let lies = [Lie::Tampered, Lie::OtherTopic, Lie::OtherPartition, Lie::Replayed];
    bench.brokers.set_lying(&lies, &["a", "b"]);
    bench.brokers.take_events();
    let honest = bench.brokers.log("a", 0)[1..]
        .iter()
        .map(|batch| batch.bytes.to_vec());
    let honest: Vec<u8> = honest.flatten().collect();
    let mut seen = BTreeSet::new();
    for _ in 0..500 {
        let records = bench.fetch(id, 12, 1).records.unwrap();
        let told = bench
            .brokers
            .take_events()
            .into_iter()
            .find_map(|event| match event {
                Event::Lie { offset: 1, lie, .. } => Some(lie),
                _ => None,
            });
        assert_eq!(told.is_some(), records != honest, "{told:?}");
        let Some(lie) = told else { continue };
        for batch in Batches::new(&records) {
            let batch = batch.unwrap().span.of(&records);
            assert!(crc_matches(batch));
            let header = sealwire::record_batch::BatchHeader::parse(batch).unwrap();
            assert_eq!(header.base_offset, 1);
            let producer = match lie {
                Lie::Tampered | Lie::Replayed => 7,
                Lie::OtherPartition => 8,
                Lie::OtherTopic => 9,
            };
            assert_eq!(header.producer_id, producer, "{lie:?}");
        }
        seen.insert(format!("{lie:?}"));
    }
    assert_eq!(seen.len(), lies.len(), "{seen:?}");
    bench.brokers.set_lying(&[], &[]);
    assert!((0..100).all(|_| bench.fetch(id, 12, 1).records.unwrap() == honest));
}

#[test]
fn what_no_client_may_send_ends_its_connection_and_is_told_of() {
    let mut bench = Bench::new();
    let id = bench.connect(3);
    let versions = crate::wire::api_versions_request(0, 4);
    bench.send(id, &versions);
    assert!(!bench.output(id).is_empty());
    // Topics are known by id from this version on.
    let by_id = request(ApiKey::Produce, 13, 5, &ProduceRequest::default());
    bench.send(id, &by_id);
    assert!(bench.brokers.is_closed(id));
    let at = Duration::ZERO;
    let request = |api_key: i16, api_version: i16, frame: &[u8]| Event::Request {
        node: 3,
        connection: id,
        api_key,
        api_version,
        bytes: frame.len() - 4,
        at,
        client_id: "tests".to_owned(),
        user: None,
    };
    let malformed = Event::Malformed {
        node: 3,
        connection: id,
    };
    let expected = [request(18, 0, &versions), request(0, 13, &by_id), malformed];
    assert_eq!(bench.brokers.take_events(), expected);
}
