//! Keys of one executor: those at hand, those asked for, and those that were refused a moment ago.
//!
//! - pure: no socket, no clock (the time is a parameter), no thread, no lock. Requests are collected for
//!   [`ExecutorKeys::send_requests`], replies come in by [`ExecutorKeys::apply`].
//! - EXECUTOR-2: an executor seals under a DEK no more than the share that it was given, and not after the DEK's time
//!   ([`SealingShare`]; the last batch may end past the share's bytes, never past its batches).
//! - EXECUTOR-3: an opened key that is in use stays valid: one that is evicted while a frame holds its `Rc` lives until
//!   the frame is done. A sealing key that is taken away seals no batch more, whoever holds it.
//! - EXECUTOR-4: a key that came or was looked up within `needed_for` gives way to others only at `needed_keys_max`: a
//!   frame under more keys than are kept asks for each once. A revocation takes such keys like any other.
//! - EXECUTOR-7: a share that came or was looked up within `needed_for` gives way to others only at
//!   `needed_sealing_keys_max`, as EXECUTOR-4 has it for opened keys.
//! - EXECUTOR-8: what is asked of one KMS and not answered keeps nobody from asking another.
//! - EXECUTOR-5: a verdict that stood when a frame was begun, or came since, stands for that frame until it is done,
//!   however long it is held; a frame that is begun later than the verdict is remembered asks anew.
//! - EXECUTOR-6: a DEK that comes a second time, in answer to a question that crossed with it, gives no more than what
//!   is left of it here, and nothing when it was used up: the key service did not know yet what was sealed under it.

mod share;
mod waits;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use self::waits::Waits;
use super::KeyOptions;
use super::opened_dek::OpenedDek;
use super::refusals::Refusals;
use super::request::{DeliveredDek, Demand, KeyFailure, KeyId, KeyReply, KeyRequest, Urgency};
use crate::ids::KmsId;
use crate::kms::KekNames;

pub use self::share::SealingShare;

/// What a look-up found.
pub enum KeyLookup<T> {
    /// The key. Holding the `Rc` keeps it.
    Ready(Rc<T>),
    /// It was asked for; look again when [`ExecutorKeys::apply`] took something in.
    Waiting,
    /// It was refused a moment ago. After an outage another look-up, later, may find it.
    Failed(KeyFailure),
}

/// What [`ExecutorKeys::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A key or a failure came: what waits for keys should look again.
    Answered,
    /// Keys were taken away: whatever else remembers one ([`crate::envelope::Opener::forget`]) must forget it.
    Dropped,
    /// What topics were resolved to ([`crate::pipeline::ClusterRules::name_keks`]) is to be resolved anew.
    Named {
        /// The KMS.
        kms: KmsId,
        /// What its KEKs are called in records.
        names: KekNames,
    },
}

/// Keys of one executor.
pub struct ExecutorKeys {
    executor: usize,
    options: KeyOptions,
    sealing: LruCache<KeyId, KeptShare>,
    sealing_asked: HashMap<KeyId, AskedSealing>,
    /// Of [`Self::sealing_asked`].
    sealing_waits: Waits,
    sealing_refused: Refusals<KeyId>,
    opened: LruCache<Arc<[u8]>, KeptDek>,
    /// The key that was looked up last: the records of a batch, and mostly of many batches, have the same.
    last_opened: Option<Rc<OpenedDek>>,
    opening_asked: HashMap<Arc<[u8]>, AskedKey>,
    /// Of [`Self::opening_asked`].
    opening_waits: Waits,
    opening_refused: Refusals<Arc<[u8]>>,
    outgoing: Outgoing,
    reported_at: Option<Instant>,
}

impl ExecutorKeys {
    /// For the executor of this index; the index decides where replies go.
    #[must_use]
    pub fn new(executor: usize, options: &KeyOptions) -> Self {
        let bound = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        Self {
            executor,
            sealing: LruCache::sparse(bound(
                options.needed_sealing_keys_max.max(options.sealing_keys_max),
            )),
            sealing_asked: HashMap::new(),
            sealing_waits: Waits::default(),
            sealing_refused: Refusals::new(options.refusals_max),
            opened: LruCache::sparse(bound(options.needed_keys_max.max(options.opened_keys_max))),
            last_opened: None,
            opening_asked: HashMap::new(),
            opening_waits: Waits::default(),
            opening_refused: Refusals::new(options.refusals_max),
            outgoing: Outgoing::default(),
            reported_at: None,
            options: options.clone(),
        }
    }

