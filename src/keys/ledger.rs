//! The key service without its clock, channels and KMSs: requests and outcomes in, jobs and replies out.
//!
//! - LEDGER-1: every request is answered exactly once, by the reply that it asked for or by a failure.
//! - LEDGER-2: calls to one KMS never wait for another KMS, and less urgent calls never take the last slots but in
//!   their turn ([`Lane::next_job`]).
//! - LEDGER-3: what a call brings that was started before a revocation is not believed; the call is made again.
//! - LEDGER-4: a KMS that wants to be left alone is not called by anybody before that time, or
//!   [`lane::LEFT_ALONE_MAX`], is over; what is asked for meanwhile waits.
//! - LEDGER-5: while a KMS is known to be away what is not at hand is refused as by an outage at once; nobody waits for
//!   a time-out but those whose call finds out whether it is back.
//!
//! Pure: the time is a parameter, nothing is awaited. Owned by [`super::KeyService`] on the control thread.

mod breaker;
mod call;
mod checks;
mod finding;
mod lane;
mod opened_cache;
mod opening;
mod outboxes;
mod rate;
mod sealing;
mod spread;
mod standing;
mod turns;

pub use self::breaker::BreakerState;
pub use self::call::{Call, Intervals, Job, Outcome};
pub use self::finding::{Finding, FindingKind, WrongDek};
pub use self::standing::{KmsStanding, SealingStanding};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::breaker::Breaker;
use self::checks::Checks;
use self::lane::Lane;
use self::opening::OpenedDeks;
use self::outboxes::Outboxes;
use self::rate::CallRate;
use self::sealing::{SealingDeks, Use};
use self::spread::Spread;
use self::turns::Turns;
use super::KeyOptions;
use super::request::{Demand, KeyFailure, KeyId, KeyReply, KeyRequest};
use crate::envelope::WrappedDek;
use crate::ids::KmsId;
use crate::kms::{KekNames, KmsError};

