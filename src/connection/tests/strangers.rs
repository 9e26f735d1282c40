//! Connections whose broker has not answered yet, and those that lead to the wrong one.

use std::time::Instant;

use super::bench::{Bench, batch, holds_canary, main, record};
use super::wire::{beaten, fetch, fetched, frame, heartbeat, produce, produce_all, request};
use crate::config::{HostPort, Limits};
use crate::messages::ControlRequest;
use crate::messages::LearnedAddress;
use crate::metrics::CloseReason;
use crate::testing::{BatchBuilder, MemoryStream};

/// The session's own question is all that has gone to the broker; its correlation id.
fn asked(broker: &MemoryStream) -> [u8; 4] {
    let sent = broker.take_written();
    assert_eq!(sent[4..8], [0, 3, 0, 1], "Metadata, version 1");
    assert_eq!(sent.len(), 4 + usize::from(sent[3]), "and nothing else");
    *sent[8..].first_chunk().expect("a correlation id")
}

/// The answer that node 1 is at `kafka-1` and this port.
fn told(correlation_id: [u8; 4], port: i32) -> Vec<u8> {
    frame(&[
        &correlation_id,
        &[0, 0, 0, 1, 0, 0, 0, 1],
        &[0, 7],
        b"kafka-1",
        &port.to_be_bytes(),
        // No rack, no controller, no topics.
        &[0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0],
    ])
}

/// Everybody learns what the relay has asked to spread.
fn spread(bench: &mut Bench) {
    let Some(ControlRequest::Learn { learned, .. }) = bench.control.try_recv() else {
        panic!("the address is to be spread");
    };
    for address in learned {
        assert!(bench.learn(address.clone()));
        bench.shared.registry.borrow().close_moved(main(), &address);
    }
    bench.shared.announce_addresses(main());
}

/// READING-2.
#[test]
fn a_stranger_has_no_more_held_than_one_read_brings() {
    let value = vec![b'x'; 900_000];
    let one = BatchBuilder::new()
        .record(record(&value))
        .build()
        .expect("a batch");
    let sent = produce_all(1, -1, "sealed", &[one.as_slice(); 6]);
    let begin = || {
        let mut bench = Bench::stranger(Limits::default());
        bench.deliver_sealing_key();
        bench.client.arrive(&sent);
        assert_eq!(bench.settle(), None);
        let held = bench.shared.pipeline.borrow().metrics.gauges.bytes_held;
        assert!(held <= 4096, "{held} bytes are held");
        assert!(bench.client.unread() >= sent.len() - 4096);
        let id = asked(&bench.broker);
        (bench, id)
    };
    // A broker that wants a login closes.
    let (mut bench, _) = begin();
    bench.broker.end();
    assert_eq!(bench.settle(), Some(CloseReason::BrokerClosed));
    assert!(bench.broker.take_written().is_empty());

    // One that does not answers, and everything goes.
    let (mut bench, id) = begin();
    bench.broker.arrive(&told(id, 9092));
    assert_eq!(bench.settle(), None);
    spread(&mut bench);
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().len() > sent.len());
    assert!(bench.client.take_written().is_empty());
}

#[test]
fn a_client_that_leaves_behind_its_first_records_has_them_stored() {
    let mut bench = Bench::stranger(Limits::default());
    bench.deliver_sealing_key();
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    let id = asked(&bench.broker);
    assert!(!bench.broker.is_closed());
    bench.broker.arrive(&told(id, 9092));
    assert_eq!(bench.settle(), None);
    spread(&mut bench);
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    let stored = bench.broker.take_written();
    assert!(stored.len() > batch().len() && !holds_canary(&stored));
}

#[test]
fn a_drain_waits_for_what_is_withheld() {
    let mut bench = Bench::at_node();
    bench.client.arrive(&fetch(1));
    assert_eq!(bench.settle(), None);
    let id = asked(&bench.broker);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&told(id, 9092));
    assert_eq!(bench.settle(), None);
    spread(&mut bench);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), fetch(1));
    bench.broker.arrive(&fetched(1, "sealed", &[]));
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), fetched(1, "sealed", &[]));
}

#[test]
fn a_connection_to_the_wrong_broker_is_closed_once_all_know_the_right_one() {
    let mut bench = Bench::at_node();
    bench.client.arrive(&fetch(1));
    assert_eq!(bench.settle(), None);
    let id = asked(&bench.broker);
    bench.broker.arrive(&told(id, 9093));
    assert_eq!(bench.settle(), None);
    spread(&mut bench);
    assert_eq!(bench.settle(), Some(CloseReason::Learned));
    assert!(bench.broker.take_written().is_empty() && bench.client.take_written().is_empty());
}

/// PLACE-2.
#[test]
fn an_idle_connection_is_closed_as_soon_as_anybody_learns_that_its_node_has_moved() {
    let mut bench = Bench::at_node();
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    let id = asked(&bench.broker);
    bench.broker.arrive(&told(id, 9092));
    assert_eq!(bench.settle(), None);
    spread(&mut bench);
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    let learned = |port| LearnedAddress {
        node_id: 1,
        address: HostPort {
            host: "kafka-1".to_owned(),
            port,
        },
    };
    bench.shared.registry.borrow().close_moved(main(), &learned(9092));
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow().close_moved(main(), &learned(9093));
    assert_eq!(bench.settle(), Some(CloseReason::Learned));
    assert_eq!(
        bench.client.take_written(),
        beaten(1),
        "what came before is delivered"
    );
}

/// ADDR-3: what lies behind the brokers is not copied, and goes out whole although the connection is to be closed.
#[test]
fn a_long_answer_that_teaches_where_the_node_is_goes_out_to_its_end() {
    const TOPICS_BYTES: usize = 5 << 20;
    let mut bench = Bench::at_node();
    bench.client.arrive(&request(3, 1, 7, &[0; 4]));
    assert_eq!(bench.settle(), None);
    let answer = |host: &str, port: i32| {
        let length = i16::try_from(host.len()).expect("a host");
        frame(&[
            &7_i32.to_be_bytes(),
            &[0, 0, 0, 1, 0, 0, 0, 1],
            &length.to_be_bytes(),
            host.as_bytes(),
            &port.to_be_bytes(),
            &[0xff, 0xff, 0, 0, 0, 1],
            &vec![0xab; TOPICS_BYTES],
        ])
    };
    bench.broker.arrive(&answer("kafka-1", 9093));
    assert_eq!(bench.settle(), None);
    assert!(bench.client.take_written().is_empty());
    spread(&mut bench);
    assert_eq!(bench.settle(), Some(CloseReason::Learned));
    assert!(bench.client.take_written() == answer("proxy", 9193));
}
