//! What a broker checks in a batch before it appends it. What a sealing proxy may put wrong is looked at by another
//! implementation than its own: the records of a batch that is not compressed.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::records::RecordBatchDecoder;
use sealwire::record_batch::{BatchError, BatchHeader, Codec, check_produced};

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
