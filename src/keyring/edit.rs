//! Changes of a keyring, each with a new revision.

use super::{Keyring, KeyringError, KeyringKey, Pin};
use crate::crypto::{SecretKey, key_check};
use crate::envelope::domain::DOMAIN_BYTES_MAX;
use crate::envelope::{StableKeyId, WrappedDek, WrappedDekError};
use crate::rules::Matcher;

/// What `assign` has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    /// There is a new pin, or one was changed.
    Done,
    /// The domain has this key.
    NothingToChange,
}

impl Keyring {
    /// Whether a new key could have this name.
    ///
    /// # Errors
    /// [`KeyringError::Name`], [`KeyringError::KeyExists`].
    pub fn check_new(&self, name: &str) -> Result<(), KeyringError> {
        check_name(name)?;
        match self.keys.iter().any(|key| key.name == name) {
            true => Err(KeyringError::KeyExists(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Adds `key`, which a KMS has just made and wrapped into `wrapped`.
    ///
    /// # Errors
    /// [`KeyringError::Name`], [`KeyringError::KeyExists`], [`KeyringError::IdExists`], [`KeyringError::Format`],
    /// [`KeyringError::Crypto`].
    pub fn add(
        &mut self,
        name: &str,
        key: &SecretKey,
        wrapped: &[u8],
        created_unix_seconds: u64,
    ) -> Result<StableKeyId, KeyringError> {
        self.check_new(name)?;
        let id = StableKeyId::of_wrapped(wrapped);
        if let Some(same) = self.key(id) {
            return Err(KeyringError::IdExists(same.name.clone()));
        }
        self.keys.push(KeyringKey {
            id,
            name: name.to_owned(),
            created_unix_seconds,
            wrapped: well_formed(wrapped).map_err(|error| KeyringError::Format(error.to_string()))?,
            check: key_check(key, id.bytes())?,
        });
        self.changed();
        Ok(id)
    }

    /// The key of this name, or of the id that `key` is.
    ///
    /// # Errors
    /// [`KeyringError::KeyUnknown`].
    pub fn named(&self, key: &str) -> Result<&KeyringKey, KeyringError> {
        let by_name = self.keys.iter().find(|known| known.name == key);
        by_name
            .or_else(|| self.key(key.parse().ok()?))
            .ok_or_else(|| self.no_such_key(key))
    }

    /// Gives `domain`, which may be a glob over domains, the stable key `key` (KEYRING-3).
    ///
    /// # Errors
    /// [`KeyringError::Pattern`], [`KeyringError::DomainLength`], [`KeyringError::KeyUnknown`],
    /// [`KeyringError::Pinned`], [`KeyringError::Covered`].
    pub fn assign(
        &mut self,
        domain: &str,
        key: StableKeyId,
        topic_is_new: bool,
    ) -> Result<Assigned, KeyringError> {
        let domains = pattern(domain)?;
        if self.key(key).is_none() {
            return Err(self.no_such_key(&key.to_string()));
        }
        let taken_by = |pin: &Pin| pin.text == domain || pin.domains.covers(&domains);
        let place = self.pins.iter().position(taken_by);
        let is_glob = is_glob(domain);
        let pin = Pin {
            text: domain.to_owned(),
            domains,
            key,
        };
        match place.and_then(|place| Some((place, self.pins.get_mut(place)?))) {
            None => self.pins.push(pin),
            Some((_, before)) if before.key == key => return Ok(Assigned::NothingToChange),
            Some((_, before)) if !topic_is_new => {
                return Err(KeyringError::Pinned {
                    domain: domain.to_owned(),
                    key: before.key,
                    pin: before.text.clone(),
                });
            }
            Some((_, before)) if before.text == domain => before.key = key,
            Some((_, before)) if is_glob => {
                return Err(KeyringError::Covered {
                    domain: domain.to_owned(),
                    key: before.key,
                    pin: before.text.clone(),
                });
            }
            Some((place, _)) => {
                // Further behind it would stand twice.
                self.pins.retain(|pin| pin.text != domain);
                self.pins.insert(place, pin);
            }
        }
        self.changed();
        Ok(Assigned::Done)
    }

    /// Takes the pin of this text away; returns its key (KEYRING-3).
    ///
    /// # Errors
    /// [`KeyringError::PinUnknown`], [`KeyringError::MayLive`].
    pub fn unassign(&mut self, text: &str, topic_is_gone: bool) -> Result<StableKeyId, KeyringError> {
        let Some(pin) = self.pins.iter().find(|pin| pin.text == text) else {
            let taken_by = self.pins.iter().find(|pin| pin.domains.matches(text));
            return Err(KeyringError::PinUnknown {
                domain: text.to_owned(),
                but: taken_by.map_or_else(String::new, |pin| format!(": {:?} takes it", pin.text)),
            });
        };
        let key = pin.key;
        if !topic_is_gone {
            let domain = text.to_owned();
            return Err(KeyringError::MayLive { domain, key });
        }
        self.pins.retain(|pin| pin.text != text);
        self.changed();
        Ok(key)
    }

    /// Takes a key away that no pin names.
    ///
    /// # Errors
    /// [`KeyringError::StillPinned`].
    pub fn remove(&mut self, id: StableKeyId) -> Result<(), KeyringError> {
        if let Some(pin) = self.pins.iter().find(|pin| pin.key == id) {
            return Err(KeyringError::StillPinned {
                key: id,
                pin: pin.text.clone(),
            });
        }
        self.keys.retain(|key| key.id != id);
        self.changed();
        Ok(())
    }

    /// The key of this id is wrapped anew.
    ///
    /// # Errors
    /// [`KeyringError::KeyUnknown`], [`KeyringError::WrongKey`], [`KeyringError::Crypto`].
    pub fn rewrap(&mut self, id: StableKeyId, key: SecretKey, wrapped: &[u8]) -> Result<(), KeyringError> {
        let Some(known) = self.keys.iter_mut().find(|key| key.id == id) else {
            return Err(self.no_such_key(&id.to_string()));
        };
        known.open(key)?;
        known.wrapped = well_formed(wrapped).map_err(|error| KeyringError::Format(error.to_string()))?;
        self.changed();
        Ok(())
    }

    fn no_such_key(&self, key: &str) -> KeyringError {
        let mut known: Vec<&str> = self.keys.iter().map(KeyringKey::name).take(SHOWN_MAX).collect();
        match self.keys.len() {
            0 => known.push("none"),
            length if length > SHOWN_MAX => known.push("and more"),
            _ => {}
        }
        KeyringError::KeyUnknown {
            key: key.to_owned(),
            known: known.join(", "),
        }
    }

    fn changed(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }
}

/// What matches the domains of a pin.
pub(super) fn pattern(text: &str) -> Result<Matcher, KeyringError> {
    if text.len() > DOMAIN_BYTES_MAX {
        return Err(KeyringError::DomainLength);
    }
    let matcher = match is_glob(text) {
        true => Matcher::glob_of_any(text),
        false => Matcher::exact_of_any(text),
    };
    matcher.map_err(|source| KeyringError::Pattern {
        text: text.to_owned(),
        source,
    })
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

pub(super) fn check_name(name: &str) -> Result<(), KeyringError> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && name.parse::<StableKeyId>().is_err();
    match is_good {
        true => Ok(()),
        false => Err(KeyringError::Name(name.chars().take(NAME_BYTES_MAX).collect())),
    }
}

/// A wrapped key, within its bounds (ENV-60).
pub(super) fn well_formed(wrapped: &[u8]) -> Result<Box<[u8]>, WrappedDekError> {
    WrappedDek::parse(wrapped).map(|_| wrapped.into())
}

const NAME_BYTES_MAX: usize = 255;
/// Names in a message.
const SHOWN_MAX: usize = 10;
