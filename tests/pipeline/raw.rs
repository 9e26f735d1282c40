//! Records that come and go as they are stored (RAW-1, RAW-2).

use sealwire::keys::KeyFailure;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::Wait;
use sealwire::record_batch::{BatchHeader, Codec, HEADER_BYTES, RecordCursor};
use sealwire::testing::{RecordInput, compress, fit_length_and_crc};

use crate::rig::{
    Halt, OTHER, PAYMENTS, Rig, batch, batch_of, contains, recompressed, sealed, sealed_with, tampered,
};
use crate::wire::{
    SESSIONLESS, delivered, fetch_of, fetch_response, fetched, only_frame, produce, stored, to_produce,
    verdicts,
};

/// A client whose records stay as they are, with the key at hand.
fn rig() -> Rig {
    let mut rig = Rig::named(&[]);
    for key in [PAYMENTS, OTHER] {
        rig.give_sealing(&key);
        rig.give_opened(&key);
    }
    rig
}

/// What has become of a batch: the broker was sent exactly this request, or the client is told this code.
fn store(rig: &mut Rig, topic: &str, records: &[u8]) -> Result<(), i16> {
    let sent = produce(9, 1, -1, &[to_produce(topic, 0, records)]);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    let reached = rig.at_broker();
    let request = only_frame(&reached);
    rig.broker_sends(&stored(9, 1, &request)).unwrap();
    let verdict = verdicts(&only_frame(&rig.at_client()), 9).remove(0);
    if verdict.error_code == 0 {
        assert_eq!(reached, sent, "RAW-2");
        return Ok(());
    }
    let says_why = ["raw_for", "malformed", "ends early"];
    assert!(
        says_why.iter().any(|why| verdict.message.contains(why)),
        "{}",
        verdict.message
    );
    assert!(!contains(&reached, records), "nothing of it is stored");
    Err(verdict.error_code)
}

#[test]
fn what_is_sealed_for_the_topic_is_stored_as_it_is() {
    let records = batch(&["canary", "another", ""]);
    for topic in ["raw-a", "marked-a"] {
        for domain in [topic, "sealed-a"] {
            let own = sealed(&records, &PAYMENTS, domain);
            for copy in [
                own.clone(),
                recompressed(&own, Codec::Gzip),
                recompressed(&own, Codec::Lz4),
            ] {
                let mut rig = rig();
                assert_eq!(store(&mut rig, topic, &copy), Ok(()));
                assert!(rig.audit().is_empty());
            }
        }
    }
}

#[test]
fn what_is_not_sealed_for_the_topic_is_not_stored() {
    let plain = batch(&["canary"]);
    let own = |domain: &str| sealed(&plain, &PAYMENTS, domain);
    let tombstone = tombstone();
    for topic in ["raw-a", "marked-a"] {
        for (records, why) in [
            (plain.clone(), "plaintext"),
            (tombstone.clone(), "a null value that nobody vouches for"),
            (own("elsewhere"), "another domain"),
            (sealed(&plain, &OTHER, topic), "another KEK"),
            (
                sealed_with(&plain, &PAYMENTS, topic, sealwire::envelope::HeaderMode::Free),
                "headers in the clear",
            ),
        ] {
            let mut rig = rig();
            assert_eq!(store(&mut rig, topic, &records), Err(44), "{topic}: {why}");
            assert_eq!(rig.audit(), ["not_sealed"]);
        }
        // Of several records one is enough.
        let two = batch(&["canary", "another"]);
        let mixed = second_of(&sealed(&two, &PAYMENTS, topic), &two);
        assert_eq!(store(&mut rig(), topic, &mixed), Err(44));
    }
}

/// A null value of nobody's.
fn tombstone() -> Vec<u8> {
    let null = RecordInput {
        timestamp: 0,
        key: Some(b"key"),
        value: None,
        headers: &[],
    };
    batch_of(&[]).record(null).build().unwrap()
}

/// As producers' own are stored: with a seal, that somebody vouches for.
#[test]
fn a_sealed_null_value_is_stored_as_it_is() {
    for topic in ["raw-a", "marked-a"] {
        let own = sealed(&tombstone(), &PAYMENTS, topic);
        assert_ne!(own, tombstone());
        assert_eq!(store(&mut rig(), topic, &own), Ok(()), "{topic}");
    }
}

/// The first record of one batch, and the second of another.
fn second_of(batch: &[u8], other: &[u8]) -> Vec<u8> {
    let records = |batch: &[u8]| {
        let mut cursor = RecordCursor::stored(&BatchHeader::parse(batch).unwrap(), HEADER_BYTES);
        [(); 2].map(|()| cursor.next(batch).unwrap().unwrap().whole().of(batch).to_vec())
    };
    let ([first, _], [_, second]) = (records(batch), records(other));
    let mut mixed = [&batch[..HEADER_BYTES], &first, &second].concat();
    fit_length_and_crc(&mut mixed);
    mixed
}

