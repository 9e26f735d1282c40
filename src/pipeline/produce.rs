//! A Produce request: each partition is sealed, passed or cut out with a refusal that is merged into the answer.
//!
//! - PRODUCE-SEAL-1: a request waits for keys as a whole, until `seal_wait` is over; then only the partitions without a key
//!   are refused.
//! - PRODUCE-SEAL-2: with acks=0 there is no answer to put a refusal into: the connection is closed, and nothing of the
//!   request is sent.
//! - PRODUCE-SEAL-3: an outage of the KMS is waited out like a key that is late: a refusal costs a plain producer the order of
//!   its records, being held costs nobody anything but time. What is waited for at all: [`super::seal_wait`].
//! - PRODUCE-SEAL-4: what is remembered of refusals grows with the request: topic and text are shared, and more than
//!   [`REFUSED_PARTITIONS_MAX`] of them close the connection.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::ProduceRefusal;
use super::seal_wait::Patience;
use super::sequence_guard::{ProducerSequence, SequenceGuard};
use super::topics::Topic;
use super::{AUDIT_EVENTS_MAX, AuditEvent, Pipeline};
use crate::envelope::SealingKey;
use crate::keys::Lookup;
use crate::metrics::{CloseReason, Direction};
use crate::protocol::produce_request::{PartitionRewrite, ProduceRequest};
use crate::protocol::produce_response::Refusal;
use crate::record_batch::{BatchHeader, check_produced};
use crate::rules::{Action, SealRule};

/// What became of a request.
pub(super) enum Produced {
    /// It goes on as it is.
    Verbatim { acks: i16 },
    /// It was written anew.
    Written { acks: i16, refusals: Vec<Refusal> },
    /// A key is on the way.
    Waiting {
        /// When to look again if nothing has come by then.
        look_again: Option<Instant>,
    },
}

/// Why there is no key to seal with.
enum NoKey {
    /// It may still come, and is worth waiting for.
    Wait(KeyWait),
    Refused(ProduceRefusal),
}

/// See [`Produced::Waiting`].
struct KeyWait {
    look_again: Option<Instant>,
}

/// What is to be done with one partition.
pub(super) struct Verdict {
    topic: Rc<Topic>,
    sequence: ProducerSequence,
    decision: Decision,
}

enum Decision {
    Pass,
    Seal(BatchHeader, Rc<SealingKey>),
    Refuse(ProduceRefusal),
}

/// A request and where it stands.
pub(super) struct ProduceFrame<'a> {
    pub(super) cluster: usize,
    /// Without its length.
    pub(super) frame: &'a [u8],
    pub(super) version: i16,
    /// Since when it is held.
    pub(super) since: Instant,
    /// Keys are not waited for any longer.
    pub(super) overdue: bool,
    pub(super) now: Instant,
}

impl Pipeline {
    /// Seals a Produce request into `out`, length included. On an error and when waiting `out` is what it was.
    pub(super) fn seal_request(
        &mut self,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        out: &mut Vec<u8>,
    ) -> Result<Produced, CloseReason> {
        let mut layout = std::mem::take(&mut self.produce);
        let mut verdicts = std::mem::take(&mut self.verdicts);
        let outcome = match layout.parse(request.frame, request.version) {
            Ok(()) => self.seal_parsed(request, &layout, guard, &mut verdicts, out),
            Err(_) => Err(CloseReason::MalformedFrame),
        };
        verdicts.clear();
        verdicts.shrink_to(REFUSED_PARTITIONS_MAX);
        self.verdicts = verdicts;
        self.produce = layout;
        outcome
    }

