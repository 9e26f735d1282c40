//! Which sealing keys a produce request still waits for.
//!
//! Holding a request is safe for every client, while a refusal costs a plain producer the order of its records. But whatever
//! lies behind a held request on its connection is held up with it, other partitions included. So each request waits, and
//! not every request:
//!
//! - SEAL-WAIT-1: a KEK that was waited for in vain is not waited for by later requests until its key has come, but for
//!   [`ANSWER_TIME`] after it was asked for anew: or a client's first try after an outage would only make us ask, and the key
//!   would be used by its second, a back-off later.
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
    /// How long a request that is held since `since` should go on waiting for the key of `kek`, apart from its own end.
    /// `asked_at`: the key was asked for then and the answer has not come.
    pub(super) fn patience(
        &self,
        kms: usize,
        kek: &Arc<str>,
        since: Instant,
        asked_at: Option<Instant>,
    ) -> Patience {
        if self.keks.is_empty() && self.kms.is_empty() {
            return Patience::Full;
        }
        let failed = self.keks.get(&(kms, Arc::clone(kek)));
        if failed.is_some_and(|at| since >= *at) {
            return asked_at
                .and_then(|at| at.checked_add(ANSWER_TIME))
                .map_or(Patience::None, Patience::Until);
        }
        let pauses = |at: &Instant| since >= *at && since.saturating_duration_since(*at) < PAUSE;
        if self.kms.get(&kms).is_some_and(pauses) {
            return Patience::None;
        }
        Patience::Full
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

/// How long a request should wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// To its own end.
    Full,
    /// Until then at most.
    Until(Instant),
    /// Not at all.
    None,
}

/// A KMS that is well answers within this time.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// For how long a KMS that one KEK was waited for in vain is not waited for at all: with the default `seal_wait` a connection
/// is held up for a sixth of the time at most.
const PAUSE: Duration = Duration::from_secs(10);

/// KEKs that are remembered; beyond it SEAL-WAIT-2 alone bounds the waiting.
const KEKS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn full(wait: &SealWait, kms: usize, kek: &Arc<str>, since: Instant) -> bool {
        wait.patience(kms, kek, since, None) == Patience::Full
    }

    /// SEAL-WAIT-1.
    #[test]
    fn a_kek_is_waited_for_once_until_its_key_comes() {
        let (start, kek) = (Instant::now(), Arc::<str>::from("orders"));
        let mut wait = SealWait::default();
        assert!(full(&wait, 0, &kek, start));
        wait.in_vain(0, &kek, start);
        let later = start + PAUSE * 2;
        assert_eq!(wait.patience(0, &kek, start, None), Patience::None);
        assert_eq!(wait.patience(0, &kek, later, None), Patience::None);
        wait.came(0, &kek);
        assert!(full(&wait, 0, &kek, start));
    }

    /// SEAL-WAIT-1.
    #[test]
    fn a_question_that_was_just_asked_is_given_the_time_of_an_answer() {
        let (start, kek) = (Instant::now(), Arc::<str>::from("orders"));
        let mut wait = SealWait::default();
        wait.in_vain(0, &kek, start);
        let asked_at = start + PAUSE;
        assert_eq!(
            wait.patience(0, &kek, asked_at, Some(asked_at)),
            Patience::Until(asked_at + ANSWER_TIME)
        );
    }

    /// SEAL-WAIT-2.
    #[test]
    fn the_kms_is_given_a_pause_and_other_kms_are_not() {
        let (start, kek, other) = (
            Instant::now(),
            Arc::<str>::from("orders"),
            Arc::<str>::from("invoices"),
        );
        let mut wait = SealWait::default();
        wait.in_vain(0, &kek, start);
        assert_eq!(wait.patience(0, &other, start, Some(start)), Patience::None);
        assert!(!full(&wait, 0, &other, start + PAUSE - Duration::from_millis(1)));
        assert!(full(&wait, 0, &other, start + PAUSE));
        assert!(full(&wait, 1, &other, start));
        // A key that was there all the time says nothing about the KMS.
        wait.came(0, &other);
        assert!(!full(&wait, 0, &other, start));
        wait.came(0, &kek);
        assert!(full(&wait, 0, &other, start));
    }

    /// SEAL-WAIT-3.
    #[test]
    fn who_waits_already_waits_on() {
        let (start, kek) = (Instant::now(), Arc::<str>::from("orders"));
        let mut wait = SealWait::default();
        wait.in_vain(0, &kek, start + Duration::from_secs(2));
        assert!(full(&wait, 0, &kek, start + Duration::from_secs(1)));
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
