//! Connections of a program that is about to end: what is still waited for, and how long.

use std::time::{Duration, Instant};

use super::bench::{Bench, ROOMY, batch, main};
use super::wire::{beaten, fetch, frame, heartbeat, produce, request};
use crate::config::{HostPort, Limits};
use crate::messages::LearnedAddress;
use crate::metrics::CloseReason;

#[test]
fn a_drain_ends_although_the_client_goes_on_sending() {
    let mut bench = Bench::new(Limits::default());
    let (begun, rest) = {
        let third = heartbeat(3);
        (third[..15].to_vec(), third[15..].to_vec())
    };
    bench.client.arrive(&heartbeat(1));
    bench.client.arrive(&begun[..5]);
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    bench.client.arrive(&begun[5..]);
    bench.client.arrive(&rest);
    bench.client.arrive(&heartbeat(4));
    assert_eq!(bench.settle(), None);
    assert_eq!(
        bench.broker.take_written(),
        [heartbeat(1), heartbeat(3)].concat(),
        "what was begun is finished, and nothing is begun"
    );
    bench.client.arrive(&heartbeat(5));
    bench.broker.arrive(&beaten(1));
    assert_eq!(bench.settle(), None);
    assert_eq!(bench.client.take_written(), beaten(1));
    bench.broker.arrive(&beaten(3));
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), beaten(3));
}

#[test]
fn a_drain_waits_for_a_request_that_waits_for_its_key() {
    let mut bench = Bench::new(Limits::default());
    bench.client.arrive(&produce(1, 0, "sealed", &batch()));
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    assert_eq!(bench.settle(), None);
    bench.deliver_sealing_key();
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert!(!bench.broker.take_written().is_empty());
}

/// CONNECTION-5
#[test]
fn a_drain_waits_a_second_for_what_a_broker_may_hold_and_for_all_else_to_the_end() {
    let second = Duration::from_secs(1);
    let join_group = || request(11, 0, 1, &[0; 4]);
    let sync_group = || request(14, 0, 1, &[0; 4]);
    for (polls, others, ends) in [
        (vec![join_group()], Vec::new(), true),
        (vec![sync_group()], Vec::new(), true),
        (vec![fetch(1)], Vec::new(), true),
        (vec![join_group()], heartbeat(2), true),
        (vec![fetch(1)], request(8, 2, 2, &[0; 4]), false),
        (Vec::new(), heartbeat(1), false),
        (Vec::new(), request(8, 2, 1, &[0; 4]), false),
    ] {
        for (since, is_over) in [(second - Duration::from_millis(500), false), (second, true)] {
            let mut bench = Bench::new(Limits::default());
            for poll in &polls {
                bench.client.arrive(poll);
            }
            bench.client.arrive(&others);
            assert_eq!(bench.settle(), None);
            bench.shared.registry.borrow_mut().drain(Instant::now() - since);
            let expected = (ends && is_over).then_some(CloseReason::Drain);
            assert_eq!(bench.settle(), expected, "{polls:?} {others:?} {since:?}");
        }
    }
    // It is woken for it, and an answer of which the client has a part is still written.
    let mut bench = Bench::with_room(Limits::default(), 10, ROOMY);
    bench.client.arrive(&join_group());
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    assert_eq!(bench.settle(), None);
    bench.shared.alarms.borrow_mut().wake_due(Instant::now() + second);
    assert!(bench.turn().is_none(), "it was woken, and it is not time yet");
    let answer = frame(&[&1_i32.to_be_bytes(), &[5; 100]]);
    bench.broker.arrive(&answer[..50]);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    assert_eq!(bench.settle(), None);
    bench.broker.arrive(&answer[50..]);
    assert_eq!(bench.settle(), None);
    bench.client.make_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), answer);
}

