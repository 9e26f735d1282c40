//! Frames that take more than a turn.

use std::task::{Context, Waker};
use std::time::Instant;

use super::bench::{Bench, ROOMY, batch, holds_canary, record};
use super::wire::{beaten, fetch, fetched, frame, heartbeat, produce_all};
use crate::config::Limits;
use crate::connection::TurnOutcome;
use crate::metrics::CloseReason;
use crate::pipeline::Work;
use crate::testing::BatchBuilder;

#[test]
fn neighbours_are_served_while_a_long_request_is_sealed() {
    const PARTITIONS: usize = 16;
    let mut bench = Bench::new(Limits::default());
    bench.shared.pipeline.borrow_mut().work = Work::new(1);
    bench.deliver_sealing_key();
    let (client, broker, mut neighbour) = bench.neighbour();
    let one = batch();
    bench
        .client
        .arrive(&produce_all(1, -1, "sealed", &[one.as_slice(); PARTITIONS]));
    let mut turns = 0;
    while bench.turn() == Some(TurnOutcome::GaveWay) {
        assert!(bench.broker.take_written().is_empty(), "it goes out whole");
        turns += 1;
        client.arrive(&heartbeat(turns));
        let rests = neighbour.poll_turn(&mut Context::from_waker(Waker::noop()), Instant::now());
        assert!(rests.is_pending());
        assert_eq!(broker.take_written(), heartbeat(turns));
    }
    // Each batch is checked in a turn and sealed in one, and the last turn is the one that ends.
    assert_eq!(turns, 2 * PARTITIONS as i32 - 1);
    let sent = bench.broker.take_written();
    assert!(sent.len() > PARTITIONS * one.len() && !holds_canary(&sent));
}

#[test]
fn a_request_that_is_sealed_in_pieces_is_accounted_for_and_leaves_nothing() {
    let held = |bench: &Bench| bench.shared.pipeline.borrow().metrics.gauges.bytes_held;
    let one = batch();
    let long = produce_all(1, 0, "sealed", &[one.as_slice(); 8]);
    let begin = || {
        let mut bench = Bench::new(Limits::default());
        bench.shared.pipeline.borrow_mut().work = Work::new(1);
        bench.deliver_sealing_key();
        bench.client.arrive(&long);
        // The last turns before it is whole.
        for _ in 0..14 {
            assert_eq!(bench.turn(), Some(TurnOutcome::GaveWay));
        }
        assert!(
            held(&bench) > 2 * long.len() as u64,
            "what is read and what is written"
        );
        bench
    };
    let mut bench = begin();
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().len() > long.len());
    assert_eq!(held(&bench), 0);

    let Bench { relay, shared, .. } = begin();
    drop(relay);
    let pipeline = shared.pipeline.borrow();
    assert_eq!(pipeline.metrics.gauges.bytes_held, 0);
}

#[test]
fn a_client_that_leaves_while_its_request_is_sealed_has_it_stored() {
    let mut bench = Bench::new(Limits::default());
    bench.shared.pipeline.borrow_mut().work = Work::new(1);
    bench.deliver_sealing_key();
    let one = batch();
    bench.client.arrive(&produce_all(1, 0, "sealed", &[&one, &one]));
    bench.client.end();
    assert_eq!(bench.turn(), Some(TurnOutcome::GaveWay));
    assert!(!bench.broker.is_closed());
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    assert!(bench.broker.take_written().len() > 2 * one.len());
}

/// Six batches of 900 kB for `topic`.
fn long_request(topic: &str) -> Vec<u8> {
    let value = vec![b'x'; 900_000];
    let one = BatchBuilder::new()
        .record(record(&value))
        .build()
        .expect("a batch");
    produce_all(1, -1, topic, &[one.as_slice(); 6])
}

/// CONNECTION-4
#[test]
fn long_output_is_written_in_turns_however_fast_it_is_read() {
    for topic in ["sealed", "passed"] {
        let mut bench = Bench::new(Limits::default());
        bench.deliver_sealing_key();
        let long = long_request(topic);
        bench.client.arrive(&long);
        bench.client.arrive(&heartbeat(2));
        let (mut most, mut sent) = (0, Vec::new());
        loop {
            let turn = bench.turn();
            let mut written = bench.broker.take_written();
            most = most.max(written.len());
            sent.append(&mut written);
            match turn {
                Some(TurnOutcome::GaveWay) => {}
                None => break,
                Some(TurnOutcome::Ended(reason)) => panic!("{reason:?}"),
            }
        }
        assert!(most <= 2 << 20, "{topic}: {most} bytes in one turn");
        let before = sent.strip_suffix(heartbeat(2).as_slice());
        let before = before.expect("what is behind it comes behind it");
        assert!(before.len() >= long.len());
        assert_eq!(before == long, topic == "passed");
        assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
    }
}

#[test]
fn a_long_request_that_passes_goes_out_of_what_it_was_read_into() {
    let mut bench = Bench::with_room(Limits::default(), ROOMY, 0);
    let long = long_request("passed");
    let used = Vec::with_capacity(long.len());
    bench.shared.outputs.borrow_mut().give(used);
    bench.client.arrive(&long);
    assert_eq!(bench.settle(), None);
    let output = bench.shared.outputs.borrow_mut().take(long.len());
    assert!(output.capacity() > 0, "nothing is in it: others may use it");
    let held = bench.shared.pipeline.borrow().metrics.gauges.bytes_held as usize;
    // Memory that grows with what arrives is at most twice as long.
    assert!(
        (long.len()..2 * long.len() + 1024).contains(&held),
        "{held} bytes"
    );
    bench.shared.registry.borrow_mut().drain(Instant::now());
    bench.client.arrive(&heartbeat(2));
    let mut sent = Vec::new();
    while sent.len() < long.len() {
        bench.broker.make_room(500_000);
        assert_eq!(bench.settle(), None);
        sent.append(&mut bench.broker.take_written());
    }
    assert!(sent == long, "nothing is begun while draining");
    let answer = frame(&[&1_i32.to_be_bytes(), &[0; 8]]);
    bench.broker.arrive(&answer);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), answer);
}

#[test]
fn a_client_that_is_gone_does_not_stop_what_a_broker_still_sends() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    bench.client.arrive(&fetch(1));
    bench.client.arrive(&heartbeat(2));
    bench.broker.arrive(&fetched(1, "passed", &vec![7; 3_000_000]));
    bench.broker.arrive(&beaten(2));
    assert_eq!(bench.settle(), None);
    bench.client.reset();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    assert!(bench.client.take_written().is_empty());
}
