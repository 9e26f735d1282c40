//! A batch is sealed and opened in as many turns as it takes: what may happen in the middle of one, and what bounds it.

use std::time::Duration;

use proptest::prelude::*;
use sealwire::clocks::GAP_MIN;
use sealwire::config::Limits;
use sealwire::keys::{KeyFailure, KeyReply};
use sealwire::metrics::Direction;
use sealwire::pipeline::{Wait, Work};
use sealwire::record_batch::Codec;
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::rig::{
    Dek, Halt, PAYMENTS, Rig, batch, batch_of, contains, dek, recompressed, records_of, sealed, tampered,
};
use crate::shapes::{bomb, tombstones};
use crate::wire::{
    ToProduce, Verdict, delivered, fetch_request, fetch_response, fetched, only_frame, produce, produced,
    stored, to_produce, verdicts,
};

/// A record is a turn.
const SMALLEST: usize = 1;
const MIB: usize = 1 << 20;

fn revoke(rig: &mut Rig, key: &Dek) {
    let wrapped = key.wrapped();
    // Everything in front of the blob.
    let prefix = wrapped[..wrapped.len() - 40].into();
    rig.apply(KeyReply::Revoked { prefix });
}

/// Sends the request and stops after so many turns.
fn send_for(rig: &mut Rig, request: &[u8], turns: usize) {
    assert_eq!(rig.client_sends(request), Ok(Halt::Yielded));
    for _ in 1..turns {
        assert_eq!(rig.client_sends(&[]), Ok(Halt::Yielded));
    }
}

/// Goes on to the end of the request; what reached the broker.
fn finish(rig: &mut Rig) -> Vec<u8> {
    let mut halt = Halt::Yielded;
    while halt == Halt::Yielded {
        assert_eq!(rig.at_broker(), b"", "it goes out whole");
        halt = rig.client_sends(&[]).unwrap();
    }
    assert_eq!(halt, Halt::More);
    rig.at_broker()
}

/// What the client is told, whose request reached the broker in full or in part.
fn told(rig: &mut Rig, reached: &[u8]) -> Vec<Verdict> {
    let answer = stored(9, 5, &only_frame(reached));
    assert_eq!(rig.broker_sends(&answer), Ok(Halt::More));
    verdicts(&only_frame(&rig.at_client()), 9)
}

fn opened(records: &[u8], key: &Dek) -> Vec<u8> {
    let mut rig = Rig::new();
    rig.give_opened(key);
    rig.client_sends(&fetch_request(12, 1)).unwrap();
    let response = fetch_response(12, 1, &[fetched("sealed-a", 0, records)]);
    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
    delivered(&only_frame(&rig.at_client()), 12).remove(0).records
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("value-{number}")).collect()
}

fn batch_of_values(count: usize) -> BatchBuilder {
    let values = values(count);
    batch_of(&values.iter().map(String::as_str).collect::<Vec<_>>())
}