/// CONNECTION-6
#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn a_drain_waits_a_second_for_a_client_that_does_nothing() {
    let second = Duration::from_secs(1);
    let answer = |correlation_id: i32| frame(&[&correlation_id.to_be_bytes(), &[5; 1000]]);
    let long = produce(1, 1, "sealed", &batch());
    let begun = |bytes: usize| long[..bytes].to_vec();
    let commit = || request(8, 2, 1, &[0; 4]);
    let nothing = Vec::new;
    // What the client sends, how much of the answers it takes, what the broker answers, and whether the client has
    // left.
    for (case, sent, room, answers, leaves, ends) in [
        (
            "an answer that is not taken",
            heartbeat(1),
            10,
            answer(1),
            false,
            true,
        ),
        (
            "one that is not taken, and one that the broker owes",
            [heartbeat(1), fetch(2)].concat(),
            10,
            answer(1),
            false,
            true,
        ),
        ("one byte", begun(1), ROOMY, nothing(), false, true),
        ("nine bytes", begun(9), ROOMY, nothing(), false, true),
        ("half of what is held", begun(100), ROOMY, nothing(), false, true),
        (
            "half of what is passed on",
            commit()[..15].to_vec(),
            ROOMY,
            nothing(),
            false,
            true,
        ),
        (
            "a begun one behind one that the broker is to answer",
            [commit(), begun(9)].concat(),
            ROOMY,
            nothing(),
            false,
            false,
        ),
        ("a commit", commit(), ROOMY, nothing(), false, false),
        (
            "a commit of one that has left",
            commit(),
            ROOMY,
            nothing(),
            true,
            true,
        ),
        (
            "records that wait for their key",
            long.clone(),
            ROOMY,
            nothing(),
            true,
            false,
        ),
    ] {
        for is_over in [false, true] {
            let mut bench = Bench::with_room(Limits::default(), room, ROOMY);
            bench.client.arrive(&sent);
            if leaves {
                bench.client.end();
            }
            assert_eq!(bench.settle(), None, "{case}");
            bench.broker.arrive(&answers);
            assert_eq!(bench.settle(), None, "{case}");
            // Whether it has stood still that long, or the drain has lasted so long only.
            if is_over {
                bench.status.touch(Instant::now() - second, true);
            }
            bench.shared.registry.borrow_mut().drain(Instant::now() - second);
            let expected = (ends && is_over).then_some(CloseReason::Drain);
            assert_eq!(bench.settle(), expected, "{case}, over: {is_over}");
            if ends && !is_over {
                bench.status.touch(Instant::now() - second, true);
                bench.shared.alarms.borrow_mut().wake_due(Instant::now() + second);
                assert_eq!(bench.settle(), Some(CloseReason::Drain), "{case}: it is woken");
            }
        }
    }
    // Who takes a little of an answer now and then has it to the end.
    let mut bench = Bench::with_room(Limits::default(), 10, ROOMY);
    bench.client.arrive(&commit());
    bench.broker.arrive(&answer(1));
    assert_eq!(bench.settle(), None);
    bench
        .shared
        .registry
        .borrow_mut()
        .drain(Instant::now() - second * 20);
    for _ in 0..3 {
        bench.client.make_room(10);
        assert_eq!(bench.settle(), None);
    }
    bench.client.make_room(ROOMY);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
    assert_eq!(bench.client.take_written(), answer(1));
}

/// CONNECTION-6: whoever is to close as soon as its answers are written holds a drain as little.
#[test]
fn a_drain_waits_a_second_for_one_that_is_leaving_and_takes_nothing() {
    let second = Duration::from_secs(1);
    let mut bench = Bench::with_room(Limits::default(), 10, ROOMY);
    bench.client.arrive(&heartbeat(1));
    bench.broker.arrive(&frame(&[&1_i32.to_be_bytes(), &[5; 1000]]));
    assert_eq!(bench.settle(), None);
    let leave = |bench: &Bench| {
        let address = |port| HostPort {
            host: "kafka-1".to_owned(),
            port,
        };
        let mut registry = bench.shared.registry.borrow_mut();
        registry.place(bench.id, main(), 1, address(9092));
        let learned = LearnedAddress {
            node_id: 1,
            address: address(9093),
        };
        registry.close_moved(main(), &learned);
    };
    leave(&bench);
    assert_eq!(bench.settle(), None);
    bench.status.touch(Instant::now() - second, true);
    bench.shared.registry.borrow_mut().drain(Instant::now() - second);
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
}

#[test]
fn a_quiet_connection_drains_at_once() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.settle(), None);
    bench.shared.registry.borrow_mut().drain(Instant::now());
    assert_eq!(bench.settle(), Some(CloseReason::Drain));
}
