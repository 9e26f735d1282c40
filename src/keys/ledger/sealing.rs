//! The DEKs that seal: one for each KEK in use, fetched, shared out, watched and replaced.
//!
//! - SEALING-DEKS-1: the shares of a DEK that executors were given never add up to more than its limits: each
//!   executor's share is an equal part, and one that asks again gets what it has left.
//! - SEALING-DEKS-2: a DEK that was replaced, released, revoked or dropped is never given out again.
//! - SEALING-DEKS-4: a DEK that was given out or used within `needed_for` gives way to others only at
//!   `needed_sealing_keys_max`: a request that waits for more of them than are kept has all together in the end.
//! - SEALING-DEKS-5: the next DEK of a KEK that seals comes before all that are new, however many of those wait.
//! - SEALING-DEKS-3: an outage takes no DEK away; a verdict about the KEK takes it from every executor.

mod proof;

pub(super) use self::proof::Proof;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::breaker::Moment;
use super::call::{Call, Intervals};
use super::checks::Checks;
use super::outboxes::{ExecutorSet, Outboxes};
use super::spread::Spread;
use super::standing::SealingStanding;
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::keys::KeyOptions;
use crate::keys::refusals::Refusals;
use crate::keys::request::{DeliveredDek, KeyFailure, KeyId, KeyReply};
use crate::kms::{GeneratedDek, KmsError};

/// What was sealed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) batches: u64,
    pub(super) bytes: u64,
}

pub(super) struct SealingDeks {
    options: Arc<KeyOptions>,
    version_poll_interval: Duration,
    spread: Spread,
    executors: usize,
    active: LruCache<KeyId, Active>,
    fetching: HashMap<KeyId, Making>,
    /// KEKs in `fetching` whose call was not started.
    queue: VecDeque<KeyId>,
    refused: Refusals<KeyId>,
    /// Questions that were refused at once since the KMS is away.
    pub(super) spared: u64,
    /// The KMS has made a wrong DEK (PROOF-3).
    is_doubted: bool,
}

/// A DEK in use.
struct Active {
    dek: SecretKey,
    wrapped: Arc<[u8]>,
    version: Box<[u8]>,
    made_at: Instant,
    /// When it was given out or used last.
    needed_at: Instant,
    /// Executors that were given it.
    holders: ExecutorSet,
    /// What each executor has reported.
    used: Vec<Use>,
    poll_due: Instant,
    polling: bool,
    /// The KEK has another current version by now.
    outdated: bool,
}

/// One that seals from now on.
pub(super) struct NewDek {
    /// A copy, for opening.
    pub(super) dek: SecretKey,
    pub(super) wrapped: Arc<[u8]>,
    /// The version that sealed until now, if it is another one.
    pub(super) before: Option<Arc<[u8]>>,
}

#[derive(Default)]
struct Making {
    waiters: ExecutorSet,
    started: bool,
    /// A KEK version was revoked, or the clocks have parted, while the call was under way.
    revoked: bool,
    /// What was made, where it has to be proved before it is used.
    unproved: Option<GeneratedDek>,
}

impl SealingDeks {
    pub(super) fn new(options: &Arc<KeyOptions>, intervals: Intervals, executors: usize) -> Self {
        Self {
            options: Arc::clone(options),
            version_poll_interval: intervals.version_poll,
            spread: Spread::new(options.spread_seed),
            executors,
            active: LruCache::sparse(
                NonZeroUsize::new(options.sealing_keys_max.max(options.needed_sealing_keys_max))
                    .unwrap_or(NonZeroUsize::MIN),
            ),
            fetching: HashMap::new(),
            queue: VecDeque::new(),
            refused: Refusals::new(options.refusals_max),
            spared: 0,
            is_doubted: false,
        }
    }

