//! Fetch responses with the keys at hand: what is delivered, in which form, and what stands in its place otherwise.

use std::time::Duration;

use sealwire::pipeline::Wait;
use sealwire::record_batch::{BatchHeader, Codec};
use sealwire::testing::RecordInput;
use sealwire::testing::fit_length_and_crc;

use crate::rig::{
    Halt, OTHER, PAYMENTS, Rig, at_offset, batch, batch_of, contains, dek, recompressed, sealed, tampered,
};
use crate::wire::{Fetched, delivered, fetch_request, fetch_response, fetched, only_frame};

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=12;

/// Fetches what the broker answers with; waits out the hold, if there is one.
pub(crate) fn fetch(rig: &mut Rig, version: i16, partitions: &[Fetched]) -> Vec<Fetched> {
    assert_eq!(rig.client_sends(&fetch_request(version, 3)), Ok(Halt::More));
    let mut halted = rig.broker_sends(&fetch_response(version, 3, partitions)).unwrap();
    if halted != Halt::More {
        rig.pass_time(rig.pipeline.limits.fetch_hold);
        halted = rig.broker_sends(&[]).unwrap();
    }
    assert_eq!(halted, Halt::More);
    delivered(&only_frame(&rig.at_client()), version)
}

/// What becomes of the records of one partition of `topic`, when another one delivers.
pub(crate) fn records_of(rig: &mut Rig, topic: &str, records: &[u8]) -> Fetched {
    let control = sealed(&batch(&["control"]), &PAYMENTS, "sealed-control");
    let mut outcome = fetch(
        rig,
        11,
        &[fetched(topic, 0, records), fetched("sealed-control", 0, &control)],
    );
    assert_eq!(outcome[1].records, batch(&["control"]), "others are untouched");
    outcome.remove(0)
}

pub(crate) fn code_of(rig: &mut Rig, topic: &str, records: &[u8]) -> i16 {
    let outcome = records_of(rig, topic, records);
    assert_eq!(outcome.records, b"", "{topic}");
    outcome.error_code
}

#[test]
fn what_was_sealed_comes_back_byte_for_byte() {
    for version in VERSIONS {
        let mut rig = Rig::with_keys();
        let clear = [
            batch_of(&["value", "", "three"]).base_offset(40).build().unwrap(),
            batch_of(&["four"])
                .producer(5, 0, 3)
                .transactional()
                .base_offset(43)
                .build()
                .unwrap(),
        ];
        let stored: Vec<u8> = clear
            .iter()
            .flat_map(|clear| sealed(clear, &PAYMENTS, "sealed-a"))
            .collect();
        let sent = fetched("sealed-a", 2, &stored);
        let outcome = fetch(&mut rig, version, std::slice::from_ref(&sent));
        assert_eq!(outcome, [sent.with(&clear.concat())], "version {version}");
        let topics = rig.pipeline.metrics.snapshot().topics;
        let counters = topics
            .values()
            .find(|counters| counters.records_opened > 0)
            .unwrap();
        assert_eq!(counters.records_opened, 4);
        assert_eq!(
            counters.bytes_opened,
            clear.concat().len() as u64,
            "as the client gets them"
        );
    }
}

#[test]
fn batches_that_a_broker_or_cleaner_made_anew_open_all_the_same() {
    let mut rig = Rig::with_keys();
    let stamped = batch_of(&["one", "two"]).log_append_time(1_800_000_000_000);
    let horizon = batch_of(&[])
        .delete_horizon(1_900_000_000_000)
        .record(RecordInput {
            timestamp: 1_700_000_000_000,
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[],
        });
    let thinned = BatchLike::compacted();
    for clear in [
        stamped.build().unwrap(),
        horizon.build().unwrap(),
        thinned,
        batch_of(&["leader"])
            .partition_leader_epoch(9)
            .base_offset(7)
            .build()
            .unwrap(),
    ] {
        let stored = sealed(&clear, &PAYMENTS, "sealed-a");
        assert_eq!(records_of(&mut rig, "sealed-a", &stored).records, clear);
    }
}

