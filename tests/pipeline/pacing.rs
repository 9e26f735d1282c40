//! A consumer whose Fetch responses deliver nothing because of us: how often it comes back, and what that costs its
//! broker.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiKey, FetchRequest};
use sealwire::pipeline::Wait;

use crate::rig::{Halt, PAYMENTS, Rig, batch, batch_of, dek, sealed};
use crate::wire::{decode_request, fetch_request, fetch_response, fetched, only_frame, request};

const MEBIBYTE: usize = 1 << 20;
const WANTED: i32 = 50 << 20;

/// What a broker has sent a consumer from some moment on.
#[derive(Default)]
struct Cost {
    responses: usize,
    bytes: usize,
    whole: usize,
}

/// A consumer that asks again as soon as it is answered, of a broker that has `batch` as often as fits into `whole`
/// bytes.
fn stuck(rig: &mut Rig, batch: &[u8], whole: usize, from: Duration, to: Duration) -> Cost {
    let start = rig.now;
    let mut cost = Cost::default();
    let mut correlation_id = 0;
    while rig.now - start < to {
        correlation_id += 1;
        let wanted = FetchRequest::default().with_max_bytes(WANTED);
        assert_eq!(
            rig.client_sends(&request(ApiKey::Fetch, 11, correlation_id, &wanted)),
            Ok(Halt::More)
        );
        let asked: FetchRequest = decode_request(&only_frame(&rig.at_broker()), 11);
        let limit = usize::try_from(asked.max_bytes).unwrap().min(whole);
        // At least one, and then no more than the limit (KIP-74).
        let records = batch.repeat((limit / batch.len()).max(1));
        if rig.now - start >= from {
            cost.responses += 1;
            cost.bytes += records.len();
            cost.whole += usize::from(limit == whole);
        }
        let response = fetch_response(11, correlation_id, &[fetched("sealed-a", 0, &records)]);
        match rig.broker_sends(&response).unwrap() {
            Halt::Blocked(Wait::Until(until) | Wait::News(until)) => {
                assert!(until - rig.now <= HOLD_MAX, "{:?}", until - rig.now);
                rig.pass_time(until - rig.now);
                assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
            }
            halt => panic!("nothing is delivered, so that it is held: {halt:?}"),
        }
        rig.at_client();
    }
    cost
}

fn long_batch(bytes: usize) -> Vec<u8> {
    batch_of(&["x".repeat(bytes).as_str()]).build().unwrap()
}

const HOLD_MAX: Duration = Duration::from_secs(5);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// PACE-1, for what is refused and for what waits for its key.
#[test]
fn a_stuck_consumer_costs_its_broker_a_mebibyte_a_second() {
    let clear = long_batch(60_000);
    let late = sealed(&clear, &dek("payments", 9), "sealed-a");
    for (what, batch) in [("refused", &clear), ("waiting", &late)] {
        for whole in [MEBIBYTE, 8 * MEBIBYTE] {
            let mut rig = Rig::with_keys();
            let cost = stuck(
                &mut rig,
                batch,
                whole,
                TEN_SECONDS,
                TEN_SECONDS + Duration::from_secs(64),
            );
            let most = 64 * MEBIBYTE + whole;
            assert!(
                cost.bytes <= most,
                "{what}: {} bytes in 64 s of {whole}",
                cost.bytes
            );
            let fewest = 64 * MEBIBYTE / whole / 4 - 1;
            assert!(cost.whole >= fewest, "{what}: {} times {whole}", cost.whole);
        }
    }
}

/// PACE-2: the broker sends one batch at least, and no client waits for longer than it can.
#[test]
fn a_batch_that_is_longer_than_what_is_asked_for_comes_every_five_seconds() {
    let mut rig = Rig::with_keys();
    let batch = long_batch(4 * MEBIBYTE);
    let cost = stuck(&mut rig, &batch, batch.len(), TEN_SECONDS, 4 * TEN_SECONDS);
    assert_eq!(cost.responses, 6);
}

