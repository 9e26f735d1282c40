//! Wrapped DEKs on their way to becoming opened ones, the opened ones, and the KEK versions that these are under.
//!
//! - OPENED-DEKS-1: garbage that a broker makes up costs refusals and calls, never an opened key its place.
//! - OPENED-DEKS-6: nor do versions that it makes up, of a KMS that does not look at what a record calls them: they
//!   take the places of the same KEK's.
//! - OPENED-DEKS-2: every opened key is under a version in `versions`; when a version goes, its keys go.
//! - OPENED-DEKS-3: refusals are forgotten when their KEK version turns out to be good.
//! - OPENED-DEKS-5: a version that its KMS has not confirmed for [`KeyOptions::outage_grace`] is in use no longer; what
//!   could not be rechecked for an outage is rechecked again soon.
//! - OPENED-DEKS-4: an opened DEK is kept here beyond the executors' own bounds: however many of them let go of it, and
//!   however often, it is unwrapped once while no more than `service_keys_max` are in use, and about as often as the
//!   cache is too small for them where there are more ([`OpenedCache`]).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::breaker::Moment;
use super::call::{Call, Intervals};
use super::checks::Checks;
use super::opened_cache::OpenedCache;
use super::outboxes::{ExecutorSet, Outboxes};
use super::spread::{Spread, quarter_of};
use super::{kek_prefix, turn_of, version_prefix};
use crate::crypto::SecretKey;
use crate::keys::KeyOptions;
use crate::keys::fair_queue::FairQueue;
use crate::keys::refusals::Refusals;
use crate::keys::request::{Demand, KeyFailure, KeyReply, Urgency};
use crate::kms::KmsError;

pub(super) struct OpenedDeks {
    options: Arc<KeyOptions>,
    recheck_interval: Duration,
    spread: Spread,
    pub(super) opened: OpenedCache,
    /// Questions that [`Self::opened`] has answered.
    pub(super) hits: u64,
    /// Questions that were refused at once since the KMS is away.
    pub(super) spared: u64,
    refused: Refusals<Arc<[u8]>>,
    pending: HashMap<Arc<[u8]>, Unwrapping>,
    /// Wrapped DEKs in `pending` that were not started; one that became more urgent stands in both.
    tail: FairQueue<Arc<[u8]>>,
    backfill: FairQueue<Arc<[u8]>>,
    versions: LruCache<Arc<[u8]>, Known>,
}

struct Unwrapping {
    waiters: ExecutorSet,
    urgency: Urgency,
    turn: u64,
    started: bool,
    /// Its KEK version was revoked while the call was under way.
    revoked: bool,
}

/// A KEK version in use.
struct Known {
    /// A DEK under it that was unwrapped before.
    wrapped: Arc<[u8]>,
    origin: Origin,
    due: Instant,
    /// When it is to be rechecked before that, to compare a DEK that was made (PROOF-1).
    early: Option<Instant>,
    checking: Option<Checking>,
    /// When the KMS last made, unwrapped or rechecked a key under it.
    confirmed_at: Instant,
}

/// Why a version is being rechecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checking {
    Due,
    Early,
}

/// Where a DEK is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process seals with it: whatever its KMS says of it, what is sealed opens with it and with no other.
    Made,
    /// So it does, and the KMS has unwrapped the same.
    Proved,
    /// It was unwrapped for a reader.
    Unwrapped,
}

impl OpenedDeks {
    pub(super) fn new(options: &Arc<KeyOptions>, intervals: Intervals) -> Self {
        let bound = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        Self {
            options: Arc::clone(options),
            // Several times in the grace, however short that is.
            recheck_interval: intervals.recheck.min(quarter_of(options.outage_grace)),
            spread: Spread::new(options.spread_seed),
            opened: OpenedCache::new(options.service_keys_max),
            hits: 0,
            spared: 0,
            refused: Refusals::new(options.refusals_max),
            pending: HashMap::new(),
            tail: FairQueue::default(),
            backfill: FairQueue::default(),
            // One more than the bound: which version goes is decided in `learn`.
            versions: LruCache::sparse(bound(options.versions_max.saturating_add(1))),
        }
    }