struct BatchLike;

impl BatchLike {
    /// Two of five records are left, and the last one is not among them.
    fn compacted() -> Vec<u8> {
        let record = RecordInput {
            key: Some(b"key"),
            value: Some(b"value"),
            ..RecordInput::default()
        };
        batch_of(&[])
            .base_offset(100)
            .record_at(1, record)
            .record_at(3, record)
            .last_offset_delta(4)
            .build()
            .unwrap()
    }
}

#[test]
fn sealed_batches_that_were_recompressed_open() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value", "value", "value"]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let stored = recompressed(&stored, codec);
        assert_eq!(
            records_of(&mut rig, "sealed-a", &stored).records,
            clear,
            "{codec:?}"
        );
    }
    rig.pipeline.limits.decompressed_batch_bytes_max = stored.len() - 61;
    let compressed = recompressed(&stored, Codec::Gzip);
    assert_eq!(records_of(&mut rig, "sealed-a", &compressed).records, clear);
    rig.pipeline.limits.decompressed_batch_bytes_max -= 1;
    assert_eq!(code_of(&mut rig, "sealed-a", &compressed), 2);
}

#[test]
fn batches_without_data_go_on_as_they_are() {
    let mut rig = Rig::with_keys();
    let marker = RecordInput {
        timestamp: 1_700_000_000_000,
        key: Some(&[0, 0, 0, 1]),
        value: Some(&[0, 0, 0, 0, 0, 7]),
        headers: &[],
    };
    let control = batch_of(&[])
        .producer(5, 0, -1)
        .transactional()
        .control()
        .record(marker)
        .build()
        .unwrap();
    let emptied = batch_of(&[])
        .base_offset(12)
        .last_offset_delta(3)
        .build()
        .unwrap();
    let clear = at_offset(&batch(&["value"]), 16);
    let stored = [
        control.as_slice(),
        &emptied,
        &sealed(&clear, &PAYMENTS, "sealed-a"),
        &control,
    ]
    .concat();
    let expected = [control.as_slice(), &emptied, &clear, &control].concat();
    assert_eq!(records_of(&mut rig, "sealed-a", &stored).records, expected);

    // Plaintext does not pass for one of them.
    let injected = batch_of(&["injected"]).control().build().unwrap();
    assert_eq!(code_of(&mut rig, "sealed-a", &injected), 2);
    let injected = batch_of(&["injected"]).record_count(0).build().unwrap();
    assert_eq!(code_of(&mut rig, "sealed-a", &injected), 2);
}

/// FETCH-OPEN-5
#[test]
fn a_truncated_tail_is_dropped_even_if_it_is_all_there_is() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    for cut in [1, 12, 40, stored.len() - 1] {
        let tail = &stored[..cut];
        let outcome = records_of(&mut rig, "sealed-a", &[stored.as_slice(), tail].concat());
        assert_eq!((outcome.error_code, outcome.records), (0, clear.clone()), "{cut}");
        assert_eq!(code_of(&mut rig, "sealed-a", tail), 0, "{cut}");
        assert_eq!(
            code_of(&mut rig, "sealed-a", &clear[..cut.min(clear.len() - 1)]),
            0,
            "{cut}"
        );
    }
    assert!(rig.refusals().is_empty());
}

#[test]
fn old_message_sets_are_plaintext() {
    let mut rig = Rig::with_keys();
    for magic in [0, 1] {
        let mut old = vec![0; 12 + 22];
        old[11] = 22;
        old[16] = magic;
        assert_eq!(code_of(&mut rig, "sealed-a", &old), 2);
        assert_eq!(records_of(&mut rig, "mixed-a", &old).records, old);
    }
}

