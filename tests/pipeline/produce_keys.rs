//! Produce requests whose keys come late, or never: waiting, refusing, and the sequence guard.

use std::time::Duration;

use sealwire::keys::{KeyFailure, KeyRequest};
use sealwire::metrics::CloseReason;
use sealwire::pipeline::{SequenceGuard, Wait};

use crate::rig::{Halt, OTHER, PAYMENTS, Rig, batch, batch_of, contains};
use crate::wire::{Verdict, frames, only_frame, produce, produced, stored, to_produce, verdicts};

const SEAL_WAIT: Duration = Duration::from_secs(2);

/// One idempotent batch of producer 7 for a partition of `topic`; `None` when it waits.
fn send(rig: &mut Rig, topic: &str, partition: i32, epoch: i16, sequence: i32) -> Option<i16> {
    let records = batch_of(&["value-canary"])
        .producer(7, epoch, sequence)
        .build()
        .unwrap();
    let sent = produce(9, sequence, -1, &[to_produce(topic, partition, &records)]);
    if rig.client_sends(&sent).unwrap() != Halt::More {
        return None;
    }
    Some(answer(rig)[0].error_code)
}

/// The KMS cannot be reached for as long as a request waits.
fn wait_out_an_outage(rig: &mut Rig) {
    rig.refuse_sealing(&PAYMENTS, KeyFailure::Unavailable);
    let again = rig.now + Duration::from_millis(100);
    assert_eq!(
        rig.client_sends(&[]),
        Ok(Halt::Blocked(Wait::News(again))),
        "an outage is waited out like a key that is late"
    );
    rig.pass_time(SEAL_WAIT);
    rig.refuse_sealing(&PAYMENTS, KeyFailure::Unavailable);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
}

/// Lets the broker store the one request that has reached it.
fn answer(rig: &mut Rig) -> Vec<Verdict> {
    let request = only_frame(&rig.at_broker());
    let correlation_id = i32::from_be_bytes(*request[4..].first_chunk().unwrap());
    rig.broker_sends(&stored(9, correlation_id, &request)).unwrap();
    verdicts(&only_frame(&rig.at_client()), 9)
}

#[test]
fn a_request_waits_for_its_keys_and_goes_when_they_come() {
    let mut rig = Rig::new();
    let sent = produce(
        9,
        1,
        -1,
        &[
            to_produce("sealed-a", 0, &batch(&["value-canary"])),
            to_produce("pass-a", 0, &batch(&["open"])),
            to_produce("other-a", 0, &batch(&["value-canary"])),
        ],
    );
    let until = rig.now + SEAL_WAIT;
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::News(until))));
    let asked: Vec<String> = rig
        .pipeline
        .keys
        .take_requests()
        .into_iter()
        .map(|request| match request {
            KeyRequest::Seal { key, .. } => key.kek.to_string(),
            _ => "something else".to_owned(),
        })
        .collect();
    assert_eq!(
        asked,
        ["payments", "other"],
        "all keys are asked for before it waits"
    );

    rig.pass_time(Duration::from_millis(500));
    rig.give_sealing(&PAYMENTS);
    assert_eq!(
        rig.client_sends(&[]),
        Ok(Halt::Blocked(Wait::News(until))),
        "the wait began when the request came"
    );
    assert_eq!(rig.parked(), (1, 0));
    assert_eq!(rig.at_broker(), b"");
    rig.give_sealing(&OTHER);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert_eq!(produced(&request, 9).len(), 3);
    assert!(!contains(&request, "value-canary"));
    assert!(rig.refusals().is_empty());
    assert_eq!(rig.parked(), (0, 0));
}

/// PRODUCE-SEAL-1.
#[test]
fn after_the_wait_only_the_partitions_without_a_key_are_refused() {
    let mut rig = Rig::new();
    rig.give_sealing(&OTHER);
    let sent = produce(
        9,
        1,
        -1,
        &[
            to_produce("sealed-a", 0, &batch(&["value-canary"])),
            to_produce("other-a", 0, &batch(&["value-canary"])),
            to_produce("pass-a", 0, &batch(&["open"])),
        ],
    );
    let until = rig.now + SEAL_WAIT;
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::News(until))));
    rig.pass_time(SEAL_WAIT - Duration::from_millis(1));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::News(until))));
    rig.pass_time(Duration::from_millis(1));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let codes: Vec<(String, i16)> = answer(&mut rig)
        .into_iter()
        .map(|verdict| (verdict.topic, verdict.error_code))
        .collect();
    let expected =
        [("other-a", 0), ("pass-a", 0), ("sealed-a", 19)].map(|(topic, code)| (topic.to_owned(), code));
    assert_eq!(codes, expected);
    assert_eq!(rig.refusals(), [("key_waiting", 1)].into());
}

