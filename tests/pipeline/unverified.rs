//! What nobody vouches for: how little of it readers get, and under which rules.

use sealwire::envelope::HeaderMode;
use sealwire::keys::KeyFailure;
use sealwire::pipeline::Wait;
use sealwire::record_batch::{BatchHeader, Codec, Gap, GapForm};
use sealwire::testing::RecordInput;

use crate::fetch::{code_of, fetch, records_of};
use crate::rig::{
    Halt, OTHER, PAYMENTS, Rig, at_offset, batch, batch_of, contains, dek, recompressed, sealed, sealed_with,
    tampered,
};
use crate::wire::{delivered, fetch_request, fetch_response, fetched, only_frame};

const INJECTED: &[(&[u8], Option<&[u8]>)] = &[(b"injected", Some(b"by-the-broker"))];

fn tombstone(headers: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let record = RecordInput {
        timestamp: 1_700_000_000_000,
        key: Some(b"key"),
        value: None,
        headers,
    };
    batch_of(&[]).record(record).build().unwrap()
}

/// OPEN-BATCH-5
#[test]
fn an_accepted_tombstone_comes_without_headers() {
    let mut rig = Rig::with_keys();
    let (bare, loaded) = (tombstone(&[]), tombstone(INJECTED));
    for stored in [bare.clone(), loaded.clone(), recompressed(&loaded, Codec::Zstd)] {
        for topic in ["tombs-a", "null-a"] {
            let outcome = records_of(&mut rig, topic, &stored);
            assert_eq!((outcome.error_code, &outcome.records), (0, &bare), "{topic}");
        }
    }
    // Beside a sealed record, whose own headers come back.
    let clear = batch(&["one"]);
    let stored = [sealed(&clear, &PAYMENTS, "tombs-a"), loaded.clone()].concat();
    let outcome = records_of(&mut rig, "tombs-a", &stored);
    assert_eq!(outcome.records, [clear, bare].concat());
    // Where plaintext is accepted its headers are, and a tombstone's are no worse.
    assert_eq!(records_of(&mut rig, "all-a", &loaded).records, loaded);
    assert!(
        rig.refusals().keys().all(|reason| *reason == "tombstone"),
        "{:?}",
        rig.refusals()
    );
}

#[test]
fn what_a_nulled_record_delivers_could_come_as_a_tombstone_as_well() {
    let mut rig = Rig::with_keys();
    let stored = sealed_with(&batch(&["one"]), &PAYMENTS, "null-a", HeaderMode::Sealed);
    let outcome = records_of(&mut rig, "null-a", &tampered(&stored, 0));
    assert_eq!((outcome.error_code, &outcome.records), (0, &tombstone(&[])));
    assert_eq!(
        records_of(&mut rig, "null-a", &tombstone(INJECTED)).records,
        outcome.records
    );
}

#[test]
fn readers_get_no_headers_that_are_less_protected_than_the_rule_says() {
    use HeaderMode::{Bound, Free, Sealed};
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    for (topic, floor) in [
        ("sealed-a", Sealed),
        ("raised-a", Bound),
        ("bound-a", Bound),
        ("free-a", Free),
    ] {
        for mode in [Free, Bound, Sealed] {
            let before = rig.refusals().get("weak_headers").copied().unwrap_or_default();
            let stored = sealed_with(&clear, &PAYMENTS, topic, mode);
            let outcome = records_of(&mut rig, topic, &stored);
            let refusals = rig.refusals().get("weak_headers").copied().unwrap_or_default() - before;
            if mode < floor {
                assert_eq!(
                    (outcome.error_code, outcome.records),
                    (2, Vec::new()),
                    "{topic} {mode:?}"
                );
                assert_eq!(
                    (refusals, rig.audit()),
                    (1, vec!["weak_headers"]),
                    "{topic} {mode:?}"
                );
            } else {
                assert_eq!(
                    (outcome.error_code, &outcome.records),
                    (0, &clear),
                    "{topic} {mode:?}"
                );
                assert_eq!(refusals, 0, "{topic} {mode:?}");
            }
        }
    }
    // No key is asked for in vain, and a rule may let readers past it.
    let unknown = dek("payments", 9);
    assert_eq!(
        code_of(
            &mut rig,
            "sealed-a",
            &sealed_with(&clear, &unknown, "sealed-a", Free)
        ),
        2
    );
    assert!(rig.asked_to_open().is_empty());
    let skipped = records_of(
        &mut rig,
        "skip-a",
        &sealed_with(&clear, &PAYMENTS, "skip-a", Bound),
    );
    assert!(skipped.error_code == 0 && !contains(&skipped.records, "value"));
}

