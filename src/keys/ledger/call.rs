//! What a KMS is asked, how often, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::SecretKey;
use crate::ids::KmsId;
use crate::keys::{CallBudget, KeyId};
use crate::kms::{GeneratedDek, KmsError};

/// How often one KMS is to be asked what it was asked before; see [`crate::kms::Kms`].
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// For the current version of each KEK in use.
    pub version_poll: Duration,
    /// For one known DEK of each KEK version in use.
    pub recheck: Duration,
    /// For what it refused; at most [`crate::keys::KeyOptions::verdict_memory`].
    pub verdict_memory: Duration,
    /// How much it may be asked.
    pub budget: CallBudget,
}

/// A call that is to be made to a KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which KMS.
    pub kms: KmsId,
    /// Which call.
    pub call: Call,
}

/// What to ask a KMS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make this DEK.
    Generate(KeyId),
    /// Unwrap this for a reader.
    Unwrap(Arc<[u8]>),
    /// Unwrap this, known already: whether its KEK version is still good, and the DEK the one that is known.
    Recheck(Arc<[u8]>),
    /// Say the current version of the KEK of this.
    PollVersion(KeyId),
}

impl Call {
    /// What comes of it when it is not answered.
    pub(in crate::keys) fn outage(&self, reason: &str) -> Outcome {
        let error = KmsError::Unavailable(reason.to_owned());
        match self {
            Self::Generate(_) => Outcome::Generated(Err(error)),
            Self::Unwrap(_) => Outcome::Unwrapped(Err(error)),
            Self::Recheck(_) => Outcome::Rechecked(Err(error)),
            Self::PollVersion(_) => Outcome::Version(Err(error)),
        }
    }
}

/// What a call brought.
pub enum Outcome {
    /// Of [`Call::Generate`].
    Generated(Result<GeneratedDek, KmsError>),
    /// Of [`Call::Unwrap`].
    Unwrapped(Result<SecretKey, KmsError>),
    /// Of [`Call::Recheck`].
    Rechecked(Result<SecretKey, KmsError>),
    /// Of [`Call::PollVersion`].
    Version(Result<Option<Vec<u8>>, KmsError>),
}

impl Outcome {
    /// Why the call brought nothing.
    #[must_use]
    pub fn error(&self) -> Option<&KmsError> {
        match self {
            Self::Generated(result) => result.as_ref().err(),
            Self::Unwrapped(result) => result.as_ref().err(),
            Self::Rechecked(result) => result.as_ref().err(),
            Self::Version(result) => result.as_ref().err(),
        }
    }
}
