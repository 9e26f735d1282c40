//! Compact batches hold what those hold that are sealed record by record, and neither their length nor their room
//! depends on what clients send.

use super::*;
use crate::record_batch::{BatchWriter, Codec, CompactFrame, Decompressor, HEADER_BYTES};

/// Lengths of what a record has.
#[derive(Clone, Debug)]
struct Shape {
    key: Option<usize>,
    value: Option<usize>,
    headers: usize,
    header_value: Option<usize>,
    /// Its length is written longer than it need be.
    loose: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let value = prop_oneof![
        20 => 0..300_usize,
        6 => 3500..4200_usize,
        1 => 65_000..66_000_usize,
        1 => 131_000..131_100_usize,
    ];
    let headers = prop_oneof![10 => Just(0_usize), 5 => 1..4_usize, 1 => 60..70_usize, 1 => 8180..8200_usize];
    (
        proptest::option::of(0..80_usize),
        proptest::option::weighted(0.9, value),
        headers,
        proptest::option::of(0..40_usize),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(key, value, headers, header_value, loose)| Shape {
            key,
            value,
            headers,
            header_value,
            loose,
        })
}

impl Shape {
    fn record(&self, content: u8) -> Bytes {
        let bytes = |length: Option<usize>| length.map(|length| vec![content; length]);
        let mut body = vec![0, 0, 0];
        put_nullable(&mut body, bytes(self.key).as_deref());
        put_nullable(&mut body, bytes(self.value).as_deref());
        put_varint(&mut body, i32::try_from(self.headers).unwrap());
        for _ in 0..self.headers {
            put_nullable(&mut body, Some(b"h"));
            put_nullable(&mut body, bytes(self.header_value).as_deref());
        }
        let mut record = Vec::new();
        put_varint(&mut record, i32::try_from(body.len()).unwrap());
        if self.loose {
            let last = record.len() - 1;
            record[last] |= 0x80;
            record.push(0);
        }
        record.extend(body);
        record
    }
}

fn sealer(wrapped: &[u8], salt: u8, terms: &SealTerms<'_>, first_counter: u32) -> BatchSealer {
    let key = SealingKey::new(&dek(), wrapped).unwrap();
    key.begin_with_salt_for_vectors([salt; SALT_BYTES], first_counter, terms, SealBuffers::default())
        .unwrap()
}

/// A compact batch of the records, in a buffer that is moved to and fro, and never asked for more room than was said.
fn compact(records: &[Bytes], mut sealer: BatchSealer, moves: &[i8]) -> Bytes {
    let mut out = vec![0xee; 200];
    let mut writer = BatchWriter::begin_compact(&mut out, &[0; HEADER_BYTES]).unwrap();
    for (record, by) in records.iter().zip(moves.iter().cycle()) {
        let layout = parse_record(record, 0).unwrap();
        let room = CompactFrame::room_for(sealer.sealed_bytes_max(&layout));
        let bytes = usize::from(by.unsigned_abs());
        if *by < 0 && out.starts_with(&vec![0xee; bytes]) {
            out.drain(..bytes);
            writer.move_forward(bytes);
        } else if *by > 0 {
            out.splice(..0, vec![0xee; bytes]);
            writer.move_back(bytes);
        }
        out.reserve_exact(room);
        let capacity = out.capacity();
        let frame = writer.frame().unwrap();
        sealer
            .seal_compact_record(record, &layout, frame, &mut out)
            .unwrap();
        assert_eq!(out.capacity(), capacity, "there was room");
    }
    let capacity = out.capacity();
    let bytes = writer.finish(&mut out).unwrap();
    assert_eq!(out.capacity(), capacity, "what ends a frame has room as well");
    assert!(out[..bytes.start].iter().all(|byte| *byte == 0xee));
    assert_eq!(bytes.end, out.len());
    out[bytes.range()].to_vec()
}

proptest! {
    /// COMPACT-1, SEALING-4
    #[test]
    fn compact_batches_hold_the_same_records(
        shapes in vec(shape(), 1..80),
        repeated in any::<bool>(),
        wrapped in prop_oneof![vec(any::<u8>(), 20..200), vec(any::<u8>(), 2000..2048)],
        mode in mode(),
        keys_sealed in any::<bool>(),
        first_counter in prop_oneof![Just(0_u32), Just(100), Just(16_370), Just(COUNTER_MAX - 100)],
        moves in vec(-100..100_i8, 1..20),
    ) {
        let shapes = if repeated { vec![shapes[0].clone(); shapes.len().min(40)] } else { shapes };
        let records = |content| shapes.iter().map(|shape| shape.record(content)).collect::<Vec<_>>();
        let clear = records(0);
        let accepted = accepted("orders", keys_sealed);
        let terms = &terms(&accepted, mode);
        let stored = compact(&clear, sealer(&wrapped, 7, terms, first_counter), &moves);
        let mut one_by_one = Vec::new();
        let mut plain = sealer(&wrapped, 7, terms, first_counter);
        for record in &clear {
            plain.seal_record(record, &parse_record(record, 0).unwrap(), &mut one_by_one).unwrap();
        }
        let mut held = Vec::new();
        Decompressor::new()
            .decompress(Codec::Lz4, &stored[HEADER_BYTES..], one_by_one.len(), &mut held)
            .unwrap();
        prop_assert!(held == one_by_one);
        let other = compact(&records(b'x'), sealer(&wrapped, 9, terms, first_counter), &[0]);
        prop_assert_eq!(other.len(), stored.len());
    }
}
