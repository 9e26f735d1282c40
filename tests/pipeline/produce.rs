//! Produce requests with the keys at hand: sealed, passed, refused; and the answers into which refusals are merged.

use sealwire::metrics::CloseReason;
use sealwire::pipeline::SequenceGuard;
use sealwire::record_batch::{BatchHeader, Codec};
use sealwire::testing::RecordInput;
use sealwire::testing::fit_length_and_crc;

use crate::rig::{Halt, PAYMENTS, Rig, batch, batch_of, contains};
use crate::wire::{
    Produced, ToProduce, Verdict, correlation_ids, fetch_request, fetch_response, fetched, only_frame,
    prefixed, produce, produced, stored, to_produce, verdicts,
};

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=12;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Sends the partitions, lets the broker store what reaches it, and says that and the client's verdicts.
pub(crate) fn exchange(
    rig: &mut Rig,
    version: i16,
    partitions: &[ToProduce<'_>],
) -> (Vec<Produced>, Vec<Verdict>) {
    let halted = rig.client_sends(&produce(version, 5, -1, partitions));
    assert_eq!(halted, Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert_eq!(rig.broker_sends(&stored(version, 5, &request)), Ok(Halt::More));
    let response = only_frame(&rig.at_client());
    (produced(&request, version), verdicts(&response, version))
}

fn codes(verdicts: &[Verdict]) -> Vec<(&str, i16)> {
    verdicts
        .iter()
        .map(|verdict| (verdict.topic.as_str(), verdict.error_code))
        .collect()
}

/// The code of a batch that is sent alone.
fn code_of(rig: &mut Rig, version: i16, topic: &str, records: &[u8]) -> i16 {
    let (reached, verdicts) = exchange(rig, version, &[to_produce(topic, 0, records)]);
    assert_eq!(reached.is_empty(), verdicts[0].error_code != 0, "{topic}");
    verdicts[0].error_code
}

#[test]
fn what_reaches_the_broker_is_sealed_and_opens_to_what_was_sent() {
    for version in VERSIONS {
        for codec in CODECS {
            if codec == Codec::Zstd && version < 7 {
                continue;
            }
            for topic in ["sealed-a", "bound-a", "free-a"] {
                let mut rig = Rig::with_keys();
                let plain = batch_of(&["value-canary", "", "value-canary"]);
                let sent = plain.clone().codec(codec).build().unwrap();
                let (reached, verdicts) = exchange(&mut rig, version, &[to_produce(topic, 3, &sent)]);
                assert_eq!(codes(&verdicts), [(topic, 0)]);
                let [(_, 3, stored)] = reached.as_slice() else {
                    panic!("{reached:?}")
                };
                assert!(!contains(stored, "value-canary"));
                assert_eq!(contains(stored, "header-canary"), topic != "sealed-a");

                assert_eq!(rig.client_sends(&fetch_request(11, 6)), Ok(Halt::More));
                let response = fetch_response(11, 6, &[fetched(topic, 3, stored)]);
                assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
                let opened = crate::wire::delivered(&only_frame(&rig.at_client()), 11);
                assert_eq!(
                    opened[0].records,
                    plain.build().unwrap(),
                    "{topic} {version} {codec:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_of_the_header_changes_but_length_codec_and_checksum() {
    let mut rig = Rig::with_keys();
    let sent = batch_of(&["one", "two"])
        .producer(77, 3, 41)
        .transactional()
        .codec(Codec::Gzip)
        .build()
        .unwrap();
    let (reached, _) = exchange(&mut rig, 9, &[to_produce("sealed-a", 0, &sent)]);
    let sent = BatchHeader::parse(&sent).unwrap();
    let stored = BatchHeader::parse(&reached[0].2).unwrap();
    assert_eq!(
        (stored.producer_id, stored.producer_epoch, stored.base_sequence),
        (77, 3, 41)
    );
    assert_eq!(stored.record_count, sent.record_count);
    assert_eq!(stored.last_offset_delta, sent.last_offset_delta);
    assert!(stored.attributes.is_transactional());
    assert_eq!(stored.attributes.codec(), Ok(Codec::Lz4));
}

/// PIPELINE-3.
#[test]
fn topics_under_different_rules_in_one_request_each_get_their_own() {
    for version in VERSIONS {
        let mut rig = Rig::with_keys();
        let records = batch(&["value-canary"]);
        let (reached, verdicts) = exchange(
            &mut rig,
            version,
            &[
                to_produce("sealed-a", 0, &records),
                to_produce("sealed-a", 1, b"no batch"),
                to_produce("pass-a", 0, &records),
                to_produce("reject-a", 0, &records),
                to_produce("unknown", 0, &records),
                to_produce("__consumer_offsets", 0, &records),
                to_produce("other-a", 0, &records),
            ],
        );
        let names: Vec<(&str, i32)> = reached
            .iter()
            .map(|(topic, partition, _)| (topic.as_str(), *partition))
            .collect();
        assert_eq!(names, [("sealed-a", 0), ("pass-a", 0), ("other-a", 0)]);
        assert!(!contains(&reached[0].2, "value-canary"));
        assert_eq!(reached[1].2, records, "what is passed stays as it is");
        assert!(!contains(&reached[2].2, "value-canary"));
        assert_eq!(
            codes(&verdicts),
            [
                ("__consumer_offsets", 44),
                ("other-a", 0),
                ("pass-a", 0),
                ("reject-a", 44),
                ("sealed-a", 0),
                ("sealed-a", 87),
                ("unknown", 44),
            ]
        );
        if version >= 8 {
            assert!(verdicts[3].message.contains("closed for repairs"), "{verdicts:?}");
            assert!(verdicts[6].message.contains("unknown"), "{verdicts:?}");
            assert!(verdicts[6].message.contains("no rule"), "{verdicts:?}");
        }
    }
}

#[test]
fn a_request_of_which_nothing_is_left_still_goes_to_the_broker_and_is_answered() {
    for version in VERSIONS {
        let mut rig = Rig::with_keys();
        let records = batch(&["value-canary"]);
        let (reached, verdicts) = exchange(
            &mut rig,
            version,
            &[
                to_produce("unknown", 0, &records),
                to_produce("unknown", 1, &records),
            ],
        );
        assert_eq!(reached, []);
        assert_eq!(codes(&verdicts), [("unknown", 44), ("unknown", 44)]);
        assert_eq!(rig.refusals(), [("no_rule", 2)].into());
        assert_eq!(rig.audit(), ["no_rule", "no_rule"]);
    }
}

#[test]
fn a_request_for_topics_that_pass_goes_on_byte_for_byte() {
    for version in VERSIONS {
        // No key is there, and none is asked for.
        let mut rig = Rig::new();
        let sent = produce(
            version,
            5,
            1,
            &[
                to_produce("pass-a", 0, b"whatever the client wrote"),
                to_produce("pass-b", 0, b""),
            ],
        );
        assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
        assert_eq!(rig.at_broker(), sent);
        assert!(!rig.pipeline.keys.has_requests());
    }
}

#[test]
fn bad_batches_get_the_code_that_a_broker_gives() {
    let mut rig = Rig::with_keys();
    let good = batch(&["value"]);
    let mut checksum = good.clone();
    *checksum.last_mut().unwrap() ^= 1;
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &checksum), 2);
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &good[..good.len() - 1]), 87);
    assert_eq!(code_of(&mut rig, 9, "sealed-a", b""), 87);
    let two = [good.as_slice(), &good].concat();
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &two), 87);
    let mut old = good.clone();
    old[16] = 1;
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &old), 87);
    let control = batch_of(&["value"]).control().build().unwrap();
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &control), 87);
    let zstd = batch_of(&["value"]).codec(Codec::Zstd).build().unwrap();
    assert_eq!(code_of(&mut rig, 6, "sealed-a", &zstd), 76);
    assert_eq!(code_of(&mut rig, 7, "sealed-a", &zstd), 0);
    let mut record = good.clone();
    record[61] = 0x7e;
    fit_length_and_crc(&mut record);
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &record), 87);
}