/// SEAL-BATCH-1
#[test]
fn a_batch_whose_key_is_taken_away_in_the_middle_begins_again_with_another() {
    let next = dek("payments", 2);
    type TakeAway = fn(&mut Rig);
    let ways: [(&str, TakeAway); 4] = [
        ("revoked", |rig| revoke(rig, &PAYMENTS)),
        ("expired", |rig| rig.pass_time(Duration::from_secs(1))),
        ("slept", |rig| rig.clocks_part(GAP_MIN, Duration::ZERO)),
        ("set to another time", |rig| {
            rig.clocks_part(Duration::ZERO, GAP_MIN)
        }),
    ];
    for (way, take_away) in ways {
        for codec in [Codec::None, Codec::Gzip] {
            let clear = batch_of_values(5);
            let sent = clear.clone().codec(codec).build().unwrap();
            let mut rig = Rig::in_pieces(SMALLEST);
            rig.give_share(&PAYMENTS, 10, Duration::from_secs(1));
            // Two of five records are sealed; in front of them, what is compressed takes a turn for its header and one
            // for its content.
            let turns = if codec == Codec::None { 2 } else { 4 };
            send_for(
                &mut rig,
                &produce(9, 5, -1, &[to_produce("sealed-a", 0, &sent)]),
                turns,
            );
            assert!(
                rig.session.bytes_held(Direction::Request) > 0,
                "{way}: sealed records are held"
            );
            take_away(&mut rig);
            let mut halt = Ok(Halt::Yielded);
            while halt == Ok(Halt::Yielded) {
                halt = rig.client_sends(&[]);
            }
            assert!(
                matches!(halt, Ok(Halt::Blocked(Wait::News(_)))),
                "{way}: {halt:?}"
            );
            rig.give_sealing(&next);
            let reached = finish(&mut rig);
            assert!(
                !contains(&reached, PAYMENTS.wrapped()),
                "{way}: no record of the first try is left"
            );
            let (_, _, records) = produced(&only_frame(&reached), 9).remove(0);
            assert_eq!(opened(&records, &next), clear.build().unwrap(), "{way} {codec:?}");
        }
    }
}

/// CLOCKS-3: a batch goes on where the clocks part by less, and so does the share.
#[test]
fn clocks_that_part_by_less_than_the_least_gap_take_no_key() {
    let less = GAP_MIN - Duration::from_millis(1);
    let clear = batch_of_values(5);
    let mut rig = Rig::in_pieces(SMALLEST);
    let sent = produce(9, 5, -1, &[to_produce("sealed-a", 0, &clear.build().unwrap())]);
    send_for(&mut rig, &sent, 2);
    rig.clocks_part(less, Duration::ZERO);
    rig.clocks_part(Duration::ZERO, less);
    let reached = finish(&mut rig);
    let (_, _, records) = produced(&only_frame(&reached), 9).remove(0);
    assert_eq!(opened(&records, &PAYMENTS), clear.build().unwrap());
}

/// SEAL-BATCH-1: the second try of a batch has nothing in common with the first.
#[test]
fn a_batch_that_begins_again_has_another_salt() {
    let clear = batch_of_values(40);
    let sent = produce(9, 5, -1, &[to_produce("sealed-a", 0, &clear.build().unwrap())]);
    let mut seen = Vec::new();
    for interrupted in [false, true] {
        let mut rig = Rig::in_pieces(SMALLEST);
        if interrupted {
            send_for(&mut rig, &sent, 20);
            // The same key comes back, as after a verdict that was taken back.
            revoke(&mut rig, &PAYMENTS);
            assert!(matches!(rig.client_sends(&[]), Ok(Halt::Blocked(_))));
            rig.give_sealing(&PAYMENTS);
        } else {
            assert_eq!(rig.client_sends(&sent), Ok(Halt::Yielded));
        }
        let reached = finish(&mut rig);
        let (_, _, records) = produced(&only_frame(&reached), 9).remove(0);
        assert_eq!(opened(&records, &PAYMENTS), clear.build().unwrap());
        // Every record of a batch has the salt of its batch, right behind the wrapped DEK.
        let wrapped = PAYMENTS.wrapped();
        let records = records_of(&records);
        let salts: Vec<&[u8]> = records
            .windows(wrapped.len())
            .enumerate()
            .filter(|(_, window)| *window == &*wrapped)
            .map(|(at, _)| &records[at + wrapped.len()..at + wrapped.len() + 12])
            .collect();
        assert_eq!(salts.len(), 40);
        assert!(salts.iter().all(|salt| *salt == salts[0]), "one batch, one salt");
        seen.push(salts[0].to_vec());
    }
    assert_ne!(seen[0], seen[1]);
}

