//! What is composed is read by decoders that know nothing of it, and is as LZ4 demands.

use proptest::prelude::*;

use super::*;
use crate::record_batch::{Codec, Decompressor};

/// One record: lengths of what is in front and behind, and what differs in its middle.
#[derive(Clone, Debug)]
struct Record {
    front: usize,
    differs: Vec<u8>,
    differs_too: Vec<u8>,
    back: usize,
}

/// What never differs.
const NAME: &[u8] = b"\x10sealwire";

fn record() -> impl Strategy<Value = Record> {
    let bytes = prop_oneof![20 => 3..300_usize, 4 => 300..5000_usize, 1 => 60_000..200_000_usize];
    let varint = proptest::collection::vec(any::<u8>(), 1..6);
    (bytes, varint.clone(), varint, 17..600_usize).prop_map(|(front, differs, differs_too, back)| Record {
        front,
        differs,
        differs_too,
        back,
    })
}

/// Composes a frame; returns it and its text.
fn compose(records: &[Record], head: &[u8], before: usize) -> (Vec<u8>, Vec<u8>) {
    let mut out = vec![0xee; before];
    let mut text = Vec::new();
    let mut frame = CompactFrame::begin(&mut out);
    let mut last: Option<Vec<u8>> = None;
    for (number, record) in records.iter().enumerate() {
        let (differs, differs_too) = (&record.differs[..], &record.differs_too[..]);
        let bytes = [differs, NAME, differs_too, head].concat();
        let middle = Middle {
            bytes: &bytes,
            ends: [
                differs.len(),
                differs.len() + NAME.len(),
                differs.len() + NAME.len() + differs_too.len(),
            ],
            as_before: last.as_ref() == Some(&bytes),
        };
        // Nothing of it can be matched by accident that is not to be matched.
        let mut state = number as u64 + 1;
        let mut noise = |bytes: usize| -> Vec<u8> {
            let mut next = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 33) as u8
            };
            (0..bytes).map(|_| next()).collect()
        };
        let (front, back) = (noise(record.front), noise(record.back));
        let from = out.len();
        let bridge = frame.place(&mut out, [front.len(), back.len()], &middle).to_vec();
        out.extend_from_slice(&front);
        out.extend_from_slice(&bridge);
        out.extend_from_slice(&back);
        frame.placed(&mut out);
        let plain = front.len() + bytes.len() + back.len();
        assert!(out.len() <= from + CompactFrame::room_for(plain));
        text.extend_from_slice(&front);
        text.extend_from_slice(&bytes);
        text.extend_from_slice(&back);
        last = Some(bytes);
    }
    frame.finish(&mut out);
    assert_eq!(out[..before], vec![0xee; before]);
    (out.split_off(before), text)
}

/// The lengths of its blocks' text.
fn check_form(frame: &[u8], text: &[u8]) -> Vec<usize> {
    assert_eq!(frame[..7], FRAME_HEADER, "COMPACT-2");
    let mut blocks = Vec::new();
    let mut rest = &frame[7..];
    loop {
        let (word, behind) = rest.split_first_chunk().expect("a length");
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            assert!(behind.is_empty(), "COMPACT-2: nothing behind the end mark");
            return blocks;
        }
        let (block, behind) = behind.split_at((word & !STORED_FLAG) as usize);
        let bytes = if word & STORED_FLAG == 0 {
            check_block(block)
        } else {
            block.len()
        };
        assert!(bytes > 0 && bytes <= BLOCK_BYTES_MAX, "COMPACT-2");
        assert!(block.len() <= bytes, "COMPACT-4");
        let at: usize = blocks.iter().sum();
        assert!(at + bytes <= text.len());
        blocks.push(bytes);
        rest = behind;
    }
}

/// A length that begins in a half of a token and goes on at `at`.
fn take_length(block: &[u8], at: &mut usize, nibble: u8) -> usize {
    let mut length = usize::from(nibble);
    let mut goes_on = nibble == 15;
    while goes_on {
        length += usize::from(block[*at]);
        goes_on = block[*at] == 255;
        *at += 1;
    }
    length
}

/// Walks a compressed block by the letter of its format; the length of its text.
fn check_block(block: &[u8]) -> usize {
    let mut matches = Vec::new();
    let (mut at, mut text) = (0, 0);
    loop {
        let token = block[at];
        at += 1;
        let literals = take_length(block, &mut at, token >> 4);
        at += literals;
        text += literals;
        if at == block.len() {
            assert_eq!(token & 15, 0);
            assert!(literals >= 5, "the last five bytes are literals");
            assert!(
                matches.iter().all(|from| from + 12 <= text),
                "no match begins in the last 12"
            );
            assert!(!matches.is_empty(), "COMPACT-4");
            return text;
        }
        let distance = usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
        at += 2;
        let matched = take_length(block, &mut at, token & 15) + 4;
        assert!(distance > 0 && distance <= text, "inside of the block");
        matches.push(text);
        text += matched;
    }
}

