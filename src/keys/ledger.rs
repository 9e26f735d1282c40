//! The key service without its clock, channels and KMSs: requests and outcomes in, jobs and replies out.
//!
//! - LEDGER-1: every request is answered exactly once, by the reply that it asked for or by a failure.
//! - LEDGER-2: calls to one KMS never wait for another KMS, and less urgent calls never take the last slots
//!   ([`Lane::next_job`]).
//! - LEDGER-3: what a call brings that was started before a revocation is not believed; the call is made again.
//! - LEDGER-4: a KMS that wants to be left alone is not called by anybody before that time, or [`LEFT_ALONE_MAX`], is
//!   over; what is asked for meanwhile waits.
//!
//! Pure: the time is a parameter, nothing is awaited. Owned by [`super::KeyService`] on the control thread.

mod opening;
mod sealing;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::opening::OpenedDeks;
use self::sealing::SealingDeks;
use super::request::{Demand, KeyFailure, KeyId, KeyReply, KeyRequest};
use super::{KeyOptions, Urgency};
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::ids::KmsId;
use crate::kms::{GeneratedDek, KekNames, KmsError};

/// How often one KMS is to be asked what it was asked before; see [`crate::kms::Kms`].
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// For the current version of each KEK in use.
    pub version_poll: Duration,
    /// For one known DEK of each KEK version in use.
    pub recheck: Duration,
    /// For what it refused; at most [`KeyOptions::verdict_memory`].
    pub verdict_memory: Duration,
}

/// All state of the key service.
pub struct Ledger {
    lanes: Vec<Lane>,
    outboxes: Outboxes,
    /// Whose turn it is to start a job.
    turn: usize,
}

/// A call that is to be made to a KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which KMS.
    pub kms: KmsId,
    /// Which call.
    pub call: Call,
}

/// What to ask a KMS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make this DEK.
    Generate(KeyId),
    /// Unwrap this for a reader.
    Unwrap(Arc<[u8]>),
    /// Say whether the KEK version of this, known already, is still good.
    Recheck(Arc<[u8]>),
    /// Say the current version of the KEK of this.
    PollVersion(KeyId),
}

/// What a call brought.
pub enum Outcome {
    /// Of [`Call::Generate`].
    Generated(Result<GeneratedDek, KmsError>),
    /// Of [`Call::Unwrap`].
    Unwrapped(Result<SecretKey, KmsError>),
    /// Of [`Call::Recheck`].
    Rechecked(Result<(), KmsError>),
    /// Of [`Call::PollVersion`].
    Version(Result<Option<Vec<u8>>, KmsError>),
}

impl Outcome {
    /// Why the call brought nothing.
    #[must_use]
    pub fn error(&self) -> Option<&KmsError> {
        match self {
            Self::Generated(result) => result.as_ref().err(),
            Self::Unwrapped(result) => result.as_ref().err(),
            Self::Rechecked(result) => result.as_ref().err(),
            Self::Version(result) => result.as_ref().err(),
        }
    }
}

impl Ledger {
    /// A ledger for as many KMSs as there are `intervals` and for `executors` executors.
    #[must_use]
    pub fn new(options: &KeyOptions, intervals: &[(KmsId, Intervals)], executors: usize) -> Self {
        let lane = |&(kms, intervals): &(KmsId, Intervals)| {
            let options = Arc::new(KeyOptions {
                verdict_memory: options.verdict_memory.min(intervals.verdict_memory),
                ..options.clone()
            });
            Lane {
                kms,
                sealing: SealingDeks::new(&options, intervals, executors),
                opening: OpenedDeks::new(&options, intervals),
                checks: Checks::default(),
                running: 0,
                calls_max: options.calls_max.max(1),
                left_alone_until: None,
            }
        };
        Self {
            lanes: intervals.iter().map(lane).collect(),
            outboxes: Outboxes((0..executors).map(|_| VecDeque::new()).collect()),
            turn: 0,
        }
    }

    /// Takes a request in. One for a KMS that does not exist is answered with [`KeyFailure::KekNotFound`], one of an
    /// executor that does not exist is dropped.
    pub fn accept(&mut self, request: KeyRequest, now: Instant) {
        let outboxes = &mut self.outboxes;
        if request.executor() >= outboxes.0.len() {
            return;
        }
        match request {
            KeyRequest::Seal {
                executor,
                key,
                used_up,
            } => match lane_of(&mut self.lanes, key.kms) {
                Some(lane) => lane.sealing.ask(executor, key, used_up.as_deref(), now, outboxes),
                None => outboxes.push(executor, no_such_kms_sealing(key)),
            },
            KeyRequest::Open {
                executor,
                kms,
                wrapped,
                demand,
            } => match lane_of(&mut self.lanes, kms) {
                Some(lane) => lane.opening.ask(executor, wrapped, demand, now, outboxes),
                None => outboxes.push(
                    executor,
                    KeyReply::Opened {
                        wrapped,
                        result: Err(KeyFailure::KekNotFound),
                    },
                ),
            },
            KeyRequest::Used {
                executor,
                key,
                wrapped,
                batches,
                bytes,
            } => {
                if let Some(lane) = lane_of(&mut self.lanes, key.kms) {
                    lane.opening.touch_version(&wrapped);
                    lane.sealing
                        .note_use(executor, &key, &wrapped, Use { batches, bytes }, now);
                }
            }
        }
    }