/// EXECUTOR-2: the last batch of a share is sealed to its end.
#[test]
fn a_batch_that_took_the_last_of_its_share_waits_for_no_key() {
    let clear = batch_of_values(5);
    let mut rig = Rig::in_pieces(SMALLEST);
    rig.give_share(&PAYMENTS, 1, Duration::from_secs(60));
    let sent = produce(9, 5, -1, &[to_produce("sealed-a", 0, &clear.build().unwrap())]);
    send_for(&mut rig, &sent, 3);
    let reached = finish(&mut rig);
    let (_, _, records) = produced(&only_frame(&reached), 9).remove(0);
    assert_eq!(opened(&records, &PAYMENTS), clear.build().unwrap());
}

/// SEAL-BATCH-2, SEAL-BATCH-3: at the limit it passes, one byte more is refused.
#[test]
fn sealing_stops_at_what_the_topic_can_hold() {
    // The limit of `small-*`.
    const BYTES_MAX: usize = 1000;
    let sealed_with = |bytes: usize, codec: Codec| {
        let value = "x".repeat(bytes);
        let sent = batch_of(&[value.as_str()]).codec(codec).build().unwrap();
        let mut rig = Rig::with_keys();
        let request = produce(9, 5, -1, &[to_produce("small-a", 0, &sent)]);
        assert_eq!(rig.client_sends(&request), Ok(Halt::More));
        let reached = rig.at_broker();
        let sealed = produced(&only_frame(&reached), 9)
            .first()
            .map(|(_, _, records)| records.len());
        let verdict = told(&mut rig, &reached).remove(0);
        (sealed, verdict)
    };
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let longest = (0..BYTES_MAX)
            .rev()
            .find(|bytes| sealed_with(*bytes, codec).0.is_some())
            .unwrap();
        let (sealed, verdict) = sealed_with(longest, codec);
        assert_eq!((sealed, verdict.error_code), (Some(BYTES_MAX), 0), "{codec:?}");
        for more in [1, 100, 100_000] {
            let (sealed, verdict) = sealed_with(longest + more, codec);
            assert_eq!((sealed, verdict.error_code), (None, 10), "{codec:?} {more}");
            assert!(
                verdict.message.contains("max_message_bytes"),
                "{}",
                verdict.message
            );
        }
    }
}

#[test]
fn a_bomb_is_decompressed_as_far_as_the_topic_can_hold_and_no_further() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut rig = Rig::with_keys();
        let sent = produce(9, 5, -1, &[to_produce("sealed-a", 0, &bomb(codec))]);
        rig.stops_at_yields = true;
        let mut halt = rig.client_sends(&sent);
        let mut most = 0;
        while halt == Ok(Halt::Yielded) {
            most = most.max(rig.session.bytes_held(Direction::Request));
            halt = rig.client_sends(&[]);
        }
        assert!(rig.yields <= 10, "{codec:?}: {} turns", rig.yields);
        assert!(most <= sent.len() + 8 * MIB, "{codec:?}: {most} bytes");
        let reached = rig.at_broker();
        assert_eq!(told(&mut rig, &reached)[0].error_code, 10);
        assert_eq!(rig.refusals(), [("too_large", 1)].into());
    }
}

/// WORK-2: what is refused is counted, over frames that lie one behind the other too.
#[test]
fn refusals_are_work() {
    let one = produce(9, 5, -1, &[to_produce("sealed-a", 0, &bomb(Codec::Zstd))]);
    let mut rig = Rig::with_keys();
    assert_eq!(rig.client_sends(&one.repeat(50)), Ok(Halt::More));
    assert_eq!(rig.refusals(), [("too_large", 50)].into());
    assert!(rig.yields >= 50, "{} turns for 50 MiB decompressed", rig.yields);
}

