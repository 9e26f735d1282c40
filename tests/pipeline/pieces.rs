//! Long frames are worked off in pieces: what may happen between two of them, and that nothing is done twice.

use std::time::Duration;

use sealwire::keys::{KeyFailure, KeyReply, KeyRequest};
use sealwire::metrics::{CloseReason, Direction};
use sealwire::pipeline::{Wait, Work};
use sealwire::record_batch::Codec;
use sealwire::testing::RecordInput;

use crate::rig::{Dek, Halt, OTHER, PAYMENTS, Rig, batch, batch_of, contains, dek, recompressed, sealed};
use crate::wire::{
    Produced, ToProduce, correlation_ids, delivered, fetch_request, fetch_response, fetched, frames,
    metadata_request, metadata_response, only_frame, produce, produced, stored, to_produce, verdicts,
};

const SEAL_WAIT: Duration = Duration::from_secs(2);
/// Every partition is a piece.
const SMALLEST: usize = 1;
const CRC_AT: usize = 17;

/// A request for partitions 0, 1 … of `topic`, one batch of an idempotent producer for each.
fn request_of(topic: &str, acks: i16, sequence: i32, partitions: i32) -> (Vec<Vec<u8>>, Vec<u8>) {
    let batches: Vec<Vec<u8>> = (0..partitions)
        .map(|partition| {
            let value = format!("value-canary-{partition}");
            let batch = batch_of(&[value.as_str()]).producer(7, 0, sequence);
            batch.build().unwrap()
        })
        .collect();
    let wanted: Vec<ToProduce<'_>> = batches
        .iter()
        .zip(0..)
        .map(|(records, partition)| to_produce(topic, partition, records))
        .collect();
    let request = produce(9, 5, acks, &wanted);
    (batches, request)
}

/// Sends the request and goes on until `written` of its `partitions` are written: each is judged in a piece, then each
/// is written in one.
fn send_until(rig: &mut Rig, request: &[u8], partitions: usize, written: usize) {
    assert_eq!(rig.client_sends(request), Ok(Halt::Yielded));
    for _ in 1..partitions + written {
        assert_eq!(rig.client_sends(&[]), Ok(Halt::Yielded));
    }
    assert_eq!(rig.at_broker(), b"", "it goes out whole");
}

/// Goes on to the end of the request, piece by piece.
fn finish(rig: &mut Rig) -> Vec<Produced> {
    loop {
        match rig.client_sends(&[]).unwrap() {
            Halt::Yielded => assert_eq!(rig.at_broker(), b"", "it goes out whole"),
            Halt::More => return produced(&only_frame(&rig.at_broker()), 9),
            halt @ Halt::Blocked(_) => panic!("{halt:?}"),
        }
    }
}

/// The client's codes after the broker has stored what reached it.
fn codes(rig: &mut Rig, reached: &[Produced]) -> Vec<i16> {
    let kept: Vec<ToProduce<'_>> = reached
        .iter()
        .map(|(topic, partition, records)| to_produce(topic, *partition, records))
        .collect();
    let answer = stored(9, 5, &produce(9, 5, -1, &kept)[4..]);
    assert_eq!(rig.broker_sends(&answer), Ok(Halt::More));
    let verdicts = verdicts(&only_frame(&rig.at_client()), 9);
    verdicts.iter().map(|verdict| verdict.error_code).collect()
}

/// What a consumer gets of stored records.
fn opened(topic: &str, records: &[u8], keys: &[Dek]) -> Vec<u8> {
    let mut rig = Rig::new();
    for key in keys {
        rig.give_opened(key);
    }
    rig.client_sends(&fetch_request(12, 1)).unwrap();
    let response = fetch_response(12, 1, &[fetched(topic, 0, records)]);
    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
    delivered(&only_frame(&rig.at_client()), 12).remove(0).records
}

/// The KMS has refused the KEK version of `key`.
fn revoke(rig: &mut Rig, key: &Dek) {
    let wrapped = key.wrapped();
    // Everything in front of the blob.
    let prefix = wrapped[..wrapped.len() - 40].into();
    rig.apply(KeyReply::Revoked { prefix });
}

