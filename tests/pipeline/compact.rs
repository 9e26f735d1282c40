//! Compact batches: when they are written, how much longer than the client's they are, and that they open.

use proptest::prelude::*;
use sealwire::config::Limits;
use sealwire::metrics::CloseReason;
use sealwire::record_batch::{BatchHeader, Codec};
use sealwire::testing::{BatchBuilder, RecordInput};

use crate::rig::{Halt, PAYMENTS, Rig, batch_of, recompressed, records_of};
use crate::wire::{
    delivered, fetch_request, fetch_response, fetched, only_frame, produce, produced, stored, to_produce,
    verdicts,
};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Records with a key, without headers.
fn batch_of_values(lengths: impl IntoIterator<Item = usize>) -> BatchBuilder {
    lengths.into_iter().fold(BatchBuilder::new(), |batch, bytes| {
        batch.record(record(&vec![b'v'; bytes]))
    })
}

fn record(value: &[u8]) -> RecordInput<'_> {
    RecordInput {
        timestamp: 1_700_000_000_000,
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
    }
}

/// What a broker is given to store of a batch for `topic`, and the code that the client gets.
fn produced_to(topic: &str, batch: &[u8]) -> (Option<Vec<u8>>, i16) {
    let mut rig = Rig::with_keys();
    assert_eq!(
        rig.client_sends(&produce(9, 5, -1, &[to_produce(topic, 0, batch)])),
        Ok::<_, CloseReason>(Halt::More)
    );
    let request = only_frame(&rig.at_broker());
    let reached = produced(&request, 9).pop().map(|(_, _, records)| records);
    assert_eq!(rig.broker_sends(&stored(9, 5, &request)), Ok(Halt::More));
    (reached, verdicts(&only_frame(&rig.at_client()), 9)[0].error_code)
}

fn sealed_by_proxy(topic: &str, batch: &BatchBuilder) -> Vec<u8> {
    let (reached, code) = produced_to(topic, &batch.build().unwrap());
    assert_eq!(code, 0);
    reached.unwrap()
}

fn codec_of(batch: &[u8]) -> Codec {
    BatchHeader::parse(batch).unwrap().attributes.codec().unwrap()
}

/// What a client is given of a stored batch.
fn opened(topic: &str, batch: &[u8]) -> Vec<u8> {
    let mut rig = Rig::new();
    rig.give_opened(&PAYMENTS);
    rig.client_sends(&fetch_request(12, 1)).unwrap();
    let response = fetch_response(12, 1, &[fetched(topic, 0, batch)]);
    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
    delivered(&only_frame(&rig.at_client()), 12).remove(0).records
}

/// SEAL-BATCH-4
#[test]
fn batches_are_compact_where_that_makes_them_shorter() {
    let cases = [
        (vec![100], Codec::None),
        (vec![100; 2], Codec::Lz4),
        (vec![0; 2], Codec::Lz4),
        (vec![5000; 2], Codec::None),
        (vec![4000; 40], Codec::Lz4),
        (vec![200_000], Codec::None),
        // Some long ones among short ones have blocks of their own.
        (
            [vec![100; 500], vec![200_000], vec![5000, 40, 40]].concat(),
            Codec::Lz4,
        ),
        (vec![10; 100_000 / 8], Codec::Lz4),
    ];
    for (lengths, codec) in cases {
        let clear = batch_of_values(lengths.clone());
        for sent in CODECS {
            let (reached, code) = produced_to("roomy-a", &clear.clone().codec(sent).build().unwrap());
            assert_eq!(code, 0);
            let reached = reached.unwrap();
            assert_eq!(codec_of(&reached), codec, "{} records", lengths.len());
            assert!(opened("roomy-a", &reached) == clear.build().unwrap());
        }
    }
}

