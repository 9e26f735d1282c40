//! Stored batches that hold nothing for an application: those that compaction emptied, and transaction markers.
//!
//! They carry no seal and are delivered as they are, so they must not be able to carry anything else.
//!
//! - RECORDLESS-1: a batch that announces no record has no byte behind its header: librdkafka reads records for as long as
//!   there are bytes, whatever the count says.
//! - RECORDLESS-2: a control batch is one transaction marker: not compressed, a key of four bytes (version and type), a
//!   value of a few numbers, no headers. A client that does not know the control bit would hand its record out.

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
    if header.attributes.codec() != Some(Codec::None) {
        return Err(BatchError::Codec {
            number: header.attributes.codec_number(),
        });
    }
    if header.record_count != 1 {
        return Err(BatchError::RecordCount);
    }
    let mut cursor = RecordCursor::stored(header, HEADER_BYTES);
    while let Some(record) = cursor.next(batch)? {
        let key_bytes = record.key.map_or(0, |key| key.len());
        let value_bytes = record.value.map_or(0, |value| value.len());
        let is_marker = key_bytes == MARKER_KEY_BYTES
            && value_bytes <= MARKER_VALUE_BYTES_MAX
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
/// Version and type, two bytes each.
const MARKER_KEY_BYTES: usize = 4;
/// A version and the coordinator's epoch are six bytes; what later versions add is numbers too.
const MARKER_VALUE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::{BatchBuilder, RecordInput};

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
        let control = BatchBuilder::new().producer(7, 0, -1).transactional().control();
        assert_eq!(checked(&control.record(marker())), Ok(()));
        assert_eq!(checked(&BatchBuilder::new().last_offset_delta(3)), Ok(()));
        let emptied = BatchBuilder::new()
            .control()
            .codec(Codec::Zstd)
            .last_offset_delta(0);
        assert_eq!(checked(&emptied), Ok(()));
    }

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

    #[test]
    fn the_control_bit_hides_no_record() {
        let long = [b'x'; 33];
        let header: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"injected"))];
        for record in [
            RecordInput {
                key: Some(b"order"),
                ..marker()
            },
            RecordInput {
                key: None,
                ..marker()
            },
            RecordInput {
                value: Some(&long),
                ..marker()
            },
            RecordInput {
                headers: header,
                ..marker()
            },
        ] {
            assert!(checked(&BatchBuilder::new().control().record(record)).is_err());
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