    fn seal_parsed(
        &mut self,
        request: &ProduceFrame<'_>,
        layout: &ProduceRequest,
        guard: &mut SequenceGuard,
        verdicts: &mut Vec<Verdict>,
        out: &mut Vec<u8>,
    ) -> Result<Produced, CloseReason> {
        let (mut waiting, mut look_again) = (false, None);
        for position in 0..layout.partitions.len() {
            let name = layout
                .topic_name(request.frame, position)
                .ok_or(CloseReason::MalformedFrame)?;
            let index = layout
                .partitions
                .get(position)
                .map_or(-1, |partition| partition.index);
            let records = layout.records(request.frame, position);
            match self.judge(request, guard, name, index, records)? {
                Ok(verdict) => verdicts.push(verdict),
                // All keys of the request are asked for before it waits.
                Err(wait) => {
                    waiting = true;
                    look_again = [look_again, wait.look_again].into_iter().flatten().min();
                }
            }
        }
        if waiting {
            return Ok(Produced::Waiting { look_again });
        }
        let acks = layout.acks;
        if verdicts
            .iter()
            .all(|verdict| matches!(verdict.decision, Decision::Pass))
        {
            for (position, verdict) in verdicts.iter().enumerate() {
                let records = layout.records(request.frame, position);
                self.count_passed(&verdict.topic, records);
            }
            return Ok(Produced::Verbatim { acks });
        }
        let start = out.len();
        let mut refusals = Vec::new();
        let written = layout.rewrite(request.frame, out, &mut |position, out| {
            let Some(verdict) = verdicts.get_mut(position) else {
                return PartitionRewrite::Cut;
            };
            let records = layout.records(request.frame, position);
            let refusal = match self.seal_partition(verdict, records, out) {
                Ok(rewrite) => {
                    guard.release(&verdict.topic.name, index_of(layout, position), verdict.sequence);
                    return rewrite;
                }
                Err(refusal) => refusal,
            };
            refusals.push((position, refusal));
            PartitionRewrite::Cut
        });
        if written.is_err() {
            out.truncate(start);
            return Err(CloseReason::MalformedFrame);
        }
        if acks == 0 && !refusals.is_empty() {
            out.truncate(start);
            self.note_refusals(request, layout, verdicts, &refusals);
            return Err(CloseReason::AcksZeroUnsealable);
        }
        for (position, refusal) in &refusals {
            let Some(verdict) = verdicts.get(*position) else {
                continue;
            };
            let (topic, partition) = (&verdict.topic.name, index_of(layout, *position));
            if refusal.is_retriable() {
                guard
                    .refuse(topic, partition, verdict.sequence)
                    .map_err(|_| CloseReason::Limit)?;
            } else {
                guard.release(topic, partition, verdict.sequence);
            }
        }
        if refusals.len() > REFUSED_PARTITIONS_MAX {
            return Err(CloseReason::Limit);
        }
        let merged = self.note_refusals(request, layout, verdicts, &refusals);
        Ok(Produced::Written {
            acks,
            refusals: merged,
        })
    }

    /// What is to be done with a partition; the inner error: its key is waited for.
    fn judge(
        &mut self,
        request: &ProduceFrame<'_>,
        guard: &SequenceGuard,
        name: &str,
        partition: i32,
        records: &[u8],
    ) -> Result<Result<Verdict, KeyWait>, CloseReason> {
        let topic = self
            .clusters
            .get_mut(request.cluster)
            .ok_or(CloseReason::Internal)?
            .topic(name, &mut self.metrics);
        let mut sequence = ProducerSequence::NONE;
        let decision = match topic.rule.as_ref().map(|rule| &rule.action) {
            None => Decision::Refuse(ProduceRefusal::NoRule),
            Some(Action::Reject { reason }) => Decision::Refuse(ProduceRefusal::Rejected {
                reason: reason.clone(),
            }),
            Some(Action::KafkaInternal) => Decision::Refuse(ProduceRefusal::KafkaInternal),
            Some(Action::Pass) => Decision::Pass,
            Some(Action::Seal(rule)) => match check_produced(records, request.version) {
                Err(error) => Decision::Refuse(error.into()),
                Ok(header) => {
                    sequence = ProducerSequence {
                        producer_id: header.producer_id,
                        producer_epoch: header.producer_epoch,
                        base_sequence: header.base_sequence,
                    };
                    if guard.holds_back(name, partition, sequence) {
                        Decision::Refuse(ProduceRefusal::SequenceGuard)
                    } else {
                        match self.sealing_key(rule, request) {
                            Ok(key) => Decision::Seal(header, key),
                            Err(NoKey::Refused(refusal)) => Decision::Refuse(refusal),
                            Err(NoKey::Wait(wait)) => return Ok(Err(wait)),
                        }
                    }
                }
            },
        };
        Ok(Ok(Verdict {
            topic,
            sequence,
            decision,
        }))
    }

    /// The key to seal with, or why there is none.
    fn sealing_key(&mut self, rule: &SealRule, request: &ProduceFrame<'_>) -> Result<Rc<SealingKey>, NoKey> {
        let (kms, kek) = (rule.kms.0, &rule.kek);
        let (refusal, asked_at) = match self.keys.sealing(kms, kek, request.now) {
            Lookup::Ready(key) => {
                self.metrics.key_cache.ready += 1;
                self.seal_wait.came(kms, kek);
                return Ok(key);
            }
            Lookup::Failed(failure) => {
                self.metrics.key_cache.failed += 1;
                if !failure.is_outage() {
                    return Err(NoKey::Refused(ProduceRefusal::Key(failure)));
                }
                (ProduceRefusal::Key(failure), None)
            }
            Lookup::Waiting => {
                self.metrics.key_cache.waiting += 1;
                (ProduceRefusal::KeyPending, self.keys.sealing_asked_at(kms, kek))
            }
        };
        if request.overdue {
            self.seal_wait.in_vain(kms, kek, request.now);
            return Err(NoKey::Refused(refusal));
        }
        let look_again = match self.seal_wait.patience(kms, kek, request.since, asked_at) {
            // After an outage nothing is under way that would wake the request.
            Patience::Full if asked_at.is_none() => request.now.checked_add(ASK_AGAIN_AFTER),
            Patience::Full => None,
            Patience::Until(until) if request.now < until => Some(until),
            Patience::Until(_) | Patience::None => return Err(NoKey::Refused(refusal)),
        };
        Err(NoKey::Wait(KeyWait { look_again }))
    }