/// All state of the key service.
pub struct Ledger {
    lanes: Vec<Lane>,
    outboxes: Outboxes,
    /// Whose turn it is to start a job.
    turn: usize,
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
                turns: Turns::default(),
                running: 0,
                calls_max: intervals.budget.calls_max.max(1),
                rate: CallRate::new(intervals.budget.per_second_max),
                paced: false,
                breaker: Breaker::new(Spread::new(options.spread_seed)),
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
                Some(lane) => {
                    let moment = lane.breaker.moment(now);
                    lane.sealing
                        .ask(executor, key, used_up.as_deref(), moment, outboxes);
                }
                None => outboxes.push(executor, no_such_kms_sealing(key)),
            },
            KeyRequest::Open {
                executor,
                kms,
                wrapped,
                demand,
            } => match lane_of(&mut self.lanes, kms) {
                Some(lane) => {
                    let moment = lane.breaker.moment(now);
                    lane.opening.ask(executor, wrapped, demand, moment, outboxes);
                }
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

    /// Has the version of a KEK asked for, whoever uses it.
    pub fn look_for(&mut self, key: KeyId) {
        if let Some(lane) = lane_of(&mut self.lanes, key.kms) {
            lane.checks.push(Call::PollVersion(key));
        }
    }

    /// Answers a request that needs no call to be refused; whether that is news.
    pub fn refuse(&mut self, request: KeyRequest, failure: KeyFailure, now: Instant) -> bool {
        let outboxes = &mut self.outboxes;
        if request.executor() >= outboxes.0.len() {
            return false;
        }
        match request {
            KeyRequest::Seal { executor, key, .. } => match lane_of(&mut self.lanes, key.kms) {
                Some(lane) => lane.sealing.refuse(executor, key, failure, now, outboxes),
                None => false,
            },
            KeyRequest::Open {
                executor,
                kms,
                wrapped,
                ..
            } => match lane_of(&mut self.lanes, kms) {
                Some(lane) => lane.opening.refuse(executor, wrapped, failure, now, outboxes),
                None => false,
            },
            KeyRequest::Used { .. } => false,
        }
    }

    /// The next call to make, if one may be made now. Each is to be ended by [`Ledger::finish`].
    pub fn next_job(&mut self, now: Instant) -> Option<Job> {
        for _ in 0..self.lanes.len() {
            let turn = self.turn;
            let next = turn.saturating_add(1);
            self.turn = if next < self.lanes.len() { next } else { 0 };
            let job = self.lanes.get_mut(turn).and_then(|lane| lane.next_job(now));
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Takes in what `job` brought; an outcome of another kind than the call counts as an outage. Returns what is worth
    /// telling.
    pub fn finish(&mut self, job: Job, outcome: Outcome, now: Instant) -> Option<Finding> {
        let lane = lane_of(&mut self.lanes, job.kms)?;
        lane.running = lane.running.saturating_sub(1);
        lane.checks.under_way.remove(&job.call);
        if let Some(&KmsError::Throttled { after }) = outcome.error() {
            lane.leave_alone(after, now);
        }
        let call = job.call.clone();
        let answered = outcome.error().is_none_or(|error| {
            // Whoever says that he is asked too often is there.
            error.is_verdict() || matches!(error, KmsError::Throttled { .. })
        });
        let outboxes = &mut self.outboxes;
        let found = match (job.call, outcome) {
            (Call::Generate(key), Outcome::Generated(result)) => lane.generated(&key, result, now, outboxes),
            (Call::Unwrap(wrapped), Outcome::Unwrapped(result)) => {
                lane.unwrapped(&wrapped, result, now, outboxes)
            }
            (Call::Recheck(wrapped), Outcome::Rechecked(result)) => {
                lane.rechecked(&wrapped, &result, now, outboxes)
            }
            (Call::PollVersion(key), Outcome::Version(result)) => {
                lane.sealing.polled(&key, result, now, outboxes);
                None
            }
            (call, _) => {
                lane.running = lane.running.saturating_add(1);
                let outcome = call.outage("the answer does not fit the question");
                return self.finish(Job { kms: job.kms, call }, outcome, now);
            }
        };
        if lane.breaker.ended(&call, answered, now) {
            lane.refuse_queued(now, outboxes);
        }
        found
    }

    /// Whether calls wait because as many have begun as may in their time.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.lanes.iter().any(|lane| lane.paced)
    }

    /// How things stand with a KMS.
    #[must_use]
    pub fn standing(&self, kms: KmsId, now: Instant) -> KmsStanding {
        let lane = self.lanes.iter().find(|lane| lane.kms == kms);
        lane.map_or_else(KmsStanding::default, |lane| lane.standing(now))
    }

    /// Queues what is due: polls, rechecks, and DEKs to be fetched ahead. To be called a few times a second. Returns
    /// the KEK versions whose keys were dropped because their KMS has not confirmed them for too long (KEYS-7).
    pub fn tick(&mut self, now: Instant) -> Vec<Finding> {
        let mut lapsed = Vec::new();
        for lane in &mut self.lanes {
            let dropped = lane.drop_lapsed(now, &mut self.outboxes);
            lapsed.extend(
                dropped
                    .into_iter()
                    .map(|prefix| lane.found(prefix, FindingKind::Lapsed)),
            );
            lane.opening.tick(now, &mut lane.checks);
            lane.sealing.tick(now, &mut lane.checks, &mut self.outboxes);
            lane.ask_again(now);
        }
        lapsed
    }

    /// The machine slept for `gap` without the clock showing it: what KMSs have confirmed is older by that.
    pub fn slept(&mut self, gap: Duration, now: Instant) {
        for lane in &mut self.lanes {
            lane.opening.slept(gap, now);
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

fn no_such_kms_sealing(key: KeyId) -> KeyReply {
    KeyReply::Sealing {
        key,
        result: Err(KeyFailure::KekNotFound),
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

/// What that starts with up to the version: provider, authority and KEK.
fn kek_prefix(version_prefix: &[u8]) -> Option<&[u8]> {
    let version = WrappedDek::parse(version_prefix).ok()?.version;
    // Its length stands before it.
    Some(version_prefix.strip_suffix(version)?.split_last()?.1)
}

/// The turn of a connection on an executor.
fn turn_of(executor: usize, demand: Demand) -> u64 {
    (executor as u64) << 32 | u64::from(demand.connection)
}

#[cfg(test)]
mod tests;
