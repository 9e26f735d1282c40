//! Every refusal of a partition, and the one table of what a client sees of it (printed in `docs/operations.md`).
//!
//! The codes were chosen by trying real clients: 44 is final everywhere and its message reaches applications; 19 is
//! retried everywhere and says "not stored"; a fetch never carries a code but 0, 2 and 29, because Java skips other
//! partitions' records on one that it does not expect.

use std::sync::Arc;

use super::batch_keys::BATCH_KEYS_MAX;
use super::refused_stable_key::RefusedStableKey;
use crate::audit::{KekName, Reason};
use crate::envelope::{FormKind, OpenError, SealError, StableKeyId};
use crate::foreign::Foreign;
use crate::keys::KeyFailure;
use crate::metrics::RefusalReason;
use crate::protocol::error_code;
use crate::record_batch::{BatchError, CodecError};

/// Why a partition of a Produce request is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceRefusal {
    /// No rule names the topic.
    #[error("no rule of the proxy names this topic")]
    NoRule,
    /// A rule rejects the topic.
    #[error("the proxy rejects this topic{}", reason.as_ref().map_or(String::new(), |reason| format!(": {reason}")))]
    Rejected {
        /// The rule's own words.
        reason: Option<Arc<str>>,
    },
    /// The rule's `seal_for` does not name the client.
    #[error("the topic's rule does not name this client among those who may write it (seal_for)")]
    NotNamed,
    /// The rule's `raw_for` names the client, and its records are not sealed as they have to be.
    #[error("the topic's rule takes only records from this client that are sealed for it (raw_for): {0}")]
    NotSealed(FetchRefusal),
    /// One of Kafka's own topics.
    #[error("Kafka's own topics take no records from clients")]
    KafkaInternal,
    /// The audit log could not be written within `seal_wait`.
    #[error("the proxy cannot write its audit log; the records were not stored, try again")]
    AuditHeld,
    /// The sealing key did not arrive within `seal_wait`.
    #[error("the KMS has not delivered a key yet; the records were not stored, try again")]
    KeyPending,
    /// The KMS gave no key.
    #[error("no key to seal with: {0} ({1}); the records were not stored")]
    Key(KeyFailure, KekName),
    /// The keyring has no stable key for the topic's domain.
    #[error(
        "the keyring has no stable key for the domain {:?} of this topic's record keys: run `sealwire keyring assign`, \
         and first `sealwire keyring new` if there is no key to assign",
        Foreign::new(&**.0).to_string()
    )]
    NoStableKey(Arc<str>),
    /// The stable key of the topic's domain may not be used.
    #[error("no key to seal record keys with: {0}; the records were not stored")]
    StableKey(RefusedStableKey),
    /// The log holds record keys that are stored in another way than the rule stores them, or may come to.
    #[error("{0}")]
    KeysUnfit(Arc<str>),
    /// What the topic's log holds could not be looked up in time.
    #[error(
        "the proxy has not found out yet whether the topic is compacted and holds record keys of another kind; the \
         records were not stored, try again"
    )]
    KeysUnseen,
    /// An earlier batch of the same producer stands refused on this connection.
    #[error(
        "an earlier batch of this producer was refused and has to come first; the records were not stored, try again"
    )]
    SequenceGuard,
    /// The batch is not valid.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The client used the marker header's name.
    #[error("a record has a header named \"sealwire\", a name that is reserved for sealed records")]
    ClientMarker,
    /// The sealed batch is larger than the topic allows.
    #[error(
        "the sealed batch has at least {bytes} bytes, more than the {bytes_max} of the rule's max_message_bytes: raise \
         it, and the topic's max.message.bytes, or lower the producer's batch.size"
    )]
    TooLarge {
        /// Bytes of the sealed batch as far as it was sealed: no more is sealed than shows that it is too large.
        bytes: usize,
        /// The rule's `max_message_bytes`.
        bytes_max: usize,
    },
    /// What was sealed before in the request leaves no room for it.
    #[error(
        "the sealed request would have more than {bytes_max} bytes (limits.request_bytes_max) with these records; they \
         were not stored, try again"
    )]
    RequestFull {
        /// `limits.request_bytes_max`.
        bytes_max: usize,
    },
    /// The partition alone would make the request longer than a broker takes.
    #[error(
        "the sealed request would have more than {bytes_max} bytes (limits.request_bytes_max): send fewer or smaller \
         batches at a time"
    )]
    RequestTooLarge {
        /// `limits.request_bytes_max`.
        bytes_max: usize,
    },
    /// The cryptographic library or the random number generator failed.
    #[error("sealing failed in the proxy; the records were not stored, try again")]
    Cipher,
}