    /// The share of the DEK to seal with. Each batch is then to be taken from it
    /// ([`SealingShare::take_batch`]).
    pub fn sealing(&mut self, key: &KeyId, now: Instant) -> KeyLookup<SealingShare> {
        let mut used_up = None;
        if let Some(kept) = self.sealing.get_mut(key) {
            if kept.share.is_usable(now) {
                kept.used_at = now;
                return KeyLookup::Ready(Rc::clone(&kept.share));
            }
            used_up = Some(Arc::clone(kept.share.wrapped_dek()));
        }
        if used_up.is_some()
            && let Some(kept) = self.sealing.pop(key)
        {
            self.let_go(key, &kept.share);
        }
        if let Some(failure) = self.sealing_refused.get(key, now, now) {
            return KeyLookup::Failed(failure);
        }
        let asked = self.sealing_asked.get(key);
        // Asked once more: of the same DEK nothing is wanted (EXECUTOR-6).
        let used_up = used_up.or_else(|| asked.and_then(|asked| asked.used_up.clone()));
        let fresh = asked.is_none();
        let forgotten = |asked: &AskedSealing| now.saturating_duration_since(asked.at) >= self.patience();
        if (fresh && self.sealing_waits.of(key.kms) < self.options.waiting_max)
            || self.sealing_asked.get(key).is_some_and(forgotten)
        {
            self.outgoing.sealing.push_back(KeyRequest::Seal {
                executor: self.executor,
                key: key.clone(),
                used_up: used_up.clone(),
            });
            let asked = AskedSealing { at: now, used_up };
            if self.sealing_asked.insert(key.clone(), asked).is_none() {
                self.sealing_waits.one_more(key.kms);
            }
        }
        KeyLookup::Waiting
    }

    /// When the key was asked for that [`ExecutorKeys::sealing`] waits for.
    #[must_use]
    pub fn sealing_asked_at(&self, key: &KeyId) -> Option<Instant> {
        self.sealing_asked.get(key).map(|asked| asked.at)
    }

    /// The key that opens records which carry `wrapped`, for a frame that was begun at `begun`. That the rule allows
    /// its KEK was checked before.
    pub fn opening(
        &mut self,
        kms: KmsId,
        wrapped: &[u8],
        demand: Demand,
        begun: Instant,
        now: Instant,
    ) -> KeyLookup<OpenedDek> {
        if let Some(last) = &self.last_opened
            && **last.wrapped() == *wrapped
        {
            return KeyLookup::Ready(Rc::clone(last));
        }
        if let Some(opened) = self.opened.get_mut(wrapped) {
            opened.used_at = now;
            self.last_opened = Some(Rc::clone(&opened.dek));
            return KeyLookup::Ready(Rc::clone(&opened.dek));
        }
        if let Some(failure) = self.opening_refused.get(wrapped, begun, now) {
            return KeyLookup::Failed(failure);
        }
        let patience = self.patience();
        let wrapped: Arc<[u8]> = if let Some(asked) = self.opening_asked.get_mut(wrapped) {
            let forgotten = now.saturating_duration_since(asked.at) >= patience;
            if demand.urgency >= asked.urgency && !forgotten {
                return KeyLookup::Waiting;
            }
            asked.at = now;
            asked.urgency = demand.urgency.min(asked.urgency);
            wrapped.into()
        } else if self.opening_waits.of(kms) < self.options.waiting_max_before(demand.urgency) {
            let wrapped: Arc<[u8]> = wrapped.into();
            let asked = AskedKey {
                kms,
                at: now,
                urgency: demand.urgency,
            };
            self.opening_asked.insert(Arc::clone(&wrapped), asked);
            self.opening_waits.one_more(kms);
            wrapped
        } else {
            // AskedKey for at a later look-up, when others were answered.
            return KeyLookup::Waiting;
        };
        self.outgoing.of(demand.urgency).push_back(KeyRequest::Open {
            executor: self.executor,
            kms,
            wrapped,
            demand,
        });
        KeyLookup::Waiting
    }