    /// The next call to make, if one may be made now. Each is to be ended by [`Ledger::finish`].
    pub fn next_job(&mut self, now: Instant) -> Option<Job> {
        for _ in 0..self.lanes.len() {
            let turn = self.turn;
            self.turn = if turn + 1 < self.lanes.len() { turn + 1 } else { 0 };
            let job = self.lanes.get_mut(turn).and_then(|lane| lane.next_job(now));
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Takes in what `job` brought; an outcome of another kind than the call counts as an outage. Returns whether keys
    /// were revoked.
    pub fn finish(&mut self, job: Job, outcome: Outcome, now: Instant) -> bool {
        let Some(lane) = lane_of(&mut self.lanes, job.kms) else {
            return false;
        };
        lane.running = lane.running.saturating_sub(1);
        lane.checks.under_way.remove(&job.call);
        if let Some(&KmsError::Throttled { after }) = outcome.error() {
            lane.leave_alone(after, now);
        }
        let mismatch = || KmsError::Unavailable("the answer does not fit the question".to_owned());
        match (job.call, outcome) {
            (Call::Generate(key), Outcome::Generated(result)) => {
                lane.generated(&key, result, now, &mut self.outboxes)
            }
            (Call::Generate(key), _) => lane.generated(&key, Err(mismatch()), now, &mut self.outboxes),
            (Call::Unwrap(wrapped), Outcome::Unwrapped(result)) => {
                lane.unwrapped(&wrapped, result, now, &mut self.outboxes)
            }
            (Call::Unwrap(wrapped), _) => lane.unwrapped(&wrapped, Err(mismatch()), now, &mut self.outboxes),
            (Call::Recheck(wrapped), Outcome::Rechecked(result)) => {
                lane.rechecked(&wrapped, result.as_ref().err(), now, &mut self.outboxes)
            }
            (Call::Recheck(wrapped), _) => {
                lane.rechecked(&wrapped, Some(&mismatch()), now, &mut self.outboxes)
            }
            (Call::PollVersion(key), Outcome::Version(result)) => {
                lane.sealing.polled(&key, result, now, &mut self.outboxes);
                false
            }
            (Call::PollVersion(key), _) => {
                lane.sealing
                    .polled(&key, Err(mismatch()), now, &mut self.outboxes);
                false
            }
        }
    }

    /// Queues what is due: polls, rechecks, and DEKs to be fetched ahead. To be called a few times a second.
    pub fn tick(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            lane.opening.tick(now, &mut lane.checks);
            lane.sealing.tick(now, &mut lane.checks, &mut self.outboxes);
        }
    }

    /// No DEK that was made before seals any more, nor one that a call brings which is under way: the machine slept or
    /// its time was set, and a copy of this process may have them too. Opened DEKs stay: opening draws nothing that
    /// could come twice.
    pub fn drop_sealing(&mut self) {
        for lane in &mut self.lanes {
            lane.sealing.drop_all(&mut self.outboxes);
        }
    }

    /// Tells every executor what KEKs of a KMS are called in records, before any key that is delivered later.
    pub fn push_kek_names(&mut self, kms: KmsId, names: KekNames) {
        for executor in 0..self.outboxes.0.len() {
            self.outboxes.push(executor, KeyReply::KekNames { kms, names });
        }
    }

    /// The oldest reply for `executor`.
    pub fn pop_reply(&mut self, executor: usize) -> Option<KeyReply> {
        self.outboxes.0.get_mut(executor)?.pop_front()
    }

    /// Puts a reply back in front that could not be sent.
    pub fn unpop_reply(&mut self, executor: usize, reply: KeyReply) {
        if let Some(outbox) = self.outboxes.0.get_mut(executor) {
            outbox.push_front(reply);
        }
    }
}

/// Everything about one KMS.
struct Lane {
    kms: KmsId,
    sealing: SealingDeks,
    opening: OpenedDeks,
    checks: Checks,
    running: usize,
    calls_max: usize,
    /// The KMS has said so (LEDGER-4).
    left_alone_until: Option<Instant>,
}

impl Lane {
    /// Sealing may take every slot, checks all but an eighth of them, tailing readers three quarters, backfill half.
    fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.left_alone_until.is_some_and(|until| now < until) {
            return None;
        }
        let room = |share_of_8: usize| self.running < (self.calls_max * share_of_8 / 8).max(1);
        let mut call = None;
        if room(8) {
            call = self.sealing.next_fetch().map(Call::Generate);
        }
        if call.is_none() && room(7) {
            call = self.checks.queue.pop_front();
        }
        if call.is_none() && room(6) {
            call = self.opening.next(Urgency::Tail).map(Call::Unwrap);
        }
        if call.is_none() && room(4) {
            call = self.opening.next(Urgency::Backfill).map(Call::Unwrap);
        }
        let call = call?;
        self.running += 1;
        Some(Job { kms: self.kms, call })
    }