/// SEAL-BATCH-4: a broker takes them if they are not compressed, and refuses them if they are.
#[test]
fn odd_offset_deltas_are_written_as_they_came() {
    for odd in [0, 1, 7, 19] {
        let clear = (0..20).fold(BatchBuilder::new(), |batch, number| {
            let delta = if number == odd { number + 1 } else { number };
            batch.record_at(delta, record(b"value"))
        });
        let clear = clear.last_offset_delta(19);
        let reached = sealed_by_proxy("sealed-a", &clear);
        assert_eq!(codec_of(&reached), Codec::None, "{odd}");
        assert!(opened("sealed-a", &reached) == clear.build().unwrap());
    }
}

#[test]
fn a_rule_may_want_records_written_one_by_one() {
    let clear = batch_of_values(vec![100; 50]);
    let reached = sealed_by_proxy("plain-a", &clear);
    assert_eq!(codec_of(&reached), Codec::None);
    let compact = sealed_by_proxy("sealed-a", &clear);
    assert_eq!(records_of(&reached).len(), records_of(&compact).len());
    assert!(opened("plain-a", &reached) == clear.build().unwrap());
}

/// Beyond the first record, at most 34 bytes for each.
#[test]
fn what_sealing_adds_to_each_record_is_little_more_than_its_tag() {
    for bytes in [40, 150, 1000] {
        let stored_bytes = |count| {
            let clear = batch_of_values(vec![bytes; count]);
            let grown = sealed_by_proxy("sealed-a", &clear).len() - clear.build().unwrap().len();
            (grown, clear.build().unwrap().len())
        };
        let ((one, _), (many, clear)) = (stored_bytes(1), stored_bytes(60_000 / bytes));
        let each = (many - one) as f64 / (60_000 / bytes - 1) as f64;
        assert!(
            each <= 34.0,
            "{each} bytes with values of {bytes}, {clear} in all"
        );
        assert!(each >= 17.0, "a tag and a counter: {each}");
    }
}

/// A broker may compress a batch anew, and another one write it as it was.
#[test]
fn compact_batches_open_whatever_a_broker_makes_of_them() {
    let clear = batch_of(&["one", "two", "", "four"]);
    let reached = sealed_by_proxy("sealed-a", &clear);
    assert_eq!(codec_of(&reached), Codec::Lz4);
    for codec in CODECS {
        assert!(
            opened("sealed-a", &recompressed(&reached, codec)) == clear.build().unwrap(),
            "{codec:?}"
        );
    }
}

/// SEAL-BATCH-5: what goes to the broker comes back under the same limits, though it is longer once decompressed.
#[test]
fn a_compact_batch_holds_no_more_than_is_decompressed() {
    const HELD_MAX: usize = 100_000;
    let limits = Limits {
        decompressed_batch_bytes_max: HELD_MAX,
        ..Limits::default()
    };
    let sent = |count| {
        let clear = batch_of_values(vec![40; count]).build().unwrap();
        let mut rig = Rig::with(limits.clone());
        rig.give_sealing(&PAYMENTS);
        rig.give_opened(&PAYMENTS);
        rig.client_sends(&produce(9, 5, -1, &[to_produce("sealed-a", 0, &clear)]))
            .unwrap();
        let request = only_frame(&rig.at_broker());
        rig.broker_sends(&stored(9, 5, &request)).unwrap();
        let code = verdicts(&only_frame(&rig.at_client()), 9)[0].error_code;
        let (_, _, reached) = produced(&request, 9).pop().filter(|_| code == 0)?;
        rig.client_sends(&fetch_request(12, 1)).unwrap();
        let response = fetch_response(12, 1, &[fetched("sealed-a", 0, &reached)]);
        rig.broker_sends(&response).unwrap();
        let told = delivered(&only_frame(&rig.at_client()), 12).remove(0);
        assert_eq!((told.error_code, told.records == clear), (0, true), "{count}");
        Some(records_of(&reached).len())
    };
    let most = (100..1000)
        .take_while(|count| sent(*count).is_some())
        .last()
        .unwrap();
    let each = sent(most).unwrap() / most;
    assert!((HELD_MAX - each..=HELD_MAX).contains(&sent(most).unwrap()));
}

