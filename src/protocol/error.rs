//! What can be wrong with a message.

use super::bounds::BROKERS_MAX;
use super::policy::api_name;

/// Why bytes are not the Kafka message that they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The message ends before a field does.
    #[error("the message ends inside the field at byte {at}")]
    Truncated { at: usize },
    /// The next field is not whole yet: only said of messages that are read while they come.
    #[error("the message has not come as far as the next field ends")]
    NotYet,
    /// A length or count below -1, or -1 where the field cannot be null.
    #[error("the length at byte {at} is negative or null")]
    NegativeLength { at: usize },
    /// An array that announces more elements than the remaining bytes could hold.
    #[error("the array at byte {at} announces more elements than the message has bytes for")]
    CountTooLarge { at: usize },
    /// A varint of more than five bytes, or of more than 32 bits.
    #[error("the varint at byte {at} is too long")]
    VarintTooLong { at: usize },
    /// A string that is not UTF-8.
    #[error("the string at byte {at} is not UTF-8")]
    NotUtf8 { at: usize },
    /// Bytes are left after the last field, of the message or of a tagged field.
    #[error("the field or message ends at byte {at} but its bytes do not")]
    TrailingBytes { at: usize },
    /// A tagged field that occurs twice, where once is meant.
    #[error("the tagged field at byte {at} occurs twice")]
    DuplicateTag { at: usize },
    /// A topic in the answer to a Fetch request that can have none but topics that pass.
    #[error("the response names a topic at byte {at} that was not asked for")]
    NotAskedFor { at: usize },
    /// A version that is outside what this walker knows.
    #[error("version {version} of API {api_key} ({}) is not one that is understood", named(.api_key))]
    UnsupportedVersion { api_key: i16, version: i16 },
    /// More partitions than [`super::PARTITIONS_MAX`] or, where they are produced to,
    /// [`super::PRODUCE_PARTITIONS_MAX`].
    #[error("the message names too many partitions")]
    TooManyPartitions,
    /// A Produce response names more records than it could.
    #[error("the message names more records that were refused than can be")]
    TooManyRecordErrors,
    /// More brokers than [`BROKERS_MAX`].
    #[error("the message names more than {} brokers", BROKERS_MAX)]
    TooManyBrokers,
    /// A broker's host that is neither a name nor an address.
    #[error("the host at byte {at} is neither a name nor an address")]
    NotAHost { at: usize },
    /// What should be written does not fit the field: a string over 32,767 bytes, a frame or records over 2^31-1 bytes.
    #[error("what is to be written is too long for its field")]
    TooLong,
    /// A rewrite was asked for with a frame other than the one that was parsed, or a callback shortened the output.
    #[error("the frame is not the one that was parsed")]
    LayoutMismatch,
}

fn named(api_key: &i16) -> &'static str {
    api_name(*api_key).unwrap_or("unknown")
}

impl ProtocolError {
    /// The same, said of a message of which this was found in a part that begins at byte `start`.
    pub(super) fn in_part_at(mut self, start: usize) -> Self {
        match &mut self {
            Self::Truncated { at }
            | Self::NegativeLength { at }
            | Self::CountTooLarge { at }
            | Self::VarintTooLong { at }
            | Self::NotUtf8 { at }
            | Self::TrailingBytes { at }
            | Self::DuplicateTag { at }
            | Self::NotAskedFor { at }
            | Self::NotAHost { at } => *at = at.saturating_add(start),
            Self::NotYet
            | Self::UnsupportedVersion { .. }
            | Self::TooManyPartitions
            | Self::TooManyRecordErrors
            | Self::TooManyBrokers
            | Self::TooLong
            | Self::LayoutMismatch => {}
        }
        self
    }
}