    pub(super) fn ask(
        &mut self,
        executor: usize,
        wrapped: Arc<[u8]>,
        demand: Demand,
        Moment { now, may_call }: Moment,
        outboxes: &mut Outboxes,
    ) {
        let answer = if let Some(dek) = self.opened.get(&wrapped) {
            let copy = dek.duplicate();
            self.hits = self.hits.saturating_add(1);
            self.touch_version(&wrapped);
            Ok(copy)
        } else if let Some(failure) = self.refused.get(&wrapped, now, now) {
            Err(failure)
        } else if !may_call {
            self.spared = self.spared.saturating_add(1);
            Err(KeyFailure::Unavailable)
        } else if let Some(pending) = self.pending.get_mut(&wrapped) {
            pending.waiters.insert(executor);
            if demand.urgency < pending.urgency && !pending.started {
                pending.urgency = demand.urgency;
                self.enqueue(wrapped, demand.urgency, turn_of(executor, demand));
            }
            return;
        } else if version_prefix(&wrapped).is_none() {
            Err(KeyFailure::Malformed)
        } else if self.pending.len() >= self.options.waiting_max_before(demand.urgency) {
            Err(KeyFailure::Unavailable)
        } else {
            let mut waiters = ExecutorSet::default();
            waiters.insert(executor);
            return self.begin(wrapped, waiters, demand.urgency, turn_of(executor, demand));
        };
        outboxes.push(
            executor,
            KeyReply::Opened {
                wrapped,
                result: answer,
            },
        );
    }

