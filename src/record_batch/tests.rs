//! Vectors written by Kafka's own Java classes (kafka-clients 4.3.1) and by librdkafka 2.16, and properties.

use proptest::prelude::*;

use super::*;
use crate::record_batch::record::RECORD_BYTES_MIN;
use crate::testing::{BatchBuilder, RecordInput, fit_length_and_crc};

mod model;

use model::{Model, any_model, damaged};

/// A vector's bytes from its hexadecimal text.
macro_rules! vector {
    ($name:literal) => {
        $crate::record_batch::tests::unhex(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/record_batch/vectors/",
            $name,
            ".hex"
        )))
    };
}
pub(super) use vector;

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The batch that both generators were asked for.
fn expected(records: usize, repeat: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for index in 0..records {
        let key = format!("key-{index}");
        let value = format!("value-{index}-").repeat(if index % 11 == 10 { 0 } else { repeat });
        let headers: &[(&[u8], Option<&[u8]>)] = if index % 3 == 0 {
            &[(b"h", Some(b"a")), (b"h", None), (b"", Some(b""))]
        } else {
            &[]
        };
        builder = builder.record(RecordInput {
            timestamp: 1_700_000_000_000 + index as i64 * 3,
            key: (index % 5 != 4).then_some(key.as_bytes()),
            value: (index % 7 != 6).then_some(value.as_bytes()),
            headers,
        });
    }
    builder
}

fn expected_small() -> BatchBuilder {
    expected(20, 3)
}

fn expected_large() -> BatchBuilder {
    expected(100, 250)
}

fn records_of(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let mut out = Vec::new();
    let codec = header.attributes.codec().unwrap();
    Decompressor::new()
        .decompress(codec, &batch[HEADER_BYTES..], 1 << 20, &mut out)
        .unwrap();
    out
}

#[test]
fn the_builder_writes_what_java_and_librdkafka_write() {
    let java = expected_small().producer(4711, 3, 42).build().unwrap();
    assert_eq!(java, vector!("java-none-small"));
    let librdkafka = expected_small().partition_leader_epoch(0).build().unwrap();
    assert_eq!(librdkafka[16..], vector!("librdkafka-none-small")[16..]);
}

#[test]
fn every_codec_of_java_and_librdkafka_is_read() {
    let small = expected_small().build().unwrap();
    let large = expected_large().build().unwrap();
    let cases = [
        (Codec::Gzip, vector!("java-gzip-small"), &small),
        (Codec::Gzip, vector!("java-gzip-large"), &large),
        (Codec::Snappy, vector!("java-snappy-small"), &small),
        (Codec::Snappy, vector!("java-snappy-large"), &large),
        (Codec::Lz4, vector!("java-lz4-small"), &small),
        (Codec::Lz4, vector!("java-lz4-large"), &large),
        (Codec::Zstd, vector!("java-zstd-small"), &small),
        (Codec::Zstd, vector!("java-zstd-large"), &large),
        (Codec::Gzip, vector!("librdkafka-gzip-small"), &small),
        (Codec::Gzip, vector!("librdkafka-gzip-large"), &large),
        (Codec::Snappy, vector!("librdkafka-snappy-small"), &small),
        (Codec::Snappy, vector!("librdkafka-snappy-large"), &large),
        (Codec::Lz4, vector!("librdkafka-lz4-small"), &small),
        (Codec::Lz4, vector!("librdkafka-lz4-large"), &large),
        (Codec::Zstd, vector!("librdkafka-zstd-small"), &small),
        (Codec::Zstd, vector!("librdkafka-zstd-large"), &large),
    ];
    for (codec, batch, plain) in cases {
        let header = check_produced(&batch, 7).unwrap();
        assert_eq!(header.attributes.codec(), Ok(codec));
        assert_eq!(records_of(&batch), plain[HEADER_BYTES..], "{codec:?}");
    }
}

#[test]
fn stored_records_are_found_where_they_stand_or_decompressed() {
    let plain = vector!("java-none-small");
    let records = &plain[HEADER_BYTES..];
    let mut empty = vector!("java-empty");
    empty[22] |= 1;
    let cases: [(Vec<u8>, &[u8]); 3] = [
        (plain.clone(), &plain),
        (vector!("java-gzip-small"), records),
        (empty, &[]),
    ];
    let mut decompressor = Decompressor::new();
    for (batch, expected) in cases {
        let header = BatchHeader::parse(&batch).unwrap();
        let mut out = b"before".to_vec();
        let (found, mut cursor) =
            stored_records(&batch, &header, records.len(), &mut decompressor, &mut out).unwrap();
        assert_eq!(found, expected);
        let walked = std::iter::from_fn(|| cursor.next(found).unwrap()).count();
        assert_eq!(walked, header.record_count as usize);
    }
    let gzip = vector!("java-gzip-small");
    let header = BatchHeader::parse(&gzip).unwrap();
    let mut find = |batch: &[u8], limit| {
        stored_records(batch, &header, limit, &mut decompressor, &mut Vec::new())
            .map(|_| ())
            .unwrap_err()
    };
    let limit = records.len() - 1;
    assert_eq!(find(&gzip, limit), CodecError::LimitExceeded { limit }.into());
    assert_eq!(find(&gzip[..60], limit), BatchError::Truncated);
}

