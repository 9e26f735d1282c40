//! What a broker checks in the records of a Produce request before it appends them, from Kafka's
//! `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator.validateBatch`.
//!
//! Records themselves are checked while they are walked ([`super::RecordCursor::produced`]). Left to the broker, which
//! sees them as well as before: timestamps, sequences, transactions, null keys on compacted topics.

use super::codec::Codec;
use super::error::BatchError;
use super::header::{
    BATCH_LENGTH_MIN, BatchHeader, HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD, MAGIC_AT, crc_matches,
};
use super::record::RECORD_BYTES_MIN;

/// Checks the records field of one partition of a Produce request of `version` (3 or more): exactly one batch, of
/// format 2, whose header a broker would accept and whose CRC is right. Returns that header.
///
/// # Errors
///
/// The first thing wrong, in the order in which a broker looks.
#[cfg(feature = "testing")]
pub fn check_produced(records: &[u8], version: i16) -> Result<BatchHeader, BatchError> {
    check_produced_with(records, version, crc_matches)
}

/// The same for whoever takes the checksum of a long batch little by little: `crc_is_right` is asked when it is its
/// turn.
///
/// # Errors
///
/// As [`check_produced`].
pub fn check_produced_with(
    records: &[u8],
    version: i16,
    crc_is_right: impl FnOnce(&[u8]) -> bool,
) -> Result<BatchHeader, BatchError> {
    if records.len() < LOG_OVERHEAD {
        return Err(BatchError::Missing);
    }
    // An old message set may be shorter than a header of format 2 and still deserves the right message.
    if let Some(&magic) = records.get(MAGIC_AT)
        && magic != 2
    {
        return Err(BatchError::Magic(i8::from_be_bytes([magic])));
    }
    let length = records
        .get(LENGTH_AT..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(BatchError::Truncated)?;
    let length = i32::from_be_bytes(*length);
    if !usize::try_from(length).is_ok_and(|length| length >= BATCH_LENGTH_MIN) {
        return Err(BatchError::Length(length));
    }
    let header = BatchHeader::parse(records)?;
    let batch = records.get(..header.batch_bytes()).ok_or(BatchError::Truncated)?;
    let codec = match header.attributes.codec() {
        Ok(codec) if codec != Codec::Zstd || version >= ZSTD_VERSION_MIN => codec,
        _ => {
            return Err(BatchError::Codec {
                number: header.attributes.codec_number(),
            });
        }
    };
    if batch.len() != records.len() {
        return Err(BatchError::NotAlone);
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    if !crc_is_right(batch) {
        return Err(BatchError::Checksum);
    }
    check_count(&header, codec, batch.len().saturating_sub(HEADER_BYTES))?;
    if header.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if header.producer_id != NO_PRODUCER_ID && header.base_sequence < 0 {
        return Err(BatchError::Sequence);
    }
    Ok(header)
}

fn check_count(header: &BatchHeader, codec: Codec, records_bytes: usize) -> Result<(), BatchError> {
    let wrong = BatchError::Count {
        count: header.record_count,
        last_offset_delta: header.last_offset_delta,
    };
    let count = match usize::try_from(header.record_count) {
        Ok(count) if count > 0 => count,
        _ => return Err(wrong),
    };
    if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
        return Err(wrong);
    }
    // The walk would find it too, but a count that cannot be need not be walked.
    if codec == Codec::None && count > records_bytes / RECORD_BYTES_MIN {
        return Err(BatchError::RecordCount);
    }
    Ok(())
}

/// Zstd came with version 7 of Produce (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;

const NO_PRODUCER_ID: i64 = -1;

#[cfg(test)]
mod tests;
