//! The records of one batch, one after the other.
//!
//! The cursor does not hold on to the buffer, so that a record may be opened in place between two steps; what is
//! changed must lie inside records that it has passed.
//!
//! - RECORDS-1: exactly as many records as the header counts come out, and they end exactly where the section ends;
//!   otherwise the walk ends with an error.
//! - RECORDS-2: the records of a producer's compressed batch have offset deltas 0, 1, 2 …: a broker cannot store it
//!   otherwise. Of a batch that is not compressed it takes any, and so does the walk.

use super::codec::Codec;
use super::error::BatchError;
use super::header::BatchHeader;
use super::record::{RecordLayout, parse_record};

/// A place in a records section.
#[derive(Clone, Copy, Debug)]
pub struct RecordCursor {
    at: usize,
    left: usize,
    /// The offset delta that the next record must have.
    expected: Option<i32>,
}

impl RecordCursor {
    /// For a batch from a producer, whose records (decompressed) begin at `start`.
    #[inline]
    pub fn produced(header: &BatchHeader, start: usize) -> Self {
        if header.attributes.codec() == Ok(Codec::None) {
            Self::stored(header, start)
        } else {
            Self::gapless(header, start)
        }
    }

    /// For a batch that is, or is to be, compressed (RECORDS-2).
    #[inline]
    pub fn gapless(header: &BatchHeader, start: usize) -> Self {
        Self {
            expected: Some(0),
            ..Self::stored(header, start)
        }
    }

    /// For a batch from a log, where compaction may have left gaps.
    #[inline]
    pub fn stored(header: &BatchHeader, start: usize) -> Self {
        Self {
            at: start,
            left: usize::try_from(header.record_count).unwrap_or(0),
            expected: None,
        }
    }

    /// The next record of `buf`, which must end where the batch's records end; `None` behind the last one.
    ///
    /// Headers are not walked: whoever handles the record does it with [`super::headers`], and must, for their count
    /// and end to be checked.
    ///
    /// # Errors
    ///
    /// [`BatchError::Record`], [`BatchError::RecordCount`], [`BatchError::OffsetDelta`].
    // Always: handed back as a value, the layout is copied twice through memory, at 15 ns a record.
    #[inline(always)]
    pub fn next(&mut self, buf: &[u8]) -> Result<Option<RecordLayout>, BatchError> {
        let Some(left) = self.left.checked_sub(1) else {
            return if self.at == buf.len() {
                Ok(None)
            } else {
                Err(BatchError::RecordCount)
            };
        };
        if self.at >= buf.len() {
            return Err(BatchError::RecordCount);
        }
        let record = parse_record(buf, self.at)?;
        if let Some(expected) = self.expected {
            if record.offset_delta != expected {
                return Err(BatchError::OffsetDelta {
                    found: record.offset_delta,
                    expected,
                });
            }
            // The count is an i32, so this cannot wrap before the last record.
            self.expected = Some(expected.wrapping_add(1));
        }
        self.at = record.end;
        self.left = left;
        Ok(Some(record))
    }

    /// Records that are still announced.
    #[inline]
    pub fn announced(&self) -> usize {
        self.left
    }
}