/// The DEKs that were asked for to seal, each with whether it replaces one that is used up.
fn asked_to_seal(rig: &mut Rig) -> Vec<(String, bool)> {
    let requests = rig.pipeline.keys.take_requests().into_iter();
    requests
        .filter_map(|request| match request {
            KeyRequest::Seal { key, used_up, .. } => Some((key.kek.to_string(), used_up.is_some())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_request_is_worked_off_batch_by_batch_and_comes_out_as_in_one_go() {
    let clear = batch(&["value-canary"]);
    let mut broken = clear.clone();
    *broken.last_mut().unwrap() ^= 1;
    let sent = produce(
        9,
        5,
        -1,
        &[
            to_produce("sealed-a", 0, &clear),
            to_produce("sealed-a", 1, &broken),
            to_produce("unknown", 0, &clear),
            to_produce("pass-a", 0, &clear),
            to_produce("other-a", 0, &clear),
            to_produce("other-a", 1, &clear),
        ],
    );
    let mut rig = Rig::in_pieces(SMALLEST);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Yielded));
    let reached = finish(&mut rig);
    assert_eq!(rig.yields, 6 + 5, "each is judged, then written");
    let places: Vec<(&str, i32)> = reached
        .iter()
        .map(|(topic, partition, _)| (topic.as_str(), *partition))
        .collect();
    assert_eq!(
        places,
        [("sealed-a", 0), ("pass-a", 0), ("other-a", 0), ("other-a", 1)]
    );
    for (topic, _, records) in &reached {
        let expected = if topic == "pass-a" { records } else { &clear };
        assert_eq!(&opened(topic, records, &[PAYMENTS, OTHER]), expected);
        assert_eq!(contains(records, "value-canary"), topic == "pass-a");
    }
    assert_eq!(codes(&mut rig, &reached), [0, 0, 0, 0, 2, 44]);
    assert_eq!(rig.refusals(), [("malformed", 1), ("no_rule", 1)].into());
    assert_eq!(rig.audit().len(), 2);
}

/// PIPELINE-5.
#[test]
fn short_requests_take_one_turn_and_long_ones_as_many_as_they_have_work() {
    let value = "x".repeat(250_000);
    let batches: Vec<Vec<u8>> = (0..9).map(|_| batch(&[value.as_str(), value.as_str()])).collect();
    let send = |count: usize| {
        let mut rig = Rig::with_keys();
        let wanted: Vec<_> = batches[..count]
            .iter()
            .zip(0..)
            .map(|(records, partition)| to_produce("sealed-a", partition, records))
            .collect();
        assert_eq!(rig.client_sends(&produce(9, 5, -1, &wanted)), Ok(Halt::More));
        assert_eq!(produced(&only_frame(&rig.at_broker()), 9).len(), count);
        rig.yields
    };
    assert_eq!(send(2), 0, "nothing is left when the turn is over");
    assert_eq!(send(3), 1);
    // Four records are a turn, and so are the checks of sixteen batches.
    assert!((4..=5).contains(&send(9)), "{} times for 4.5 MB", send(9));
}

/// DECOMPRESSING-1
#[test]
fn what_is_compressed_counts_with_what_is_in_it_and_frames_in_front_stay() {
    let value = "x".repeat(60_000);
    let plain = batch_of(&[value.as_str()]);
    let sent = plain.clone().codec(Codec::Gzip).build().unwrap();
    let partitions: Vec<_> = (0..8)
        .map(|partition| to_produce("sealed-a", partition, &sent))
        .collect();
    let long = produce(9, 2, -1, &partitions);
    let mut rig = Rig::in_pieces(64 * 1024);
    assert!(long.len() < 64 * 1024);
    // Both stand in one read, so that the first is in the output when the second begins.
    let halted = rig.client_sends(&[metadata_request(1), long].concat());
    assert_eq!(halted, Ok(Halt::Yielded));
    assert_eq!(rig.at_broker(), metadata_request(1));
    let reached = finish(&mut rig);
    // 60 kB are decompressed, then sealed, of each.
    assert!((12..=16).contains(&rig.yields), "{}", rig.yields);
    assert_eq!(reached.len(), 8);
    for (topic, _, records) in &reached {
        assert_eq!(opened(topic, records, &[PAYMENTS]), plain.build().unwrap());
    }
}

/// PRODUCE-SEAL-5.
#[test]
fn what_is_done_is_neither_checked_nor_sealed_again() {
    let (batches, sent) = request_of("sealed-a", -1, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &sent, 3, 1);
    // Whoever looked again at what is done would find it broken.
    let input = rig.unused_requests();
    for batch in &batches {
        let at = input
            .windows(batch.len())
            .position(|window| window == batch.as_slice())
            .unwrap();
        input[at + CRC_AT] ^= 1;
    }
    let reached = finish(&mut rig);
    for ((topic, _, records), clear) in reached.iter().zip(&batches) {
        assert_eq!(&opened(topic, records, &[PAYMENTS]), clear);
    }
    assert_eq!(codes(&mut rig, &reached), [0, 0, 0]);
}

#[test]
fn a_request_that_waited_for_keys_is_not_checked_again() {
    let (batches, sent) = request_of("sealed-a", -1, 0, 1);
    let mut rig = Rig::new();
    assert!(matches!(
        rig.client_sends(&sent),
        Ok(Halt::Blocked(Wait::News(_)))
    ));
    let input = rig.unused_requests();
    let at = input.len() - batches[0].len();
    let crc_at = input[at - 4..]
        .windows(batches[0].len())
        .position(|window| window == batches[0].as_slice())
        .map_or_else(
            || panic!("the batch ends the request"),
            |from| at - 4 + from + CRC_AT,
        );
    input[crc_at] ^= 1;
    rig.give_sealing(&PAYMENTS);
    let reached = finish(&mut rig);
    assert_eq!(opened("sealed-a", &reached[0].2, &[PAYMENTS]), batches[0]);
}

/// PRODUCE-SEAL-6.
#[test]
fn a_key_that_is_revoked_between_two_pieces_seals_no_batch_more() {
    let (batches, sent) = request_of("sealed-a", -1, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    let until = rig.now + SEAL_WAIT;
    send_until(&mut rig, &sent, 3, 1);
    revoke(&mut rig, &PAYMENTS);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::News(until))));
    assert_eq!(rig.parked(), (1, 0));
    assert_eq!(asked_to_seal(&mut rig), [("payments".to_owned(), false)]);
    assert_eq!(rig.at_broker(), b"");

    let next = dek("payments", 2);
    rig.give_sealing(&next);
    let reached = finish(&mut rig);
    let under = |key: &Dek| -> Vec<bool> {
        let holds = |(_, _, records): &Produced| contains(records, key.wrapped());
        reached.iter().map(holds).collect()
    };
    assert_eq!(under(&PAYMENTS), [true, false, false]);
    assert_eq!(under(&next), [false, true, true]);
    for ((topic, _, records), clear) in reached.iter().zip(&batches) {
        assert_eq!(&opened(topic, records, &[PAYMENTS, next.clone()]), clear);
    }
    assert_eq!(codes(&mut rig, &reached), [0, 0, 0]);
    assert_eq!(rig.parked(), (0, 0));
}