fn decoded(frame: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let decoded = Decompressor::new().decompress(Codec::Lz4, frame, limit, &mut out);
    decoded.expect("a frame");
    out
}

/// The same by a decoder of frames that is not ours.
fn decoded_by_lz4_flex(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::copy(&mut lz4_flex::frame::FrameDecoder::new(frame), &mut out).expect("a frame");
    out
}

fn uniform(count: usize, front: usize, back: usize) -> Vec<Record> {
    let record = Record {
        front,
        differs: vec![2],
        differs_too: vec![0x94, 1],
        back,
    };
    vec![record; count]
}

proptest! {
    /// COMPACT-2, COMPACT-3, COMPACT-4.
    #[test]
    fn whatever_is_composed_reads_as_it_was_written(
        records in proptest::collection::vec(record(), 1..60),
        repeats in any::<bool>(),
        head in 20..2100_usize,
        before in 0..100_usize,
    ) {
        let mut records = records;
        if repeats {
            let first = records[0].clone();
            for record in &mut records {
                record.differs.clone_from(&first.differs);
                record.differs_too.clone_from(&first.differs_too);
            }
        }
        let head: Vec<u8> = (0..head).map(|at| (at * 7 % 251) as u8).collect();
        let (frame, text) = compose(&records, &head, before);
        let blocks = check_form(&frame, &text);
        prop_assert_eq!(blocks.iter().sum::<usize>(), text.len());
        prop_assert!(decoded(&frame, text.len()) == text);
        prop_assert!(decoded_by_lz4_flex(&frame) == text);
    }
}

/// COMPACT-1: ciphertext, keys and whatever else a client sent may be equal throughout, and nothing gets shorter.
#[test]
fn what_clients_send_is_never_matched() {
    let records = uniform(300, 150, 19);
    let (noise, _) = compose(&records, &[7; 90], 0);
    let mut out = Vec::new();
    let mut frame = CompactFrame::begin(&mut out);
    let bytes = [&[2], NAME, &[0x94, 1], &[7; 90]].concat();
    for number in 0..300 {
        let middle = Middle {
            bytes: &bytes,
            ends: [1, 10, 12],
            as_before: number > 0,
        };
        let bridge = frame.place(&mut out, [150, 19], &middle).to_vec();
        out.extend_from_slice(&[0; 150]);
        out.extend_from_slice(&bridge);
        out.extend_from_slice(&[0; 19]);
        frame.placed(&mut out);
    }
    frame.finish(&mut out);
    assert_eq!(out.len(), noise.len());
}

#[test]
fn a_record_costs_a_token_a_distance_and_lengths() {
    for (front, expected) in [(30, 5), (150, 5), (1000, 8)] {
        let [few, many] = [40, 41].map(|count| compose(&uniform(count, front, 19), &[7; 90], 0).0.len());
        assert_eq!(many - few, front + 19 + expected, "{front}");
    }
}

#[test]
fn lengths_at_every_border() {
    for front in (0..40).chain(235..300).chain(500..560).chain(3900..4100) {
        for back in [17, 18, 30, 31, 32, 270] {
            let (frame, text) = compose(&uniform(4, front, back), &[7; 90], 3);
            check_form(&frame, &text);
            assert!(decoded(&frame, text.len()) == text, "{front}, {back}");
        }
    }
}

#[test]
fn blocks_are_filled_to_their_end() {
    // 128 records of 512 bytes are exactly one block.
    let (frame, text) = compose(&uniform(256, 512 - 19 - 102, 19), &[7; 90], 0);
    assert_eq!(check_form(&frame, &text), [BLOCK_BYTES_MAX; 2]);
    let (frame, text) = compose(&uniform(128, 513 - 19 - 102, 19), &[7; 90], 0);
    assert_eq!(check_form(&frame, &text), [127 * 513, 513]);
}

#[test]
fn a_long_record_has_stored_blocks_of_its_own() {
    let long = 3 * BLOCK_BYTES_MAX - 19 - 102;
    for (front, last) in [
        (long - 1, BLOCK_BYTES_MAX - 1),
        (long, BLOCK_BYTES_MAX),
        (long + 1, 1),
    ] {
        let mut records = uniform(5, 100, 19);
        records[2].front = front;
        let (frame, text) = compose(&records, &[7; 90], 0);
        let blocks = check_form(&frame, &text);
        assert_eq!(
            blocks[1..4],
            [
                BLOCK_BYTES_MAX,
                BLOCK_BYTES_MAX,
                if last == 1 { BLOCK_BYTES_MAX } else { last }
            ]
        );
        assert!(decoded(&frame, text.len()) == text);
    }
}
