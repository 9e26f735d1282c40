//! What a broker checks in a batch before it appends it. What a sealing proxy may put wrong is looked at by another
//! implementation than its own: the records of a batch that is not compressed, and the frame of one in LZ4.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::records::RecordBatchDecoder;
use sealwire::record_batch::{BatchError, BatchHeader, Codec, HEADER_BYTES, RecordCursor, check_produced};

/// The header of the only batch, if a broker would take it.
pub(super) fn check_batch(
    records: &Bytes,
    version: i16,
    bytes_max: usize,
) -> Result<BatchHeader, ResponseError> {
    let header = check_produced(records, version).map_err(|error| match error {
        BatchError::Checksum => ResponseError::CorruptMessage,
        _ => ResponseError::InvalidRecord,
    })?;
    if records.len() > bytes_max {
        return Err(ResponseError::MessageTooLarge);
    }
    if header.attributes.codec() == Ok(Codec::Lz4) && !has_even_offsets(records, &header) {
        return Err(ResponseError::InvalidRecord);
    }
    if header.attributes.codec() == Ok(Codec::None) {
        // The decoder believes in counts.
        let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
        let decoded = (count <= records.len()).then(|| RecordBatchDecoder::decode(&mut records.clone()));
        let is_whole = |set: &kafka_protocol::records::RecordSet| {
            let offsets = set.records.iter().map(|record| record.offset);
            set.records.len() == count && offsets.eq(0..i64::from(header.record_count))
        };
        if !decoded.is_some_and(|decoded| decoded.is_ok_and(|set| is_whole(&set))) {
            return Err(ResponseError::InvalidRecord);
        }
    }
    Ok(header)
}

/// Whether the records of a compressed batch stand at 0, 1, 2 …, which no broker sees to where there is no codec.
fn has_even_offsets(batch: &[u8], header: &BatchHeader) -> bool {
    let mut records = Vec::new();
    let mut frame = lz4_flex::frame::FrameDecoder::new(&batch[HEADER_BYTES..]);
    if std::io::copy(&mut frame, &mut records).is_err() {
        return false;
    }
    let mut cursor = RecordCursor::produced(header, 0);
    loop {
        match cursor.next(&records) {
            Ok(None) => return true,
            Ok(Some(_)) => {}
            Err(_) => return false,
        }
    }
}
