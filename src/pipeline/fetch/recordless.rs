//! Stored batches that hold nothing for an application: those that compaction emptied, and transaction markers.
//!
//! They carry no seal and are delivered as they are, so they must not be able to carry anything else.
//!
//! - RECORDLESS-1: a batch that announces no record has no byte behind its header: librdkafka reads records for as long
//!   as there are bytes, whatever the count says.
//! - RECORDLESS-2: a control batch is one transaction marker, exactly as brokers write it: not compressed, a key of
//!   version 0 and type abort or commit, a value of version 0 and the coordinator's epoch, no headers. A client that
//!   does not know the control bit would hand its record out, and of it only the epoch is the broker's to choose.

use crate::record_batch::{BatchError, BatchHeader, Codec, HEADER_BYTES, RecordCursor, crc_matches};

/// Whether `batch` is announced to hold nothing for an application, and is then to be judged by [`check`].
pub(super) fn claims_no_record(header: &BatchHeader) -> bool {
    header.attributes.is_control() || header.record_count == 0
}

/// Checks that a batch which claims to hold nothing for an application holds nothing.
pub(super) fn check(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    if header.record_count == 0 {
        return if batch.len() == HEADER_BYTES {
            Ok(())
        } else {
            Err(BatchError::RecordCount)
        };
    }
    if batch.len() > MARKER_BATCH_BYTES_MAX {
        return Err(BatchError::Control);
    }
    if !crc_matches(batch) {
        return Err(BatchError::Checksum);
    }
    if header.attributes.codec() != Ok(Codec::None) {
        return Err(BatchError::Codec {
            number: header.attributes.codec_number(),
        });
    }
    if header.record_count != 1 {
        return Err(BatchError::RecordCount);
    }
    let mut cursor = RecordCursor::stored(header, HEADER_BYTES);
    while let Some(record) = cursor.next(batch)? {
        let key = record.key.map(|key| key.of(batch));
        let value = record.value.map(|value| value.of(batch));
        let is_marker = key.is_some_and(|key| MARKER_KEYS.iter().any(|marker| marker == key))
            && value
                .is_some_and(|value| value.len() == MARKER_VALUE_BYTES && value.starts_with(&MARKER_VERSION))
            && record.header_count == 0
            && record.first_header == record.end;
        if !is_marker {
            return Err(BatchError::Control);
        }
    }
    Ok(())
}

/// A record takes less than 20 bytes besides key and value; more is not even looked at.
const MARKER_BATCH_BYTES_MAX: usize = HEADER_BYTES + 1024;
/// Version and type, two bytes each: abort and commit. (Other types are in the log of the controllers alone.)
const MARKER_KEYS: [[u8; 4]; 2] = [[0, 0, 0, 0], [0, 0, 0, 1]];
/// The version (two bytes), and four bytes of the coordinator's epoch.
const MARKER_VALUE_BYTES: usize = 6;
/// The only version of a marker's value, from Kafka 0.11 to 4.4 (`EndTxnMarker`).
const MARKER_VERSION: [u8; 2] = [0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BatchBuilder, RecordInput};

    fn marker<'r>() -> RecordInput<'r> {
        RecordInput {
            timestamp: 0,
            key: Some(&[0, 0, 0, 1]),
            value: Some(&[0, 0, 0, 0, 0, 7]),
            headers: &[],
        }
    }

    fn checked(builder: &BatchBuilder) -> Result<(), BatchError> {
        let batch = builder.build().expect("a batch");
        let header = BatchHeader::parse(&batch).expect("a header");
        assert!(claims_no_record(&header));
        check(&batch, &header)
    }

    #[test]
    fn markers_and_emptied_batches_pass() {
        for key in MARKER_KEYS {
            let control = BatchBuilder::new().producer(7, 0, -1).transactional().control();
            let record = RecordInput {
                key: Some(&key),
                value: Some(&[0, 0, 0xff, 0xff, 0xff, 0xff]),
                ..marker()
            };
            assert_eq!(checked(&control.record(record)), Ok(()));
        }
        assert_eq!(checked(&BatchBuilder::new().last_offset_delta(3)), Ok(()));
        let emptied = BatchBuilder::new()
            .control()
            .codec(Codec::Zstd)
            .last_offset_delta(0);
        assert_eq!(checked(&emptied), Ok(()));
    }

    /// RECORDLESS-1
    #[test]
    fn a_count_of_zero_hides_no_record() {
        let hidden = RecordInput {
            value: Some(b"injected"),
            ..marker()
        };
        for codec in [Codec::None, Codec::Gzip] {
            let builder = BatchBuilder::new().codec(codec).record(hidden).record_count(0);
            assert_eq!(checked(&builder), Err(BatchError::RecordCount));
        }
    }

    /// RECORDLESS-2
    #[test]
    fn the_control_bit_hides_no_record() {
        let header: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"injected"))];
        let with_key = |key| RecordInput { key, ..marker() };
        let with_value = |value| RecordInput { value, ..marker() };
        for record in [
            with_key(Some(&b"order"[..])),
            with_key(Some(b"keys")),
            with_key(None),
            // Another version; other types: those of the controllers' log, and none.
            with_key(Some(&[0, 1, 0, 1])),
            with_key(Some(&[0, 0, 0, 2])),
            with_key(Some(&[0, 0, 0, 6])),
            with_key(Some(&[0, 0, 0xff, 0xff])),
            with_key(Some(&[0, 0, 0])),
            with_key(Some(&[0, 0, 0, 1, 0])),
            with_value(Some(&[0, 1, 0, 0, 0, 7])),
            with_value(Some(&[0, 0, 0, 0, 7])),
            with_value(Some(&[0, 0, 0, 0, 0, 0, 7])),
            with_value(Some(&[0; 32])),
            with_value(Some(b"")),
            with_value(None),
            RecordInput {
                headers: header,
                ..marker()
            },
        ] {
            let refused = checked(&BatchBuilder::new().control().record(record));
            assert_eq!(refused, Err(BatchError::Control), "{record:?}");
        }
        let two = BatchBuilder::new().control().record(marker()).record(marker());
        assert_eq!(checked(&two), Err(BatchError::RecordCount));
        let compressed = BatchBuilder::new().control().codec(Codec::Lz4).record(marker());
        assert_eq!(checked(&compressed), Err(BatchError::Codec { number: 3 }));
        let mut batch = BatchBuilder::new()
            .control()
            .record(marker())
            .build()
            .expect("a batch");
        if let Some(last) = batch.last_mut() {
            *last ^= 2;
        }
        let header = BatchHeader::parse(&batch).expect("a header");
        assert_eq!(check(&batch, &header), Err(BatchError::Checksum));
    }
}