#[test]
fn a_key_that_was_waited_for_in_vain_holds_up_nobody_again_until_it_comes() {
    let mut rig = Rig::new();
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 0), None);
    rig.pass_time(SEAL_WAIT);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(answer(&mut rig)[0].error_code, 19);
    assert_eq!(send(&mut rig, "sealed-a", 1, 0, 0), Some(19), "refused at once");
    rig.give_sealing(&PAYMENTS);
    assert_eq!(send(&mut rig, "sealed-a", 1, 0, 0), Some(0));

    // From then on it is worth waiting for again.
    rig.apply(sealwire::keys::KeyReply::Released {
        key: sealwire::keys::KeyId::first("payments"),
    });
    assert_eq!(send(&mut rig, "sealed-a", 1, 0, 1), None);
}

/// PRODUCE-SEAL-3.
#[test]
fn verdicts_of_the_kms_are_final_and_outages_are_not() {
    for (failure, code, reason) in [
        (KeyFailure::KekDisabled, 44, "kek_refused"),
        (KeyFailure::KekDestroyed, 44, "kek_refused"),
        (KeyFailure::KekNotFound, 44, "kek_refused"),
        (KeyFailure::Unavailable, 19, "kms_unavailable"),
    ] {
        let mut rig = Rig::new();
        let sent = produce(9, 1, -1, &[to_produce("sealed-a", 0, &batch(&["value"]))]);
        assert!(matches!(rig.client_sends(&sent), Ok(Halt::Blocked(_))));
        if failure.is_outage() {
            wait_out_an_outage(&mut rig);
        } else {
            rig.refuse_sealing(&PAYMENTS, failure);
            assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
        }
        let verdicts = answer(&mut rig);
        assert_eq!(verdicts[0].error_code, code);
        assert!(verdicts[0].message.contains(&failure.to_string()), "{verdicts:?}");
        assert_eq!(rig.refusals(), [(reason, 1)].into());
        assert_eq!(rig.audit(), [reason]);
    }
}

#[test]
fn higher_sequences_wait_for_the_refused_one() {
    let mut rig = Rig::new();
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 10), None);
    wait_out_an_outage(&mut rig);
    assert_eq!(answer(&mut rig)[0].error_code, 19);

    rig.give_sealing(&PAYMENTS);
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 11), Some(19));
    assert_eq!(send(&mut rig, "sealed-a", 1, 0, 11), Some(0), "another partition");
    assert_eq!(send(&mut rig, "sealed-b", 0, 0, 11), Some(0), "another topic");
    assert_eq!(
        send(&mut rig, "sealed-a", 0, 1, 0),
        Some(0),
        "another epoch starts afresh"
    );
    assert_eq!(
        send(&mut rig, "sealed-a", 0, 0, 12),
        Some(0),
        "and forgets the old one"
    );
    assert_eq!(
        rig.refusals(),
        [("kms_unavailable", 1), ("sequence_guard", 1)].into()
    );
}

#[test]
fn the_refused_sequence_ends_the_guard_and_no_earlier_one_does() {
    let mut rig = Rig::new();
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 10), None);
    wait_out_an_outage(&mut rig);
    assert_eq!(answer(&mut rig)[0].error_code, 19);
    rig.give_sealing(&PAYMENTS);

    assert_eq!(
        send(&mut rig, "sealed-a", 0, 0, 9),
        Some(0),
        "an earlier one that the broker had refused"
    );
    assert_eq!(
        send(&mut rig, "sealed-a", 0, 0, 11),
        Some(19),
        "10 is still missing"
    );
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 10), Some(0));
    assert_eq!(send(&mut rig, "sealed-a", 0, 0, 11), Some(0));
}

/// GUARD-2.
#[test]
fn a_guard_without_room_closes_the_connection() {
    let mut rig = Rig::new();
    let records = batch_of(&["value"]).producer(7, 0, 0).build().unwrap();
    let refuse = |rig: &mut Rig, partitions: std::ops::Range<i32>| {
        let partitions: Vec<_> = partitions
            .map(|partition| to_produce("sealed-a", partition, &records))
            .collect();
        let sent = produce(9, 1, -1, &partitions);
        let mut halted = rig.client_sends(&sent);
        if matches!(halted, Ok(Halt::Blocked(_))) {
            rig.pass_time(SEAL_WAIT);
            halted = rig.client_sends(&[]);
        }
        halted
    };
    let full = i32::try_from(SequenceGuard::ENTRIES_MAX).unwrap();
    assert_eq!(refuse(&mut rig, 0..full), Ok(Halt::More));
    assert_eq!(refuse(&mut rig, full..full + 1), Err(CloseReason::Limit));
}

#[test]
fn a_request_that_waits_keeps_those_behind_it_in_order() {
    let mut rig = Rig::new();
    let waits = produce(9, 1, -1, &[to_produce("sealed-a", 0, &batch(&["value"]))]);
    let passes = produce(9, 2, -1, &[to_produce("pass-a", 0, &batch(&["open"]))]);
    let halted = rig.client_sends(&[waits, passes].concat());
    assert!(matches!(halted, Ok(Halt::Blocked(_))));
    assert_eq!(rig.at_broker(), b"");
    rig.give_sealing(&PAYMENTS);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let topics: Vec<String> = frames(&rig.at_broker())
        .iter()
        .map(|frame| produced(frame, 9)[0].0.clone())
        .collect();
    assert_eq!(topics, ["sealed-a", "pass-a"]);
}