#[test]
fn the_marker_header_is_the_proxys_own() {
    let mut rig = Rig::with_keys();
    let marked = batch_of(&["first"])
        .record(RecordInput {
            value: Some(b"second"),
            headers: &[(b"sealwire", Some(b"mine"))],
            ..RecordInput::default()
        })
        .build()
        .unwrap();
    for topic in ["sealed-a", "bound-a", "free-a"] {
        assert_eq!(code_of(&mut rig, 9, topic, &marked), 87, "{topic}");
    }
    assert_eq!(rig.refusals(), [("client_marker", 3)].into());
}

#[test]
fn a_sealed_batch_may_be_as_large_as_the_rule_says_and_not_larger() {
    let mut rig = Rig::with_keys();
    let sealed_bytes = |rig: &mut Rig, length: usize| {
        let records = batch(&["x".repeat(length).as_str()]);
        let (reached, _) = exchange(rig, 9, &[to_produce("sealed-a", 0, &records)]);
        reached[0].2.len()
    };
    let mut length = 500;
    while sealed_bytes(&mut rig, length + 1) <= 1000 {
        length += 1;
    }
    let largest = batch(&["x".repeat(length).as_str()]);
    assert_eq!(code_of(&mut rig, 9, "small-a", &largest), 0);
    let larger = batch(&["x".repeat(length + 1).as_str()]);
    let (reached, verdicts) = exchange(&mut rig, 9, &[to_produce("small-a", 0, &larger)]);
    assert_eq!((reached.len(), verdicts[0].error_code), (0, 10));
    assert!(verdicts[0].message.contains("max_message_bytes"), "{verdicts:?}");
}

