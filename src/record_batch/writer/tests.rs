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

#[test]
fn a_batch_may_be_moved_while_it_is_written_and_before_it_has_its_checksum() {
    let plain = vector!("java-none-small");
    let mut out = vec![1, 2, 3];
    let mut writer = BatchWriter::begin(&mut out, &plain).unwrap();
    out.extend_from_slice(&plain[HEADER_BYTES..]);
    out.splice(..0, [8, 9]);
    writer.move_back(2);
    assert_eq!((writer.start, writer.bytes(&out)), (5, plain.len()));
    out.drain(..4);
    writer.move_forward(4);
    assert_eq!((writer.start, writer.bytes(&out)), (1, plain.len()));
    let mut closed = writer.close(&mut out, None).unwrap();
    out.drain(..1);
    closed.move_forward(1);
    assert_eq!((closed.start(), closed.batch(&out)), (0, Some(&out[..])));
    out.splice(..0, [7; 5]);
    closed.move_back(5);
    assert_eq!((closed.start(), closed.batch(&out)), (5, Some(&out[5..])));
    let crc = closed.batch(&out).and_then(crc_of).unwrap();
    assert_eq!(closed.put_checksum(&mut out, crc).of(&out), plain);
}
