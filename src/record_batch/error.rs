//! What can be wrong with a record or a batch, and the Kafka code that a broker would give for it.

use super::codec::CodecError;
use super::varint::VarintError;

/// Why a record cannot be read. A broker answers 87 INVALID_RECORD to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end inside the record, or a field reaches over the record's end.
    #[error("a record ends early")]
    Truncated,
    /// A variable-length integer is longer, or worth more, than its type allows.
    #[error("a variable-length integer is too long")]
    Varint,
    /// A length is below zero (below -1 where null is allowed).
    #[error("a length is negative")]
    NegativeLength,
    /// A header count is below zero, or more than the record's bytes can hold.
    #[error("a record's header count is impossible")]
    HeaderCount,
    /// Bytes are left between the last field and the end that the record's length announces.
    #[error("a record's length and its content disagree")]
    Trailing,
}

impl From<VarintError> for RecordError {
    #[inline]
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Truncated => Self::Truncated,
            VarintError::TooLong => Self::Varint,
        }
    }
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// No batch where there must be one.
    #[error("there is no whole record batch in the request")]
    Missing,
    /// Fewer bytes than a batch header has, or than the batch's length announces.
    #[error("the record batch ends early")]
    Truncated,
    /// More than one batch, or bytes behind the batch.
    #[error("more than one record batch for a partition, or bytes behind it")]
    NotAlone,
    /// The message format is not 2 (in a fetch: not one of 0, 1, 2).
    #[error("message format {0} is not supported")]
    Magic(i8),
    /// A length that cannot be.
    #[error("the record batch's length {0} is impossible")]
    Length(i32),
    /// The CRC-32C is wrong.
    #[error("the record batch's checksum does not match")]
    Checksum,
    /// A producer's batch does not start at offset 0.
    #[error("the record batch's base offset is {0}, not 0")]
    BaseOffset(i64),
    /// Record count and last offset delta do not agree, or there is no record.
    #[error("the record batch's count {count} and last offset delta {last_offset_delta} do not agree")]
    Count {
        /// What the header says, unchecked.
        count: i32,
        /// What the header says, unchecked.
        last_offset_delta: i32,
    },
    /// Clients may not write control records.
    #[error("clients may not write control records")]
    Control,
    /// A producer id without a sequence.
    #[error("the record batch has a producer id and no valid sequence")]
    Sequence,
    /// A codec that is unknown, or not allowed in this version of Produce.
    #[error("compression codec {number} cannot be used here")]
    Codec {
        /// The number in the attributes.
        number: u8,
    },
    /// Fewer records than the count says, or bytes behind the last one.
    #[error("the number of records and the record batch's count disagree")]
    RecordCount,
    /// A record's offset delta is not its place in the batch.
    #[error("a record's offset delta is {found}, not {expected}")]
    OffsetDelta {
        /// What the record says.
        found: i32,
        /// What it has to be.
        expected: i32,
    },
    /// A rewritten batch would be longer than a batch's length can say.
    #[error("the rewritten record batch is too large")]
    TooLarge,
    /// A record does not parse.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records do not decompress.
    #[error(transparent)]
    Compression(#[from] CodecError),
}