/// PRODUCE-SEAL-8
#[test]
fn a_request_that_outgrows_what_a_broker_takes_has_the_rest_refused_for_now() {
    let value = "x".repeat(60_000);
    let sent = batch_of(&[value.as_str()]).codec(Codec::Zstd).build().unwrap();
    let all: Vec<_> = (0..5)
        .map(|partition| to_produce("sealed-a", partition, &sent))
        .collect();
    let send_some = |bytes_max: usize, partitions: &[ToProduce<'_>]| {
        let mut rig = Rig::with(Limits {
            request_bytes_max: bytes_max,
            ..Limits::default()
        });
        rig.give_sealing(&PAYMENTS);
        rig.client_sends(&produce(9, 5, -1, partitions)).unwrap();
        let reached = rig.at_broker();
        let told = told(&mut rig, &reached);
        let codes: Vec<i16> = told.iter().map(|verdict| verdict.error_code).collect();
        (only_frame(&reached).len(), codes)
    };
    let send = |bytes_max: usize| send_some(bytes_max, &all);
    let (whole, codes) = send(1 << 20);
    assert_eq!(codes, [0; 5]);
    assert_eq!(send(whole), (whole, codes), "at the limit");
    let (shorter, codes) = send(whole - 1);
    assert!(shorter < whole);
    assert_eq!(codes, [0, 0, 0, 0, 19]);
    let (shorter, codes) = send(150_000);
    assert!((120_000..150_000).contains(&shorter));
    assert_eq!(codes, [0, 0, 19, 19, 19]);
    // One that would fit alone goes out whatever its company is, and one that would not never does.
    let (alone, codes) = send_some(1 << 20, &all[..1]);
    assert_eq!(codes, [0]);
    assert_eq!(send_some(alone, &all[..1]), (alone, vec![0]), "at the limit");
    assert_eq!(send_some(alone - 1, &all[..1]).1, [10], "a byte less");
    assert_eq!(send(alone), (alone, vec![0, 19, 19, 19, 19]));
    assert_eq!(send(alone - 1).1, [10; 5]);
    // What passes is not kept back by what is sealed.
    let beside = [to_produce("sealed-a", 0, &sent), to_produce("pass-a", 0, &sent)];
    assert_eq!(send_some(alone, &beside).1, [0, 19]);
}

/// OPEN-BATCH-4
#[test]
fn a_batch_whose_key_is_revoked_while_it_is_opened_is_not_delivered() {
    let clear = batch_of_values(6).build().unwrap();
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let mut rig = Rig::in_pieces(SMALLEST);
    rig.client_sends(&fetch_request(12, 5)).unwrap();
    let response = fetch_response(12, 5, &[fetched("sealed-a", 0, &stored)]);
    assert_eq!(rig.broker_sends(&response), Ok(Halt::Yielded));
    for _ in 0..3 {
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::Yielded));
    }
    revoke(&mut rig, &PAYMENTS);
    let mut halt = Ok(Halt::Yielded);
    while halt == Ok(Halt::Yielded) {
        halt = rig.broker_sends(&[]);
    }
    assert!(matches!(halt, Ok(Halt::Blocked(Wait::News(_)))), "{halt:?}");
    assert_eq!(rig.asked_to_open(), [PAYMENTS.wrapped()]);
    rig.refuse_opened(&PAYMENTS, KeyFailure::KekDisabled);
    let mut halt = rig.broker_sends(&[]);
    while halt == Ok(Halt::Yielded) {
        halt = rig.broker_sends(&[]);
    }
    if halt != Ok(Halt::More) {
        rig.pass_time(rig.pipeline.limits.fetch_hold);
        while rig.broker_sends(&[]) == Ok(Halt::Yielded) {}
    }
    let outcome = delivered(&only_frame(&rig.at_client()), 12);
    assert_eq!(outcome, [fetched("sealed-a", 0, &stored).emptied(29)]);
}