/// A record whose wrapped data key was altered is an altered record, and a key that is refused is not.
#[test]
fn a_wrapped_key_that_does_not_unwrap_is_a_tag_that_does_not_verify() {
    let clear = batch(&["value"]);
    for (failure, code, reason) in [
        (KeyFailure::Malformed, 2, "tag"),
        (KeyFailure::KekDisabled, 29, "kek_refused"),
        (KeyFailure::KekDestroyed, 29, "kek_refused"),
        (KeyFailure::KekNotFound, 29, "kek_refused"),
        (KeyFailure::KekVersionNotFound, 29, "kek_refused"),
    ] {
        let mut rig = Rig::with_keys();
        let altered = dek("payments", 9);
        rig.refuse_opened(&altered, failure);
        assert_eq!(
            code_of(&mut rig, "sealed-a", &sealed(&clear, &altered, "sealed-a")),
            code
        );
        assert_eq!(rig.refusals(), [(reason, 1)].into(), "{failure:?}");
        assert_eq!(rig.audit(), [failure.reason()]);

        // `on_unreadable` is for records that will never open.
        let outcome = records_of(&mut rig, "skip-a", &sealed(&clear, &altered, "skip-a"));
        let skipped = BatchHeader::parse(&outcome.records).map(|header| header.attributes.is_control());
        let expected = if code == 2 { (0, Some(true)) } else { (29, None) };
        assert_eq!((outcome.error_code, skipped.ok()), expected, "{failure:?}");
    }
}

/// A batch of which one record's key is on the way and another's is malformed: nothing is lost, nothing is delivered
/// early.
#[test]
fn a_malformed_key_beside_one_that_comes_late() {
    let (altered, late) = (dek("payments", 9), dek("payments", 8));
    let stored = [
        sealed(&batch(&["altered"]), &altered, "skip-a"),
        sealed(&batch(&["late"]), &late, "skip-a"),
    ]
    .concat();
    let mut rig = Rig::with_keys();
    assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
    let halted = rig.broker_sends(&fetch_response(11, 3, &[fetched("skip-a", 0, &stored)]));
    assert!(matches!(halted, Ok(Halt::Blocked(Wait::News(_)))), "{halted:?}");
    assert_eq!(rig.asked_to_open(), [altered.wrapped(), late.wrapped()]);
    rig.refuse_opened(&altered, KeyFailure::Malformed);
    rig.give_opened(&late);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    let outcome = delivered(&only_frame(&rig.at_client()), 11);
    assert!(outcome[0].error_code == 0 && contains(&outcome[0].records, "late"));
    assert!(!contains(&outcome[0].records, "altered"));
    let again = fetch(&mut rig, 11, &[fetched("skip-a", 0, &stored)]);
    assert_eq!(again[0].records, outcome[0].records);
}

