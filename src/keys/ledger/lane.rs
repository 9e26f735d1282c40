//! Everything about one KMS: its keys of both kinds, the checks that are due, and how many calls are under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::call::{Call, Job};
use super::checks::Checks;
use super::finding::{Finding, FindingKind, WrongDek};
use super::opening::{OpenedDeks, Origin};
use super::outboxes::Outboxes;
use super::rate::CallRate;
use super::sealing::{NewDek, Proof, SealingDeks};
use super::standing::{KmsStanding, SEALING_SHOWN_MAX};
use super::turns::{Kind, Turns};
use super::version_prefix;
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::ids::KmsId;
use crate::keys::{KeyFailure, KeyId, KeyReply, Purpose, Urgency};
use crate::kms::{GeneratedDek, KmsError};

/// Everything about one KMS.
pub(super) struct Lane {
    pub(super) kms: KmsId,
    pub(super) sealing: SealingDeks,
    pub(super) opening: OpenedDeks,
    pub(super) checks: Checks,
    pub(super) turns: Turns,
    pub(super) running: usize,
    pub(super) calls_max: usize,
    pub(super) rate: CallRate,
    /// Calls may wait for the rate.
    pub(super) paced: bool,
    pub(super) breaker: Breaker,
    /// The KMS has said so (LEDGER-4).
    pub(super) left_alone_until: Option<Instant>,
}