impl ProduceRefusal {
    /// The Kafka error code.
    pub fn error_code(&self) -> i16 {
        match self {
            Self::NoRule
            | Self::Rejected { .. }
            | Self::NotNamed
            | Self::NotSealed(_)
            | Self::NoStableKey(_)
            | Self::StableKey(..)
            | Self::KeysUnfit(_)
            | Self::KafkaInternal => error_code::POLICY_VIOLATION,
            Self::AuditHeld
            | Self::KeyPending
            | Self::KeysUnseen
            | Self::SequenceGuard
            | Self::RequestFull { .. }
            | Self::Cipher => error_code::NOT_ENOUGH_REPLICAS,
            Self::Key(failure, _) if failure.is_outage() => error_code::NOT_ENOUGH_REPLICAS,
            Self::Key(..) => error_code::POLICY_VIOLATION,
            Self::Batch(error) => batch_code(error),
            Self::ClientMarker => error_code::INVALID_RECORD,
            Self::TooLarge { .. } | Self::RequestTooLarge { .. } => error_code::MESSAGE_TOO_LARGE,
        }
    }

    /// Whether the client will send the batch again, so that its successors have to wait for it.
    pub fn is_retriable(&self) -> bool {
        self.error_code() == error_code::NOT_ENOUGH_REPLICAS
    }

    /// The key-encryption key that it is about.
    pub fn kek(&self) -> Option<&KekName> {
        match self {
            Self::Key(_, kek) => Some(kek),
            Self::StableKey(refused) => Some(refused.kek()),
            Self::NotSealed(refusal) => refusal.kek(),
            _ => None,
        }
    }

    /// Whether how many records the batch has is known: its header is that of a valid one, as far as was looked.
    pub fn knows_records(&self) -> bool {
        !matches!(self, Self::Batch(_))
    }

    /// The reason class for counters and the audit log.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::NoRule => RefusalReason::NoRule,
            Self::Rejected { .. } => RefusalReason::Rejected,
            Self::NotNamed => RefusalReason::NotNamed,
            Self::NotSealed(_) => RefusalReason::NotSealed,
            Self::KafkaInternal => RefusalReason::InternalTopic,
            Self::AuditHeld => RefusalReason::AuditHeld,
            Self::KeyPending => RefusalReason::KeyWaiting,
            Self::Key(failure, _) => key_reason(*failure),
            Self::StableKey(refused) => key_reason(refused.failure()),
            Self::NoStableKey(_) => RefusalReason::NoStableKey,
            Self::KeysUnfit(_) => RefusalReason::KeysUnfit,
            Self::KeysUnseen => RefusalReason::KeysUnseen,
            Self::SequenceGuard => RefusalReason::SequenceGuard,
            Self::Batch(BatchError::Magic(_) | BatchError::Codec { .. }) => RefusalReason::Unsupported,
            Self::Batch(_) => RefusalReason::Malformed,
            Self::ClientMarker => RefusalReason::ClientMarker,
            Self::RequestFull { .. } => RefusalReason::RequestFull,
            Self::TooLarge { .. } | Self::RequestTooLarge { .. } => RefusalReason::TooLarge,
            Self::Cipher => RefusalReason::Other,
        }
    }
}

impl From<SealError> for ProduceRefusal {
    fn from(error: SealError) -> Self {
        match error {
            SealError::ClientMarker => Self::ClientMarker,
            SealError::Record(error) => Self::Batch(BatchError::Record(error)),
            SealError::TooLarge | SealError::CounterExhausted => Self::Batch(BatchError::TooLarge),
            _ => Self::Cipher,
        }
    }
}

