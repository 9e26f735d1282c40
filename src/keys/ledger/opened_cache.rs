//! Opened DEKs of one KMS: a bounded cache that somebody who reads history does not empty.
//!
//! - OPENED-CACHE-1: it holds no more than its bound.
//! - OPENED-CACHE-2: of a topic with more DEKs than it holds, read again and again, it goes on serving those that it
//!   has, seven eighths of its bound: the least recently used of all would go right before it is asked for again, and
//!   each would be unwrapped anew each time.
//! - OPENED-CACHE-3: what is asked for no more gives way: after as many misses as four times the bound at the latest.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::crypto::SecretKey;

/// Places for newcomers, of which the idlest goes for the next, and for those that have been there for longer.
pub(super) struct OpenedCache {
    newcomers: LruCache<Arc<[u8]>, SecretKey>,
    settled: LruCache<Arc<[u8]>, Settled>,
    settled_max: usize,
    idle_max: u64,
    /// How many came in: the time by which it is told who is idle.
    came: u64,
}

struct Settled {
    dek: SecretKey,
    /// How many had come when it was last asked for.
    used_at: u64,
}

impl OpenedCache {
    pub(super) fn new(count_max: usize) -> Self {
        let newcomers_max = count_max.checked_div(NEWCOMERS).unwrap_or(0).max(1);
        Self {
            newcomers: LruCache::sparse(NonZeroUsize::new(newcomers_max).unwrap_or(NonZeroUsize::MIN)),
            settled: LruCache::unbounded(),
            settled_max: count_max.saturating_sub(newcomers_max),
            idle_max: u64::try_from(count_max).unwrap_or(u64::MAX).saturating_mul(4),
            came: 0,
        }
    }

    pub(super) fn get(&mut self, wrapped: &[u8]) -> Option<&SecretKey> {
        if let Some((wrapped, dek)) = self.newcomers.pop_entry(wrapped) {
            self.settle(wrapped, dek);
        }
        let came = self.came;
        if let Some(settled) = self.settled.get_mut(wrapped) {
            settled.used_at = came;
            return Some(&settled.dek);
        }
        self.newcomers.peek(wrapped)
    }

    pub(super) fn len(&self) -> usize {
        self.newcomers.len().saturating_add(self.settled.len())
    }

    /// Without using it.
    pub(super) fn peek(&self, wrapped: &[u8]) -> Option<&SecretKey> {
        let settled = self.settled.peek(wrapped).map(|settled| &settled.dek);
        settled.or_else(|| self.newcomers.peek(wrapped))
    }

    pub(super) fn push(&mut self, wrapped: Arc<[u8]>, dek: SecretKey) {
        self.came = self.came.saturating_add(1);
        self.newcomers.pop(&wrapped);
        let idlest = self.settled.peek_lru();
        let is_idle =
            idlest.is_some_and(|(_, idlest)| self.came.saturating_sub(idlest.used_at) > self.idle_max);
        if self.settled.len() < self.settled_max || is_idle || self.settled.contains(&wrapped) {
            self.settle(wrapped, dek);
        } else {
            self.newcomers.push(wrapped, dek);
        }
    }

    /// Forgets what `keep` does not say yes to.
    pub(super) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        self.newcomers.retain(|wrapped, _| keep(wrapped));
        self.settled.retain(|wrapped, _| keep(wrapped));
    }

    /// The idlest of those that have settled becomes a newcomer where there is no room.
    fn settle(&mut self, wrapped: Arc<[u8]>, dek: SecretKey) {
        let settled = Settled {
            dek,
            used_at: self.came,
        };
        self.settled.put(wrapped, settled);
        if self.settled.len() > self.settled_max
            && let Some((wrapped, idlest)) = self.settled.pop_lru()
        {
            self.newcomers.push(wrapped, idlest.dek);
        }
    }
}

/// The part of the bound that is for newcomers: few, since they are what a reader of history drives out.
const NEWCOMERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn dek() -> SecretKey {
        match SecretKey::from_bytes(&mut [1; 32]) {
            Ok(key) => key,
            Err(error) => panic!("{error}"),
        }
    }

    /// How many of these had to be unwrapped.
    fn misses(cache: &mut OpenedCache, numbers: impl Iterator<Item = u32>) -> usize {
        let missed = numbers.filter(|number| {
            let wrapped: Arc<[u8]> = number.to_be_bytes().as_slice().into();
            let missed = cache.get(&wrapped).is_none();
            if missed {
                cache.push(wrapped, dek());
            }
            missed
        });
        missed.count()
    }

    /// OPENED-CACHE-1
    #[test]
    fn it_holds_as_many_as_it_may() {
        for count_max in [1, 2, 7, 8, 9, 100] {
            let mut cache = OpenedCache::new(count_max);
            assert_eq!(
                misses(&mut cache, 0..u32::try_from(count_max).unwrap_or(0)),
                count_max
            );
            assert_eq!(cache.len(), count_max);
            for round in 0..3 {
                let all = 0..u32::try_from(count_max).unwrap_or(0);
                assert_eq!(misses(&mut cache, all), 0, "{count_max}, round {round}");
            }
            misses(&mut cache, 1000..2000);
            assert_eq!(cache.len(), count_max);
        }
    }

    /// OPENED-CACHE-2: the least recently used of all would miss each time, 10 100 to 20 000 times.
    #[test]
    fn more_deks_than_places_cost_about_those_that_are_too_many() {
        for (deks, misses_max) in [
            (1010, 1010 + 9 * 136),
            (1200, 1200 + 9 * 326),
            (2000, 2000 + 9 * 1126),
        ] {
            let mut cache = OpenedCache::new(1000);
            let missed: usize = (0..10).map(|_| misses(&mut cache, 0..deks)).sum();
            assert!(missed <= misses_max, "{deks}: {missed}");
        }
    }

    /// OPENED-CACHE-2: a reader of history costs readers of the present nothing.
    #[test]
    fn what_is_asked_for_again_outlives_what_is_asked_for_once() {
        let mut cache = OpenedCache::new(100);
        misses(&mut cache, 0..50);
        misses(&mut cache, 1000..1200);
        let mut present = 0;
        for once in (2000..12_000).step_by(10) {
            present += misses(&mut cache, 0..50);
            misses(&mut cache, once..once + 10);
        }
        assert_eq!(present, 0);
    }

    /// OPENED-CACHE-3
    #[test]
    fn what_is_asked_for_no_more_gives_way() {
        let mut cache = OpenedCache::new(100);
        for _ in 0..10 {
            misses(&mut cache, 0..100);
        }
        // Too many for the places of newcomers, few enough for all.
        let rounds: Vec<usize> = (0..20).map(|_| misses(&mut cache, 500..590)).collect();
        assert!(rounds.iter().sum::<usize>() <= 400 + 2 * 90, "{rounds:?}");
        assert!(rounds.ends_with(&[0; 5]), "{rounds:?}");
    }
}
