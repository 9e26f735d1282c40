//! The batches of a records field, as a fetch response carries them: whole batches back to back, then possibly a part
//! of one, because brokers cut files by bytes.
//!
//! What may come is listed in KIP-98 and seen in practice: control batches, batches that compaction emptied or thinned
//! out, delete horizons, message sets of format 0 and 1. Where a batch ends follows Kafka's `ByteBufferLogInputStream`.
//!
//! - BATCHES-1: the ranges of all batches and the tail lie back to back and cover the input; after an error the rest of
//!   the input, the broken batch included, is the tail.

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD, MAGIC_AT};
use super::span::Span;

/// One whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSlice {
    /// Its bytes, header included, in the input.
    pub span: Span,
    /// What it is.
    pub kind: BatchKind,
}

/// The format of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Message format 2.
    V2(BatchHeader),
    /// A message (possibly a compressed set of them) of format 0 or 1.
    Old {
        /// 0 or 1.
        magic: i8,
    },
}

/// Iterates over whole batches; ends at the tail, or after one error.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    records: &'a [u8],
    at: usize,
    finished: bool,
}

impl<'a> Batches<'a> {
    /// Over `records`, the content of a records field.
    pub fn new(records: &'a [u8]) -> Self {
        Self {
            records,
            at: 0,
            finished: false,
        }
    }

    /// What no batch has been made of yet. At the end of the iteration: the part of a batch that was cut off by the
    /// broker, or, after an error, everything from the broken batch on.
    #[cfg(feature = "testing")]
    pub fn tail(&self) -> Span {
        Span {
            start: self.at,
            end: self.records.len(),
        }
    }

    /// `None`: not a whole batch any more.
    fn read(&self) -> Result<Option<BatchSlice>, BatchError> {
        let rest = self.records.get(self.at..).unwrap_or_default();
        let Some(&[.., l0, l1, l2, l3]) = rest.first_chunk::<LOG_OVERHEAD>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes([l0, l1, l2, l3]);
        let bytes = match usize::try_from(length) {
            Ok(length) if length >= OLD_LENGTH_MIN => LOG_OVERHEAD.saturating_add(length),
            _ => return Err(BatchError::Length(length)),
        };
        let Some(&magic) = rest.get(MAGIC_AT) else {
            return Ok(None);
        };
        let magic = i8::from_be_bytes([magic]);
        if !(0..=2).contains(&magic) {
            return Err(BatchError::Magic(magic));
        }
        let Some(batch) = rest.get(..bytes) else {
            return Ok(None);
        };
        let kind = if magic < 2 {
            BatchKind::Old { magic }
        } else if batch.len() < HEADER_BYTES {
            return Err(BatchError::Length(length));
        } else {
            BatchKind::V2(BatchHeader::parse(batch)?)
        };
        Ok(Some(BatchSlice {
            span: Span {
                start: self.at,
                end: self.at.saturating_add(bytes),
            },
            kind,
        }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<BatchSlice, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.read() {
            Ok(Some(batch)) => {
                self.at = batch.span.end;
                Some(Ok(batch))
            }
            Ok(None) => {
                self.finished = true;
                None
            }
            Err(error) => {
                self.finished = true;
                Some(Err(error))
            }
        }
    }
}

/// The smallest length of a message of format 0, which is less than one of format 2.
const OLD_LENGTH_MIN: usize = 14;

// The two positions that all formats share.
const _: () = assert!(LENGTH_AT == 8 && MAGIC_AT == 16);

#[cfg(test)]
mod tests;