/// What a broker gives a producer for a batch that is not valid: Java tries again on 2, splits the batch on 10 and
/// gives up on 76 and 87.
fn batch_code(error: &BatchError) -> i16 {
    match error {
        BatchError::Length(_) | BatchError::Checksum => error_code::CORRUPT_MESSAGE,
        BatchError::Magic(magic) if !(0..2).contains(magic) => error_code::CORRUPT_MESSAGE,
        BatchError::TooLarge | BatchError::Compression(CodecError::LimitExceeded { .. }) => {
            error_code::MESSAGE_TOO_LARGE
        }
        BatchError::Codec { .. } => error_code::UNSUPPORTED_COMPRESSION_TYPE,
        BatchError::Compression(CodecError::OutOfMemory) => error_code::UNKNOWN_SERVER_ERROR,
        // To a broker it is a batch that is not there.
        BatchError::Truncated
        | BatchError::Missing
        | BatchError::NotAlone
        | BatchError::Magic(_)
        | BatchError::BaseOffset(_)
        | BatchError::Count { .. }
        | BatchError::Control
        | BatchError::Sequence
        | BatchError::RecordCount
        | BatchError::OffsetDelta { .. }
        | BatchError::Record(_)
        | BatchError::Compression(CodecError::Truncated(_) | CodecError::Malformed { .. }) => {
            error_code::INVALID_RECORD
        }
    }
}

/// Why a partition of a Fetch response, or a batch in it, is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchRefusal {
    /// No rule names the topic.
    #[error("no rule names the topic")]
    NoRule,
    /// A rule rejects the topic.
    #[error("a rule rejects the topic")]
    Rejected,
    /// The rule's `open_for` does not name the client.
    #[error("the rule does not name the client among those who may read (open_for)")]
    NotNamed,
    /// The rule does not name the record's KEK.
    #[error("the rule does not name the record's key-encryption key ({0})")]
    KekNotNamed(KekName),
    /// The KMS refuses the key.
    #[error("no key to open with: {0} ({1})")]
    Key(KeyFailure, KekName),
    /// The stable key that the record's key is sealed under may not be used.
    #[error("no key to open the record's key with: {0}")]
    StableKey(RefusedStableKey),
    /// A record under another key than the first so many of its batch.
    #[error("a batch under more than {BATCH_KEYS_MAX} data keys")]
    TooManyKeys,
    /// The batch is not valid.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A record does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The record's key is sealed under a stable key that does not open it.
    #[error("{0}: {1}")]
    SealedKey(OpenError, StableKeyId),
    /// The record's headers are less protected than the rule demands.
    #[error("a record whose headers are less protected than the rule demands of what is read")]
    WeakHeaders,
    /// A record in a form that the rule does not accept.
    #[error("a record in the form {}, which the rule does not accept", .0.name())]
    Form(FormKind),
}

impl FetchRefusal {
    /// The Kafka error code: 2 or 29 (see the module).
    pub fn error_code(&self) -> i16 {
        match self {
            // An altered record, whichever of its bytes were altered.
            Self::Key(KeyFailure::Malformed, _)
            | Self::TooManyKeys
            | Self::Batch(_)
            | Self::Open(_)
            | Self::SealedKey(..)
            | Self::WeakHeaders
            | Self::Form(_) => error_code::CORRUPT_MESSAGE,
            Self::NoRule
            | Self::Rejected
            | Self::NotNamed
            | Self::KekNotNamed(_)
            | Self::Key(..)
            | Self::StableKey(..) => error_code::TOPIC_AUTHORIZATION_FAILED,
        }
    }

