//! A keyring whose keys were unwrapped: what executors seal and open record keys with.
//!
//! - STABLE-KEYRING-1: it never changes; what comes of a changed file, or of what a KMS says, is another one. Only that
//!   a key is refused is told through it, so that work which is under way stops as well.
//! - STABLE-KEYRING-2: a key that is refused is in the next one without its bytes.
//!
//! The control thread makes it, any thread may hold it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::KeyFailure;
use crate::crypto::{CryptoError, SecretKey};
use crate::envelope::{Domain, DomainKey, StableKeyId};
use crate::keyring::{Keyring, KeyringKey};

/// See the module.
pub struct StableKeys {
    keyring: Keyring,
    keys: HashMap<StableKeyId, Arc<StableKey>>,
}

impl StableKeys {
    /// Of a keyring with what became of each of its keys; the later of one id counts.
    #[must_use]
    pub fn new(keyring: Keyring, keys: impl IntoIterator<Item = Arc<StableKey>>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id, key)).collect();
        Self { keyring, keys }
    }

    /// The stable key of a domain; `None`: it has none.
    #[must_use]
    pub fn of_domain(&self, domain: &str) -> Option<&Arc<StableKey>> {
        self.keys.get(&self.keyring.key_of(domain)?)
    }

    /// The key of this id.
    #[must_use]
    pub fn key(&self, id: StableKeyId) -> Option<&Arc<StableKey>> {
        self.keys.get(&id)
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<StableKey>> {
        self.keys.values()
    }

    /// The file that it was made of.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }
}

/// One key of a keyring, or why it cannot be used.
pub struct StableKey {
    id: StableKeyId,
    wrapped: Box<[u8]>,
    key: Option<SecretKey>,
    refused: OnceLock<KeyFailure>,
}

impl StableKey {
    /// `key` was unwrapped of what the keyring has, and compared.
    #[must_use]
    pub fn opened(of: &KeyringKey, key: SecretKey) -> Self {
        Self {
            id: of.id(),
            wrapped: of.wrapped().into(),
            key: Some(key),
            refused: OnceLock::new(),
        }
    }

    /// The KMS gives no key for what the keyring has.
    #[must_use]
    pub fn refused(of: &KeyringKey, failure: KeyFailure) -> Self {
        Self {
            id: of.id(),
            wrapped: of.wrapped().into(),
            key: None,
            refused: OnceLock::from(failure),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> StableKeyId {
        self.id
    }

    /// What it was unwrapped of.
    #[must_use]
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Why it may not be used, if it may not.
    #[must_use]
    pub fn refusal(&self) -> Option<KeyFailure> {
        self.refused.get().copied()
    }

    /// From now on nobody uses it (STABLE-KEYRING-1).
    pub fn refuse(&self, failure: KeyFailure) {
        // It may have been refused before; for what, is no matter.
        let _ = self.refused.set(failure);
    }

    /// What seals and opens the record keys of a domain.
    ///
    /// # Errors
    /// Why there is none.
    pub fn for_domain(&self, domain: &Domain) -> Result<DomainKey, NoDomainKey> {
        match (self.refusal(), &self.key) {
            (Some(failure), _) => Err(NoDomainKey::Refused(failure)),
            (None, Some(key)) => Ok(DomainKey::new(key, self.id, domain)?),
            (None, None) => Err(NoDomainKey::Refused(KeyFailure::Unavailable)),
        }
    }
}

/// Why a stable key gives none for a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDomainKey {
    /// The key may not be used.
    #[error("{0}")]
    Refused(KeyFailure),
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