/// SEAL-BATCH-3: what is counted is what is sent.
#[test]
fn a_compact_batch_may_fill_its_topic_to_the_last_byte() {
    // The limit of `small-*`.
    const BYTES_MAX: usize = 1000;
    let longest = (0..BYTES_MAX / 3)
        .rev()
        .find(|bytes| {
            produced_to("small-a", &batch_of_values([*bytes; 3]).build().unwrap())
                .0
                .is_some()
        })
        .unwrap();
    let mut lengths = [longest; 3];
    let fits = |lengths: [usize; 3]| produced_to("small-a", &batch_of_values(lengths).build().unwrap());
    while fits(lengths).0.is_some() {
        lengths[0] += 1;
    }
    assert_eq!(fits(lengths), (None, 10));
    lengths[0] -= 1;
    let (reached, code) = fits(lengths);
    assert_eq!((reached.map(|batch| batch.len()), code), (Some(BYTES_MAX), 0));
}

/// Lengths of values: borders of blocks, and of what shares one.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let bytes = prop_oneof![30 => 0..300_usize, 5 => 3500..4200_usize, 1 => 65_000..66_000_usize];
    proptest::collection::vec(bytes, 2..200)
}

proptest! {
    // Each seals a megabyte and more.
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// SEAL-BATCH-1, COMPACT-1: neither where turns end nor a key that is taken away is seen in what is written.
    #[test]
    fn the_turns_in_which_a_batch_is_sealed_leave_no_trace(
        lengths in lengths(),
        piece_bytes in 1..200_000_usize,
        codec in 0..5_usize,
        taken_away in proptest::option::of(0..20_usize),
        topic in prop_oneof![Just("roomy-a"), Just("roomy-b")],
    ) {
        let clear = batch_of_values(lengths);
        let whole = sealed_by_proxy(topic, &clear);
        let mut rig = Rig::in_pieces(piece_bytes);
        let sent = clear.clone().codec(CODECS[codec]).build().unwrap();
        let mut halt = rig.client_sends(&produce(9, 5, -1, &[to_produce(topic, 0, &sent)]));
        let mut turns = 0;
        while halt == Ok(Halt::Yielded) {
            if taken_away == Some(turns) {
                rig.give_sealing(&PAYMENTS);
            }
            turns += 1;
            halt = rig.client_sends(&[]);
        }
        prop_assert_eq!(halt, Ok(Halt::More));
        let (_, _, reached) = produced(&only_frame(&rig.at_broker()), 9).remove(0);
        prop_assert_eq!(codec_of(&reached), codec_of(&whole));
        prop_assert_eq!(reached.len(), whole.len());
        prop_assert!(opened(topic, &reached) == clear.build().unwrap());
    }

    /// SEAL-BATCH-3: what is refused is what would be longer as it is sent, and nothing else.
    #[test]
    fn a_topic_takes_exactly_what_it_can_hold(
        lengths in lengths(),
        place in any::<proptest::sample::Index>(),
        beside in -40..40_i64,
    ) {
        // The limit of `sealed-*`.
        const BYTES_MAX: i64 = 1_048_588;
        let mut lengths: Vec<usize> = lengths.iter().copied().cycle().take(8000).scan(0, |sum, bytes| {
            *sum += bytes + 100;
            (*sum < 1_000_000).then_some(bytes)
        }).collect();
        let place = place.index(lengths.len());
        for _ in 0..3 {
            let bytes = sealed_by_proxy("roomy-a", &batch_of_values(lengths.clone())).len();
            let missing = BYTES_MAX + beside - bytes as i64;
            lengths[place] = usize::try_from(lengths[place] as i64 + missing).unwrap_or(0);
        }
        let clear = batch_of_values(lengths);
        let bytes = sealed_by_proxy("roomy-a", &clear).len();
        for codec in [Codec::None, Codec::Zstd] {
            let (reached, code) = produced_to("sealed-a", &clear.clone().codec(codec).build().unwrap());
            if bytes as i64 <= BYTES_MAX {
                prop_assert_eq!((reached.map(|batch| batch.len()), code), (Some(bytes), 0));
            } else {
                prop_assert_eq!((reached, code), (None, 10));
            }
        }
    }
}