    /// LEDGER-4
    fn leave_alone(&mut self, after: Duration, now: Instant) {
        let until = now.checked_add(after.min(LEFT_ALONE_MAX));
        self.left_alone_until = self.left_alone_until.max(until);
    }

    fn generated(
        &mut self,
        key: &KeyId,
        result: Result<GeneratedDek, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> bool {
        let Some((dek, wrapped)) = self.sealing.generated(key, result, now, outboxes) else {
            return false;
        };
        // What this process seals its readers will ask for: it need not be unwrapped.
        let evicted = self.opening.learn(&wrapped, dek, now);
        self.drop_version(evicted, outboxes);
        false
    }

    fn unwrapped(
        &mut self,
        wrapped: &Arc<[u8]>,
        result: Result<SecretKey, KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> bool {
        let evicted = self.opening.unwrapped(wrapped, result, now, outboxes);
        self.drop_version(evicted, outboxes);
        false
    }

    fn rechecked(
        &mut self,
        wrapped: &Arc<[u8]>,
        error: Option<&KmsError>,
        now: Instant,
        outboxes: &mut Outboxes,
    ) -> bool {
        let Some(prefix) = version_prefix(wrapped) else {
            return false;
        };
        if error.is_some_and(KmsError::refuses_kek) {
            self.drop_version(Some(prefix.into()), outboxes);
            return true;
        }
        self.opening.recheck_again_later(prefix, now);
        false
    }

    /// Takes every key under a KEK version away, here and from every executor.
    fn drop_version(&mut self, prefix: Option<Arc<[u8]>>, outboxes: &mut Outboxes) {
        let Some(prefix) = prefix else { return };
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

/// Polls and rechecks, each queued or running once at most: as many as there are KEKs and versions in use.
#[derive(Default)]
struct Checks {
    queue: VecDeque<Call>,
    /// Queued or running.
    under_way: HashSet<Call>,
}

impl Checks {
    /// Queues `call`; not when the same is under way, perhaps for a DEK that was replaced since.
    fn push(&mut self, call: Call) -> bool {
        let is_new = self.under_way.insert(call.clone());
        if is_new {
            self.queue.push_back(call);
        }
        is_new
    }
}

/// What was sealed.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    batches: u64,
    bytes: u64,
}

/// Replies that wait to be sent, for each executor. Answers are bounded by what the executor asked and was not answered
/// yet; what comes unasked is rare (a rotation, a revocation).
struct Outboxes(Vec<VecDeque<KeyReply>>);

impl Outboxes {
    fn push(&mut self, executor: usize, reply: KeyReply) {
        if let Some(outbox) = self.0.get_mut(executor) {
            outbox.push_back(reply);
        }
    }
}

/// A set of executors.
#[derive(Debug, Clone, Default)]
struct ExecutorSet(Vec<bool>);

impl ExecutorSet {
    fn insert(&mut self, executor: usize) {
        if self.0.len() <= executor {
            self.0.resize(executor + 1, false);
        }
        if let Some(member) = self.0.get_mut(executor) {
            *member = true;
        }
    }

    fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|executor| self.insert(executor));
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(executor, &member)| member.then_some(executor))
    }
}

/// The lane of a KMS; there are as many as a configuration names, a handful.
fn lane_of(lanes: &mut [Lane], kms: KmsId) -> Option<&mut Lane> {
    lanes.iter_mut().find(|lane| lane.kms == kms)
}

/// What a wrapped DEK starts with up to its blob: provider, authority, KEK and version, in an encoding of which none is
/// the start of another.
pub(super) fn version_prefix(wrapped: &[u8]) -> Option<&[u8]> {
    wrapped.strip_suffix(WrappedDek::parse(wrapped).ok()?.blob)
}

fn no_such_kms_sealing(key: KeyId) -> KeyReply {
    KeyReply::Sealing {
        key,
        result: Err(KeyFailure::KekNotFound),
    }
}

/// The turn of a connection on an executor.
fn turn_of(executor: usize, demand: Demand) -> u64 {
    (executor as u64) << 32 | u64::from(demand.connection)
}

/// The longest that a KMS is left alone: producers and consumers wait for it.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
