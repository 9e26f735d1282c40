//! What the ledger tells of: an operator, or the audit log, has to know it, and nobody asked.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::KmsId;
use crate::keys::request::KeyFailure;

/// Something about the keys under one version of a KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Of which KMS.
    pub kms: KmsId,
    /// What wrapped DEKs under the version start with.
    pub version: Arc<[u8]>,
    /// What it is.
    pub kind: FindingKind,
}

/// See [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// A DEK was made, and seals from now on.
    Made {
        /// The version that sealed until now, if it is another one.
        before: Option<Arc<[u8]>>,
    },
    /// A DEK was unwrapped, the first under a version that was not in use.
    Unwrapped,
    /// The KMS refuses the version: every key under it was dropped.
    Revoked(KeyFailure),
    /// The KMS has not confirmed the version for too long: every key under it was dropped.
    Lapsed,
    /// The KMS unwraps another DEK than the one that is known.
    WrongDek(WrongDek),
}

/// Which DEK it was that the KMS unwraps to another one, and what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongDek {
    /// One that this process has sealed with for so long: it seals no more.
    Sealed(Duration),
    /// One that was just made: it was not used.
    Unused,
    /// One that was unwrapped for readers: it was forgotten, and is unwrapped anew when it is needed.
    Opened,
}

impl WrongDek {
    /// A fixed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Unused => "unused",
            Self::Opened => "opened",
        }
    }
}