    fn seal_partition(
        &mut self,
        verdict: &mut Verdict,
        records: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<PartitionRewrite, ProduceRefusal> {
        match &verdict.decision {
            Decision::Refuse(refusal) => Err(refusal.clone()),
            Decision::Pass => {
                self.count_passed(&verdict.topic, records);
                Ok(PartitionRewrite::Keep)
            }
            Decision::Seal(header, key) => {
                let Some(Action::Seal(rule)) = verdict.topic.rule.as_ref().map(|rule| &rule.action) else {
                    return Err(ProduceRefusal::NoRule);
                };
                let start = out.len();
                let bytes_max = self.limits.decompressed_batch_bytes_max;
                self.sealing.seal(records, header, rule, key, bytes_max, out)?;
                let sealed_bytes = out.len().saturating_sub(start) as u64;
                let record_count = u64::try_from(header.record_count).unwrap_or(0);
                self.keys.note_sealed(rule.kms.0, &rule.kek, 1, sealed_bytes);
                self.metrics.topic(verdict.topic.metrics).sealed(
                    record_count,
                    records.len() as u64,
                    sealed_bytes,
                );
                Ok(PartitionRewrite::Written)
            }
        }
    }

    fn count_passed(&mut self, topic: &Topic, records: &[u8]) {
        let count =
            BatchHeader::parse(records).map_or(0, |header| u64::try_from(header.record_count).unwrap_or(0));
        self.metrics
            .topic(topic.metrics)
            .passed(count, records.len() as u64);
    }

    /// Counts refusals and words them for the client.
    fn note_refusals(
        &mut self,
        request: &ProduceFrame<'_>,
        layout: &ProduceRequest,
        verdicts: &[Verdict],
        refusals: &[(usize, ProduceRefusal)],
    ) -> Vec<Refusal> {
        let mut merged: Vec<Refusal> = Vec::with_capacity(refusals.len());
        let mut worded: Option<&ProduceRefusal> = None;
        for (position, refusal) in refusals {
            let Some(Verdict { topic, .. }) = verdicts.get(*position) else {
                continue;
            };
            let records = layout.records(request.frame, *position);
            let partition = index_of(layout, *position);
            self.metrics.topic(topic.metrics).refused(
                Direction::Request,
                refusal.reason(),
                0,
                records.len() as u64,
            );
            self.audit(
                request.cluster,
                topic,
                partition,
                -1,
                "produce",
                refusal.reason().as_str(),
            );
            // One text for the partitions of a topic that are refused for the same reason (PRODUCE-SEAL-4).
            let message = match merged.last() {
                Some(last) if Arc::ptr_eq(&last.topic, &topic.name) && worded == Some(refusal) => {
                    Arc::clone(&last.message)
                }
                _ => topic.refusal_text(refusal).into(),
            };
            worded = Some(refusal);
            merged.push(Refusal {
                topic: Arc::clone(&topic.name),
                partition,
                error_code: refusal.error_code(),
                message,
            });
        }
        merged
    }

    pub(super) fn audit(
        &mut self,
        cluster: usize,
        topic: &Topic,
        partition: i32,
        offset: i64,
        operation: &'static str,
        reason: &'static str,
    ) {
        if self.audit.len() >= AUDIT_EVENTS_MAX {
            return;
        }
        let Some(cluster) = self.clusters.get(cluster) else {
            return;
        };
        self.audit.push(AuditEvent {
            cluster: cluster.name.clone(),
            topic: topic.name.clone(),
            partition,
            offset,
            operation,
            reason,
        });
    }
}

fn index_of(layout: &ProduceRequest, position: usize) -> i32 {
    layout
        .partitions
        .get(position)
        .map_or(-1, |partition| partition.index)
}

/// How soon a request that is held through an outage looks for its key again; what the key service remembers decides when the
/// KMS is really asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Partitions of one request that are refused one by one; as many as the sequence guard remembers, and no client sends a
/// batch for more of them at a time.
const REFUSED_PARTITIONS_MAX: usize = SequenceGuard::ENTRIES_MAX;