    /// Takes a reply in.
    pub fn apply(&mut self, reply: KeyReply, now: Instant) -> Applied {
        match reply {
            KeyReply::Sealing { key, result } => self.apply_sealing(key, result, now),
            KeyReply::Opened { wrapped, result } => {
                if let Some(asked) = self.opening_asked.remove(&wrapped) {
                    self.opening_waits.one_less(asked.kms);
                }
                match result {
                    Ok(dek) => {
                        self.opening_refused.forget(&wrapped);
                        let dek = Rc::new(OpenedDek::new(dek, Arc::clone(&wrapped)));
                        self.opened.push(wrapped, KeptDek { dek, used_at: now });
                        self.evict(now);
                    }
                    Err(failure) => {
                        let memory = self.options.executor_memory_of_opening(failure);
                        self.opening_refused.remember(wrapped, failure, now, memory);
                    }
                }
                Applied::Answered
            }
            KeyReply::KekNames { kms, names } => Applied::Named { kms, names },
            KeyReply::Released { key } => {
                self.withdraw(&key);
                Applied::Dropped
            }
            #[cfg(feature = "testing")]
            KeyReply::Revoked { .. } if super::canary::is_out() => Applied::Answered,
            KeyReply::Revoked { prefix } => {
                self.sealing.retain(|_, kept| {
                    let stays = !kept.share.wrapped_dek().starts_with(&prefix);
                    if !stays {
                        kept.share.withdraw();
                    }
                    stays
                });
                self.opened.retain(|wrapped, _| !wrapped.starts_with(&prefix));
                self.last_opened = None;
                Applied::Dropped
            }
        }
    }

    /// No share at hand seals a batch more: DEKs from before are not used on, here or by a copy of this process. What
    /// is looked up next is asked for as if the share were used up, so that the key service fetches another DEK
    /// whatever it knows.
    pub fn withdraw_sealing(&mut self) {
        for (_, kept) in &self.sealing {
            kept.share.withdraw();
        }
    }

    /// Lets go of keys that are needed no longer, and collects reports of what was sealed, about once a second. To be
    /// called on every tick of the executor.
    pub fn tick(&mut self, now: Instant) {
        self.evict(now);
        self.evict_sealing(now);
        let due = self
            .reported_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL);
        // While older requests could not be sent, counts go on growing where they are.
        if !due || !self.outgoing.sealing.is_empty() {
            return;
        }
        self.reported_at = Some(now);
        for (id, kept) in &self.sealing {
            if let Some(report) = report(self.executor, id, &kept.share) {
                self.outgoing.sealing.push_back(report);
            }
        }
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Hands the requests to `send`, most urgent first, until it gives one back (the channel is full): that one and the
    /// rest are kept for the next call.
    pub fn send_requests(&mut self, mut send: impl FnMut(KeyRequest) -> Result<(), KeyRequest>) {
        let outgoing = &mut self.outgoing;
        for queue in [&mut outgoing.sealing, &mut outgoing.tail, &mut outgoing.backfill] {
            while let Some(request) = queue.pop_front() {
                if let Err(back) = send(request) {
                    queue.push_front(back);
                    return;
                }
            }
        }
    }

    /// All requests, most urgent first, for a driver that has no channel.
    #[must_use]
    #[cfg(feature = "testing")]
    pub fn take_requests(&mut self) -> Vec<KeyRequest> {
        let mut taken = Vec::new();
        self.send_requests(|request| {
            taken.push(request);
            Ok(())
        });
        taken
    }

    /// Number of opened keys at hand.
    #[must_use]
    pub fn opened_count(&self) -> usize {
        self.opened.len()
    }

    /// Number of sealing keys at hand.
    #[must_use]
    pub fn sealing_count(&self) -> usize {
        self.sealing.len()
    }

    /// Lets go of opened keys beyond those that are kept, the least recently used first (EXECUTOR-4).
    fn evict(&mut self, now: Instant) {
        for _ in 0..EVICTED_AT_ONCE {
            let idlest = self.opened.peek_lru().map(|(_, opened)| opened.used_at);
            let is_idle = idlest
                .is_some_and(|used_at| now.saturating_duration_since(used_at) >= self.options.needed_for);
            if self.opened.len() <= self.options.opened_keys_max || !is_idle {
                return;
            }
            self.opened.pop_lru();
            self.last_opened = None;
        }
    }

    /// The same for sealing keys (EXECUTOR-7).
    fn evict_sealing(&mut self, now: Instant) {
        for _ in 0..EVICTED_AT_ONCE {
            let idlest = self.sealing.peek_lru().map(|(_, kept)| kept.used_at);
            let is_idle = idlest
                .is_some_and(|used_at| now.saturating_duration_since(used_at) >= self.options.needed_for);
            if self.sealing.len() <= self.options.sealing_keys_max.max(1) || !is_idle {
                return;
            }
            if let Some((id, kept)) = self.sealing.pop_lru() {
                self.let_go(&id, &kept.share);
            }
        }
    }

