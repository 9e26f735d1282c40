//! What a keystore holds, checked: names, versions, states, and the authentication code that vouches for all of it.
//!
//! - CONTENTS-1: versions of a KEK ascend, at most one is current, and exactly the destroyed ones hold no wrapped key.
//! - CONTENTS-2: the MAC covers every field, so that a state (disabled, say) is as hard to forge as a key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::KeystoreError;
use super::master_key::{KeyDerivation, MasterKeys, MasterSecret};
use crate::crypto::{SecretKey, WRAPPED_KEY_BYTES, unwrap_key};
use crate::envelope::wrapped_dek::authority_of;
use crate::kms::KmsError;

/// Longest name of a KEK, in bytes: what a wrapped DEK has room for.
pub const KEK_NAME_BYTES_MAX: usize = 255;

/// A keystore as its file says it is: well-formed, but nothing in it is to be believed before
/// [`Keystore::authenticate`].
pub struct Keystore {
    pub(super) id: [u8; 16],
    pub(super) revision: u64,
    pub(super) derivation: KeyDerivation,
    pub(super) check: [u8; 16],
    pub(super) keks: BTreeMap<KeystoreKek, Vec<KekVersion>>,
    pub(super) mac: [u8; 32],
}

impl Keystore {
    /// The keystore's id. Anybody may have written it: for messages and for finding out that two files are one
    /// keystore.
    pub fn unverified_id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The KEKs with their versions, by name. Anybody may have written them: for display only.
    pub fn unverified_keks(&self) -> impl Iterator<Item = (&KeystoreKek, &[KekVersion])> {
        self.keks
            .iter()
            .map(|(name, versions)| (name, versions.as_slice()))
    }

    /// Derives the master keys from `secret` (Argon2id: about a second and the file's stated memory, for a passphrase)
    /// and verifies the whole file with them.
    ///
    /// # Errors
    /// [`KeystoreError::WrongMasterKey`], [`KeystoreError::Altered`], [`KeystoreError::MasterKey`].
    pub fn authenticate(self, secret: MasterSecret) -> Result<OpenKeystore, KeystoreError> {
        let keys = MasterKeys::derive(secret, &self.derivation, &self.id)?;
        self.authenticate_with(Arc::new(keys))
    }

    /// Verifies the file with the keys of an earlier reading of the same keystore.
    ///
    /// # Errors
    /// [`KeystoreError::WrongMasterKey`] also when the file is another keystore or has another key derivation.
    pub(crate) fn authenticate_with(self, keys: Arc<MasterKeys>) -> Result<OpenKeystore, KeystoreError> {
        if !keys.belong_to(&self.id, &self.derivation, &self.check) {
            return Err(KeystoreError::WrongMasterKey);
        }
        hmac::verify(&keys.mac_key(), &self.transcript(), &self.mac).map_err(|_| KeystoreError::Altered)?;
        Ok(OpenKeystore { keystore: self, keys })
    }

    /// The text that the MAC is computed over: every field but the MAC, lengths before what varies
    /// (`docs/keystore.md`).
    pub(super) fn transcript(&self) -> Vec<u8> {
        let mut text = Vec::new();
        text.extend_from_slice(&self.id);
        text.extend_from_slice(&self.revision.to_be_bytes());
        self.derivation.write_transcript(&mut text);
        text.extend_from_slice(&self.check);
        // Counts are bounded by the file's size, far below 2^32.
        text.extend_from_slice(&(self.keks.len() as u32).to_be_bytes());
        for (name, versions) in &self.keks {
            name.write_counted(&mut text);
            text.extend_from_slice(&(versions.len() as u32).to_be_bytes());
            for version in versions {
                text.extend_from_slice(&version.number.to_be_bytes());
                text.push(version.state.code());
                text.extend_from_slice(&version.created_unix_seconds.to_be_bytes());
                text.push(u8::from(version.wrapped.is_some()));
                text.extend_from_slice(version.wrapped.as_ref().map_or(&[], |wrapped| wrapped.as_slice()));
            }
        }
        text
    }
}

/// A keystore whose every field was verified under its master key.
pub struct OpenKeystore {
    pub(super) keystore: Keystore,
    pub(super) keys: Arc<MasterKeys>,
}

impl OpenKeystore {
    /// The keystore's own id, for ever the same.
    #[must_use]
    #[cfg(test)]
    pub fn id(&self) -> &[u8; 16] {
        &self.keystore.id
    }

    /// First four bytes of SHA-256 of the id: the authority in wrapped DEKs.
    #[must_use]
    pub fn authority(&self) -> [u8; 4] {
        authority_of(&self.keystore.id)
    }