#[test]
fn a_kek_that_is_refused_between_two_pieces_refuses_the_rest() {
    let (_, sent) = request_of("sealed-a", -1, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &sent, 3, 1);
    rig.refuse_sealing(&PAYMENTS, KeyFailure::KekDisabled);
    let reached = finish(&mut rig);
    assert_eq!(reached.len(), 1);
    assert_eq!(codes(&mut rig, &reached), [0, 44, 44]);
    assert_eq!(rig.refusals(), [("kek_refused", 2)].into());
}

#[test]
fn a_key_that_does_not_come_back_in_time_has_the_rest_refused_and_guarded() {
    let (_, sent) = request_of("sealed-a", -1, 10, 2);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &sent, 2, 1);
    revoke(&mut rig, &PAYMENTS);
    assert!(matches!(rig.client_sends(&[]), Ok(Halt::Blocked(_))));
    rig.pass_time(SEAL_WAIT);
    let reached = finish(&mut rig);
    assert_eq!(codes(&mut rig, &reached), [0, 19]);

    // What was sealed is not held back, what was refused is not overtaken.
    rig.give_sealing(&PAYMENTS);
    let (_, next) = request_of("sealed-a", -1, 11, 2);
    assert_eq!(rig.client_sends(&next), Ok(Halt::Yielded));
    let reached = finish(&mut rig);
    assert_eq!(codes(&mut rig, &reached), [0, 19]);
    assert_eq!(rig.refusals(), [("key_waiting", 1), ("sequence_guard", 1)].into());
}

