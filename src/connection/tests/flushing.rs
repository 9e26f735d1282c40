//! Streams that keep what is written until it is flushed, and send it in parts.

use super::bench::{Bench, ROOMY, batch, holds_canary};
use super::wire::{beaten, heartbeat, produce, request};
use crate::config::Limits;
use crate::connection::registry::Request;
use crate::metrics::CloseReason;

/// More than a few requests and answers.
const BUFFER_BYTES: usize = 4096;

/// Both streams keep what is written; `rooms`: what the client's and the broker's can send.
fn buffering(client_room: usize, broker_room: usize) -> Bench {
    let bench = Bench::with_room(Limits::default(), client_room, broker_room);
    bench.client.encrypt(BUFFER_BYTES);
    bench.broker.encrypt(BUFFER_BYTES);
    bench
}

/// STREAM-1, STREAM-2
#[test]
fn what_is_written_is_flushed_in_both_directions() {
    let mut bench = buffering(3, ROOMY);
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1)[..3]);
    bench.client.make_room(ROOMY);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1)[3..], "it is woken");
}

/// More than the buffer takes goes out without being lost or written twice.
#[test]
fn a_buffer_that_is_full_holds_nothing_up() {
    let mut bench = buffering(ROOMY, ROOMY);
    bench.client.encrypt(7);
    let requests: Vec<u8> = (1..=50).flat_map(heartbeat).collect();
    bench.client.arrive(&requests);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), requests);
    let answers: Vec<u8> = (1..=50).flat_map(beaten).collect();
    bench.broker.arrive(&answers);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), answers);
}

/// GATHER-1: requests that are held until they are whole, and go on as they are.
#[test]
fn frames_that_came_together_go_out_together() {
    let mut bench = Bench::with_room(Limits::default(), ROOMY, ROOMY);
    let requests: Vec<u8> = (1..=4)
        .flat_map(|id| produce(id, 1, "passed", &batch()))
        .collect();
    bench.client.arrive(&requests);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), requests);
    assert_eq!(bench.broker.take_writes(), 1);
}

/// GATHER-1: what is written anew among them keeps its place, however much the socket takes.
#[test]
fn gathered_frames_keep_their_order() {
    for room in [0, 1, 100, ROOMY] {
        let mut bench = Bench::with_room(Limits::default(), ROOMY, room);
        bench.deliver_sealing_key();
        let passed = |id| produce(id, 1, "passed", &batch());
        let sealed = produce(2, 1, "sealed", &batch());
        bench
            .client
            .arrive(&[passed(1), sealed, passed(3), passed(4)].concat());
        assert_eq!(bench.settle(), None);
        bench.broker.make_room(ROOMY);
        assert_eq!(bench.settle(), None);
        let written = bench.broker.take_written();
        assert!(written.starts_with(&passed(1)), "{room}");
        assert!(written.ends_with(&[passed(3), passed(4)].concat()), "{room}");
        let between = &written[passed(1).len()..written.len() - 2 * passed(3).len()];
        assert_eq!(
            between[..4],
            (between.len() as i32 - 4).to_be_bytes(),
            "one frame"
        );
        assert!(!holds_canary(between), "{room}: it is sealed");
    }
}

/// CONNECTION-7
#[test]
fn the_brokers_end_waits_until_the_client_has_its_answer() {
    let mut bench = buffering(0, ROOMY);
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&beaten(1));
    bench.broker.end();
    assert_eq!(bench.settle(), None, "nothing has gone out");
    bench.client.make_room(4);
    assert_eq!(bench.settle(), None, "a part has gone out");
    bench.client.make_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::BrokerClosed));
    assert_eq!(bench.client.take_written(), beaten(1));
}

/// CONNECTION-7: also where it was written to a plain socket, and not taken.
#[test]
fn a_client_that_ends_its_side_and_owes_nothing_gets_its_answer_first() {
    for buffers in [false, true] {
        let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
        if buffers {
            bench.client.encrypt(BUFFER_BYTES);
        }
        bench.client.arrive(&heartbeat(1));
        assert_eq!(bench.settle(), None);
        bench.broker.arrive(&beaten(1));
        assert_eq!(bench.settle(), None);
        bench.client.end();
        assert_eq!(bench.settle(), None, "the answer has not gone out");
        bench.client.make_room(ROOMY);
        assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
        assert_eq!(bench.client.take_written(), beaten(1));
    }
}

/// CONNECTION-7
#[test]
fn what_stands_before_a_frame_that_may_not_pass_goes_out_first() {
    let mut bench = buffering(ROOMY, 0);
    // StopReplica is for brokers among themselves.
    bench
        .client
        .arrive(&[heartbeat(1), request(5, 0, 2, &[])].concat());
    assert_eq!(bench.settle(), None);
    bench.broker.make_room(5);
    assert_eq!(bench.settle(), None);
    bench.broker.make_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::DeniedApi));
    assert_eq!(bench.broker.take_written(), heartbeat(1));
}

/// The end of the client's side is told behind what it has sent, with what the stream says at its end.
#[test]
fn the_end_is_passed_on_behind_all_that_was_written() {
    let mut bench = buffering(ROOMY, 0);
    bench.client.arrive(&heartbeat(1));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    assert!(!bench.broker.is_closed());
    bench.broker.make_room(heartbeat(1).len() + 1);
    assert_eq!(bench.settle(), None);
    assert!(!bench.broker.is_closed(), "the goodbye is under way");
    bench.broker.make_room(ROOMY);
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.is_closed());
    assert_eq!(bench.broker.take_written(), heartbeat(1));
}

/// CONNECTION-5, CONNECTION-7
#[test]
fn a_drain_waits_until_the_answer_has_gone_out() {
    let mut bench = buffering(0, ROOMY);
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    bench
        .shared
        .registry
        .borrow_mut()
        .drain(std::time::Instant::now());
    assert_eq!(bench.status.request(), Request::Drain);
    assert_eq!(bench.settle(), None, "the answer has not gone out");
    bench.client.make_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), beaten(1));
}