#[test]
fn control_and_empty_batches_of_java() {
    let marker = vector!("java-commit-marker");
    assert!(crc_matches(&marker));
    let header = BatchHeader::parse(&marker).unwrap();
    assert!(header.attributes.is_control() && header.attributes.is_transactional());
    assert_eq!(
        (header.base_offset, header.producer_id, header.producer_epoch),
        (9, 4711, 3)
    );
    let record = RecordCursor::stored(&header, HEADER_BYTES)
        .next(&marker)
        .unwrap()
        .unwrap();
    assert_eq!(record.key.map(|key| key.of(&marker)), Some(&[0, 0, 0, 1][..]));

    let empty = vector!("java-empty");
    assert!(crc_matches(&empty));
    let header = BatchHeader::parse(&empty).unwrap();
    assert_eq!(
        (header.record_count, header.base_offset, header.last_offset_delta),
        (0, 10, 9)
    );
    assert_eq!(RecordCursor::stored(&header, HEADER_BYTES).next(&empty), Ok(None));
    let rebuilt = BatchBuilder::new()
        .base_offset(10)
        .last_offset_delta(9)
        .partition_leader_epoch(5)
        .producer(4711, 3, 42)
        .transactional()
        .base_timestamp(-1)
        .log_append_time(1_700_000_000_000)
        .build()
        .unwrap();
    // Java was asked for CreateTime: all else is equal.
    let mut create_time = rebuilt;
    create_time[22] &= !(Attributes::LOG_APPEND_TIME as u8);
    fit_length_and_crc(&mut create_time);
    assert_eq!(create_time, empty);
}

#[test]
fn every_bit_of_a_batch_is_under_the_checksum_or_a_checked_field() {
    let batch = vector!("java-none-small");
    assert!(crc_matches(&batch));
    for position in (17..batch.len()).step_by(7) {
        for bit in 0..8 {
            let mut flipped = batch.clone();
            flipped[position] ^= 1 << bit;
            assert!(!crc_matches(&flipped), "byte {position} bit {bit}");
        }
    }
    assert!(!crc_matches(&batch[..batch.len() - 1]));
    assert!(!crc_matches(&batch[..HEADER_BYTES - 1]));
    assert!(!crc_matches(&[]));
}