/// FETCH-OPEN-2, OPEN-BATCH-2
#[test]
fn good_batches_in_front_of_a_bad_one_are_delivered_first() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let good = sealed(&clear, &PAYMENTS, "sealed-a");
    let mut checksum = good.clone();
    *checksum.last_mut().unwrap() ^= 1;
    let mut format = good.clone();
    format[16] = 7;
    let mut length = good.clone();
    length[8..12].copy_from_slice(&3i32.to_be_bytes());
    for (bad, reason) in [
        (tampered(&good, 0), "tag"),
        (clear.clone(), "plaintext"),
        (checksum, "malformed"),
        (format, "unsupported"),
        (length, "malformed"),
        (sealed(&clear, &PAYMENTS, "sealed-b"), "domain"),
    ] {
        let before = rig.refusals().get(reason).copied().unwrap_or_default();
        rig.audit();
        let outcome = records_of(&mut rig, "sealed-a", &[good.as_slice(), &bad, &good].concat());
        assert_eq!((outcome.error_code, &outcome.records), (0, &clear), "{reason}");
        assert_eq!(
            code_of(&mut rig, "sealed-a", &[bad.as_slice(), &good].concat()),
            2,
            "{reason}"
        );
        assert_eq!(rig.refusals().get(reason), Some(&(before + 2)), "{reason}");
        assert_eq!(rig.audit().len(), 2, "{reason}");
    }
}

#[test]
fn no_altered_bit_of_a_sealed_batch_lets_anything_out() {
    let clear = batch(&["value-canary"]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let mut rig = Rig::with_keys();
    // What the header says is the broker's; every bit of the records is covered by the tag, the key's name or a length.
    for at in 61..stored.len() {
        let mut altered = stored.clone();
        altered[at] ^= 4;
        fit_length_and_crc(&mut altered);
        let outcome = records_of(&mut rig, "sealed-a", &altered);
        // Attributes, timestamp and offset of a record are free: brokers and cleaners change them.
        // The sealed record's length takes one byte more than the clear one's.
        let expected = if (63..=65).contains(&at) && outcome.error_code == 0 {
            let mut expected = clear.clone();
            expected[at - 1] ^= 4;
            fit_length_and_crc(&mut expected);
            expected
        } else {
            Vec::new()
        };
        assert_eq!(outcome.records, expected, "byte {at}");
        assert!(matches!(outcome.error_code, 0 | 2 | 29), "byte {at}");
    }
}

/// OPEN-BATCH-3
#[test]
fn rules_say_which_forms_readers_get() {
    let mut rig = Rig::with_keys();
    let plain = batch(&["plain"]);
    let tombstone = batch_of(&[])
        .record(RecordInput {
            key: Some(b"key"),
            ..RecordInput::default()
        })
        .build()
        .unwrap();
    assert_eq!(code_of(&mut rig, "sealed-a", &plain), 2);
    assert_eq!(code_of(&mut rig, "sealed-a", &tombstone), 2);
    assert_eq!(code_of(&mut rig, "tombs-a", &plain), 2);
    assert_eq!(records_of(&mut rig, "tombs-a", &tombstone).records, tombstone);
    let compressed = recompressed(&tombstone, Codec::Gzip);
    assert_eq!(
        records_of(&mut rig, "tombs-a", &compressed).records,
        tombstone,
        "what may lie behind the stream's end does not go along"
    );
    assert_eq!(records_of(&mut rig, "mixed-a", &plain).records, plain);
    assert_eq!(code_of(&mut rig, "mixed-a", &tombstone), 2);
    // Sealed and plain records behind each other, and in one batch.
    let stored = sealed(&plain, &PAYMENTS, "mixed-a");
    let outcome = records_of(&mut rig, "mixed-a", &[plain.as_slice(), &stored].concat());
    assert_eq!(outcome.records, [plain.as_slice(), &plain].concat());
}

#[test]
fn a_topic_opens_what_was_sealed_for_it_or_for_a_domain_that_its_rule_names() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    for (topic, domain, opens) in [
        ("sealed-a", "sealed-a", true),
        ("sealed-b", "sealed-a", false),
        ("moved-b", "sealed-a", true),
        ("moved-b", "moved-b", true),
        ("moved-b", "moved-a", false),
    ] {
        let outcome = records_of(&mut rig, topic, &sealed(&clear, &PAYMENTS, domain));
        assert_eq!(outcome.error_code, if opens { 0 } else { 2 }, "{topic} {domain}");
        assert_eq!(outcome.records == clear, opens, "{topic} {domain}");
    }
}