#[test]
fn a_key_whose_time_ends_between_two_pieces_is_replaced() {
    let (_, sent) = request_of("sealed-a", -1, 0, 2);
    let mut rig = Rig::in_pieces(SMALLEST);
    rig.give_share(&PAYMENTS, 100, Duration::from_secs(1));
    send_until(&mut rig, &sent, 2, 1);
    rig.pass_time(Duration::from_secs(1));
    assert!(matches!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::News(_)))));
    assert_eq!(asked_to_seal(&mut rig), [("payments".to_owned(), true)]);
    let next = dek("payments", 2);
    rig.give_sealing(&next);
    let reached = finish(&mut rig);
    assert!(contains(&reached[0].2, PAYMENTS.wrapped()));
    assert!(contains(&reached[1].2, next.wrapped()));
}

/// What is to be copied behind the records is no reason to make room for a second frame.
#[test]
fn a_long_request_takes_the_memory_of_one_however_often_it_pauses() {
    let value = "v".repeat(1000);
    let batch = batch_of(&[value.as_str(); 600]).build().unwrap();
    let sent = produce(9, 5, -1, &[to_produce("sealed-a", 0, &batch)]);
    let mut rig = Rig::in_pieces(batch.len() / 10);
    let (mut pauses, mut held) = (0, 0);
    let mut halt = rig.client_sends(&sent);
    while halt == Ok(Halt::Yielded) {
        pauses += 1;
        held = held.max(rig.session.bytes_held(Direction::Request));
        halt = rig.client_sends(&[]);
    }
    assert_eq!(halt, Ok(Halt::More));
    assert!(pauses > 8, "{pauses}");
    // What is expected of seals is among it.
    assert!(
        held > sent.len() && held < sent.len() * 3 / 2,
        "{held} bytes for {}",
        sent.len()
    );
}

/// EXECUTOR-2, in one piece as in many.
#[test]
fn a_request_takes_no_batch_more_than_the_share_has() {
    for piece_bytes in [SMALLEST, usize::MAX] {
        let (_, sent) = request_of("sealed-a", -1, 0, 5);
        let mut rig = Rig::with_keys();
        rig.pipeline.work = Work::new(piece_bytes);
        rig.give_share(&PAYMENTS, 3, SEAL_WAIT);
        assert!(matches!(
            rig.client_sends(&sent),
            Ok(Halt::Blocked(Wait::News(_)))
        ));
        assert_eq!(asked_to_seal(&mut rig), [("payments".to_owned(), true)]);
        assert_eq!(rig.at_broker(), b"");
        let next = dek("payments", 2);
        rig.give_share(&next, 2, SEAL_WAIT);
        let reached = finish(&mut rig);
        let under_first = reached
            .iter()
            .filter(|(_, _, records)| contains(records, PAYMENTS.wrapped()));
        assert_eq!(under_first.count(), 3);
        assert_eq!(codes(&mut rig, &reached), [0; 5]);
    }
}

/// PRODUCE-SEAL-7.
#[test]
fn without_acknowledgements_nothing_is_sent_of_what_cannot_be_sealed_whole() {
    let (_, sent) = request_of("sealed-a", 0, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &sent, 3, 2);
    rig.refuse_sealing(&PAYMENTS, KeyFailure::KekDestroyed);
    assert_eq!(rig.client_sends(&[]), Err(CloseReason::AcksZeroUnsealable));
    assert_eq!(rig.at_broker(), b"");
    assert_eq!(rig.refusals(), [("kek_refused", 1)].into());
}