/// OPEN-BATCH-1
#[test]
fn a_key_that_is_missing_in_the_middle_takes_the_batch_back_and_all_are_asked_for() {
    let (one, two) = (dek("payments", 7), dek("payments", 8));
    let sealed_by = |key: &Dek| sealed(&batch(&["value"]), key, "sealed-a");
    // Three records of three keys in one batch, as nobody writes them.
    let mut stored = sealed_by(&PAYMENTS);
    for key in [&one, &two] {
        stored.extend_from_slice(&sealed_by(key)[61..]);
    }
    stored[26] = 2;
    stored[60] = 3;
    sealwire::testing::fit_length_and_crc(&mut stored);
    let mut rig = Rig::with_keys();
    rig.client_sends(&fetch_request(12, 5)).unwrap();
    let sent = fetched("sealed-a", 0, &stored);
    let halt = rig.broker_sends(&fetch_response(12, 5, std::slice::from_ref(&sent)));
    assert!(matches!(halt, Ok(Halt::Blocked(Wait::News(_)))));
    assert_eq!(rig.asked_to_open(), [one.wrapped(), two.wrapped()]);
    assert_eq!(rig.at_client(), b"");
    for key in [&one, &two] {
        rig.give_opened(key);
    }
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    let outcome = delivered(&only_frame(&rig.at_client()), 12).remove(0);
    assert_eq!(
        outcome
            .records
            .windows(5)
            .filter(|window| window == b"value")
            .count(),
        3
    );
}

/// Nothing is kept for each record: what is held is what was decompressed and what is written.
#[test]
fn nothing_is_held_for_each_record_of_a_batch() {
    for topic in ["tombs-a", "skip-a", "null-a", "sealed-a"] {
        let mut rig = Rig::with_keys();
        rig.stops_at_yields = true;
        rig.client_sends(&fetch_request(12, 5)).unwrap();
        let response = fetch_response(12, 5, &[fetched(topic, 0, &tombstones())]);
        let (mut halt, mut most) = (rig.broker_sends(&response), 0);
        while halt == Ok(Halt::Yielded) {
            most = most.max(rig.session.bytes_held(Direction::Response));
            halt = rig.broker_sends(&[]);
        }
        // Each buffer may be twice as long as what came, and half as much again while it moves.
        assert!(most <= 2 * 3 * 64 * MIB, "{topic}: {most} bytes");
        assert!(rig.yields >= 64, "{topic}: {} turns", rig.yields);
    }
}

/// What is stored stays readable when a rule's limit is lowered.
#[test]
fn the_limit_of_a_rule_refuses_nothing_that_is_stored() {
    let clear = batch(&["x".repeat(50_000).as_str()]);
    let stored = sealed(&clear, &PAYMENTS, "small-a");
    for stored in [stored.clone(), recompressed(&stored, Codec::Zstd)] {
        let mut rig = Rig::with_keys();
        rig.client_sends(&fetch_request(12, 5)).unwrap();
        let sent = fetched("small-a", 0, &stored);
        assert_eq!(
            rig.broker_sends(&fetch_response(12, 5, std::slice::from_ref(&sent))),
            Ok(Halt::More)
        );
        assert_eq!(delivered(&only_frame(&rig.at_client()), 12), [sent.with(&clear)]);
    }
}

/// FETCH-OPEN-6: what fits is delivered, and the client goes on behind it.
#[test]
fn a_response_that_outgrows_itself_leaves_the_rest_for_the_next_fetch() {
    let key = "k".repeat(60_000);
    let clear = BatchBuilder::new()
        .record(RecordInput {
            timestamp: 1,
            key: Some(key.as_bytes()),
            value: Some(b"value"),
            headers: &[],
        })
        .build()
        .unwrap();
    let stored = recompressed(&sealed(&clear, &PAYMENTS, "sealed-a"), Codec::Gzip);
    for (bytes_max, batches) in [(1 << 20, 5), (100_000, 2)] {
        let mut rig = Rig::with(Limits {
            decompressed_batch_bytes_max: bytes_max,
            ..Limits::default()
        });
        rig.give_opened(&PAYMENTS);
        rig.client_sends(&fetch_request(12, 5)).unwrap();
        let sent = [
            fetched("sealed-a", 0, &stored.repeat(5)),
            fetched("sealed-a", 1, &stored),
        ];
        assert_eq!(rig.broker_sends(&fetch_response(12, 5, &sent)), Ok(Halt::More));
        let outcome = delivered(&only_frame(&rig.at_client()), 12);
        let rest = if batches == 5 { &clear[..] } else { &[] };
        assert_eq!(
            outcome,
            [sent[0].with(&clear.repeat(batches)), sent[1].with(rest)]
        );
    }
}