    /// Counts the changes that were made; a lower one is an older file.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.keystore.revision
    }

    /// Whether every field is the same: the MAC, which covers them all, is (CONTENTS-2).
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.keystore.mac == other.keystore.mac
    }

    /// The KEKs with their versions, by name.
    pub fn keks(&self) -> impl Iterator<Item = (&KeystoreKek, &[KekVersion])> {
        self.keystore.unverified_keks()
    }

    pub(crate) fn master_keys(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.keys)
    }

    /// The number of the version that new DEKs of `kek` are wrapped under.
    ///
    /// # Errors
    /// [`KmsError::KekNotFound`]; without a current version [`KmsError::KekDestroyed`] when all are destroyed,
    /// otherwise [`KmsError::KekDisabled`].
    pub fn current_version(&self, kek: &str) -> Result<u32, KmsError> {
        let versions = self.keystore.keks.get(kek).ok_or(KmsError::KekNotFound)?;
        if let Some(current) = versions.iter().find(|version| version.state == KekState::Current) {
            return Ok(current.number);
        }
        if versions
            .iter()
            .all(|version| version.state == KekState::Destroyed)
        {
            return Err(KmsError::KekDestroyed);
        }
        Err(KmsError::KekDisabled)
    }

    /// The clear KEK `kek` in version `number`, to be dropped as soon as it was used.
    ///
    /// # Errors
    /// [`KmsError::KekNotFound`], [`KmsError::KekVersionNotFound`], [`KmsError::KekDisabled`],
    /// [`KmsError::KekDestroyed`].
    pub fn unwrap_kek(&self, kek: &str, number: u32) -> Result<SecretKey, KmsError> {
        let (name, versions) = self
            .keystore
            .keks
            .get_key_value(kek)
            .ok_or(KmsError::KekNotFound)?;
        let version = versions
            .iter()
            .find(|version| version.number == number)
            .ok_or_else(|| KmsError::KekVersionNotFound(number.to_string()))?;
        match (version.state, &version.wrapped) {
            (KekState::Disabled, _) => Err(KmsError::KekDisabled),
            (KekState::Destroyed, _) | (_, None) => Err(KmsError::KekDestroyed),
            (KekState::Current | KekState::DecryptOnly, Some(wrapped)) => {
                let aad = kek_aad(&self.keystore.id, name, number);
                // The MAC covers the wrapped key, so this cannot fail for anything that was done to the file.
                unwrap_key(self.keys.wrapping_key(), &aad, wrapped)
                    .map_err(|_| KmsError::Unavailable("a wrapped KEK does not verify".to_owned()))
            }
        }
    }
}

/// What a wrapped KEK is bound to.
pub(super) fn kek_aad(keystore_id: &[u8; 16], name: &KeystoreKek, number: u32) -> Vec<u8> {
    let mut aad = b"sealwire/keystore/1/kek".to_vec();
    aad.extend_from_slice(keystore_id);
    name.write_counted(&mut aad);
    aad.extend_from_slice(&number.to_be_bytes());
    aad
}

/// A KEK's name: 1 to 255 printable ASCII characters, no space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeystoreKek(Box<str>);

impl KeystoreKek {
    /// # Errors
    /// [`KeystoreError::KeystoreKek`].
    pub fn new(name: &str) -> Result<Self, KeystoreError> {
        if name.is_empty() || name.len() > KEK_NAME_BYTES_MAX || !Self::may_contain(name) {
            return Err(KeystoreError::KeystoreKek(
                name.chars().take(KEK_NAME_BYTES_MAX).collect(),
            ));
        }
        Ok(Self(name.into()))
    }

    /// Whether a name may have this in it.
    #[must_use]
    pub fn may_contain(text: &str) -> bool {
        text.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length as u8, then the bytes.
    fn write_counted(&self, out: &mut Vec<u8>) {
        // INVARIANT: `new` lets no longer name in than KEK_NAME_BYTES_MAX, which fits.
        out.push(self.0.len() as u8);
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl std::borrow::Borrow<str> for KeystoreKek {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeystoreKek {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One version of a KEK.
#[derive(Clone)]
pub struct KekVersion {
    pub(super) number: u32,
    pub(super) state: KekState,
    pub(super) created_unix_seconds: u64,
    pub(super) wrapped: Option<[u8; WRAPPED_KEY_BYTES]>,
}

impl KekVersion {
    /// 1, 2, 3 …
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What it may be used for.
    #[must_use]
    pub fn state(&self) -> KekState {
        self.state
    }

    /// When it was made, in seconds since 1970 UTC.
    #[must_use]
    pub fn created_unix_seconds(&self) -> u64 {
        self.created_unix_seconds
    }
}

/// What a KEK version may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KekState {
    /// Wraps new DEKs and unwraps.
    Current,
    /// Unwraps DEKs that were made while it was current.
    DecryptOnly,
    /// Refuses both, until it is enabled again.
    Disabled,
    /// The key itself is gone.
    Destroyed,
}

impl KekState {
    /// The name in the file and in lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::DecryptOnly => "decrypt-only",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }

    /// Its byte in the MAC's transcript.
    fn code(self) -> u8 {
        match self {
            Self::Current => 1,
            Self::DecryptOnly => 2,
            Self::Disabled => 3,
            Self::Destroyed => 4,
        }
    }
}