/// GAP-3
///
/// FETCH-OPEN-7: what is left out leaves a gap between others, and one batch stands for it where there are none.
#[test]
fn batches_that_are_left_out_stand_for_nothing_or_for_one_gap() {
    let good = |offset| at_offset(&sealed(&batch(&["good"]), &PAYMENTS, "skip-a"), offset);
    let clear = |offset| at_offset(&batch(&["good"]), offset);
    let bad = |offset| at_offset(&batch(&["bad", "bad"]), offset);
    let foreign = |offset| at_offset(&sealed(&batch(&["foreign"]), &OTHER, "skip-a"), offset);
    let late = |offset| at_offset(&sealed(&batch(&["late"]), &dek("payments", 9), "skip-a"), offset);
    let gap = |first, last| gap(GapForm::InFront, first, last);
    for (stored, expected) in [
        (vec![bad(5)], gap(5, 6)),
        (vec![bad(5), bad(7), bad(20)], gap(5, 21)),
        (vec![bad(0)], gap(0, 1)),
        (vec![good(4), bad(5), bad(7)], clear(4)),
        (vec![bad(5), good(7)], clear(7)),
        (
            vec![bad(2), good(4), bad(5), good(7), bad(8)],
            [clear(4), clear(7)].concat(),
        ),
        // What may not be delivered, or not yet, comes with the next fetch.
        (vec![bad(5), foreign(7)], gap(5, 6)),
        (vec![bad(5), late(7), good(8)], gap(5, 6)),
        (vec![bad(5), bad(7)[..40].to_vec()], gap(5, 6)),
    ] {
        let outcome = records_of(&mut Rig::with_keys(), "skip-a", &stored.concat());
        assert_eq!((outcome.error_code, outcome.records), (0, expected), "{stored:?}");
    }
    let refused = [foreign(7), bad(8)].concat();
    let mut rig = Rig::with_keys();
    assert_eq!(code_of(&mut rig, "skip-a", &refused), 29);

    // A response that delivers a gap is not held.
    let sent = fetched("skip-a", 0, &bad(5));
    assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
    assert_eq!(
        rig.broker_sends(&fetch_response(11, 3, std::slice::from_ref(&sent))),
        Ok(Halt::More)
    );
    assert_eq!(
        delivered(&only_frame(&rig.at_client()), 11),
        [sent.with(&gap(5, 6))]
    );
}

/// The batch that stands for these offsets, of which there are two at least.
fn gap(form: GapForm, first: i64, last: i64) -> Vec<u8> {
    let [from, to] = [first, last].map(|offset| {
        let batch = at_offset(&batch(&["bad"]), offset);
        BatchHeader::parse(&batch).unwrap()
    });
    let mut out = Vec::new();
    Gap::of(&from).up_to(&to).put(form, &mut out);
    out
}

/// TOLD-1, TOLD-2: sarama and kafkajs crept through a batch of 1000 records in 1000 fetches.
#[test]
fn a_client_that_comes_back_to_a_gap_is_taken_past_it_and_held_if_it_comes_back_even_so() {
    let mut rig = Rig::with_keys();
    let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let sent = fetched("skip-a", 0, &at_offset(&batch(&many), 5));
    let in_front = sent.with(&gap(GapForm::InFront, 5, 1004));
    let at_end = sent.with(&gap(GapForm::AtEnd, 5, 1004));
    let response = fetch_response(11, 3, std::slice::from_ref(&sent));
    for expected in [&in_front, &in_front, &at_end] {
        assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
        assert_eq!(rig.broker_sends(&response), Ok(Halt::More), "not held");
        assert_eq!(
            delivered(&only_frame(&rig.at_client()), 11),
            std::slice::from_ref(expected)
        );
    }
    for _ in 0..3 {
        assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
        let Ok(Halt::Blocked(Wait::Until(until))) = rig.broker_sends(&response) else {
            panic!("a client that spins is held");
        };
        rig.pass_time(until - rig.now);
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        assert_eq!(
            delivered(&only_frame(&rig.at_client()), 11),
            std::slice::from_ref(&at_end)
        );
    }
    // One that it has not seen is told it in that form at once, and who goes on by itself never is.
    let next = fetch(
        &mut rig,
        11,
        &[fetched("skip-a", 0, &at_offset(&batch(&["bad", "bad"]), 1005))],
    );
    assert_eq!(next[0].records, gap(GapForm::AtEnd, 1005, 1006));
    let mut other = Rig::with_keys();
    for first in (5..50).step_by(2) {
        let stored = at_offset(&batch(&["bad", "bad"]), first);
        let outcome = records_of(&mut other, "skip-a", &stored);
        assert_eq!(outcome.records, gap(GapForm::InFront, first, first + 1));
    }
}
