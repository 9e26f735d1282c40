//! What executors and the key service say to each other.

use std::sync::Arc;
use std::time::Instant;

use crate::crypto::SecretKey;
use crate::ids::KmsId;
use crate::kms::{KekNames, KmsError};

/// By what a key to seal with is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// Which KMS.
    pub kms: KmsId,
    /// Name of the KEK, as the rule has it.
    pub kek: Arc<str>,
    /// What for.
    pub purpose: Purpose,
}

#[cfg(any(test, feature = "testing"))]
impl KeyId {
    /// That of records that are sealed under `kek` of the first KMS.
    pub fn first(kek: impl Into<Arc<str>>) -> Self {
        use crate::ids::Id as _;
        Self {
            kms: KmsId::from_number(0),
            kek: kek.into(),
            purpose: Purpose::RecordSeal,
        }
    }
}

/// What a DEK is for: each serves one purpose only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Seals of single records: envelope format 1.
    RecordSeal,
}

/// From an executor to the key service; `executor` is the sender's number.
pub enum KeyRequest {
    /// Needs a DEK to seal with.
    Seal {
        /// Who asks.
        executor: usize,
        /// Which key.
        key: KeyId,
        /// The wrapped DEK whose share or time this executor has used up: another one is needed.
        used_up: Option<Arc<[u8]>>,
    },
    /// Needs the DEK inside `wrapped`. The rule's list of KEKs was consulted before.
    Open {
        /// Who asks.
        executor: usize,
        /// Which KMS.
        kms: KmsId,
        /// As it stands in the record.
        wrapped: Arc<[u8]>,
        /// How urgently, and for whom.
        demand: Demand,
    },
    /// Has sealed this much under `wrapped` since the last such message.
    Used {
        /// Who reports.
        executor: usize,
        /// Which key.
        key: KeyId,
        /// The DEK.
        wrapped: Arc<[u8]>,
        /// Number of batches.
        batches: u64,
        /// Bytes of plaintext.
        bytes: u64,
    },
}

impl KeyRequest {
    /// Index of the executor that sent it.
    #[must_use]
    pub fn executor(&self) -> usize {
        match *self {
            Self::Seal { executor, .. } | Self::Open { executor, .. } | Self::Used { executor, .. } => {
                executor
            }
        }
    }
}

/// From the key service to an executor.
pub enum KeyReply {
    /// A DEK to seal with from now on, asked for or not; or why there is none. An outage takes no key away, a verdict
    /// does.
    Sealing {
        /// Which key.
        key: KeyId,
        /// The key.
        result: Result<DeliveredDek, KeyFailure>,
    },
    /// Answer to [`KeyRequest::Open`].
    Opened {
        /// As it was asked for.
        wrapped: Arc<[u8]>,
        /// The executor's own copy of the DEK.
        result: Result<SecretKey, KeyFailure>,
    },
    /// Drop the DEK that seals; ask again when it is needed.
    Released {
        /// Which key.
        key: KeyId,
    },
    /// What KEKs of a KMS are called in records from now on.
    KekNames {
        /// Which KMS.
        kms: KmsId,
        /// The names.
        names: KekNames,
    },
    /// Drop every key, sealing or opened, whose wrapped form starts with `prefix`.
    Revoked {
        /// provider | authority | kek | version, as in the wrapped DEK.
        prefix: Arc<[u8]>,
    },
}

/// A DEK to seal with and the receiving executor's share of it.
pub struct DeliveredDek {
    /// The executor's own copy.
    pub dek: SecretKey,
    /// As it goes into each record.
    pub wrapped: Arc<[u8]>,
    /// Batches that this executor may seal under it.
    pub batches_max: u64,
    /// Bytes that this executor may seal under it; the last batch may end past it.
    pub bytes_max: u64,
    /// Not to be used from then on.
    pub expires_at: Instant,
}

/// How urgent a request to open is, and for which connection (any number that tells the executor's connections apart):
/// connections take turns, so that one that reads history does not keep the others waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Before what else.
    pub urgency: Urgency,
    /// Whose turn it takes.
    pub connection: u32,
}

/// Order in which a KMS is asked, most urgent first. (Requests to seal come before all of these.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A consumer at the end of the log.
    Tail,
    /// A consumer that reads history.
    Backfill,
}

/// Why there is no key. What the client sees for each: `pipeline::refusal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFailure {
    /// The KMS is not reached, refuses our credentials, or too much is asked of it: may succeed later.
    #[error("the KMS is unavailable")]
    Unavailable,
    /// The KEK is disabled.
    #[error("the key-encryption key is disabled")]
    KekDisabled,
    /// The KEK was destroyed.
    #[error("the key-encryption key was destroyed")]
    KekDestroyed,
    /// The KMS does not let the proxy use the KEK.
    #[error("the key-encryption key may not be used by the proxy")]
    KekDenied,
    /// The KMS has no such KEK.
    #[error("the key-encryption key is not in the KMS")]
    KekNotFound,
    /// The KMS has the KEK and not the version of it that is named.
    #[error("the KMS does not have this version of the key-encryption key")]
    KekVersionNotFound,
    /// The wrapped DEK is malformed or was altered.
    #[error("the wrapped data key is malformed or was altered")]
    Malformed,
}

impl KeyFailure {
    /// Whether waiting may help, as against a verdict about the key.
    #[must_use]
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// Short name for metrics and the audit log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unavailable => "kms_unavailable",
            Self::KekDisabled => "kek_disabled",
            Self::KekDestroyed => "kek_destroyed",
            Self::KekDenied => "kek_denied",
            Self::KekNotFound => "kek_not_found",
            Self::KekVersionNotFound => "kek_version_not_found",
            Self::Malformed => "wrapped_dek_malformed",
        }
    }
}

impl From<&KmsError> for KeyFailure {
    fn from(error: &KmsError) -> Self {
        match error {
            KmsError::Unavailable(_)
            | KmsError::NoSecret(_)
            | KmsError::Throttled { .. }
            | KmsError::CredentialsRefused(_) => Self::Unavailable,
            KmsError::KekDisabled => Self::KekDisabled,
            KmsError::KekDestroyed => Self::KekDestroyed,
            KmsError::KekDenied(_) | KmsError::KekUnsuitable(_) => Self::KekDenied,
            KmsError::KekNotFound => Self::KekNotFound,
            KmsError::KekVersionNotFound(_) => Self::KekVersionNotFound,
            KmsError::Malformed => Self::Malformed,
        }
    }
}