/// PIPELINE-6
#[test]
fn while_the_executor_is_full_one_frame_at_a_time_takes_more_memory() {
    let response = |rig: &mut Rig| {
        rig.client_sends(&fetch_request(12, 5)).unwrap();
        rig.broker_sends(&fetch_response(
            12,
            5,
            &[fetched("sealed-a", 0, &bomb(Codec::Zstd))],
        ))
    };
    let (mut one, mut other) = (Rig::in_pieces(MIB), Rig::in_pieces(MIB));
    one.pipeline.metrics.gauges.bytes_held = one.pipeline.limits.executor_bytes_max as u64;
    assert_eq!(response(&mut one), Ok(Halt::Yielded));
    std::mem::swap(&mut one.pipeline, &mut other.pipeline);
    let (mut halt, mut most) = (response(&mut other), 0);
    while halt == Ok(Halt::Yielded) {
        most = most.max(other.session.bytes_held(Direction::Response));
        halt = other.broker_sends(&[]);
    }
    assert!(matches!(halt, Ok(Halt::Blocked(Wait::Until(_)))), "{halt:?}");
    assert!(most < 2 * MIB, "{most} bytes");

    // The first goes on to its end, and then it is the other's turn.
    std::mem::swap(&mut one.pipeline, &mut other.pipeline);
    let mut halt = Ok(Halt::Yielded);
    while halt == Ok(Halt::Yielded) {
        halt = one.broker_sends(&[]);
    }
    assert!(
        matches!(halt, Ok(Halt::Blocked(_))),
        "nothing is delivered of a bomb: {halt:?}"
    );
    std::mem::swap(&mut one.pipeline, &mut other.pipeline);
    other.pass_time(Duration::from_millis(20));
    let mut turns = 0;
    let mut halt = other.broker_sends(&[]);
    while halt == Ok(Halt::Yielded) {
        turns += 1;
        halt = other.broker_sends(&[]);
    }
    assert!(turns > 60, "{turns}: it is decompressed to its end");
}

#[test]
fn batches_of_every_length_come_out_the_same_whatever_a_turn_is() {
    for count in [1, 2, 3, 7, 100] {
        let clear = batch_of_values(count);
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let sent = clear.clone().codec(codec).build().unwrap();
            let request = produce(9, 5, -1, &[to_produce("sealed-a", 0, &sent)]);
            for turn in [1, 100, 300, 5000] {
                let mut rig = Rig::with_keys();
                rig.pipeline.work = Work::new(turn);
                assert_eq!(rig.client_sends(&request), Ok(Halt::More));
                let (_, _, records) = produced(&only_frame(&rig.at_broker()), 9).remove(0);
                let clear = clear.build().unwrap();
                for stored in [records.clone(), recompressed(&records, codec)] {
                    let mut rig = Rig::with_keys();
                    rig.pipeline.work = Work::new(turn);
                    rig.client_sends(&fetch_request(12, 5)).unwrap();
                    let sent = fetched("sealed-a", 0, &stored);
                    let response = fetch_response(12, 5, std::slice::from_ref(&sent));
                    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
                    assert_eq!(delivered(&only_frame(&rig.at_client()), 12), [sent.with(&clear)]);
                }
            }
        }
    }
}

/// One batch of a log, good or bad.
fn stored_batch(topic: &str, kind: u8) -> Vec<u8> {
    let clear = batch(&["one", "two", "three"]);
    let good = sealed(&clear, &PAYMENTS, topic);
    match kind {
        0 => recompressed(&good, Codec::Gzip),
        1 => clear,
        2 => recompressed(&clear, Codec::Lz4),
        3 => tampered(&good, 0),
        4 => sealed(&clear, &dek("payments", 99), topic),
        5 => BatchBuilder::new().last_offset_delta(3).build().unwrap(),
        6 => sealed(&clear, &PAYMENTS, "another"),
        _ => good,
    }
}

