//! Which sealing keys a produce request still waits for.
//!
//! Holding a request is safe for every client, while a refusal costs a plain producer the order of its records. But whatever
//! lies behind a held request on its connection is held up with it, other partitions included. So each request waits, and
//! not every request:
//!
//! - SEAL-WAIT-1: a KEK that was waited for in vain is not waited for by later requests until its key has come.
//! - SEAL-WAIT-2: nor are, for [`PAUSE`], the other KEKs of that KMS: librdkafka sends a request for each partition, and one
//!   wait for each KEK would add up to more than its requests live.
//! - SEAL-WAIT-3: a request that waited already when another one gave up waits on to its own end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The memory of one executor; see the module.
#[derive(Default)]
pub(super) struct SealWait {
    keks: HashMap<(usize, Arc<str>), Instant>,
    kms: HashMap<usize, Instant>,
}

impl SealWait {
    /// Whether a request that is held since `since` should go on waiting for the key of `kek`.
    pub(super) fn is_worthwhile(&self, kms: usize, kek: &Arc<str>, since: Instant) -> bool {
        if self.keks.is_empty() && self.kms.is_empty() {
            return true;
        }
        let kek_failed = self
            .keks
            .get(&(kms, Arc::clone(kek)))
            .is_some_and(|at| since >= *at);
        let kms_failed = self
            .kms
            .get(&kms)
            .is_some_and(|at| since >= *at && since.saturating_duration_since(*at) < PAUSE);
        !kek_failed && !kms_failed
    }

    /// A request has waited for the key of `kek` for as long as it may.
    pub(super) fn in_vain(&mut self, kms: usize, kek: &Arc<str>, now: Instant) {
        if self.keks.len() < KEKS_MAX {
            self.keks.entry((kms, Arc::clone(kek))).or_insert(now);
        }
        self.kms.insert(kms, now);
    }

    /// The key of `kek` is at hand.
    pub(super) fn came(&mut self, kms: usize, kek: &Arc<str>) {
        // Called with every batch that is sealed: nothing is to be done while nothing was waited for in vain.
        if !self.keks.is_empty() && self.keks.remove(&(kms, Arc::clone(kek))).is_some() {
            self.kms.remove(&kms);
        }
    }
}

/// For how long a KMS that one KEK was waited for in vain is not waited for at all: with the default `seal_wait` a connection
/// is held up for a sixth of the time at most.
const PAUSE: Duration = Duration::from_secs(10);

/// KEKs that are remembered; beyond it SEAL-WAIT-2 alone bounds the waiting.
const KEKS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kek_is_waited_for_once_until_its_key_comes() {
        let (start, kek) = (Instant::now(), Arc::<str>::from("orders"));
        let mut wait = SealWait::default();
        assert!(wait.is_worthwhile(0, &kek, start));
        wait.in_vain(0, &kek, start);
        let later = start + PAUSE * 2;
        assert!(!wait.is_worthwhile(0, &kek, start));
        assert!(!wait.is_worthwhile(0, &kek, later));
        wait.came(0, &kek);
        assert!(wait.is_worthwhile(0, &kek, start));
    }

    #[test]
    fn the_kms_is_given_a_pause_and_other_kms_are_not() {
        let (start, kek, other) = (
            Instant::now(),
            Arc::<str>::from("orders"),
            Arc::<str>::from("invoices"),
        );
        let mut wait = SealWait::default();
        wait.in_vain(0, &kek, start);
        assert!(!wait.is_worthwhile(0, &other, start));
        assert!(!wait.is_worthwhile(0, &other, start + PAUSE - Duration::from_millis(1)));
        assert!(wait.is_worthwhile(0, &other, start + PAUSE));
        assert!(wait.is_worthwhile(1, &other, start));
        // A key that was there all the time says nothing about the KMS.
        wait.came(0, &other);
        assert!(!wait.is_worthwhile(0, &other, start));
        wait.came(0, &kek);
        assert!(wait.is_worthwhile(0, &other, start));
    }

    #[test]
    fn who_waits_already_waits_on() {
        let (start, kek) = (Instant::now(), Arc::<str>::from("orders"));
        let mut wait = SealWait::default();
        wait.in_vain(0, &kek, start + Duration::from_secs(2));
        assert!(wait.is_worthwhile(0, &kek, start + Duration::from_secs(1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let start = Instant::now();
        let mut wait = SealWait::default();
        for number in 0..=KEKS_MAX {
            wait.in_vain(0, &Arc::from(number.to_string()), start);
        }
        assert_eq!(wait.keks.len(), KEKS_MAX);
    }
}