/// PACE-2: what is beside it is looked for as often as ever.
#[test]
fn a_short_answer_is_held_no_longer_the_hundredth_time() {
    let mut rig = Rig::with_keys();
    let cost = stuck(&mut rig, &batch(&["plain"]), 0, TEN_SECONDS, 2 * TEN_SECONDS);
    assert_eq!(cost.responses, 50, "five a second");
}

/// What the broker is asked for by a client that has been answered so far.
fn asked(rig: &mut Rig, wanted: i32) -> i32 {
    let frame = request(
        ApiKey::Fetch,
        11,
        1,
        &FetchRequest::default().with_max_bytes(wanted),
    );
    // The limit may come in pieces.
    let (first, rest) = frame.split_at(30);
    rig.client_sends(first).unwrap();
    rig.client_sends(rest).unwrap();
    decode_request::<FetchRequest>(&only_frame(&rig.at_broker()), 11).max_bytes
}

fn answered(rig: &mut Rig, records: &[(&str, &[u8])]) -> Option<Instant> {
    let partitions: Vec<_> = records
        .iter()
        .map(|(topic, records)| fetched(topic, 0, records))
        .collect();
    match rig.broker_sends(&fetch_response(11, 1, &partitions)).unwrap() {
        Halt::Blocked(Wait::Until(until) | Wait::News(until)) => Some(until),
        Halt::More => None,
        halt => panic!("{halt:?}"),
    }
}

#[test]
fn what_is_delivered_beside_it_sets_the_pace() {
    let mut rig = Rig::with_keys();
    let refused = long_batch(4 * MEBIBYTE);
    stuck(
        &mut rig,
        &refused,
        refused.len(),
        Duration::ZERO,
        Duration::from_secs(1),
    );
    assert_eq!(asked(&mut rig, WANTED), 256 << 10);
    let good = sealed(&batch(&["value"]), &PAYMENTS, "sealed-b");
    assert_eq!(
        answered(&mut rig, &[("sealed-a", &refused), ("sealed-b", &good)]),
        None
    );
    assert_eq!(asked(&mut rig, WANTED), WANTED, "as if nothing had been");
    let until = answered(&mut rig, &[("sealed-a", &refused)]).expect("it is held");
    assert_eq!(until - rig.now, rig.pipeline.limits.fetch_hold);
    rig.pass_time(until - rig.now);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(asked(&mut rig, 1000), 1000, "a client's own limit is not raised");
    assert_eq!(
        answered(&mut rig, &[("pass-a", b"records")]),
        None,
        "passed as it is"
    );
    assert_eq!(asked(&mut rig, WANTED), WANTED);
}

#[test]
fn nothing_at_all_is_no_delivery() {
    let mut rig = Rig::with_keys();
    let refused = long_batch(4 * MEBIBYTE);
    stuck(
        &mut rig,
        &refused,
        refused.len(),
        Duration::ZERO,
        Duration::from_secs(1),
    );
    assert_eq!(asked(&mut rig, WANTED), 256 << 10);
    assert_eq!(
        answered(&mut rig, &[("sealed-b", b"")]),
        None,
        "the broker has waited"
    );
    assert_eq!(asked(&mut rig, WANTED), 256 << 10);
}

#[test]
fn a_key_that_comes_ends_a_long_hold_at_once() {
    let mut rig = Rig::with_keys();
    let key = dek("payments", 9);
    let clear = long_batch(4 * MEBIBYTE);
    let late = sealed(&clear, &key, "sealed-a");
    stuck(&mut rig, &late, late.len(), Duration::ZERO, TEN_SECONDS);
    rig.client_sends(&fetch_request(11, 1)).unwrap();
    let until = answered(&mut rig, &[("sealed-a", &late)]).expect("it is held");
    assert_eq!(until - rig.now, HOLD_MAX);
    rig.give_opened(&key);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert!(rig.at_client().len() > clear.len());
}
