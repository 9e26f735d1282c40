//! What is to be done with each partition of a Produce request, and the keys that it takes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::seal_wait::{ANSWER_TIME, SealPatience};
use super::{Awaited, ProduceFrame, ProduceWork, ProducerSequence, SequenceGuard, index_of};
use crate::keys::{KeyId, KeyLookup, Purpose, SealingShare};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::refusal::ProduceRefusal;
use crate::pipeline::topics::Topic;
use crate::pipeline::work::{PARTITION_WORK, Work};
use crate::record_batch::header::stored_crc;
use crate::record_batch::{BatchChecksum, BatchError, BatchHeader, check_produced_with};
use crate::rules::{Action, SealRule};

/// What is to be done with one partition.
pub(super) struct Verdict {
    pub(super) topic: Rc<Topic>,
    pub(super) sequence: ProducerSequence,
    pub(super) decision: Decision,
    /// Since when the request wants a key to seal it with, and has none.
    wanted_since: Option<Instant>,
}

pub(super) enum Decision {
    Pass,
    /// To pass, if it is sealed already.
    Raw(BatchHeader),
    Seal(BatchHeader, Key),
    Refuse(ProduceRefusal),
    /// The partition is named again further behind (PRODUCE-SEAL-9).
    Superseded,
}

/// The key to seal a partition with.
pub(super) enum Key {
    /// On its way, and worth waiting for.
    Wanted {
        /// When to look again if nothing has come by then.
        look_again: Option<Instant>,
    },
    Found(Rc<SealingShare>),
    /// Not to be had, as far as is known: asked for again for as long as the request waits for another.
    Refused(ProduceRefusal),
}

impl Verdict {
    /// By how much sealing makes the batch longer, about.
    pub(super) fn seal_bytes(&self) -> usize {
        let Decision::Seal(header, Key::Found(share)) = &self.decision else {
            return 0;
        };
        let records = usize::try_from(header.record_count).unwrap_or(0);
        records.saturating_mul(share.wrapped_dek().len().saturating_add(SEAL_BYTES))
    }
}

impl ProduceWork {
    /// Finds a key for every partition that is still to be sealed; says if some are on the way.
    pub(super) fn find_keys(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
    ) -> Option<Awaited> {
        let mut awaited: Option<Awaited> = None;
        let has_key = self
            .draft
            .as_ref()
            .is_some_and(|draft| draft.has_key(request.now));
        let first = self.next.saturating_add(usize::from(has_key));
        for verdict in self.verdicts.iter_mut().skip(first) {
            let Decision::Seal(_, key) = &mut verdict.decision else {
                continue;
            };
            if matches!(key, Key::Found(share) if share.is_usable(request.now)) {
                continue;
            }
            let Some(Action::Seal(rule)) = verdict.topic.rule.as_ref().map(|rule| &rule.action) else {
                *key = Key::Refused(ProduceRefusal::NoRule);
                continue;
            };
            let since = *verdict.wanted_since.get_or_insert(request.now);
            *key = match pipeline.looked_at(request.cluster, &verdict.topic, request.now) {
                Some(Ok(())) => pipeline.sealing_key(rule, request, since),
                Some(Err(refusal)) => Key::Refused(refusal),
                None if request.overdue => Key::Refused(ProduceRefusal::KeysUnseen),
                None => Key::Wanted {
                    look_again: request.now.checked_add(ASK_AGAIN_AFTER),
                },
            };
            match key {
                Key::Wanted { look_again } => {
                    let look_again = *look_again;
                    awaited = awaited
                        .into_iter()
                        .chain([Awaited { look_again }])
                        .reduce(Awaited::and);
                }
                Key::Found(_) => verdict.wanted_since = None,
                Key::Refused(_) => {}
            }
        }
        awaited
    }