/// RECORDS-1
#[test]
fn a_cursor_demands_the_exact_count_and_end() {
    let batch = expected_small().build().unwrap();
    let walk = |count: i32, end: usize| {
        let mut header = BatchHeader::parse(&batch).unwrap();
        header.record_count = count;
        let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
        loop {
            match cursor.next(&batch[..end]) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    assert_eq!(walk(20, batch.len()), Ok(()));
    assert_eq!(walk(19, batch.len()), Err(BatchError::RecordCount));
    assert_eq!(walk(21, batch.len()), Err(BatchError::RecordCount));
    assert_eq!(
        walk(20, batch.len() - 1),
        Err(BatchError::Record(RecordError::Truncated))
    );
    assert_eq!(walk(-1, batch.len()), Err(BatchError::RecordCount));
    assert_eq!(walk(-1, HEADER_BYTES), Ok(()));
}

#[test]
fn offset_deltas_of_a_producer_are_0_1_2() {
    let record = RecordInput::default();
    let cases = [
        (BatchBuilder::new().record(record).record(record), None),
        (BatchBuilder::new().record_at(1, record), Some((1, 0))),
        (
            BatchBuilder::new().record(record).record_at(0, record),
            Some((0, 1)),
        ),
        (
            BatchBuilder::new().record(record).record_at(2, record),
            Some((2, 1)),
        ),
        (BatchBuilder::new().record_at(-1, record), Some((-1, 0))),
    ];
    for (builder, error) in cases {
        let batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let walk = |mut cursor: RecordCursor| -> Result<(), BatchError> {
            while cursor.next(&batch)?.is_some() {}
            Ok(())
        };
        let wanted = match error {
            None => Ok(()),
            Some((found, expected)) => Err(BatchError::OffsetDelta { found, expected }),
        };
        // RECORDS-2
        let mut compressed = header;
        compressed.attributes = Attributes(1);
        assert_eq!(walk(RecordCursor::produced(&compressed, HEADER_BYTES)), wanted);
        assert_eq!(walk(RecordCursor::produced(&header, HEADER_BYTES)), Ok(()));
        assert_eq!(walk(RecordCursor::stored(&header, HEADER_BYTES)), Ok(()));
    }
}

/// Walks everything that can be walked; the result does not matter.
fn walk_all(bytes: &[u8]) {
    for at in [0, 1, bytes.len() / 2, bytes.len(), bytes.len() + 1, usize::MAX] {
        if let Ok(record) = parse_record(bytes, at) {
            assert!(record.start < record.body && record.body < record.end && record.end <= bytes.len());
            assert!(record.end - record.start >= RECORD_BYTES_MIN);
            let mut last = record.first_header;
            for header in headers(bytes, &record).flatten() {
                assert_eq!(header.span.start, last);
                assert!(header.span.end <= record.end);
                last = header.span.end;
            }
        }
        let section = Span {
            start: at,
            end: bytes.len(),
        };
        if let Ok(walk) = header_section(bytes, section) {
            let _ = walk.check();
        }
    }
    let _ = check_produced(bytes, 9);
    let mut batches = Batches::new(bytes);
    let mut end = 0;
    for batch in batches.by_ref().flatten() {
        assert_eq!(batch.span.start, end);
        assert!(batch.span.end > end);
        end = batch.span.end;
        if let BatchKind::V2(header) = batch.kind {
            let slice = batch.span.of(bytes);
            let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
            while let Ok(Some(record)) = cursor.next(slice) {
                let _ = headers(slice, &record).check();
            }
        }
    }
    assert_eq!(
        batches.tail(),
        Span {
            start: end,
            end: bytes.len()
        }
    );
}

proptest! {
    /// RECORD-1
    #[test]
    fn what_the_model_encodes_is_what_is_parsed(model in any_model(), padding in 0usize..4) {
        let batch = model.encode(padding);
        let header = check_produced(&batch, 3).unwrap();
        prop_assert_eq!(header.record_count as usize, model.records.len());
        let mut cursor = RecordCursor::produced(&header, HEADER_BYTES);
        let mut parsed = Vec::new();
        while let Some(record) = cursor.next(&batch).unwrap() {
            parsed.push(model::parsed(&batch, &record));
            prop_assert_eq!(cursor.announced(), model.records.len() - parsed.len());
        }
        prop_assert_eq!(&parsed, &model.records);
    }

    #[test]
    fn the_builder_and_the_models_encoder_agree(model in any_model()) {
        prop_assert_eq!(model.builder().build().unwrap(), model.encode(0));
    }

    /// BATCH-3
    #[test]
    fn what_is_re_emitted_unchanged_is_equal_byte_for_byte(model in any_model(), padding in 0usize..4) {
        let batch = model.encode(padding);
        let header = BatchHeader::parse(&batch).unwrap();
        let mut out = b"before".to_vec();
        let writer = BatchWriter::begin(&mut out, &batch).unwrap();
        let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
        while let Some(record) = cursor.next(&batch).unwrap() {
            // In the pieces that an envelope would copy.
            out.extend_from_slice(&batch[record.start..record.body]);
            out.extend_from_slice(record.fixed_and_key().of(&batch));
            out.extend_from_slice(record.value_field.of(&batch));
            out.extend_from_slice(&batch[record.headers.start..record.first_header]);
            for header in headers(&batch, &record) {
                out.extend_from_slice(header.unwrap().span.of(&batch));
            }
        }
        let span = writer.finish(&mut out).unwrap();
        prop_assert_eq!(span.of(&out), &batch[..]);
        prop_assert!(out.starts_with(b"before"));
    }

    #[test]
    fn the_oracle_reads_what_the_builder_writes(model in any_model()) {
        let mut batch = bytes::Bytes::from(model.builder().build().unwrap());
        let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut batch).unwrap();
        prop_assert_eq!(decoded.records.len(), model.records.len());
        for (decoded, record) in decoded.records.iter().zip(&model.records) {
            prop_assert_eq!(decoded.key.as_deref(), record.key.as_deref());
            prop_assert_eq!(decoded.value.as_deref(), record.value.as_deref());
            prop_assert_eq!(decoded.timestamp, model.base_timestamp + record.timestamp_delta);
            prop_assert_eq!(decoded.offset, i64::from(record.offset_delta));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        walk_all(&bytes);
    }

    /// BATCH-1
    #[test]
    fn damaged_batches_never_panic(model in any_model(), damage in damaged()) {
        let mut batch = model.encode(0);
        let again = batch.clone();
        batch.extend_from_slice(&again);
        damage.apply(&mut batch);
        walk_all(&batch);
        let mut records = again;
        records.drain(..HEADER_BYTES);
        damage.apply(&mut records);
        walk_all(&records);
    }

    /// BATCHES-1
    #[test]
    fn sequences_of_batches_are_cut_where_they_were_joined(
        models in prop::collection::vec(any_model(), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let batches: Vec<Vec<u8>> = models.iter().map(|model: &Model| model.encode(0)).collect();
        let joined = batches.concat();
        let end = cut.index(joined.len() + 1);
        let mut whole = 0;
        let mut expected = Vec::new();
        for batch in &batches {
            if whole + batch.len() > end {
                break;
            }
            expected.push(Span { start: whole, end: whole + batch.len() });
            whole += batch.len();
        }
        let mut iterated = Batches::new(&joined[..end]);
        let spans: Vec<Span> = iterated.by_ref().map(|batch| batch.unwrap().span).collect();
        prop_assert_eq!(spans, expected);
        prop_assert_eq!(iterated.tail(), Span { start: whole, end });
    }
}