#[test]
fn a_rule_may_let_consumers_past_what_does_not_open() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["one", "two", "three"]);
    for topic in ["skip-a", "null-a"] {
        let stored = sealed(&clear, &PAYMENTS, topic);
        rig.audit();
        let outcome = records_of(&mut rig, topic, &tampered(&stored, 0));
        assert_eq!(outcome.error_code, 0);
        let header = BatchHeader::parse(&outcome.records).unwrap();
        assert_eq!(header.last_offset_delta, 2, "the position moves past it");
        assert!(contains(&outcome.records, "one") && contains(&outcome.records, "two"));
        assert!(!contains(&outcome.records, "three"));
        let expected = if topic == "skip-a" {
            batch_of(&["one", "two"]).last_offset_delta(2)
        } else {
            batch_of(&["one", "two"]).record(RecordInput {
                timestamp: 1_700_000_000_000,
                key: Some(b"key"),
                ..RecordInput::default()
            })
        };
        assert_eq!(outcome.records, expected.build().unwrap(), "{topic}");
        assert_eq!(rig.audit(), ["tag"]);

        // Every record, plaintext too, and batches that were compressed.
        let plain = recompressed(&clear, Codec::Lz4);
        let outcome = records_of(&mut rig, topic, &plain);
        let header = BatchHeader::parse(&outcome.records).unwrap();
        assert_eq!(outcome.error_code, 0);
        assert_eq!(header.record_count, if topic == "skip-a" { 1 } else { 3 });
        assert_eq!(header.attributes.is_control(), topic == "skip-a");
        assert_eq!(header.base_offset + i64::from(header.last_offset_delta), 2);
        assert!(!contains(&outcome.records, "one"));
    }
    let skipped: u64 = rig
        .pipeline
        .metrics
        .snapshot()
        .topics
        .values()
        .map(|counters| counters.records_skipped)
        .sum();
    assert_eq!(skipped, 2 * (1 + 3));
}

#[test]
fn a_broken_batch_or_a_refused_key_is_never_skipped() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let mut checksum = sealed(&clear, &PAYMENTS, "skip-a");
    *checksum.last_mut().unwrap() ^= 1;
    assert_eq!(code_of(&mut rig, "skip-a", &checksum), 2);
    assert_eq!(code_of(&mut rig, "skip-a", &sealed(&clear, &OTHER, "skip-a")), 29);
}

#[test]
fn topics_without_a_rule_and_rejected_ones_are_refused_and_kafkas_own_pass() {
    for version in VERSIONS {
        let mut rig = Rig::with_keys();
        let plain = batch(&["value-canary"]);
        let sent = [
            fetched("unknown", 0, &plain),
            fetched("reject-a", 1, &plain),
            fetched("pass-a", 0, &plain),
            fetched("__consumer_offsets", 0, &plain),
            fetched("unknown", 1, b""),
        ];
        let expected = [
            sent[0].emptied(29),
            sent[1].emptied(29),
            sent[2].clone(),
            sent[3].clone(),
            sent[4].emptied(29),
        ];
        assert_eq!(fetch(&mut rig, version, &sent), expected, "version {version}");
        assert_eq!(rig.refusals(), [("no_rule", 2), ("rejected", 1)].into());
    }
}

