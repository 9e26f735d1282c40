//! A relay between two sockets in memory: back-pressure, wake-ups, half-close, drain, limits, and what may not pass.

mod bench;
mod drains;
mod encrypted;
mod exchanges;
mod flushing;
mod long_frames;
mod strangers;
mod streams;
mod turns;
mod wire;

use std::time::{Duration, Instant};

use self::bench::{Bench, CANARY, ROOMY, batch, holds_canary, main, record};
use self::wire::{beaten, fetch, fetch_of, fetched, fetched_all, frame, heartbeat, produce, request};
use crate::config::Limits;
use crate::connection::registry::Request;
use crate::keys::KeyRequest;
use crate::messages::ControlRequest;
use crate::metrics::CloseReason;
use crate::record_batch::Codec;
use crate::testing::{BatchBuilder, RecordInput};

/// CONNECTION-2
#[test]
fn what_the_broker_does_not_take_is_not_read_from_the_client() {
    let mut bench = Bench::with_room(Limits::default(), ROOMY, 10);
    let first = heartbeat(1);
    bench.client.arrive(&first);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), first[..10]);
    let later: Vec<u8> = (2..500).flat_map(heartbeat).collect();
    bench.client.arrive(&later);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.unread(), later.len());
    bench.broker.make_room(ROOMY);
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), [&first[10..], &later].concat());
}

/// CONNECTION-2
#[test]
fn what_the_client_does_not_take_is_not_read_from_the_broker() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    for correlation_id in 0..100 {
        bench.client.arrive(&heartbeat(correlation_id));
    }
    assert_eq!(bench.settle(), None);
    let long = |correlation_id: i32| frame(&[&correlation_id.to_be_bytes(), &vec![5; 1 << 20]]);
    let answers: Vec<u8> = (0..20).flat_map(long).collect();
    bench.broker.arrive(&answers);
    assert_eq!(bench.settle(), None);
    assert!(
        bench.broker.unread() > 18 << 20,
        "{} bytes are unread",
        bench.broker.unread()
    );
    let mut received = Vec::new();
    while received.len() < answers.len() {
        bench.client.make_room(1 << 20);
        assert_eq!(bench.settle(), None);
        received.append(&mut bench.client.take_written());
    }
    assert!(received == answers, "order and content are kept");
}

/// CONNECTION-2
#[test]
fn a_long_answer_that_passes_is_not_held() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    bench.client.arrive(&fetch_of(1, "passed"));
    assert_eq!(bench.settle(), None);
    let answer = fetched(1, "passed", &vec![5; 20 << 20]);
    bench.broker.arrive(&answer);
    let mut received = Vec::new();
    while received.len() < answer.len() {
        assert_eq!(bench.settle(), None);
        let held = bench.shared.pipeline.borrow().metrics.gauges.bytes_held;
        assert!(held < 1 << 20, "{held} bytes are held");
        bench.client.make_room(1 << 20);
        assert_eq!(bench.settle(), None);
        received.append(&mut bench.client.take_written());
    }
    assert!(received == answer, "order and content are kept");
}

#[test]
fn of_an_answer_that_passes_the_client_has_what_came_before_it_went_wrong() {
    let canary = batch();
    let answer = fetched_all(1, &[("passed", b"first"), ("sealed", &canary)]);
    let foreign_at = answer.len() - fetched(1, "sealed", &canary).len() + fetched_all(1, &[]).len();
    for (came, reason) in [
        (foreign_at, CloseReason::BrokerClosed),
        (answer.len(), CloseReason::UnexpectedResponse),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.client.arrive(&fetch_of(1, "passed"));
        assert_eq!(bench.settle(), None);
        bench.broker.arrive(&answer[..came]);
        bench.broker.end();
        assert_eq!(bench.settle(), Some(reason));
        assert_eq!(bench.client.take_written(), answer[..foreign_at]);
    }
}

