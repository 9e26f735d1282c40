//! What the ledger tells of: an operator has to know it, and nobody asked.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::KmsId;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// The KMS refuses the version: every key under it was dropped.
    Revoked,
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
