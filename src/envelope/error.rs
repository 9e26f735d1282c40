//! Why a record is not sealed or not opened.

use crate::crypto::CryptoError;
use crate::record_batch::RecordError;

/// Why a record is not sealed. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The client's record has a header named `sealwire` itself (ENV-6).
    #[error("the record has a header named `sealwire`, a name that is reserved for sealed records")]
    ClientMarker,
    /// The record's header section does not parse exactly to its end, so that nobody could read it once sealed (ENV-7).
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The sealed record would be longer than a record can be (2^31-1 bytes).
    #[error("the sealed record would be longer than 2147483647 bytes")]
    TooLarge,
    /// The batch has more than 2^31 records (ENV-15).
    #[error("the batch has more than 2147483648 records")]
    CounterExhausted,
    /// A wrapped DEK is empty or longer than 2048 bytes (ENV-13).
    #[error("a wrapped data key must have 1 to 2048 bytes")]
    WrappedDekLength,
    /// The cipher or the random number generator gave nothing.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Why a record is not opened. No byte of it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The stored record is no Kafka record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Two marker headers (ENV-41).
    #[error("the record has two `sealwire` headers")]
    MarkerTwice,
    /// A format that this version does not know (ENV-10).
    #[error("the record is sealed in format {format}, which this version does not know")]
    UnknownFormat {
        /// The seal's first byte.
        format: u8,
    },
    /// The seal is null or ends early, or what it holds besides its fields does not fit its parts (ENV-17).
    #[error("the seal ends early or has the wrong length")]
    SealTruncated,
    /// Bits of `parts` that mean nothing yet are set (ENV-11).
    #[error("the seal has reserved bits set")]
    SealReservedBits,
    /// An integer of the seal is not in its shortest form (ENV-16).
    #[error("an integer of the seal is not in its shortest form")]
    SealNotCanonical,
    /// An integer of the seal is out of its range (ENV-13, ENV-15).
    #[error("an integer of the seal is out of its range")]
    SealOutOfRange,
    /// The record's key is sealed, and the reader expects readable ones (ENV-74).
    #[error("the record's key is sealed, and its topic's rule is for readable ones")]
    KeySealed,
    /// The record's key is readable, and the reader expects sealed ones (ENV-77).
    #[error("the record's key is not sealed, and its topic's rule is for sealed ones")]
    ClearKey,
    /// What should be a sealed key is none (ENV-70).
    #[error("the record's key should be sealed and is no sealed key")]
    MalformedKey,
    /// The key is sealed under another stable key than the domain's, which is not known either (ENV-75).
    #[error("the record's key is sealed under a stable key that is unknown here")]
    UnknownStableKey,
    /// The key is sealed under the stable key of other domains (ENV-75).
    #[error("the record's key is sealed under a stable key that is not its domain's")]
    ForeignStableKey,
    /// The tag of the sealed key does not verify (ENV-76).
    #[error("the tag of the record's sealed key does not verify")]
    KeyTag,
    /// Headers are sealed, and the stored record has others besides the marker (ENV-42).
    #[error("a header was added to a record with sealed headers")]
    ExtraHeaders,
    /// None of the domains offered has the seal's hint (ENV-44).
    #[error("the record is sealed for another domain")]
    UnknownDomain,
    /// The key offered belongs to another wrapped DEK (ENV-45).
    #[error("the record is sealed under another data key")]
    WrongKey,
    /// The tag does not verify (ENV-46).
    #[error("the record's tag does not verify")]
    Tag,
    /// The tag verifies, and what the sealer hid is no header section (ENV-48): the sealer was wrong.
    #[error("the sealed header section is malformed")]
    HiddenHeaders,
    /// The cryptographic library failed, not the record.
    #[error(transparent)]
    Crypto(CryptoError),
}

impl OpenError {
    /// Whether the record has a sealed key, which was not opened.
    #[must_use]
    pub fn is_of_a_sealed_key(&self) -> bool {
        matches!(
            self,
            Self::KeySealed
                | Self::MalformedKey
                | Self::UnknownStableKey
                | Self::ForeignStableKey
                | Self::KeyTag
        )
    }

    /// The reason class: a fixed word for counters and audit lines, listed in `docs/envelope.md`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Record(_) => "malformed_record",
            Self::MarkerTwice => "marker_twice",
            Self::UnknownFormat { .. } => "unknown_format",
            Self::SealTruncated => "malformed_seal",
            Self::SealReservedBits => "reserved_bits",
            Self::SealNotCanonical => "non_canonical",
            Self::SealOutOfRange => "out_of_range",
            Self::KeySealed => "key_sealed",
            Self::ClearKey => "clear_key",
            Self::MalformedKey => "malformed_key",
            Self::UnknownStableKey => "unknown_stable_key",
            Self::ForeignStableKey => "foreign_stable_key",
            Self::KeyTag => "key_tag",
            Self::ExtraHeaders => "extra_headers",
            Self::UnknownDomain => "unknown_domain",
            Self::WrongKey => "wrong_key",
            Self::Tag => "tag",
            Self::HiddenHeaders => "hidden_headers",
            Self::Crypto(_) => "library",
        }
    }
}

impl From<CryptoError> for OpenError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Tag => Self::Tag,
            other => Self::Crypto(other),
        }
    }
}
