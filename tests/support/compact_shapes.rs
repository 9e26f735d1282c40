//! Batches whose compact form has every border that a decoder may stumble over: one list for all readers.

use sealwire::testing::{BatchBuilder, RecordInput};

/// A client's batch.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) records: usize,
    pub(crate) batch: BatchBuilder,
    /// Whether the proxy writes it as an LZ4 frame.
    pub(crate) is_compact: bool,
}

pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        Shape::new("one record", 1, |_, batch| add(batch, b"key", 100, 2)),
        Shape::new("one long record", 1, |_, batch| add(batch, b"key", 200_000, 2)),
        Shape::new("every kind of key, value and headers", 400, every_kind),
        Shape::new(
            "borders in every part of a record",
            BORDERS * SHORT,
            |place, batch| {
                // As it is stored such a record is 150 to 250 bytes longer than its value: a block ends in the value,
                // in the marker and in the tag.
                let bytes = if place % SHORT == 1 {
                    BLOCK_BYTES - 260 + place / SHORT * 5
                } else {
                    60
                };
                add(batch, b"key", bytes, 0)
            },
        ),
        Shape::new("longer than two blocks", 200, |place, batch| {
            let bytes = match place {
                0 => 200_000,
                2 => 2 * BLOCK_BYTES,
                _ => 30,
            };
            add(batch, b"key", bytes, 1)
        }),
        Shape::new("about as long as share a block", 600, |place, batch| {
            // 4096 as they are stored, some more and some less.
            add(batch, b"", if place % 2 == 0 { 3700 + place } else { 10 }, 0)
        }),
        Shape::new("counters of one, two and three bytes", 17_000, |_, batch| {
            add(batch, b"k", 12, 0)
        }),
        Shape::new("many records", 100_000, |_, batch| add(batch, b"", 6, 0)),
    ]
}

impl Shape {
    /// Records like any.
    pub(crate) fn some(name: &'static str, records: usize) -> Self {
        Shape::new(name, records, |_, batch| add(batch, b"key", 150, 1))
    }

    fn new(name: &'static str, records: usize, record: impl Fn(usize, BatchBuilder) -> BatchBuilder) -> Self {
        Shape {
            name,
            records,
            batch: (0..records).fold(BatchBuilder::new(), |batch, place| record(place, batch)),
            is_compact: records > 1,
        }
    }
}

fn add(batch: BatchBuilder, key: &[u8], value_bytes: usize, headers: usize) -> BatchBuilder {
    batch.record(RecordInput {
        timestamp: TIMESTAMP,
        key: Some(key),
        value: Some(&vec![b'v'; value_bytes]),
        headers: &HEADERS[..headers],
    })
}

fn every_kind(place: usize, batch: BatchBuilder) -> BatchBuilder {
    let text = vec![b't'; place];
    let fields = [None, Some(&b""[..]), Some(&text[..])];
    batch.record(RecordInput {
        timestamp: TIMESTAMP + place as i64,
        key: fields[place % 3],
        value: fields[place / 3 % 3],
        headers: &[(&b"long"[..], fields[place / 9 % 3]), HEADERS[0], HEADERS[1]][..place / 27 % 4],
    })
}

const HEADERS: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"a1")), (b"trace", None)];
const TIMESTAMP: i64 = 1_700_000_000_000;
/// Of an LZ4 frame.
const BLOCK_BYTES: usize = 64 * 1024;
/// Records of about the length of a block, and with how many short ones each comes, so that they are 4 KiB on average.
const BORDERS: usize = 54;
const SHORT: usize = 20;