    fn apply_sealing(
        &mut self,
        id: KeyId,
        result: Result<DeliveredDek, KeyFailure>,
        now: Instant,
    ) -> Applied {
        if let Ok(delivered) = &result
            && self.is_used_up(&id, &delivered.wrapped)
        {
            return Applied::Answered;
        }
        if self.sealing_asked.remove(&id).is_some() {
            self.sealing_waits.one_less(id.kms);
        }
        if let Ok(delivered) = &result
            && self.is_at_hand(&id, &delivered.wrapped)
        {
            self.sealing_refused.forget(&id);
            return Applied::Answered;
        }
        let share = result
            .and_then(|delivered| SealingShare::new(id.purpose, delivered).ok_or(KeyFailure::Unavailable));
        match share {
            Ok(share) => {
                self.sealing_refused.forget(&id);
                // The DEK that this one replaces is reported on by nobody: it will not be given out again. One that is
                // evicted for want of room may be.
                self.withdraw(&id);
                let kept = KeptShare { share, used_at: now };
                if let Some((evicted_id, evicted)) = self.sealing.push(id, kept) {
                    self.let_go(&evicted_id, &evicted.share);
                }
                self.evict_sealing(now);
            }
            Err(failure) => {
                if !failure.is_outage() {
                    self.withdraw(&id);
                }
                let memory = self.options.executor_memory;
                self.sealing_refused.remember(id, failure, now, memory);
            }
        }
        Applied::Answered
    }

    /// Whether it was asked for as the successor of this very DEK: an answer to an earlier question (EXECUTOR-6).
    fn is_used_up(&self, id: &KeyId, wrapped: &Arc<[u8]>) -> bool {
        let asked = self.sealing_asked.get(id);
        asked.is_some_and(|asked| asked.used_up.as_ref() == Some(wrapped))
    }

    /// Whether it comes once more: what is left of it is known here (EXECUTOR-6).
    fn is_at_hand(&self, id: &KeyId, wrapped: &Arc<[u8]>) -> bool {
        let kept = self.sealing.peek(id);
        kept.is_some_and(|kept| kept.share.wrapped_dek() == wrapped)
    }

    fn withdraw(&mut self, id: &KeyId) {
        if let Some(kept) = self.sealing.pop(id) {
            kept.share.withdraw();
        }
    }

    /// Withdraws a share that may be asked for again: the key service has to know what is left of it.
    fn let_go(&mut self, id: &KeyId, share: &SealingShare) {
        share.withdraw();
        if let Some(report) = report(self.executor, id, share) {
            self.outgoing.sealing.push_back(report);
        }
    }

    /// The key service answers within one call's timeout after waiting for others; what is not answered by then is
    /// asked again.
    fn patience(&self) -> Duration {
        self.options.call_timeout.saturating_mul(3)
    }
}

/// What was sealed under a share since the last report.
fn report(executor: usize, id: &KeyId, share: &SealingShare) -> Option<KeyRequest> {
    let (batches, bytes) = share.take_unreported()?;
    Some(KeyRequest::Used {
        executor,
        key: id.clone(),
        wrapped: Arc::clone(share.wrapped_dek()),
        batches,
        bytes,
    })
}

/// A key at hand.
struct KeptDek {
    dek: Rc<OpenedDek>,
    /// When it came or was looked up last.
    used_at: Instant,
}

/// A share at hand.
struct KeptShare {
    share: Rc<SealingShare>,
    /// When it came or was looked up last.
    used_at: Instant,
}

struct AskedSealing {
    at: Instant,
    /// The DEK that is wanted no more.
    used_up: Option<Arc<[u8]>>,
}

struct AskedKey {
    kms: KmsId,
    at: Instant,
    urgency: Urgency,
}

/// Requests that were not sent yet, by urgency. Bounded by what may be asked for and not answered, twice for what
/// became more urgent, and one report for each sealing key.
#[derive(Default)]
struct Outgoing {
    /// Reports stand before the request that depends on them.
    sealing: VecDeque<KeyRequest>,
    tail: VecDeque<KeyRequest>,
    backfill: VecDeque<KeyRequest>,
}

impl Outgoing {
    fn of(&mut self, urgency: Urgency) -> &mut VecDeque<KeyRequest> {
        match urgency {
            Urgency::Tail => &mut self.tail,
            Urgency::Backfill => &mut self.backfill,
        }
    }

    fn is_empty(&self) -> bool {
        self.sealing.is_empty() && self.tail.is_empty() && self.backfill.is_empty()
    }
}

/// Keys that are wiped in one go: each takes less than a microsecond.
const EVICTED_AT_ONCE: usize = 1024;
/// How often use is reported: an executor seals far less than half of a DEK's limits in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