#[test]
fn requests_beyond_the_bound_wait_for_answers() {
    let mut bench = Bench::new(Limits {
        in_flight_requests_max: 2,
        ..Limits::default()
    });
    for correlation_id in 1..=4 {
        bench.client.arrive(&heartbeat(correlation_id));
    }
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), [heartbeat(1), heartbeat(2)].concat());
    for correlation_id in 1..=4 {
        bench.broker.arrive(&beaten(correlation_id));
        assert_eq!(bench.settle(), None);
        assert_eq!(bench.client.take_written(), beaten(correlation_id));
        let next = if correlation_id < 3 {
            heartbeat(correlation_id + 2)
        } else {
            Vec::new()
        };
        assert_eq!(bench.broker.take_written(), next);
    }
}

/// CONNECTION-3
#[test]
fn an_idle_pair_holds_no_memory_after_traffic() {
    let mut bench = Bench::with_room(Limits::default(), 5, 5);
    bench.client.arrive(&heartbeat(1));
    assert_eq!(bench.settle(), None);
    assert!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held > 0);
    bench.broker.make_room(ROOMY);
    bench.client.make_room(ROOMY);
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1));
    assert_eq!(bench.shared.pipeline.borrow().metrics.gauges.bytes_held, 0);
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    assert!(bench.broker.is_closed());
    bench.broker.arrive(&beaten(1));
    bench.broker.end();
    assert_eq!(bench.settle(), Some(CloseReason::BrokerClosed));
    assert_eq!(bench.client.take_written(), beaten(1));
}

#[test]
fn a_client_without_acknowledgements_may_leave_before_its_key_comes() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().is_empty() && !bench.broker.is_closed());
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    let stored = bench.broker.take_written();
    assert!(stored.len() > batch().len() && !holds_canary(&stored));
    assert!(bench.broker.is_closed());
}

#[test]
fn what_stands_before_a_request_that_closes_the_connection_is_stored() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    let one = bench.broker.take_written().len();
    // Both come with one read.
    let (good, bad) = (
        produce(2, 0, "sealed", &batch()),
        produce(3, 0, "unknown", &batch()),
    );
    bench.broker.leave_room(10);
    bench.client.arrive(&[good, bad].concat());
    assert_eq!(bench.settle(), None);
    bench.broker.leave_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::AcksZeroUnsealable));
    let stored = bench.broker.take_written();
    assert!(
        stored.len() == one && !holds_canary(&stored),
        "{} of {one}",
        stored.len()
    );
}

/// A client that closes its socket before an answer has come resets it when the answer comes.
#[test]
fn what_a_client_sent_before_it_was_gone_is_stored() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&produce(2, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.client.arrive(&produce(3, 0, "sealed", &batch()));
    bench.client.reset();
    // The answer finds nobody, while the first batch waits for its key and the second was not read.
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    let stored = bench.broker.take_written();
    assert!(stored.len() > 2 * batch().len() && !holds_canary(&stored));
    assert!(bench.broker.is_closed() && bench.client.take_written().is_empty());
}

#[test]
fn a_request_waits_for_its_key_and_later_ones_wait_behind_it() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&produce(2, -1, "sealed", &batch()));
    bench.client.arrive(&heartbeat(3));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.broker.take_written(), heartbeat(1));
    assert!(matches!(
        bench.key_requests.try_recv(),
        Some(KeyRequest::Seal { .. })
    ));
    // An answer meanwhile does not disturb the wait.
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert!(bench.broker.take_written().is_empty());
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    let sent = bench.broker.take_written();
    assert!(sent.ends_with(&heartbeat(3)) && !holds_canary(&sent));
}

#[test]
fn an_address_is_spread_before_the_client_hears_of_it() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&request(3, 0, 1, &[0; 4]));
    let told = |host: &str, port: i32| {
        let length = i16::try_from(host.len()).expect("a host");
        frame(&[
            &1_i32.to_be_bytes(),
            &[0, 0, 0, 1, 0, 0, 0, 1],
            &length.to_be_bytes(),
            host.as_bytes(),
            &port.to_be_bytes(),
            &[0; 4],
        ])
    };
    bench.broker.arrive(&told("kafka-1.internal", 9092));
    assert_eq!(bench.settle(), None);
    assert!(bench.client.take_written().is_empty());
    let Some(ControlRequest::Learn { learned, .. }) = bench.control.try_recv() else {
        panic!("the address is to be spread");
    };
    // It is known here, and the other executors may not know it yet (ADDRESS-2): it is neither told nor spread again.
    for address in learned {
        assert!(bench.learn(address));
    }
    bench.shared.announce_keys();
    assert_eq!(bench.settle(), None);
    assert!(bench.client.take_written().is_empty() && bench.control.try_recv().is_none());
    bench.shared.announce_addresses(main());
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), told("proxy", 9193));
}