#[test]
fn a_connection_that_ends_between_two_pieces_leaves_nothing() {
    let (_, sent) = request_of("sealed-a", -1, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &sent, 3, 1);
    assert!(rig.session.bytes_held(Direction::Request) > 0);
    revoke(&mut rig, &PAYMENTS);
    assert!(matches!(rig.client_sends(&[]), Ok(Halt::Blocked(_))));
    rig.session.abandon(&mut rig.pipeline);
    assert_eq!(rig.parked(), (0, 0));
    assert_eq!(rig.session.bytes_held(Direction::Request), 0);
    assert_eq!(rig.at_broker(), b"");
}

/// PIPELINE-2.
#[test]
fn order_is_kept_in_both_directions_while_a_request_is_worked_off() {
    let (_, sent) = request_of("sealed-a", -1, 0, 3);
    let mut rig = Rig::in_pieces(SMALLEST);
    let requests = [metadata_request(1), sent, metadata_request(9)].concat();
    assert_eq!(rig.client_sends(&requests), Ok(Halt::Yielded));
    assert_eq!(rig.at_broker(), metadata_request(1));
    // The answer to what came before passes between two pieces: it is looked through, and then written.
    let answer = metadata_response(1, &[]);
    assert_eq!(rig.broker_sends(&answer), Ok(Halt::Yielded));
    assert_eq!(rig.at_client(), b"");
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(correlation_ids(&rig.at_client()), [1]);
    let mut halt = Halt::Yielded;
    while halt == Halt::Yielded {
        assert_eq!(rig.at_broker(), b"");
        halt = rig.client_sends(&[]).unwrap();
    }
    assert_eq!(halt, Halt::More);
    let ids: Vec<i32> = frames(&rig.at_broker())
        .iter()
        .map(|frame| i32::from_be_bytes(*frame[4..].first_chunk().unwrap()))
        .collect();
    assert_eq!(ids, [5, 9]);
}

#[test]
fn a_drain_takes_a_request_that_is_worked_off_to_its_end() {
    let (_, sent) = request_of("sealed-a", -1, 0, 2);
    let mut rig = Rig::in_pieces(SMALLEST);
    send_until(&mut rig, &[sent.clone(), metadata_request(6)].concat(), 2, 1);
    rig.session.drain(sent.len());
    assert!(rig.session.takes_requests());
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(produced(&only_frame(&rig.at_broker()), 9).len(), 2);
    assert!(!rig.session.takes_requests());
}

/// FRAME-HELD-1.
#[test]
fn a_response_may_turn_out_to_be_long_behind_other_answers() {
    let key = "k".repeat(100_000);
    let record = RecordInput {
        timestamp: 1,
        key: Some(key.as_bytes()),
        value: Some(b"value"),
        headers: &[],
    };
    let clear = sealwire::testing::BatchBuilder::new()
        .record(record)
        .build()
        .unwrap();
    // Record keys are stored as they are, and compress well.
    let stored = recompressed(&sealed(&clear, &PAYMENTS, "sealed-a"), Codec::Gzip);
    let mut rig = Rig::in_pieces(64 * 1024);
    let requests = [metadata_request(1), fetch_request(12, 2)].concat();
    rig.client_sends(&requests).unwrap();
    let partitions = [0, 1, 2].map(|partition| fetched("sealed-a", partition, &stored));
    let answers = [metadata_response(1, &[]), fetch_response(12, 2, &partitions)].concat();
    assert!(answers.len() < 64 * 1024);
    assert_eq!(rig.broker_sends(&answers), Ok(Halt::Yielded));
    assert_eq!(correlation_ids(&rig.at_client()), [1]);
    let mut halt = Halt::Yielded;
    while halt == Halt::Yielded {
        assert_eq!(rig.at_client(), b"", "it goes out whole");
        halt = rig.broker_sends(&[]).unwrap();
    }
    let expected = partitions.map(|partition| partition.with(&clear));
    assert_eq!(delivered(&only_frame(&rig.at_client()), 12), expected);
    // 100 kB are decompressed, then opened, of each.
    assert_eq!(rig.yields, 6);
}
