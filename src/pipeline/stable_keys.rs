//! What seals and opens the record keys of one topic.
//!
//! - TOPIC-KEYS-1: a rule that seals keys, and has no stable key for a topic that may be used, seals nothing: keys are
//!   never left as they are for want of one.
//! - TOPIC-KEYS-2: a stable key that is refused is not used any more from the next step of whatever is under way.

use std::sync::Arc;

use super::refusal::{FetchRefusal, ProduceRefusal};
use super::refused_stable_key::RefusedStableKey;
use crate::envelope::{AcceptedDomain, Domain, DomainKey, OpenError, StableKeyId};
use crate::keys::{NoDomainKey, StableKey, StableKeys};
use crate::rules::{RecordKeys, SealRule};

/// See the module.
#[derive(Default)]
pub struct TopicKeys {
    /// What seals new keys.
    sealing: Sealing,
    /// What opens those that are stored, for each domain that the topic accepts.
    pub domains: Vec<AcceptedDomain>,
    /// All that may be used, or may not be.
    used: Vec<Arc<StableKey>>,
    ring: Option<Arc<StableKeys>>,
}

#[derive(Default)]
enum Sealing {
    /// Keys stay as they are.
    #[default]
    None,
    Key(Arc<DomainKey>),
    Refused(ProduceRefusal),
}

impl TopicKeys {
    /// What a rule says of a topic, with the keyring as it is now.
    pub(super) fn of(rule: &SealRule, ring: Option<&Arc<StableKeys>>) -> Self {
        let mut keys = Self {
            ring: ring.filter(|_| rule.keys.need_stable_keys()).cloned(),
            ..Self::default()
        };
        for (place, domain) in std::iter::once(&rule.domain)
            .chain(&rule.open_domains)
            .enumerate()
        {
            let key = keys.derive(domain);
            if place == 0 && rule.keys.sealed {
                keys.sealing = match &key {
                    Ok(key) => Sealing::Key(Arc::clone(key)),
                    Err(refusal) => Sealing::Refused(refusal.clone()),
                };
            }
            keys.domains.push(AcceptedDomain {
                domain: domain.clone(),
                key: key.ok(),
            });
        }
        keys
    }

    fn derive(&mut self, domain: &Domain) -> Result<Arc<DomainKey>, ProduceRefusal> {
        let stable_key = self.ring.as_ref().and_then(|ring| ring.of_domain(domain.name()));
        let Some(stable_key) = stable_key.cloned() else {
            return Err(ProduceRefusal::NoStableKey(domain.name().into()));
        };
        let derived = stable_key.for_domain(domain).map_err(|error| match error {
            NoDomainKey::Refused(failure) => {
                ProduceRefusal::StableKey(RefusedStableKey::new(&stable_key, failure))
            }
            _ => ProduceRefusal::Cipher,
        });
        self.used.push(stable_key);
        Ok(Arc::new(derived?))
    }

    /// What seals new keys; `None` where they stay as they are.
    pub(super) fn sealing(&self) -> Result<Option<&Arc<DomainKey>>, ProduceRefusal> {
        match &self.sealing {
            Sealing::None => Ok(None),
            Sealing::Refused(refusal) => Err(refusal.clone()),
            Sealing::Key(key) => match self.refused(key.id()) {
                Some(refused) => Err(ProduceRefusal::StableKey(refused)),
                None => Ok(Some(key)),
            },
        }
    }

    /// Why a stable key may not be used, if it may not.
    fn refused(&self, id: StableKeyId) -> Option<RefusedStableKey> {
        let mut used = self.used.iter().filter(|key| key.id() == id);
        used.find_map(|key| Some(RefusedStableKey::new(key, key.refusal()?)))
    }

    /// The id of the stable key that new keys are sealed under.
    pub(super) fn sealing_id(&self) -> Option<StableKeyId> {
        match &self.sealing {
            Sealing::Key(key) => Some(key.id()),
            Sealing::None | Sealing::Refused(_) => None,
        }
    }

    /// Whether readers may get the key of a sealed record, and it can be opened; `sealed_in`: it is sealed, in a domain
    /// of this hint.
    // Not the marker itself: of each record it would be copied to where a reference may point.
    pub(super) fn check_stored(
        &self,
        expected: RecordKeys,
        stored: Option<&[u8]>,
        sealed_in: Option<[u8; 4]>,
    ) -> Result<(), FetchRefusal> {
        let Some(stored) = stored else {
            return Ok(());
        };
        let Some(hint) = sealed_in else {
            return match expected.accept_clear() {
                true => Ok(()),
                false => Err(OpenError::ClearKey.into()),
            };
        };
        if !expected.need_stable_keys() {
            return Err(OpenError::KeySealed.into());
        }
        let id = StableKeyId::in_sealed_key(stored)?;
        self.check_usable(id)?;
        let accepted = self.domains.iter();
        let mut hinted = accepted
            .filter(|accepted| accepted.domain.hint() == hint)
            .peekable();
        // Of another domain, as whoever opens it will say.
        let is_of_none = hinted.peek().is_none();
        if is_of_none || hinted.any(|accepted| accepted.key.as_ref().is_some_and(|key| key.id() == id)) {
            return Ok(());
        }
        match self.has(id) {
            true => Err(FetchRefusal::SealedKey(OpenError::ForeignStableKey, id)),
            false => Err(FetchRefusal::SealedKey(OpenError::UnknownStableKey, id)),
        }
    }

    /// Whether this key, of a record without a seal, is a sealed one of the topic's: what it was is then appended.
    ///
    /// # Errors
    /// It is sealed under a stable key of the keyring, and is not the topic's or may not be opened.
    pub(super) fn open_alone(&self, stored: &[u8], opened: &mut Vec<u8>) -> Result<bool, FetchRefusal> {
        let id = match StableKeyId::in_sealed_key(stored) {
            Ok(id) if self.has(id) => id,
            // As a key that clients chose may look.
            _ => return Ok(false),
        };
        self.check_usable(id)?;
        let keys = self.domains.iter().filter_map(|accepted| accepted.key.as_ref());
        let mut own = keys.filter(|key| key.id() == id).peekable();
        if own.peek().is_none() {
            return Err(FetchRefusal::SealedKey(OpenError::ForeignStableKey, id));
        }
        match own.any(|key| key.open_alone(stored, opened).is_ok()) {
            true => Ok(true),
            false => Err(OpenError::KeyTag.into()),
        }
    }

    fn has(&self, id: StableKeyId) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.key(id).is_some())
    }

    /// TOPIC-KEYS-2
    fn check_usable(&self, id: StableKeyId) -> Result<(), FetchRefusal> {
        match self.refused(id) {
            Some(refused) => Err(FetchRefusal::StableKey(refused)),
            None => Ok(()),
        }
    }
}