proptest! {
    /// FETCH-OPEN-1 to 6: turns are nobody's business but ours.
    #[test]
    fn responses_come_out_the_same_whatever_a_turn_is(
        partitions in prop::collection::vec(
            (0usize..8, prop::collection::vec(0u8..12, 0..5), 0usize..80),
            1..8,
        ),
        version in prop::sample::select(vec![4_i16, 7, 11, 12]),
        turn in prop::sample::select(vec![1_usize, 150, 600, 3000]),
    ) {
        const TOPICS: [&str; 8] =
            ["sealed-a", "mixed-a", "pass-a", "unknown", "reject-a", "skip-a", "null-a", "tombs-a"];
        let all: Vec<_> = partitions
            .iter()
            .zip(0..)
            .map(|((topic, kinds, cut), index)| {
                let topic = TOPICS[*topic];
                let mut records: Vec<u8> = kinds.iter().flat_map(|kind| stored_batch(topic, *kind)).collect();
                if kinds.len() > 1 {
                    records.truncate(records.len() - cut);
                }
                fetched(topic, index, &records)
            })
            .collect();
        let outcome = |turn: usize| {
            let mut rig = Rig::with_keys();
            rig.pipeline.work = Work::new(turn);
            rig.client_sends(&fetch_request(version, 5)).unwrap();
            let mut halt = rig.broker_sends(&fetch_response(version, 5, &all)).unwrap();
            while halt != Halt::More {
                rig.pass_time(rig.pipeline.limits.fetch_hold);
                halt = rig.broker_sends(&[]).unwrap();
            }
            (rig.at_client(), rig.refusals())
        };
        prop_assert_eq!(outcome(turn), outcome(usize::MAX));
    }

    /// The same for requests, as consumers see what reached the broker.
    #[test]
    fn requests_come_out_the_same_whatever_a_turn_is(
        partitions in prop::collection::vec((0usize..6, 0u8..7, 0usize..40), 1..8),
        version in prop::sample::select(vec![3_i16, 7, 9, 12]),
        turn in prop::sample::select(vec![1_usize, 150, 600, 3000]),
    ) {
        const TOPICS: [&str; 6] = ["sealed-a", "other-a", "pass-a", "unknown", "reject-a", "small-a"];
        let batches: Vec<_> = partitions
            .iter()
            .map(|(topic, kind, count)| {
                let clear = batch_of_values(count + 1);
                let codec = Codec::from_number(*kind).unwrap_or(Codec::None);
                let mut batch = clear.codec(codec).build().unwrap();
                if *kind == 6 {
                    *batch.last_mut().unwrap() ^= 1;
                }
                (TOPICS[*topic], batch)
            })
            .collect();
        let all: Vec<_> = batches
            .iter()
            .zip(0..)
            .map(|((topic, batch), index)| to_produce(topic, index, batch))
            .collect();
        let outcome = |turn: usize| {
            let mut rig = Rig::with_keys();
            rig.pipeline.work = Work::new(turn);
            assert_eq!(rig.client_sends(&produce(version, 5, -1, &all)), Ok(Halt::More));
            let reached = produced(&only_frame(&rig.at_broker()), version);
            let opened: Vec<_> = reached
                .iter()
                .map(|(topic, partition, records)| {
                    let mut rig = Rig::with_keys();
                    rig.client_sends(&fetch_request(12, 1)).unwrap();
                    let response = fetch_response(12, 1, &[fetched(topic, *partition, records)]);
                    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
                    delivered(&only_frame(&rig.at_client()), 12)
                })
                .collect();
            (opened, rig.refusals())
        };
        prop_assert_eq!(outcome(turn), outcome(usize::MAX));
    }
}
