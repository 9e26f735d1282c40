//! Failures that are remembered for a while, so that a KMS is not asked again and again for what it refuses.

use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::request::KeyFailure;

/// A bounded memory of failures; the least recently looked up is forgotten first.
pub(super) struct Refusals<K: Hash + Eq> {
    entries: LruCache<K, (KeyFailure, Instant)>,
}

impl<K: Hash + Eq> Refusals<K> {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            entries: LruCache::sparse(NonZeroUsize::new(count_max).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// Remembers `failure` for `memory`.
    pub(super) fn remember(&mut self, key: K, failure: KeyFailure, now: Instant, memory: Duration) {
        if let Some(until) = now.checked_add(memory) {
            self.entries.push(key, (failure, until));
        }
    }

    /// The failure of `key`: an outage while it is remembered `now`, a verdict if it was remembered, or came later,
    /// when what needs the key was begun.
    pub(super) fn get<Q>(&mut self, key: &Q, begun: Instant, now: Instant) -> Option<KeyFailure>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let &(failure, until) = self.entries.get(key)?;
        let at = if failure.is_outage() { now } else { begun };
        // One that is over stays: it may stand for what was begun earlier.
        (at < until).then_some(failure)
    }

    pub(super) fn forget<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.pop(key);
    }

    /// Forgets what `forget` says yes to; looks at every entry.
    pub(super) fn forget_if(&mut self, forget: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| !forget(key));
    }
}
