//! Which sealing keys a produce request still waits for.
//!
//! Holding a request is safe for every client, while a refusal costs a plain producer the order of its records. But
//! whatever lies behind a held request on its connection is held up with it, other partitions included. So each request
//! waits, and not every request:
//!
//! - SEAL-WAIT-1: a KEK that was waited for in vain is not waited for by later requests until its key has come, but for
//!   [`ANSWER_TIME`] after it was asked for anew: or a client's first try after an outage would only make us ask, and
//!   the key would be used by its second, a back-off later.
//! - SEAL-WAIT-2: nor are, for [`PAUSE`], the other KEKs of that KMS: librdkafka sends a request for each partition,
//!   and one wait for each KEK would add up to more than its requests live.
//! - SEAL-WAIT-3: a request that waited already when another one gave up waits on to its own end.
//! - SEAL-WAIT-4: a key that a request came to need when its time was nearly over was not waited for in vain: the
//!   request has waited for others, of another KMS perhaps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::KmsId;
use crate::keys::KeyId;

/// The memory of one executor; see the module.
#[derive(Default)]
pub(super) struct SealWait {
    keys: HashMap<KeyId, Instant>,
    kms: HashMap<KmsId, Instant>,
}

impl SealWait {
    /// How long a request that is held since `since` should go on waiting for this key, apart from its own end.
    /// `asked_at`: the key was asked for then and the answer has not come.
    pub(super) fn patience(&self, key: &KeyId, since: Instant, asked_at: Option<Instant>) -> SealPatience {
        if self.keys.is_empty() && self.kms.is_empty() {
            return SealPatience::Full;
        }
        let failed = self.keys.get(key);
        if failed.is_some_and(|at| since >= *at) {
            return asked_at
                .and_then(|at| at.checked_add(ANSWER_TIME))
                .map_or(SealPatience::None, SealPatience::Until);
        }
        let pauses = |at: &Instant| since >= *at && since.saturating_duration_since(*at) < PAUSE;
        if self.kms.get(&key.kms).is_some_and(pauses) {
            return SealPatience::None;
        }
        SealPatience::Full
    }

    /// A request has waited for this key for as long as it may.
    pub(super) fn in_vain(&mut self, key: &KeyId, now: Instant) {
        if self.keys.len() < KEKS_MAX {
            self.keys.entry(key.clone()).or_insert(now);
        }
        self.kms.insert(key.kms, now);
    }

    /// This key is at hand.
    pub(super) fn came(&mut self, key: &KeyId) {
        // Called with every batch that is sealed: nothing is to be done while nothing was waited for in vain.
        if !self.keys.is_empty() && self.keys.remove(key).is_some() {
            self.kms.remove(&key.kms);
        }
    }
}

/// How long a request should wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SealPatience {
    /// To its own end.
    Full,
    /// Until then at most.
    Until(Instant),
    /// Not at all.
    None,
}

/// A KMS that is well answers within this time.
pub(super) const ANSWER_TIME: Duration = Duration::from_millis(200);

/// For how long a KMS that one KEK was waited for in vain is not waited for at all: with the default `seal_wait` a
/// connection is held up for a sixth of the time at most.
const PAUSE: Duration = Duration::from_secs(10);

/// KEKs that are remembered; beyond it SEAL-WAIT-2 alone bounds the waiting.
const KEKS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    fn full(wait: &SealWait, key: &KeyId, since: Instant) -> bool {
        wait.patience(key, since, None) == SealPatience::Full
    }

    /// SEAL-WAIT-1.
    #[test]
    fn a_kek_is_waited_for_once_until_its_key_comes() {
        let (start, kek) = (Instant::now(), KeyId::first("orders"));
        let mut wait = SealWait::default();
        assert!(full(&wait, &kek, start));
        wait.in_vain(&kek, start);
        let later = start + PAUSE * 2;
        assert_eq!(wait.patience(&kek, start, None), SealPatience::None);
        assert_eq!(wait.patience(&kek, later, None), SealPatience::None);
        wait.came(&kek);
        assert!(full(&wait, &kek, start));
    }

    /// SEAL-WAIT-1.
    #[test]
    fn a_question_that_was_just_asked_is_given_the_time_of_an_answer() {
        let (start, kek) = (Instant::now(), KeyId::first("orders"));
        let mut wait = SealWait::default();
        wait.in_vain(&kek, start);
        let asked_at = start + PAUSE;
        assert_eq!(
            wait.patience(&kek, asked_at, Some(asked_at)),
            SealPatience::Until(asked_at + ANSWER_TIME)
        );
    }

    /// SEAL-WAIT-2.
    #[test]
    fn the_kms_is_given_a_pause_and_other_kms_are_not() {
        let (start, kek, other) = (Instant::now(), KeyId::first("orders"), KeyId::first("invoices"));
        let mut wait = SealWait::default();
        wait.in_vain(&kek, start);
        assert_eq!(wait.patience(&other, start, Some(start)), SealPatience::None);
        assert!(!full(&wait, &other, start + PAUSE - Duration::from_millis(1)));
        assert!(full(&wait, &other, start + PAUSE));
        let elsewhere = KeyId {
            kms: KmsId::from_number(1),
            ..other.clone()
        };
        assert!(full(&wait, &elsewhere, start));
        // A key that was there all the time says nothing about the KMS.
        wait.came(&other);
        assert!(!full(&wait, &other, start));
        wait.came(&kek);
        assert!(full(&wait, &other, start));
    }

    /// SEAL-WAIT-3.
    #[test]
    fn who_waits_already_waits_on() {
        let (start, kek) = (Instant::now(), KeyId::first("orders"));
        let mut wait = SealWait::default();
        wait.in_vain(&kek, start + Duration::from_secs(2));
        assert!(full(&wait, &kek, start + Duration::from_secs(1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let start = Instant::now();
        let mut wait = SealWait::default();
        for number in 0..=KEKS_MAX {
            wait.in_vain(&KeyId::first(number.to_string()), start);
        }
        assert_eq!(wait.keys.len(), KEKS_MAX);
    }
}