/// RAW-3.
#[test]
fn nothing_but_records_is_stored_in_a_compressed_batch() {
    let mut went_on = Vec::new();
    for topic in ["raw-a", "marked-a"] {
        let own = sealed(&batch(&["canary", "another"]), &PAYMENTS, topic);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let good = recompressed(&own, codec);
            assert_eq!(store(&mut rig(), topic, &good), Ok(()), "{codec:?}");
            let (mut nothing, mut text) = (Vec::new(), Vec::new());
            compress(codec, &[], &mut nothing).unwrap();
            compress(codec, b"plaintext", &mut text).unwrap();
            let skippable = b"\x5f\x2a\x4d\x18\x09\0\0\0plaintext";
            let stream = &good[HEADER_BYTES..];
            for (stream, why) in [
                ([stream, b"plaintext"].concat(), "a text behind it"),
                ([stream, &[0; 3]].concat(), "zeros behind it"),
                ([stream, skippable].concat(), "a skippable frame behind it"),
                ([skippable, stream].concat(), "a skippable frame in front of it"),
                ([stream, &text].concat(), "another stream behind it"),
                ([stream, &nothing].concat(), "an empty stream behind it"),
                ([stream, &nothing, b"plaintext"].concat(), "a text behind two"),
                (with_a_text(codec, stream), "a text in its header"),
            ] {
                let mut records = [&good[..HEADER_BYTES], &stream].concat();
                fit_length_and_crc(&mut records);
                let mut rig = rig();
                match store(&mut rig, topic, &records) {
                    Err(87) => assert_eq!(rig.audit(), ["malformed"]),
                    stored => went_on.push((topic, codec, why, stored)),
                }
            }
        }
    }
    assert!(went_on.is_empty(), "{went_on:#?}");
}

/// The stream with a text where its codec has a place for one that readers pass over, or else behind it.
fn with_a_text(codec: Codec, stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    match codec {
        // A comment behind the ten bytes of the header, whose fourth says so.
        Codec::Gzip => {
            stream[3] = 16;
            stream.splice(10..10, *b"plaintext\0");
        }
        // What the oldest version is that can read it.
        Codec::Snappy => stream[12..16].copy_from_slice(b"text"),
        _ => stream.extend_from_slice(b"plaintext"),
    }
    stream
}

#[test]
fn what_does_not_open_is_stored_only_where_nobody_tries() {
    let own = |topic| sealed(&batch(&["canary"]), &PAYMENTS, topic);
    for from_end in [0, 40] {
        assert_eq!(
            store(&mut rig(), "raw-a", &tampered(&own("raw-a"), from_end)),
            Err(44)
        );
        assert_eq!(
            store(&mut rig(), "marked-a", &tampered(&own("marked-a"), from_end)),
            Ok(())
        );
    }
}

#[test]
fn a_key_is_waited_for_as_a_consumer_would() {
    let own = sealed(&batch(&["canary"]), &PAYMENTS, "raw-a");
    let sent = produce(9, 1, -1, &[to_produce("raw-a", 0, &own)]);
    let mut rig = Rig::named(&[]);
    assert!(matches!(
        rig.client_sends(&sent),
        Ok(Halt::Blocked(Wait::News(_)))
    ));
    assert_eq!(rig.asked_to_open(), [PAYMENTS.wrapped()]);
    assert!(rig.at_broker().is_empty());
    rig.give_opened(&PAYMENTS);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), sent);
    // It never comes.
    let mut rig = Rig::named(&[]);
    assert!(matches!(rig.client_sends(&sent), Ok(Halt::Blocked(_))));
    rig.refuse_opened(&PAYMENTS, KeyFailure::Unavailable);
    rig.pass_time(rig.pipeline.limits.seal_wait);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    rig.broker_sends(&stored(9, 1, &request)).unwrap();
    assert_eq!(verdicts(&only_frame(&rig.at_client()), 9)[0].error_code, 19);
    // Where nobody tries, nobody asks.
    let own = sealed(&batch(&["canary"]), &PAYMENTS, "marked-a");
    let mut rig = Rig::named(&[]);
    assert_eq!(store(&mut rig, "marked-a", &own), Ok(()));
    assert!(rig.asked_to_open().is_empty());
}

#[test]
fn without_an_answer_the_connection_ends() {
    let sent = produce(9, 1, 0, &[to_produce("raw-a", 0, &batch(&["canary"]))]);
    assert_eq!(rig().client_sends(&sent), Err(CloseReason::AcksZeroUnsealable));
}

/// Streamed where nothing else is asked for, and held beside others.
#[test]
fn records_are_delivered_as_they_are_stored() {
    let own = sealed(&batch(&["canary"]), &PAYMENTS, "raw-a");
    for beside in [None, Some("unknown")] {
        let mut rig = rig();
        let asked: Vec<&str> = ["raw-a"].into_iter().chain(beside).collect();
        assert_eq!(
            rig.client_sends(&fetch_of(12, 1, SESSIONLESS, &asked)),
            Ok(Halt::More)
        );
        rig.at_broker();
        let answer: Vec<_> = asked.iter().map(|topic| fetched(topic, 0, &own)).collect();
        assert_eq!(rig.broker_sends(&fetch_response(12, 1, &answer)), Ok(Halt::More));
        let told = delivered(&only_frame(&rig.at_client()), 12);
        assert_eq!((told[0].error_code, &told[0].records), (0, &own));
        if let Some(other) = told.get(1) {
            assert_eq!((other.error_code, other.records.len()), (29, 0));
        }
    }
}

/// Whoever is not named there is named nowhere.
#[test]
fn the_list_is_for_those_whom_it_names() {
    let own = sealed(&batch(&["canary"]), &PAYMENTS, "raw-a");
    // Nobody has a name here: records are opened and sealed as everywhere.
    let mut rig = Rig::with_keys();
    let sent = produce(9, 1, -1, &[to_produce("raw-a", 0, &own)]);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    rig.broker_sends(&stored(9, 1, &request)).unwrap();
    let told = verdicts(&only_frame(&rig.at_client()), 9).remove(0);
    assert_eq!(told.error_code, 87, "a client may not use the seal's name");
    assert_eq!(
        rig.client_sends(&fetch_of(12, 1, SESSIONLESS, &["raw-a"])),
        Ok(Halt::More)
    );
    rig.at_broker();
    rig.broker_sends(&fetch_response(12, 1, &[fetched("raw-a", 0, &own)]))
        .unwrap();
    let told = delivered(&only_frame(&rig.at_client()), 12);
    assert!(contains(&told[0].records, "canary"));
}