#[test]
fn a_broker_may_take_its_time_with_the_first_request() {
    let unproven = Duration::from_secs(10);
    let ask = |bench: &Bench| {
        let later = Instant::now() + unproven;
        let registry = bench.shared.registry.borrow();
        registry.close_idle(later, Duration::from_secs(600), unproven);
        bench.status.request()
    };
    for whole in [heartbeat(1), fetch(1)] {
        let mut bench = Bench::stranger(Limits::default());
        bench.client.arrive(&whole);
        assert_eq!(bench.settle(), None);
        assert_eq!(ask(&bench), Request::Run, "the broker has it and is to answer");
    }
    let mut bench = Bench::stranger(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), None);
    assert_eq!(ask(&bench), Request::Run, "there never is an answer");

    // Once it has answered, or while it cannot, it is the client's turn.
    let stranger = Request::Close(CloseReason::IdleUnauthenticated);
    for (request, answer) in [
        (&heartbeat(1)[..25], None),
        (
            &request(18, 0, 1, &[]),
            Some(frame(&[&1_i32.to_be_bytes(), &[0; 6]])),
        ),
    ] {
        let mut bench = Bench::stranger(Limits::default());
        bench.client.arrive(request);
        assert_eq!(bench.settle(), None);
        if let Some(answer) = answer {
            assert_eq!(ask(&bench), Request::Run);
            bench.broker.arrive(&answer);
            assert_eq!(bench.settle(), None);
        }
        assert_eq!(ask(&bench), stranger);
        assert_eq!(bench.settle(), Some(CloseReason::IdleUnauthenticated));
    }
}

/// What a client does not read, it does not wait for.
#[test]
fn a_stranger_that_does_not_read_its_answers_does_not_wait_for_the_broker() {
    let mut bench = Bench::stranger(Limits::default());
    bench.client.leave_room(10);
    bench
        .client
        .arrive(&[request(18, 0, 1, &[]), request(18, 0, 2, &[])].concat());
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&frame(&[&1_i32.to_be_bytes(), &[0; 6]]));
    assert_eq!(bench.settle(), None);
    let unproven = Duration::from_secs(10);
    let later = Instant::now() + unproven;
    let registry = bench.shared.registry.borrow();
    registry.close_idle(later, Duration::from_secs(600), unproven);
    let stranger = Request::Close(CloseReason::IdleUnauthenticated);
    assert_eq!(bench.status.request(), stranger);
}

#[test]
fn a_client_that_has_left_is_waited_for_as_long_as_a_stranger() {
    let (idle, unproven) = (Duration::from_secs(600), Duration::from_secs(10));
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&heartbeat(1));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    let registry = bench.shared.registry.borrow();
    registry.close_idle(Instant::now() + unproven / 2, idle, unproven);
    assert_eq!(bench.status.request(), Request::Run, "it may still read");
    registry.close_idle(Instant::now() + unproven, idle, unproven);
    drop(registry);
    assert_eq!(bench.settle(), Some(CloseReason::ClientClosed));
    assert_eq!(bench.broker.take_written(), heartbeat(1));

    // What it had sent and waits for a key is not passed on yet.
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    bench.client.end();
    assert_eq!(bench.settle(), None);
    let registry = bench.shared.registry.borrow();
    registry.close_idle(Instant::now() + unproven, idle, unproven);
    assert_eq!(bench.status.request(), Request::Run);
}

#[test]
fn slow_reading_is_activity() {
    let mut bench = Bench::with_room(Limits::default(), 0, ROOMY);
    bench.client.arrive(&heartbeat(1));
    bench.broker.arrive(&frame(&[&1_i32.to_be_bytes(), &[5; 1000]]));
    assert_eq!(bench.settle(), None);
    let before = bench.status.last_active();
    bench.client.make_room(10);
    assert_eq!(bench.settle(), None);
    assert!(bench.status.last_active() > before);
    assert_eq!(bench.client.take_written().len(), 10);
}

