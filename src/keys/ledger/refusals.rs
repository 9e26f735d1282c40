//! Failures that are remembered for a while, so that a KMS is not asked again and again for what it refuses.

use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

use crate::keys::request::KeyFailure;
use crate::keys::KeyOptions;

/// A bounded memory of failures; the least recently looked up is forgotten first.
pub(crate) struct Refusals<K: Hash + Eq> {
    entries: LruCache<K, (KeyFailure, Instant)>,
}

impl<K: Hash + Eq> Refusals<K> {
    pub(crate) fn new(options: &KeyOptions) -> Self {
        Self {
            entries: LruCache::sparse(NonZeroUsize::new(options.refusals_max).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// Remembers `failure` for as long as its kind is remembered.
    pub(crate) fn remember(&mut self, key: K, failure: KeyFailure, now: Instant, options: &KeyOptions) {
        let memory = if failure.is_outage() {
            options.outage_memory
        } else {
            options.verdict_memory
        };
        if let Some(until) = now.checked_add(memory) {
            self.entries.push(key, (failure, until));
        }
    }

    /// The failure of `key`, while it is remembered.
    pub(crate) fn get<Q>(&mut self, key: &Q, now: Instant) -> Option<KeyFailure>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let &(failure, until) = self.entries.get(key)?;
        if now < until {
            return Some(failure);
        }
        self.entries.pop(key);
        None
    }

    pub(crate) fn forget<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.pop(key);
    }
}