    pub(super) fn ask(
        &mut self,
        executor: usize,
        key: KeyId,
        used_up: Option<&[u8]>,
        Moment { now, may_call }: Moment,
        outboxes: &mut Outboxes,
    ) {
        if let Some(active) = self.active.get_mut(&key)
            && used_up != Some(&*active.wrapped)
            && let Some(delivered) = active.deliver(executor, self.executors, now, &self.options)
        {
            return outboxes.push(executor, sealing_reply(&key, Ok(delivered)));
        }
        let failure = if let Some(failure) = self.refused.get(&key, now, now) {
            failure
        } else if !may_call {
            self.spared = self.spared.saturating_add(1);
            KeyFailure::Unavailable
        } else if let Some(fetch) = self.fetching.get_mut(&key) {
            return fetch.waiters.insert(executor);
        } else if self.fetching.len() >= self.options.waiting_max && !self.active.contains(&key) {
            KeyFailure::Unavailable
        } else {
            let mut fetch = Making::default();
            fetch.waiters.insert(executor);
            return self.begin(key, fetch);
        };
        outboxes.push(executor, sealing_reply(&key, Err(failure)));
    }

    /// There is no such KEK, as its name says; whether that was not remembered.
    pub(super) fn refuse(
        &mut self,
        executor: usize,
        key: KeyId,
        failure: KeyFailure,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> bool {
        outboxes.push(executor, sealing_reply(&key, Err(failure)));
        let is_news = self.refused.get(&key, now, now).is_none();
        if is_news {
            let memory = self.options.memory_of(failure);
            self.refused.remember(key, failure, now, memory);
        }
        is_news
    }

    pub(super) fn note_use(&mut self, executor: usize, key: &KeyId, wrapped: &[u8], more: Use, now: Instant) {
        let Some(active) = self.active.get_mut(key) else {
            return;
        };
        // A report about the DEK before this one changes nothing any more.
        if *active.wrapped != *wrapped {
            return;
        }
        active.needed_at = now;
        if active.used.len() <= executor && executor < self.executors {
            active.used.resize(executor.saturating_add(1), Use::default());
        }
        if let Some(used) = active.used.get_mut(executor) {
            used.batches = used.batches.saturating_add(more.batches);
            used.bytes = used.bytes.saturating_add(more.bytes);
        }
        if active.wants_successor(now, &self.options) {
            self.fetch_ahead(key, now);
        }
    }

    /// The next KEK to make a DEK under.
    pub(super) fn next_fetch(&mut self) -> Option<KeyId> {
        let key = self.queue.pop_front()?;
        if let Some(fetch) = self.fetching.get_mut(&key) {
            fetch.started = true;
        }
        Some(key)
    }

    /// Refuses as an outage what was not started, and what was made and cannot be proved.
    pub(super) fn refuse_queued(&mut self, now: Instant, outboxes: &mut Outboxes) {
        let error = KmsError::Unavailable("it is away".to_owned());
        let unproved = self.fetching.iter().filter(|(_, fetch)| fetch.unproved.is_some());
        let mut refused: Vec<KeyId> = unproved.map(|(key, _)| key.clone()).collect();
        refused.extend(self.queue.drain(..));
        for key in refused {
            if let Some(fetch) = self.fetching.remove(&key) {
                self.spared = self.spared.saturating_add(1);
                self.failed(&key, &error, fetch.waiters, now, outboxes);
            }
        }
    }

    /// KEKs whose call to make a DEK has not begun.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// DEKs that seal, those used last first.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = SealingStanding> {
        self.active.iter().map(move |(key, active)| SealingStanding {
            kek: Arc::clone(&key.kek),
            age: active.age(now),
            batches: active.total(|used| used.batches),
            bytes: active.total(|used| used.bytes),
            left: self.options.dek.age_max.saturating_sub(active.age(now)),
        })
    }

    /// Takes in what a call brought and tells all whom it concerns; returns the new DEK that seals.
    pub(super) fn generated(
        &mut self,
        key: &KeyId,
        result: Result<GeneratedDek, KmsError>,
        now: Instant,
        checks: &mut Checks,
        outboxes: &mut Outboxes,
    ) -> Option<NewDek> {
        let mut fetch = self.fetching.remove(key)?;
        match result {
            Ok(_) if fetch.revoked => self.make_again(key, fetch),
            Ok(generated) if WrappedDek::parse(&generated.wrapped).is_err() => {
                let error = KmsError::Unavailable("a new data key is malformed".to_owned());
                self.failed(key, &error, fetch.waiters, now, outboxes);
            }
            Ok(generated) if self.is_doubted => {
                checks.push(Call::Recheck(generated.wrapped[..].into()));
                fetch.unproved = Some(generated);
                self.fetching.insert(key.clone(), fetch);
            }
            Ok(generated) => return self.install(key, fetch.waiters, generated, now, outboxes),
            Err(error) => self.failed(key, &error, fetch.waiters, now, outboxes),
        }
        None
    }

