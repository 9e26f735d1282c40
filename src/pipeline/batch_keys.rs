//! How many data keys one stored batch may be under.
//!
//! OPEN-BATCH-1 wants what is known of all of them at the same moment, so there must be no more than are remembered
//! together. Producers seal a batch under one; a tool that puts records of several batches into one makes it a few.
//!
//! A batch of few records costs nothing here, and a long one eight bytes for each other key.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// The keys of a batch that were admitted.
pub(super) struct BatchKeys {
    /// Hashes of them; `None` for a batch that has not so many records. Two that have the same count as one.
    admitted: Option<HashSet<u64, RandomState>>,
}

impl BatchKeys {
    /// For a batch of so many records.
    pub(super) fn new(record_count: i32) -> Self {
        let is_long = usize::try_from(record_count).is_ok_and(|count| count > BATCH_KEYS_MAX);
        Self {
            admitted: is_long.then(HashSet::default),
        }
    }

    /// Whether the batch may be under this key as well: one of the first [`BATCH_KEYS_MAX`].
    pub(super) fn admit(&mut self, wrapped: &[u8]) -> bool {
        let Some(admitted) = &mut self.admitted else {
            return true;
        };
        let hash = admitted.hasher().hash_one(wrapped);
        if admitted.len() < BATCH_KEYS_MAX {
            admitted.insert(hash);
            return true;
        }
        admitted.contains(&hash)
    }

    /// Bytes of memory that it owns, about.
    pub(super) fn bytes_held(&self) -> usize {
        let room = self.admitted.as_ref().map_or(0, HashSet::capacity);
        room.saturating_mul(size_of::<u64>())
    }
}

/// As many as may be asked for at once ([`crate::keys::KeyOptions::waiting_max`]), and a quarter of what an executor
/// remembers: batches of several connections that are under so many do not push one another out.
pub(super) const BATCH_KEYS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyOptions;

    #[test]
    fn so_many_keys_are_admitted_as_are_remembered_together() {
        let options = KeyOptions::default();
        assert!(BATCH_KEYS_MAX <= options.waiting_max);
        assert!(BATCH_KEYS_MAX * 4 <= options.refusals_max.min(options.needed_keys_max));
        let mut keys = BatchKeys::new(i32::MAX);
        let wrapped = |number: usize| number.to_be_bytes();
        for _ in 0..2 {
            assert!((0..BATCH_KEYS_MAX).all(|number| keys.admit(&wrapped(number))));
        }
        for _ in 0..2 {
            assert!(!keys.admit(&wrapped(BATCH_KEYS_MAX)));
            assert!(keys.admit(&wrapped(0)));
        }
        assert!(keys.bytes_held() < 16 * 8 * 1024);
    }

    #[test]
    fn a_batch_of_so_many_records_keeps_nothing() {
        for count in [-1, 0, 1, 4096] {
            let mut keys = BatchKeys::new(count);
            assert!(keys.admit(b"a wrapped DEK"));
            assert_eq!(keys.bytes_held(), 0);
        }
        assert!(BatchKeys::new(4097).admitted.is_some());
    }
}