#[test]
fn a_batch_that_waited_in_vain_is_not_overtaken() {
    let mut bench = Bench::new(Limits {
        seal_wait: Duration::ZERO,
        ..Limits::default()
    });
    let numbered = |sequence| {
        let batch = BatchBuilder::new()
            .producer(7, 0, sequence)
            .record(record(CANARY));
        batch.build().expect("a batch")
    };
    bench.client.arrive(&produce(1, -1, "sealed", &numbered(0)));
    assert_eq!(bench.settle(), None);
    bench.shared.alarms.borrow_mut().wake_due(Instant::now());
    assert_eq!(bench.settle(), None);
    let nothing = bench.broker.take_written();
    assert!(nothing.len() < 40, "an empty request keeps the order");
    bench.deliver_sealing_key();
    let mut sent = Vec::new();
    for (correlation_id, sequence) in [(2, 1), (3, 0), (4, 1)] {
        let batch = numbered(sequence);
        bench
            .client
            .arrive(&produce(correlation_id, -1, "sealed", &batch));
        assert_eq!(bench.settle(), None);
        sent.push(bench.broker.take_written().len() > batch.len());
    }
    assert_eq!(sent, [false, true, true]);
    assert!(bench.client.take_written().is_empty());
    // The broker's answers, which know nothing of the refused partitions.
    bench
        .broker
        .arrive(&frame(&[&1_i32.to_be_bytes(), &[0; 4], &[0; 4]]));
    assert_eq!(bench.settle(), None);
    let answer = bench.client.take_written();
    let not_stored = [&b"sealed"[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 19]].concat();
    assert!(
        answer
            .windows(not_stored.len())
            .any(|window| window == not_stored)
    );
}

/// What a client gets of `records` in a topic whose rule accepts nothing but sealed records, and whether it is held
/// first.
fn delivered(records: &[u8]) -> (Vec<u8>, bool) {
    let fetch_hold = Duration::from_millis(1);
    let mut bench = Bench::new(Limits {
        fetch_hold,
        ..Limits::default()
    });
    bench.client.arrive(&fetch(1));
    bench.broker.arrive(&fetched(1, "sealed", records));
    assert_eq!(bench.settle(), None);
    let at_once = bench.client.take_written();
    if !at_once.is_empty() {
        return (at_once, false);
    }
    let over = Instant::now() + fetch_hold;
    while Instant::now() < over {
        std::hint::spin_loop();
    }
    bench.shared.alarms.borrow_mut().wake_due(Instant::now());
    assert_eq!(bench.settle(), None);
    (bench.client.take_written(), true)
}

#[test]
fn what_no_seal_vouches_for_is_not_delivered() {
    let plain = BatchBuilder::new().record(record(CANARY));
    let build = |builder: BatchBuilder| builder.build().expect("a batch");
    let whole = build(plain.clone());
    for (what, records) in [
        ("plaintext", whole.clone()),
        ("a count of zero", build(plain.clone().record_count(0))),
        (
            "a count of zero, compressed",
            build(plain.clone().codec(Codec::Zstd).record_count(0)),
        ),
        ("the control bit", build(plain.clone().control())),
        ("a part of a batch", whole[..whole.len() - 1].to_vec()),
        ("a negative count", build(plain.record_count(-1))),
    ] {
        let (bytes, held) = delivered(&records);
        assert!(held, "{what}");
        assert_eq!(bytes.len(), fetched(1, "sealed", &[]).len(), "{what}");
    }
    let emptied = build(BatchBuilder::new().last_offset_delta(4));
    assert_eq!(delivered(&emptied), (fetched(1, "sealed", &emptied), false));
    let marker = RecordInput {
        key: Some(&[0, 0, 0, 1]),
        ..record(&[0, 0, 0, 0, 0, 3])
    };
    let control = build(BatchBuilder::new().transactional().control().record(marker));
    let tail = [&control[..], &whole[..40]].concat();
    assert_eq!(delivered(&tail), (fetched(1, "sealed", &control), false));
}