    /// Whether it says that a single record will never open, so that `on_unreadable` may let the reader past it. A
    /// failure of our own says nothing about the record.
    pub fn is_unreadable_record(&self) -> bool {
        match self {
            Self::Open(error) => !matches!(error, OpenError::Crypto(_)),
            Self::Key(failure, _) => *failure == KeyFailure::Malformed,
            Self::TooManyKeys | Self::SealedKey(..) | Self::WeakHeaders | Self::Form(_) => true,
            Self::NoRule
            | Self::Rejected
            | Self::NotNamed
            | Self::KekNotNamed(_)
            | Self::StableKey(..)
            | Self::Batch(_) => false,
        }
    }

    /// Whether the record's key is one that was not opened.
    pub fn leaves_key_sealed(&self) -> bool {
        matches!(self, Self::Open(error) | Self::SealedKey(error, _) if error.is_of_a_sealed_key())
    }

    /// The reason class for counters.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::NoRule => RefusalReason::NoRule,
            Self::Rejected => RefusalReason::Rejected,
            Self::NotNamed => RefusalReason::NotNamed,
            Self::KekNotNamed(_) => RefusalReason::KekNotNamed,
            Self::Key(KeyFailure::Malformed, _) => RefusalReason::Tag,
            Self::Key(failure, _) => key_reason(*failure),
            Self::StableKey(refused) => key_reason(refused.failure()),
            Self::Batch(BatchError::Magic(_) | BatchError::Codec { .. }) => RefusalReason::Unsupported,
            Self::TooManyKeys | Self::Batch(_) => RefusalReason::Malformed,
            Self::Open(error) | Self::SealedKey(error, _) => open_reason(error),
            Self::WeakHeaders => RefusalReason::WeakHeaders,
            Self::Form(FormKind::Plaintext) => RefusalReason::Plaintext,
            Self::Form(FormKind::Tombstone) => RefusalReason::Tombstone,
            Self::Form(_) => RefusalReason::ForeignForm,
        }
    }

    /// The key-encryption key that it is about.
    pub fn kek(&self) -> Option<&KekName> {
        match self {
            Self::KekNotNamed(kek) | Self::Key(_, kek) => Some(kek),
            Self::StableKey(refused) => Some(refused.kek()),
            _ => None,
        }
    }

    /// The finer reason class for the audit log.
    pub fn audit_reason(&self) -> Reason {
        match self {
            Self::Open(error) | Self::SealedKey(error, _) => Reason::Open(*error),
            Self::Key(failure, _) => Reason::Key(*failure),
            Self::StableKey(refused) => Reason::Key(refused.failure()),
            Self::TooManyKeys => Reason::TooManyKeys,
            other => Reason::Counted(other.reason()),
        }
    }
}

fn key_reason(failure: KeyFailure) -> RefusalReason {
    if failure.is_outage() {
        RefusalReason::KmsUnavailable
    } else {
        RefusalReason::KekRefused
    }
}

