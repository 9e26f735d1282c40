//! Changes to a keystore: made in memory on an [`OpenKeystore`], written with a new MAC by [`OpenKeystore::to_json`].
#![expect(clippy::disallowed_methods, reason = "a key is stored with when it was made")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::KeystoreError;
use super::contents::{KekState, KekVersion, Keystore, KeystoreKek, OpenKeystore, kek_aad};
use super::master_key::{MasterKeys, MasterSecret};
use crate::crypto::{SecretKey, wrap_key};

impl OpenKeystore {
    /// A new, empty keystore under `secret`.
    ///
    /// # Errors
    /// [`KeystoreError::MasterKey`], [`KeystoreError::Crypto`].
    pub fn create(secret: MasterSecret) -> Result<Self, KeystoreError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| KeystoreError::Crypto("no random bytes"))?;
        let derivation = secret.new_derivation()?;
        let keys = MasterKeys::derive(secret, &derivation, &id)?;
        Ok(Self {
            keystore: Keystore {
                id,
                revision: 0,
                derivation,
                check: keys.check(),
                keks: BTreeMap::new(),
                mac: [0; 32],
            },
            keys: Arc::new(keys),
        })
    }

    /// Adds a KEK with version 1 as the current one.
    ///
    /// # Errors
    /// [`KeystoreError::KeystoreKek`], [`KeystoreError::KekExists`], [`KeystoreError::Crypto`].
    pub fn add(&mut self, name: &str) -> Result<(), KeystoreError> {
        let name = KeystoreKek::new(name)?;
        if self.keystore.keks.contains_key(&name) {
            return Err(KeystoreError::KekExists(name.to_string()));
        }
        let first = self.new_version(&name, 1)?;
        self.keystore.keks.insert(name, vec![first]);
        Ok(())
    }

    /// Gives a KEK a new current version, whose number is returned; the one before goes on decrypting.
    ///
    /// # Errors
    /// [`KeystoreError::KekUnknown`], [`KeystoreError::Full`], [`KeystoreError::Crypto`].
    pub fn rotate(&mut self, name: &str) -> Result<u32, KeystoreError> {
        let (kek, versions) = self
            .keystore
            .keks
            .get_key_value(name)
            .ok_or_else(|| KeystoreError::KekUnknown(name.to_owned()))?;
        let number = versions
            .last()
            .map_or(Some(1), |last| last.number.checked_add(1))
            .ok_or(KeystoreError::Full("no version number is left"))?;
        let new = self.new_version(kek, number)?;
        let versions = self.versions_mut(name)?;
        for version in versions.iter_mut() {
            if version.state == KekState::Current {
                version.state = KekState::DecryptOnly;
            }
        }
        versions.push(new);
        Ok(number)
    }

    /// Refuses to unwrap under version `number` of a KEK, or under all of its versions; returns the numbers that
    /// changed.
    ///
    /// # Errors
    /// [`KeystoreError::KekUnknown`], [`KeystoreError::VersionUnknown`], [`KeystoreError::VersionDestroyed`].
    pub fn disable(&mut self, name: &str, number: Option<u32>) -> Result<Vec<u32>, KeystoreError> {
        self.change(name, number, |version| {
            let changes = version.state != KekState::Disabled;
            version.state = KekState::Disabled;
            changes
        })
    }

    /// Undoes [`OpenKeystore::disable`]; returns the numbers that changed. The newest version becomes current again if
    /// it is enabled and none is.
    ///
    /// # Errors
    /// As [`OpenKeystore::disable`].
    pub fn enable(&mut self, name: &str, number: Option<u32>) -> Result<Vec<u32>, KeystoreError> {
        let changed = self.change(name, number, |version| {
            let changes = version.state == KekState::Disabled;
            if changes {
                version.state = KekState::DecryptOnly;
            }
            changes
        })?;
        // Only versions that were disabled have become decrypt-only, so no older version can be current here.
        if let Some(newest) = self.versions_mut(name)?.last_mut()
            && changed.contains(&newest.number)
        {
            newest.state = KekState::Current;
        }
        Ok(changed)
    }

    /// Wipes version `number` of a KEK, or all of its versions, for ever: what was sealed under them cannot be opened
    /// again.
    ///
    /// # Errors
    /// As [`OpenKeystore::disable`].
    pub fn destroy(&mut self, name: &str, number: Option<u32>) -> Result<Vec<u32>, KeystoreError> {
        self.change(name, number, |version| {
            version.state = KekState::Destroyed;
            version.wrapped = None;
            true
        })
    }

    /// The file's bytes, with the next revision and a new MAC.
    ///
    /// # Errors
    /// [`KeystoreError::Full`].
    #[cfg_attr(
        not(feature = "testing"),
        expect(
            clippy::wrong_self_convention,
            reason = "the keystore gets its next revision, and its MAC"
        )
    )]
    pub fn to_json(&mut self) -> Result<Vec<u8>, KeystoreError> {
        self.keystore.revision = self
            .keystore
            .revision
            .checked_add(1)
            .ok_or(KeystoreError::Full("no revision number is left"))?;
        let tag = hmac::sign(&self.keys.mac_key(), &self.keystore.transcript());
        self.keystore.mac = tag
            .as_ref()
            .try_into()
            .map_err(|_| KeystoreError::Crypto("HMAC"))?;
        self.keystore.write()
    }

    /// Applies `change` to the versions meant that are not destroyed; it says whether it changed something.
    fn change(
        &mut self,
        name: &str,
        number: Option<u32>,
        change: impl Fn(&mut KekVersion) -> bool,
    ) -> Result<Vec<u32>, KeystoreError> {
        let versions = self.versions_mut(name)?;
        if let Some(number) = number {
            let version = versions
                .iter()
                .find(|version| version.number == number)
                .ok_or_else(|| KeystoreError::VersionUnknown(name.to_owned(), number))?;
            if version.state == KekState::Destroyed {
                return Err(KeystoreError::VersionDestroyed(name.to_owned(), number));
            }
        }
        Ok(versions
            .iter_mut()
            .filter(|version| version.state != KekState::Destroyed)
            .filter(|version| number.is_none_or(|number| version.number == number))
            .filter_map(|version| change(version).then_some(version.number))
            .collect())
    }

    fn versions_mut(&mut self, name: &str) -> Result<&mut Vec<KekVersion>, KeystoreError> {
        self.keystore
            .keks
            .get_mut(name)
            .ok_or_else(|| KeystoreError::KekUnknown(name.to_owned()))
    }

    fn new_version(&self, name: &KeystoreKek, number: u32) -> Result<KekVersion, KeystoreError> {
        let kek = SecretKey::generate().map_err(|_| KeystoreError::Crypto("no random bytes"))?;
        let aad = kek_aad(&self.keystore.id, name, number);
        let wrapped = wrap_key(self.keys.wrapping_key(), &aad, &kek)
            .map_err(|_| KeystoreError::Crypto("a key could not be wrapped"))?;
        Ok(KekVersion {
            number,
            state: KekState::Current,
            created_unix_seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            wrapped: Some(wrapped),
        })
    }
}
