//! What is written of a batch, and what is patched.

use super::*;
use crate::record_batch::tests::vector;
use crate::record_batch::{BatchHeader, crc_matches};

#[test]
fn a_compressed_batch_becomes_the_plain_one() {
    let mut source = vector!("java-lz4-small");
    let plain = vector!("java-none-small");
    let mut out = vec![1, 2, 3];
    // The source may have been decompressed elsewhere: only its header is needed.
    source.truncate(HEADER_BYTES);
    let writer = BatchWriter::begin(&mut out, &source).unwrap();
    assert_eq!(writer.bytes(&out), HEADER_BYTES);
    out.extend_from_slice(&plain[HEADER_BYTES..]);
    assert_eq!(
        writer.finish(&mut out).unwrap(),
        Span {
            start: 3,
            end: 3 + plain.len()
        }
    );
    assert_eq!(out[3..], plain);
}

#[test]
fn all_header_fields_but_the_patched_ones_stay() {
    let mut source = vector!("java-none-small");
    // Every flag that is not a codec, offsets and epochs of a broker.
    source[21..23].copy_from_slice(&0x7f_fci16.to_be_bytes());
    source[0..8].copy_from_slice(&77i64.to_be_bytes());
    source[12..16].copy_from_slice(&9i32.to_be_bytes());
    let before = BatchHeader::parse(&source).unwrap();
    let mut out = Vec::new();
    let writer = BatchWriter::begin(&mut out, &source).unwrap();
    let closed = writer.close(&mut out, Some(0)).unwrap();
    let crc = closed.batch(&out).and_then(crc_of).unwrap();
    assert_eq!(closed.put_checksum(&mut out, crc).len(), HEADER_BYTES);
    assert!(crc_matches(&out));
    let after = BatchHeader::parse(&out).unwrap();
    assert_eq!(after.attributes, Attributes(0x7f_f8));
    let patched = BatchHeader {
        batch_length: 49,
        crc: after.crc,
        attributes: after.attributes,
        record_count: 0,
        ..before
    };
    assert_eq!(after, patched);
}

#[test]
fn what_cannot_be_a_batch_is_taken_back() {
    let source = vector!("java-none-small");
    let mut out = b"kept".to_vec();
    assert!(matches!(
        BatchWriter::begin(&mut out, &source[..60]),
        Err(BatchError::Truncated)
    ));
    assert_eq!(out, b"kept");
    let writer = BatchWriter::begin(&mut out, &source[..61]).unwrap();
    writer.abandon(&mut out);
    assert_eq!(out, b"kept");
    let writer = BatchWriter::begin(&mut out, &source).unwrap();
    out.truncate(20);
    assert_eq!(writer.finish(&mut out), Err(BatchError::TooLarge));
    assert_eq!(out, b"kept");
}