#[test]
fn a_brokers_own_error_stands_and_no_record_comes_with_it() {
    let mut rig = Rig::with_keys();
    let mut broken = fetched("unknown", 0, &batch(&["value-canary"]));
    broken.error_code = 3;
    let mut moved = fetched("sealed-a", 0, b"");
    moved.error_code = 6;
    let outcome = fetch(&mut rig, 11, &[broken.clone(), moved.clone()]);
    assert_eq!(outcome, [broken.emptied(3), moved]);
    assert!(rig.refusals().is_empty());
}

#[test]
fn a_response_in_which_everything_passes_goes_on_byte_for_byte() {
    for version in VERSIONS {
        let mut rig = Rig::new();
        let sent = fetch_response(
            version,
            3,
            &[
                fetched("pass-a", 0, b"whatever it is"),
                fetched("sealed-a", 0, b""),
            ],
        );
        assert_eq!(rig.client_sends(&fetch_request(version, 3)), Ok(Halt::More));
        assert_eq!(rig.broker_sends(&sent), Ok(Halt::More));
        assert_eq!(rig.at_client(), sent);
    }
}

/// FETCH-OPEN-4
#[test]
fn a_response_that_delivers_nothing_because_of_us_is_held_and_others_are_not() {
    let refused = fetched("unknown", 0, &batch(&["value"]));
    let mut rig = Rig::with_keys();
    rig.client_sends(&fetch_request(11, 1)).unwrap();
    let until = rig.now + Duration::from_millis(200);
    let response = fetch_response(11, 1, std::slice::from_ref(&refused));
    assert_eq!(rig.broker_sends(&response), Ok(Halt::Blocked(Wait::Until(until))));
    rig.pass_time(Duration::from_millis(199));
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::Blocked(Wait::Until(until))));
    assert_eq!(rig.at_client(), b"");
    rig.pass_time(Duration::from_millis(1));
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(
        delivered(&only_frame(&rig.at_client()), 11),
        [refused.emptied(29)]
    );
    assert_eq!(
        rig.refusals(),
        [("no_rule", 1)].into(),
        "counted once, however often it is looked at"
    );

    // Nothing that is empty by itself is held, and nothing that delivers.
    for others in [
        vec![fetched("sealed-a", 0, b"")],
        vec![refused.clone(), fetched("pass-a", 0, b"records")],
    ] {
        rig.client_sends(&fetch_request(11, 1)).unwrap();
        assert_eq!(rig.broker_sends(&fetch_response(11, 1, &others)), Ok(Halt::More));
    }
}

#[test]
fn long_responses_are_worked_off_in_pieces() {
    let value = "x".repeat(300_000);
    let clear = batch(&[value.as_str(), value.as_str()]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let mut rig = Rig::with_keys();
    let sent = fetched("sealed-a", 0, &stored.repeat(9));
    let outcome = fetch(&mut rig, 12, std::slice::from_ref(&sent));
    assert_eq!(outcome, [sent.with(&clear.repeat(9))]);
    assert!((4..=6).contains(&rig.yields), "{} times for 5.4 MB", rig.yields);

    // What is held is worked off in pieces as well.
    rig.yields = 0;
    let unknown = dek("payments", 9);
    let late = sealed(&clear, &unknown, "sealed-a");
    rig.client_sends(&fetch_request(12, 3)).unwrap();
    let sent = fetched("sealed-a", 0, &late.repeat(4));
    let halted = rig.broker_sends(&fetch_response(12, 3, std::slice::from_ref(&sent)));
    assert!(matches!(halted, Ok(Halt::Blocked(Wait::News(_)))));
    rig.give_opened(&unknown);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    let outcome = delivered(&only_frame(&rig.at_client()), 12);
    assert_eq!(outcome, [sent.with(&clear.repeat(4))]);
    assert!(rig.yields >= 4, "{}", rig.yields);
}
