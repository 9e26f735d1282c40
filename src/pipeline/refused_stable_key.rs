//! Why a stable key may not be used, as whoever writes or reads is told.

use std::fmt;

use crate::audit::KekName;
use crate::envelope::StableKeyId;
use crate::keys::{KeyFailure, StableKey};

/// A stable key that may not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedStableKey {
    id: StableKeyId,
    /// Under which it is wrapped.
    kek: KekName,
    failure: KeyFailure,
}

impl RefusedStableKey {
    /// This key, for this reason.
    #[must_use]
    pub fn new(key: &StableKey, failure: KeyFailure) -> Self {
        Self {
            id: key.id(),
            kek: KekName::in_record(key.wrapped()),
            failure,
        }
    }

    /// Some key.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn for_test(failure: KeyFailure) -> Self {
        Self {
            id: StableKeyId::of_wrapped(b"wrapped"),
            kek: KekName::in_record(&[]),
            failure,
        }
    }

    pub(super) fn kek(&self) -> &KekName {
        &self.kek
    }

    pub(super) fn failure(&self) -> KeyFailure {
        self.failure
    }
}

impl fmt::Display for RefusedStableKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kek, failure } = self;
        match failure {
            KeyFailure::Malformed => write!(
                formatter,
                "the stable key {id} is malformed or was altered in the keyring ({kek}): restore the keyring from a \
                 backup"
            ),
            _ => write!(
                formatter,
                "the stable key {id} may not be used: {failure} ({kek})"
            ),
        }
    }
}