    /// Has another one made for those who wait: what came is not believed (LEDGER-3).
    fn make_again(&mut self, key: &KeyId, former: Making) {
        let again = Making {
            waiters: former.waiters,
            ..Making::default()
        };
        self.fetching.insert(key.clone(), again);
        self.queue.push_back(key.clone());
    }

    /// Seals with a new DEK from now on.
    fn install(
        &mut self,
        key: &KeyId,
        mut receivers: ExecutorSet,
        GeneratedDek { dek, wrapped }: GeneratedDek,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<NewDek> {
        let version: Box<[u8]> = WrappedDek::parse(&wrapped).ok()?.version.into();
        let wrapped: Arc<[u8]> = wrapped.into();
        let mut before = None;
        if let Some(former) = self.active.pop(key) {
            receivers.add_all(&former.holders);
            before = (former.version != version).then(|| former.version.into());
        }
        let copy = dek.duplicate();
        let mut active = Active {
            dek,
            wrapped: Arc::clone(&wrapped),
            version,
            made_at: now,
            needed_at: now,
            holders: ExecutorSet::default(),
            used: Vec::new(),
            poll_due: now + self.spread.shorten(self.version_poll_interval),
            polling: false,
            outdated: false,
        };
        for executor in receivers.iter() {
            let result = active
                .deliver(executor, self.executors, now, &self.options)
                .ok_or(KeyFailure::Unavailable);
            outboxes.push(executor, sealing_reply(key, result));
        }
        self.refused.forget(key);
        if let Some((idlest, evicted)) = self.active.push(key.clone(), active) {
            self.release(&idlest, &evicted, outboxes);
        }
        self.evict(now, outboxes);
        Some(NewDek {
            dek: copy,
            wrapped,
            before,
        })
    }

    /// Lets go of DEKs beyond those that are kept, the idlest first (SEALING-DEKS-4).
    fn evict(&mut self, now: Instant, outboxes: &mut Outboxes) {
        let needed_for = self.options.needed_for;
        let is_idle = |active: &Active| now.saturating_duration_since(active.needed_at) >= needed_for;
        while self.active.len() > self.options.sealing_keys_max.max(1)
            && self.active.peek_lru().is_some_and(|(_, idlest)| is_idle(idlest))
            && let Some((key, idlest)) = self.active.pop_lru()
        {
            self.release(&key, &idlest, outboxes);
        }
    }

    /// Takes in the KEK's current version.
    pub(super) fn polled(
        &mut self,
        key: &KeyId,
        result: Result<Option<Vec<u8>>, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) {
        // An answer to a question that was asked for an earlier DEK says nothing about this one.
        let Some(active) = self.active.peek_mut(key).filter(|active| active.polling) else {
            return;
        };
        active.polling = false;
        active.poll_due = now + self.spread.shorten(self.version_poll_interval);
        match result {
            Ok(Some(version)) => {
                active.outdated = *version != *active.version;
                if active.outdated {
                    self.fetch_ahead(key, now);
                }
            }
            Ok(None) => {}
            Err(error) if error.refuses_kek() => {
                self.failed(key, &error, ExecutorSet::default(), now, outboxes);
            }
            Err(_) => {}
        }
    }

    /// Queues polls that are due and DEKs that are due for replacement; lets go of DEKs that grew old unused.
    pub(super) fn tick(&mut self, now: Instant, checks: &mut Checks, outboxes: &mut Outboxes) {
        let (mut due, mut idle) = (Vec::new(), Vec::new());
        for (key, active) in &mut self.active {
            if !active.polling && now >= active.poll_due {
                active.polling = checks.push(Call::PollVersion(key.clone()));
            }
            let old = active.age(now) >= self.options.dek.age_max;
            if old && !active.is_used() || active.age(now) >= hard_age(&self.options) {
                idle.push(key.clone());
            } else if active.wants_successor(now, &self.options) {
                due.push(key.clone());
            }
        }
        for key in due {
            self.fetch_ahead(&key, now);
        }
        for key in idle {
            if let Some(active) = self.active.pop(&key) {
                self.release(&key, &active, outboxes);
            }
        }
        self.evict(now, outboxes);
    }

    /// Takes away what is under a version.
    pub(super) fn drop_version(&mut self, prefix: &[u8]) {
        self.active
            .retain(|_, active| !active.wrapped.starts_with(prefix));
    }

    /// Takes every DEK away from every executor.
    pub(super) fn drop_all(&mut self, outboxes: &mut Outboxes) {
        while let Some((key, active)) = self.active.pop_lru() {
            self.release(&key, &active, outboxes);
        }
        self.distrust_calls();
    }

    /// What calls bring that are under way is not used (LEDGER-3).
    pub(super) fn distrust_calls(&mut self) {
        for fetch in self.fetching.values_mut() {
            fetch.revoked |= fetch.started;
        }
    }

    /// Fetches the successor of a DEK while that one seals on; not while a failure to do so is remembered.
    fn fetch_ahead(&mut self, key: &KeyId, now: Instant) {
        if self.refused.get(key, now, now).is_none() && !self.fetching.contains_key(key) {
            self.begin(key.clone(), Making::default());
        }
    }

    /// Has a DEK made, the next one of a KEK that seals before others (SEALING-DEKS-5).
    fn begin(&mut self, key: KeyId, fetch: Making) {
        self.fetching.insert(key.clone(), fetch);
        match self.active.contains(&key) {
            true => self.queue.push_front(key),
            false => self.queue.push_back(key),
        }
    }

    fn failed(
        &mut self,
        key: &KeyId,
        error: &KmsError,
        mut concerned: ExecutorSet,
        now: Instant,
        outboxes: &mut Outboxes,
    ) {
        let failure = KeyFailure::from(error);
        if error.refuses_kek()
            && let Some(former) = self.active.pop(key)
        {
            concerned.add_all(&former.holders);
        }
        for executor in concerned.iter() {
            outboxes.push(executor, sealing_reply(key, Err(failure)));
        }
        self.refused
            .remember(key.clone(), failure, now, self.options.memory_of(failure));
    }

    fn release(&self, key: &KeyId, active: &Active, outboxes: &mut Outboxes) {
        for executor in active.holders.iter() {
            outboxes.push(executor, KeyReply::Released { key: key.clone() });
        }
    }
}

impl Active {
    /// A copy for `executor` with what is left of its share, `None` when nothing is left or the DEK is too old.
    fn deliver(
        &mut self,
        executor: usize,
        executors: usize,
        now: Instant,
        options: &KeyOptions,
    ) -> Option<DeliveredDek> {
        let parts = u64::try_from(executors.max(1)).unwrap_or(u64::MAX);
        let used = self.used.get(executor).copied().unwrap_or_default();
        let part = |whole: u64| whole.checked_div(parts).unwrap_or(0);
        let batches_max = part(options.dek.batches_max).saturating_sub(used.batches);
        let bytes_max = part(options.dek.bytes_max).saturating_sub(used.bytes);
        let expires_at = self.made_at.checked_add(hard_age(options))?;
        if batches_max == 0 || bytes_max == 0 || now >= expires_at {
            return None;
        }
        self.holders.insert(executor);
        self.needed_at = now;
        Some(DeliveredDek {
            dek: self.dek.duplicate(),
            wrapped: Arc::clone(&self.wrapped),
            batches_max,
            bytes_max,
            expires_at,
        })
    }

    /// Whether it is time to fetch the next one: another version is current, or half of a limit or the age is reached.
    fn wants_successor(&self, now: Instant, options: &KeyOptions) -> bool {
        let limits = &options.dek;
        self.outdated
            || self.total(|used| used.batches) >= limits.batches_max / 2
            || self.total(|used| used.bytes) >= limits.bytes_max / 2
            || self.age(now) >= limits.age_max
    }

    /// Of all executors.
    fn total(&self, part: fn(&Use) -> u64) -> u64 {
        self.used.iter().map(part).fold(0, u64::saturating_add)
    }

    fn is_used(&self) -> bool {
        self.used.iter().any(|used| used.batches > 0)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.made_at)
    }
}

fn hard_age(options: &KeyOptions) -> Duration {
    options.dek.age_max.saturating_mul(2)
}

fn sealing_reply(key: &KeyId, result: Result<DeliveredDek, KeyFailure>) -> KeyReply {
    KeyReply::Sealing {
        key: key.clone(),
        result,
    }
}