    /// It cannot be asked for, as its bytes say; whether that was not remembered.
    pub(super) fn refuse(
        &mut self,
        executor: usize,
        wrapped: Arc<[u8]>,
        failure: KeyFailure,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> bool {
        let is_news = self.refused.get(&wrapped, now, now).is_none();
        if is_news {
            let memory = self.options.memory_of_opening(failure);
            self.refused.remember(Arc::clone(&wrapped), failure, now, memory);
        }
        let result = Err(failure);
        outboxes.push(executor, KeyReply::Opened { wrapped, result });
        is_news
    }

    /// Asks for `wrapped` although nobody waits for it (BREAKER-3); not where its version is in use, which is rechecked
    /// until that is answered. It stands where readers' questions do, so that one who comes now joins it.
    pub(super) fn ask_again(&mut self, wrapped: &Arc<[u8]>) {
        let in_use = version_prefix(wrapped).is_none_or(|prefix| self.uses(prefix));
        if !in_use && !self.pending.contains_key(wrapped) {
            self.begin(Arc::clone(wrapped), ExecutorSet::default(), Urgency::Backfill, 0);
        }
    }

    fn begin(&mut self, wrapped: Arc<[u8]>, waiters: ExecutorSet, urgency: Urgency, turn: u64) {
        let pending = Unwrapping {
            waiters,
            urgency,
            turn,
            started: false,
            revoked: false,
        };
        self.pending.insert(Arc::clone(&wrapped), pending);
        self.enqueue(wrapped, urgency, turn);
    }

    /// The next wrapped DEK of this urgency to unwrap.
    pub(super) fn next(&mut self, urgency: Urgency) -> Option<Arc<[u8]>> {
        loop {
            let wrapped = match urgency {
                Urgency::Tail => self.tail.pop()?,
                Urgency::Backfill => self.backfill.pop()?,
            };
            // One that stood in both queues was taken from the other one, and may even be asked for anew by now.
            if let Some(pending) = self.pending.get_mut(&wrapped)
                && !pending.started
            {
                pending.started = true;
                return Some(wrapped);
            }
        }
    }

    /// Whether some of this urgency wait, perhaps such as have become more urgent.
    pub(super) fn waits(&self, urgency: Urgency) -> bool {
        match urgency {
            Urgency::Tail => !self.tail.is_empty(),
            Urgency::Backfill => !self.backfill.is_empty(),
        }
    }

    /// Refuses as an outage what was not started.
    pub(super) fn refuse_queued(&mut self, now: Instant, outboxes: &mut Outboxes) {
        (self.tail, self.backfill) = (FairQueue::default(), FairQueue::default());
        let failure = KeyFailure::Unavailable;
        let memory = self.options.memory_of_opening(failure);
        for (wrapped, pending) in self.pending.extract_if(|_, pending| !pending.started) {
            for executor in pending.waiters.iter() {
                let reply = KeyReply::Opened {
                    wrapped: Arc::clone(&wrapped),
                    result: Err(failure),
                };
                outboxes.push(executor, reply);
            }
            self.refused.remember(wrapped, failure, now, memory);
            self.spared = self.spared.saturating_add(1);
        }
    }

    /// Wrapped DEKs whose call has not begun.
    pub(super) fn waiting(&self) -> usize {
        self.pending.values().filter(|pending| !pending.started).count()
    }

    /// Takes in what a call brought and answers all who asked; returns a version that had to make room.
    pub(super) fn unwrapped(
        &mut self,
        wrapped: &Arc<[u8]>,
        result: Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<Arc<[u8]>> {
        let mut pending = self.pending.remove(wrapped)?;
        if pending.revoked && result.is_ok() {
            let (urgency, turn) = (pending.urgency, pending.turn);
            pending.revoked = false;
            pending.started = false;
            self.pending.insert(Arc::clone(wrapped), pending);
            self.enqueue(Arc::clone(wrapped), urgency, turn);
            return None;
        }
        let result = result.map_err(|error| KeyFailure::from(&error));
        for executor in pending.waiters.iter() {
            outboxes.push(
                executor,
                KeyReply::Opened {
                    wrapped: Arc::clone(wrapped),
                    result: result
                        .as_ref()
                        .map(SecretKey::duplicate)
                        .map_err(|&failure| failure),
                },
            );
        }
        match result {
            Ok(dek) => self.learn(wrapped, dek, Origin::Unwrapped, now),
            Err(failure) => {
                let memory = self.options.memory_of_opening(failure);
                self.refused.remember(Arc::clone(wrapped), failure, now, memory);
                None
            }
        }
    }

    /// Whether keys under a version are in use.
    pub(super) fn uses(&self, prefix: &[u8]) -> bool {
        self.versions.contains(prefix)
    }

    /// Notes that keys under the version of `wrapped` are in use.
    pub(super) fn touch_version(&mut self, wrapped: &[u8]) {
        if let Some(prefix) = version_prefix(wrapped) {
            self.versions.promote(prefix);
        }
    }

    /// Keeps an opened DEK; returns a version that had to make room.
    pub(super) fn learn(
        &mut self,
        wrapped: &Arc<[u8]>,
        dek: SecretKey,
        origin: Origin,
        now: Instant,
    ) -> Option<Arc<[u8]>> {
        let prefix = version_prefix(wrapped)?;
        self.refused.forget(wrapped);
        self.opened.push(Arc::clone(wrapped), dek);
        let is_to_be_proved = origin == Origin::Made;
        let soon = self.recheck_interval.min(PROOF_AFTER);
        let early = is_to_be_proved.then(|| now + self.spread.scatter(soon));
        if let Some(known) = self.versions.get_mut(prefix) {
            known.confirmed_at = now;
            if origin != Origin::Unwrapped {
                // Of a version that seals the DEK that does is compared.
                (known.wrapped, known.origin) = (Arc::clone(wrapped), origin);
                known.early = early;
            }
            return None;
        }
        // The version was not in use, or refused: what was refused under it a moment ago is worth asking again, or
        // records that are sealed under a KEK which was enabled anew are written before they can be read.
        self.refused.forget_if(|wrapped| wrapped.starts_with(prefix));
        let known = Known {
            wrapped: Arc::clone(wrapped),
            origin,
            due: now + self.spread.shorten(self.recheck_interval),
            early,
            checking: None,
            confirmed_at: now,
        };
        self.versions.push(prefix.into(), known);
        self.one_too_many(prefix)
    }

    /// Takes out a version that has to make room for this new one.
    fn one_too_many(&mut self, new: &[u8]) -> Option<Arc<[u8]>> {
        let kek = kek_prefix(new)?;
        // Those that were used last come first.
        let of_kek = self.versions.iter().filter(|(prefix, _)| prefix.starts_with(kek));
        let beyond = of_kek.skip(self.options.versions_of_a_kek_max.max(1));
        if let Some(prefix) = beyond.map(|(prefix, _)| Arc::clone(prefix)).last() {
            self.versions.pop(&prefix);
            return Some(prefix);
        }
        if self.versions.len() <= self.options.versions_max.max(1) {
            return None;
        }
        self.versions.pop_lru().map(|(prefix, _)| prefix)
    }

    /// Queues the rechecks that are due.
    pub(super) fn tick(&mut self, now: Instant, checks: &mut Checks) {
        for (_, known) in &mut self.versions {
            let checking = match known.early {
                _ if now >= known.due => Checking::Due,
                Some(early) if now >= early => Checking::Early,
                _ => continue,
            };
            if known.checking.is_none() && checks.push(Call::Recheck(Arc::clone(&known.wrapped))) {
                known.checking = Some(checking);
            }
        }
    }

    /// Whether a version is being rechecked in its time, and not only to compare a DEK that was made.
    pub(super) fn is_due(&self, prefix: &[u8]) -> bool {
        let known = self.versions.peek(prefix);
        known.is_some_and(|known| known.checking == Some(Checking::Due))
    }

    /// Takes in what a recheck brought that takes no KEK version away; returns whether the DEK that is known is another
    /// one.
    pub(super) fn rechecked(
        &mut self,
        wrapped: &Arc<[u8]>,
        result: &Result<SecretKey, KmsError>,
        now: Instant,
    ) -> bool {
        let Some(known) = version_prefix(wrapped).and_then(|prefix| self.versions.peek_mut(prefix)) else {
            return false;
        };
        let checking = known.checking.take();
        let is_outage = result.as_ref().is_err_and(|error| !error.is_verdict());
        let interval = match is_outage {
            true => self.recheck_interval.min(RECHECK_AFTER_OUTAGE),
            false => self.recheck_interval,
        };
        let again = now + self.spread.shorten(interval);
        if result.is_ok() {
            known.confirmed_at = now;
        }
        if result.is_ok() || checking == Some(Checking::Due) {
            known.due = again;
        }
        if known.wrapped == *wrapped {
            known.early = known.early.filter(|_| is_outage).map(|_| again);
        }
        let is_ours = known.wrapped == *wrapped && known.origin != Origin::Unwrapped;
        let opened = self.opened.peek(wrapped).filter(|_| !is_ours);
        matches!((opened, result), (Some(opened), Ok(dek)) if !opened.is_same(dek))
    }

    /// Forgets one opened DEK.
    pub(super) fn forget(&mut self, wrapped: &[u8]) {
        self.opened.retain(|other| other != wrapped);
    }

    /// Versions that have not been confirmed for longer than the grace (OPENED-DEKS-5).
    pub(super) fn lapsed(&self, now: Instant) -> Vec<Arc<[u8]>> {
        let grace = self.options.outage_grace;
        let is_over = |known: &Known| now.saturating_duration_since(known.confirmed_at) >= grace;
        let lapsed = self.versions.iter().filter(|(_, known)| is_over(known));
        lapsed.map(|(prefix, _)| Arc::clone(prefix)).collect()
    }

    /// The machine slept for so long, which the clock does not show: confirmations are older, and all are due.
    pub(super) fn slept(&mut self, gap: Duration, now: Instant) {
        for (_, known) in &mut self.versions {
            known.confirmed_at = known.confirmed_at.checked_sub(gap).unwrap_or(known.confirmed_at);
            known.due = known.due.min(now);
        }
    }

    pub(super) fn drop_version(&mut self, prefix: &[u8]) {
        self.versions.pop(prefix);
        self.opened.retain(|wrapped| !wrapped.starts_with(prefix));
        for (wrapped, pending) in &mut self.pending {
            if pending.started && wrapped.starts_with(prefix) {
                pending.revoked = true;
            }
        }
    }

    fn enqueue(&mut self, wrapped: Arc<[u8]>, urgency: Urgency, turn: u64) {
        match urgency {
            Urgency::Tail => self.tail.push(turn, wrapped),
            Urgency::Backfill => self.backfill.push(turn, wrapped),
        }
    }
}

/// How soon at the latest a DEK is compared that was made: what it seals until then may be lost. Not at once: at the
/// start of a process whoever waits for a key comes first.
const PROOF_AFTER: Duration = Duration::from_secs(4);
/// How soon at the latest a KEK version is rechecked again that could not be rechecked for an outage.
const RECHECK_AFTER_OUTAGE: Duration = Duration::from_secs(4);
