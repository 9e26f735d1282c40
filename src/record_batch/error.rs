//! What can be wrong with a record or a batch, and the Kafka code that says so.

use super::varint::VarintError;

/// Why a record cannot be read. A broker answers [`INVALID_RECORD`] to it.
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
    /// Fewer bytes than a batch header has, or than the batch's length announces.
    #[error("the record batch ends early")]
    Truncated,
    /// The message format is not 2.
    #[error("message format {0} is not 2, the only one that producers may use")]
    Magic(i8),
    /// A length that cannot be.
    #[error("the record batch's length {0} is impossible")]
    Length(i32),
    /// A record does not parse.
    #[error("{0}")]
    Record(#[from] RecordError),
}
