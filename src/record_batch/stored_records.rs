//! The records of a stored batch, found in one go: as they stand in it, or decompressed. Whoever may not take so long
//! decompresses step by step ([`Decompression`](super::Decompression)).

use super::codec::{Codec, Decompressor};
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES};
use super::records::RecordCursor;

/// The bytes in which the records of `batch` (a whole one, whose header is `header`) stand, and the cursor that walks
/// them. What is decompressed, `bytes_max` bytes at most, is put into `plain`.
///
/// # Errors
///
/// [`BatchError::Codec`], [`BatchError::Compression`], [`BatchError::Truncated`] below a whole header.
pub fn stored_records<'b>(
    batch: &'b [u8],
    header: &BatchHeader,
    bytes_max: usize,
    decompressor: &mut Decompressor,
    plain: &'b mut Vec<u8>,
) -> Result<(&'b [u8], RecordCursor), BatchError> {
    plain.clear();
    // Compaction has emptied it: there is no stream.
    if header.record_count == 0 {
        return Ok((plain, RecordCursor::stored(header, 0)));
    }
    let codec = header.attributes.codec()?;
    if codec == Codec::None {
        return Ok((batch, RecordCursor::stored(header, HEADER_BYTES)));
    }
    let section = batch.get(HEADER_BYTES..).ok_or(BatchError::Truncated)?;
    decompressor.decompress(codec, section, bytes_max, plain)?;
    Ok((plain, RecordCursor::stored(header, 0)))
}