fn open_reason(error: &OpenError) -> RefusalReason {
    match error {
        OpenError::Record(_) => RefusalReason::Malformed,
        OpenError::MarkerTwice => RefusalReason::MarkerTwice,
        OpenError::UnknownDomain => RefusalReason::Domain,
        OpenError::ClearKey => RefusalReason::ClearKey,
        OpenError::KeySealed => RefusalReason::KeySealed,
        OpenError::UnknownStableKey | OpenError::ForeignStableKey => RefusalReason::StableKey,
        OpenError::MalformedKey | OpenError::KeyTag => RefusalReason::Tag,
        OpenError::Tag | OpenError::ExtraHeaders | OpenError::HiddenHeaders | OpenError::WrongKey => {
            RefusalReason::Tag
        }
        OpenError::Crypto(_) => RefusalReason::Other,
        _ => RefusalReason::UnknownFormat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_never_carries_a_code_that_java_does_not_expect() {
        let walk = std::iter::successors(Some(FetchRefusal::NoRule), the_next);
        let seen: Vec<String> = walk
            .map(|refusal| {
                assert!(matches!(refusal.error_code(), 2 | 29), "{refusal}");
                refusal.to_string()
            })
            .collect();
        assert_eq!(seen.len(), 18, "{seen:#?}");
    }

    /// Every refusal comes behind another: a new one does not compile without a place here.
    fn the_next(refusal: &FetchRefusal) -> Option<FetchRefusal> {
        let kek = || KekName::in_record(&[]);
        let key = |failure| FetchRefusal::Key(failure, kek());
        Some(match refusal {
            FetchRefusal::NoRule => FetchRefusal::Rejected,
            FetchRefusal::Rejected => FetchRefusal::NotNamed,
            FetchRefusal::NotNamed => FetchRefusal::KekNotNamed(kek()),
            FetchRefusal::KekNotNamed(_) => key(KeyFailure::Unavailable),
            FetchRefusal::Key(KeyFailure::Unavailable, _) => key(KeyFailure::KekDisabled),
            FetchRefusal::Key(KeyFailure::KekDisabled, _) => key(KeyFailure::KekDestroyed),
            FetchRefusal::Key(KeyFailure::KekDestroyed, _) => key(KeyFailure::KekDenied),
            FetchRefusal::Key(KeyFailure::KekDenied, _) => key(KeyFailure::KekNotFound),
            FetchRefusal::Key(KeyFailure::KekNotFound, _) => key(KeyFailure::KekVersionNotFound),
            FetchRefusal::Key(KeyFailure::KekVersionNotFound, _) => key(KeyFailure::Malformed),
            FetchRefusal::Key(KeyFailure::Malformed, _) => {
                FetchRefusal::StableKey(RefusedStableKey::for_test(KeyFailure::KekDisabled))
            }
            FetchRefusal::StableKey(..) => FetchRefusal::TooManyKeys,
            FetchRefusal::TooManyKeys => FetchRefusal::Batch(BatchError::Checksum),
            FetchRefusal::Batch(_) => FetchRefusal::Open(OpenError::Tag),
            FetchRefusal::Open(_) => {
                FetchRefusal::SealedKey(OpenError::UnknownStableKey, StableKeyId::from_bytes([0; 4]))
            }
            FetchRefusal::SealedKey(..) => FetchRefusal::WeakHeaders,
            FetchRefusal::WeakHeaders => FetchRefusal::Form(FormKind::Plaintext),
            FetchRefusal::Form(_) => return None,
        })
    }

    #[test]
    fn a_batch_that_is_not_valid_has_the_code_that_a_broker_gives() {
        let coded = [
            (BatchError::Length(48), 2),
            (BatchError::Checksum, 2),
            (BatchError::Magic(-1), 2),
            (BatchError::Magic(0), 87),
            (BatchError::Magic(1), 87),
            (BatchError::Magic(3), 2),
            (BatchError::Missing, 87),
            (BatchError::NotAlone, 87),
            (BatchError::Truncated, 87),
            (BatchError::BaseOffset(1), 87),
            (BatchError::Control, 87),
            (BatchError::Sequence, 87),
            (BatchError::RecordCount, 87),
            (BatchError::Codec { number: 4 }, 76),
            (BatchError::TooLarge, 10),
            (
                BatchError::Compression(CodecError::LimitExceeded { limit: 1 }),
                10,
            ),
            (BatchError::Compression(CodecError::OutOfMemory), -1),
        ];
        for (error, code) in coded {
            assert_eq!(ProduceRefusal::Batch(error).error_code(), code, "{error}");
        }
    }

    #[test]
    fn what_may_succeed_later_is_retriable_and_verdicts_are_final() {
        assert!(ProduceRefusal::KeyPending.is_retriable());
        let key = |failure| ProduceRefusal::Key(failure, Arc::<str>::from("payments").into());
        assert!(key(KeyFailure::Unavailable).is_retriable());
        assert!(!key(KeyFailure::KekDestroyed).is_retriable());
        assert_eq!(
            key(KeyFailure::KekNotFound).to_string(),
            "no key to seal with: the key-encryption key is not in the KMS (payments); the records were not stored"
        );
        assert_eq!(ProduceRefusal::NoRule.error_code(), 44);
        assert_eq!(ProduceRefusal::ClientMarker.error_code(), 87);
        assert_eq!(ProduceRefusal::Batch(BatchError::Checksum).error_code(), 2);
    }
}