impl Lane {
    /// Sealing may take every slot, checks all but an eighth of them, tailing readers three quarters, backfill half;
    /// and whose turn it is, any (CALL-TURNS-1).
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.left_alone_until.is_some_and(|until| now < until) || !self.breaker.lets_pass(now) {
            return None;
        }
        self.paced = !self.rate.lets_pass(now);
        if self.paced {
            return None;
        }
        let (running, slots, turns) = (self.running, self.calls_max, self.turns);
        let room = |share_of_8: usize| running < (slots.saturating_mul(share_of_8) / 8).max(1);
        let up = Kind::ALL.into_iter().filter(|kind| turns.is_up(*kind) && room(8));
        let others = Kind::ALL.into_iter().filter(|kind| room(kind.share_of_8()));
        let (kind, call) = up.chain(others).find_map(|kind| Some((kind, self.take(kind)?)))?;
        let (sealing, checks, opening) = (&self.sealing, &self.checks, &self.opening);
        self.turns.began(kind, |other| match other {
            Kind::Seal => sealing.waiting() > 0,
            Kind::Check => !checks.queue.is_empty(),
            Kind::Tail => opening.waits(Urgency::Tail),
            Kind::Backfill => opening.waits(Urgency::Backfill),
        });
        self.running = self.running.saturating_add(1);
        self.rate.began(now);
        self.breaker.began(&call);
        Some(Job { kms: self.kms, call })
    }

    /// The next call of this kind.
    fn take(&mut self, kind: Kind) -> Option<Call> {
        match kind {
            Kind::Seal => self.sealing.next_fetch().map(Call::Generate),
            Kind::Check => self.checks.queue.pop_front(),
            Kind::Tail => self.opening.next(Urgency::Tail).map(Call::Unwrap),
            Kind::Backfill => self.opening.next(Urgency::Backfill).map(Call::Unwrap),
        }
    }

    pub(super) fn standing(&self, now: Instant) -> KmsStanding {
        let (sealing, opening) = (&self.sealing, &self.opening);
        KmsStanding {
            breaker: self.breaker.state(),
            running: self.running,
            waiting: self.waiting(),
            calls_max: self.calls_max,
            spared: sealing.spared.saturating_add(opening.spared),
            opened: opening.opened.len(),
            opened_hits: opening.hits,
            sealing: sealing.standing(now).take(SEALING_SHOWN_MAX).collect(),
        }
    }

    /// Calls that are to be made and have not begun.
    fn waiting(&self) -> usize {
        let asked = self.sealing.waiting().saturating_add(self.opening.waiting());
        asked.saturating_add(self.checks.queue.len())
    }

    /// BREAKER-3: what is asked changes nothing, unless somebody asks for the same meanwhile.
    pub(super) fn ask_again(&mut self, now: Instant) {
        if self.running > 0 || self.waiting() > 0 {
            return;
        }
        match self.breaker.asks_again(now) {
            Some(Call::Generate(key) | Call::PollVersion(key)) => {
                self.checks.push(Call::PollVersion(key.clone()));
            }
            Some(Call::Unwrap(wrapped) | Call::Recheck(wrapped)) => self.opening.ask_again(wrapped),
            None => {}
        }
    }

    /// LEDGER-4
    pub(super) fn leave_alone(&mut self, after: Duration, now: Instant) {
        let until = now.checked_add(after.min(LEFT_ALONE_MAX));
        self.left_alone_until = self.left_alone_until.max(until);
    }

    pub(super) fn generated(
        &mut self,
        key: &KeyId,
        result: Result<GeneratedDek, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<Finding> {
        let made = self
            .sealing
            .generated(key, result, now, &mut self.checks, outboxes)?;
        self.learn(made, Origin::Made, now, outboxes)
    }

    /// What this process seals its readers will ask for: it need not be unwrapped.
    fn learn(
        &mut self,
        made: NewDek,
        origin: Origin,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<Finding> {
        let NewDek { dek, wrapped, before } = made;
        let evicted = self.opening.learn(&wrapped, dek, origin, now);
        self.make_room(evicted, outboxes);
        let prefix = version_prefix(&wrapped)?;
        Some(self.found(prefix.into(), FindingKind::Made { before }))
    }

    pub(super) fn unwrapped(
        &mut self,
        wrapped: &Arc<[u8]>,
        result: Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<Finding> {
        let prefix = version_prefix(wrapped);
        let was_in_use = prefix.is_some_and(|prefix| self.opening.uses(prefix));
        let evicted = self.opening.unwrapped(wrapped, result, now, outboxes);
        self.make_room(evicted, outboxes);
        let new = prefix.filter(|prefix| !was_in_use && self.opening.uses(prefix))?;
        Some(self.found(new.into(), FindingKind::Unwrapped))
    }

    pub(super) fn rechecked(
        &mut self,
        wrapped: &Arc<[u8]>,
        result: &Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> Option<Finding> {
        let prefix = version_prefix(wrapped)?;
        let is_due = self.opening.is_due(prefix);
        // A DEK that seals carries the name that its rule has: the key service takes no other.
        let kek = WrappedDek::parse(wrapped).ok()?.kek;
        let key = KeyId {
            kms: self.kms,
            kek: String::from_utf8_lossy(kek).into(),
            purpose: Purpose::RecordSeal,
        };
        let proof = self.sealing.proved(&key, wrapped, result, now, outboxes);
        if let Err(error) = result
            && error.refuses_kek()
            && (is_due || !may_be_early(error))
        {
            self.drop_version(prefix.into(), outboxes);
            return Some(self.found(prefix.into(), FindingKind::Revoked(KeyFailure::from(error))));
        }
        let is_other = self.opening.rechecked(wrapped, result, now);
        let wrong = match proof {
            Proof::Wrong(wrong) => wrong,
            Proof::Right(made) => return self.learn(made?, Origin::Proved, now, outboxes),
            Proof::None if is_other => {
                self.forget_opened(wrapped, outboxes);
                WrongDek::Opened
            }
            Proof::None => return None,
        };
        Some(self.found(prefix.into(), FindingKind::WrongDek(wrong)))
    }

    /// Takes one opened DEK away, here and from every executor.
    fn forget_opened(&mut self, wrapped: &Arc<[u8]>, outboxes: &mut Outboxes) {
        self.opening.forget(wrapped);
        for executor in 0..outboxes.0.len() {
            outboxes.push(
                executor,
                KeyReply::Revoked {
                    prefix: Arc::clone(wrapped),
                },
            );
        }
    }

    pub(super) fn found(&self, version: Arc<[u8]>, kind: FindingKind) -> Finding {
        Finding {
            kms: self.kms,
            version,
            kind,
        }
    }

    /// The KMS is away: whoever waits for a call that was not begun is told so (LEDGER-5).
    pub(super) fn refuse_queued(&mut self, now: Instant, outboxes: &mut Outboxes) {
        self.sealing.refuse_queued(now, outboxes);
        self.opening.refuse_queued(now, outboxes);
    }

    /// Drops what was confirmed too long ago (KEYS-7); returns the KEK versions that it was under.
    pub(super) fn drop_lapsed(&mut self, now: Instant, outboxes: &mut Outboxes) -> Vec<Arc<[u8]>> {
        let lapsed = self.opening.lapsed(now);
        for prefix in &lapsed {
            self.drop_version(Arc::clone(prefix), outboxes);
        }
        lapsed
    }

    /// Takes every key under a KEK version away, here and from every executor; what was begun before is not believed
    /// (LEDGER-3).
    fn drop_version(&mut self, prefix: Arc<[u8]>, outboxes: &mut Outboxes) {
        self.sealing.distrust_calls();
        self.make_room(Some(prefix), outboxes);
    }

    /// The same for one that is as good as before, and has to make room.
    fn make_room(&mut self, evicted: Option<Arc<[u8]>>, outboxes: &mut Outboxes) {
        let Some(prefix) = evicted else { return };
        self.opening.drop_version(&prefix);
        self.sealing.drop_version(&prefix);
        for executor in 0..outboxes.0.len() {
            outboxes.push(
                executor,
                KeyReply::Revoked {
                    prefix: Arc::clone(&prefix),
                },
            );
        }
    }
}

/// Whether a KMS may say so of a DEK that it has just made although its version is good: it lets us make keys and
/// unwrap none, or a replica that has not heard of the version yet was asked. The recheck that is due in its time
/// decides.
fn may_be_early(error: &KmsError) -> bool {
    matches!(error, KmsError::KekDenied(_) | KmsError::KekVersionNotFound(_))
}

/// The longest that a KMS is left alone: producers and consumers wait for it.
pub(super) const LEFT_ALONE_MAX: Duration = Duration::from_secs(60);