    /// What is to be done with the next partition, whose key is not looked for yet; `None` when the turn is over.
    pub(super) fn judge(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &SequenceGuard,
    ) -> Result<Option<Verdict>, CloseReason> {
        let position = self.verdicts.len();
        let name = self
            .layout
            .topic_name(request.frame, position)
            .ok_or(CloseReason::MalformedFrame)?;
        pipeline.work.charge(PARTITION_WORK);
        let topic = pipeline.topic(request.cluster, &name)?;
        let records = self.layout.records(request.frame, position);
        let mut sequence = ProducerSequence::NONE;
        // Asked once: groups may change at any time.
        let is_raw = topic.rule.as_ref().is_some_and(|rule| match &rule.action {
            Action::Seal(rule) => rule.access.is_raw(request.asking),
            _ => false,
        });
        let decision = match topic.rule.as_ref().map(|rule| &rule.action) {
            _ if self.layout.is_superseded(position) => Decision::Superseded,
            None => Decision::Refuse(ProduceRefusal::NoRule),
            Some(Action::Reject { reason }) => Decision::Refuse(ProduceRefusal::Rejected {
                reason: reason.clone(),
            }),
            Some(Action::KafkaInternal) => Decision::Refuse(ProduceRefusal::KafkaInternal),
            Some(Action::Pass(Some(access))) if !access.seals_for(request.asking) => {
                Decision::Refuse(ProduceRefusal::NotNamed)
            }
            Some(Action::Pass(_)) => Decision::Pass,
            Some(Action::Seal(rule)) if !is_raw && !rule.access.seals_for(request.asking) => {
                Decision::Refuse(ProduceRefusal::NotNamed)
            }
            Some(Action::Seal(_)) if !is_raw && let Err(refusal) = topic.keys.sealing() => {
                Decision::Refuse(refusal)
            }
            Some(Action::Seal(_)) => match self.judging.check(records, request.version, &mut pipeline.work) {
                None => return Ok(None),
                Some(Err(error)) => Decision::Refuse(error.into()),
                Some(Ok(header)) => {
                    sequence = ProducerSequence {
                        producer_id: header.producer_id,
                        producer_epoch: header.producer_epoch,
                        base_sequence: header.base_sequence,
                    };
                    if guard.holds_back(&name, index_of(&self.layout, position), sequence) {
                        Decision::Refuse(ProduceRefusal::SequenceGuard)
                    } else if is_raw {
                        Decision::Raw(header)
                    } else {
                        Decision::Seal(header, Key::Wanted { look_again: None })
                    }
                }
            },
        };
        Ok(Some(Verdict {
            topic,
            sequence,
            decision,
            wanted_since: None,
        }))
    }
}

/// A partition that is half judged: the checksum of a long batch takes more than a turn.
#[derive(Default)]
pub(super) struct Judging {
    checksum: BatchChecksum,
}

impl Judging {
    /// Checks the records field as a broker does; `None` when the turn is over.
    fn check(
        &mut self,
        records: &[u8],
        version: i16,
        work: &mut Work,
    ) -> Option<Result<BatchHeader, BatchError>> {
        let crc = work.check(&mut self.checksum, records)?;
        Some(check_produced_with(records, version, |batch| {
            stored_crc(batch) == Some(crc)
        }))
    }
}

impl Pipeline {
    /// The share to seal with, which the request wants since `since`, or why there is none.
    fn sealing_key(&mut self, rule: &SealRule, request: &ProduceFrame<'_>, since: Instant) -> Key {
        // AUDIT-4
        if self.audit_state.holds() {
            return match request.overdue {
                true => Key::Refused(ProduceRefusal::AuditHeld),
                // It may have passed before anybody is told.
                false => Key::Wanted {
                    look_again: request.now.checked_add(ASK_AGAIN_AFTER),
                },
            };
        }
        let kek = &rule.kek;
        let key = KeyId {
            kms: rule.kms,
            kek: Arc::clone(kek),
            purpose: Purpose::RecordSeal,
        };
        let (refusal, asked_at) = match self.keys.sealing(&key, request.now) {
            KeyLookup::Ready(share) => {
                count(&mut self.metrics.key_cache.ready);
                self.produce.seal_wait.came(&key);
                return Key::Found(share);
            }
            KeyLookup::Failed(failure) => {
                count(&mut self.metrics.key_cache.failed);
                let refusal = ProduceRefusal::Key(failure, Arc::clone(kek).into());
                if !failure.is_outage() {
                    return Key::Refused(refusal);
                }
                (refusal, None)
            }
            KeyLookup::Waiting => {
                count(&mut self.metrics.key_cache.waiting);
                (ProduceRefusal::KeyPending, self.keys.sealing_asked_at(&key))
            }
        };
        if request.overdue {
            // SEAL-WAIT-4
            let waited = request.now.saturating_duration_since(since);
            if waited >= ANSWER_TIME.min(self.limits.seal_wait) {
                self.produce.seal_wait.in_vain(&key, request.now);
            }
            return Key::Refused(refusal);
        }
        let look_again = match self.produce.seal_wait.patience(&key, request.since, asked_at) {
            // After an outage nothing is under way that would wake the request.
            SealPatience::Full if asked_at.is_none() => request.now.checked_add(ASK_AGAIN_AFTER),
            SealPatience::Full => None,
            SealPatience::Until(until) if request.now < until => Some(until),
            SealPatience::Until(_) | SealPatience::None => return Key::Refused(refusal),
        };
        Key::Wanted { look_again }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// How soon a request that is held through an outage looks for its key again; what the key service remembers decides
/// when the KMS is really asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// What a seal adds to a record apart from the wrapped DEK: name, fixed fields, counter, salt, tag, and wider lengths.
const SEAL_BYTES: usize = 64;
