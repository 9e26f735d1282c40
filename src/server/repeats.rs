//! What was said lately, so that a client that asks again and again does not fill the log.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Remembers keys for [`KEPT`].
pub(super) struct Repeats<K> {
    said: HashMap<K, Instant>,
}

impl<K: Hash + Eq> Repeats<K> {
    pub(super) fn new() -> Self {
        Self { said: HashMap::new() }
    }

    /// Whether `key` is to be said: not if it was within [`KEPT`].
    pub(super) fn is_news(&mut self, key: K, now: Instant) -> bool {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < KEPT;
        if self.said.get(&key).is_some_and(fresh) {
            return false;
        }
        if self.said.len() >= KEYS_MAX {
            self.said.retain(|_, at| fresh(at));
        }
        if self.said.len() < KEYS_MAX {
            self.said.insert(key, now);
        }
        true
    }
}

/// The same is said once a minute.
pub(super) const KEPT: Duration = Duration::from_secs(60);
/// Keys remembered; beyond it everything is said.
const KEYS_MAX: usize = 10_000;