#[test]
fn a_batch_that_decompresses_to_too_much_is_refused() {
    let mut rig = Rig::with_keys();
    let records = batch_of(&["x".repeat(5000).as_str()]);
    let bytes = records.records_bytes();
    let sent = records.codec(Codec::Gzip).build().unwrap();
    rig.pipeline.limits.decompressed_batch_bytes_max = bytes;
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &sent), 0);
    rig.pipeline.limits.decompressed_batch_bytes_max = bytes - 1;
    assert_eq!(code_of(&mut rig, 9, "sealed-a", &sent), 10);
}

/// PRODUCE-SEAL-2.
#[test]
fn without_acknowledgement_what_can_be_sealed_goes_and_what_cannot_closes() {
    let mut rig = Rig::with_keys();
    let records = batch(&["value-canary"]);
    let sent = produce(9, 1, 0, &[to_produce("sealed-a", 0, &records)]);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    assert_eq!(produced(&only_frame(&rig.at_broker()), 9).len(), 1);
    assert!(rig.session.is_quiet(), "no answer is waited for");

    // The next request with an answer is matched, not the one without.
    let sent = produce(9, 2, -1, &[to_produce("sealed-a", 0, &records)]);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert_eq!(rig.broker_sends(&stored(9, 2, &request)), Ok(Halt::More));
    assert_eq!(correlation_ids(&rig.at_client()), [2]);

    let sent = produce(
        9,
        3,
        0,
        &[
            to_produce("sealed-a", 0, &records),
            to_produce("unknown", 0, &records),
        ],
    );
    assert_eq!(rig.client_sends(&sent), Err(CloseReason::AcksZeroUnsealable));
    assert_eq!(rig.at_broker(), b"", "nothing of the request is sent");
    assert_eq!(rig.refusals(), [("no_rule", 1)].into());
}

#[test]
fn without_acknowledgement_a_key_that_does_not_come_closes_as_well() {
    let mut rig = Rig::new();
    let sent = produce(9, 1, 0, &[to_produce("sealed-a", 0, &batch(&["value"]))]);
    let halted = rig.client_sends(&sent);
    assert!(matches!(halted, Ok(Halt::Blocked(_))), "{halted:?}");
    rig.pass_time(rig.pipeline.limits.seal_wait);
    assert_eq!(rig.client_sends(&[]), Err(CloseReason::AcksZeroUnsealable));
    assert_eq!(rig.at_broker(), b"");
}

#[test]
fn a_request_that_cannot_be_parsed_closes() {
    let mut rig = Rig::with_keys();
    let good = produce(9, 1, -1, &[to_produce("sealed-a", 0, &batch(&["value"]))]);
    let cut = prefixed(&good[4..good.len() - 1]);
    assert_eq!(rig.client_sends(&cut), Err(CloseReason::MalformedFrame));
    assert_eq!(rig.at_broker(), b"");
}

/// PRODUCE-SEAL-9
#[test]
fn of_a_partition_that_is_named_twice_the_last_goes_on() {
    let (first, last) = (batch(&["first"]), batch(&["the last of both"]));
    for topic in ["sealed-a", "pass-a"] {
        let mut rig = Rig::with_keys();
        let twice = [to_produce(topic, 0, &first), to_produce(topic, 0, &last)];
        assert_eq!(rig.client_sends(&produce(9, 1, -1, &twice)), Ok(Halt::More));
        let mut once = Rig::with_keys();
        assert_eq!(once.client_sends(&produce(9, 1, -1, &twice[1..])), Ok(Halt::More));
        assert_eq!(rig.at_broker().len(), once.at_broker().len(), "{topic}");
        assert!(rig.refusals().is_empty());
    }
}

/// PRODUCE-SEAL-4.
#[test]
fn refusals_of_one_request_are_bounded() {
    let refuse = |count: i32| {
        let partitions: Vec<_> = (0..count)
            .map(|partition| to_produce("unknown", partition, b""))
            .collect();
        Rig::new().client_sends(&produce(9, 1, -1, &partitions))
    };
    let most = i32::try_from(SequenceGuard::ENTRIES_MAX).unwrap();
    assert_eq!(refuse(most), Ok(Halt::More));
    assert_eq!(refuse(most + 1), Err(CloseReason::Limit));
}

#[test]
fn what_is_sealed_is_counted() {
    let mut rig = Rig::with_keys();
    let records = batch(&["one", "two"]);
    let (reached, _) = exchange(&mut rig, 9, &[to_produce("sealed-a", 0, &records)]);
    let topics = rig.pipeline.metrics.snapshot().topics;
    let counters = topics
        .iter()
        .find_map(|(name, counters)| (&*name.topic == "sealed-a").then_some(counters))
        .unwrap();
    assert_eq!(counters.records_sealed, 2);
    assert_eq!(counters.bytes_sealed, records.len() as u64);
    assert_eq!(counters.bytes_sealed_stored, reached[0].2.len() as u64);
    assert!(PAYMENTS.wrapped().len() < reached[0].2.len() - records.len());
}
