//! A Produce request written anew: each partition is kept, cut, or sealed into the output.

use super::judging::{Decision, Key, Verdict};
use super::{ProduceFrame, ProduceWork, REFUSED_PARTITIONS_MAX, SequenceGuard, Stop, index_of};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::refusal::ProduceRefusal;
use crate::pipeline::seal_batch::{SealContext, SealDraft, Sealed, has_room};
use crate::pipeline::work::{PARTITION_WORK, Pause, Progress, STEP_MAX};
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::produce_request::Writing;
use crate::record_batch::BatchHeader;
use crate::rules::{Action, SealRule};

impl ProduceWork {
    /// Writes partitions until all are written, the turn is over, or a key is gone.
    pub(super) fn write_on(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        out: &mut Vec<u8>,
    ) -> Result<Stop, CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        loop {
            let rewriting = self.rewriting.as_mut().ok_or(CloseReason::Internal)?;
            let copied = rewriting.copied();
            let room = rewriting.copies_next().min(STEP_MAX);
            if !has_room(out, room) {
                return Ok(Stop::Paused(Pause::Room(room)));
            }
            let writing = rewriting.advance(&self.layout, request.frame, out, STEP_MAX);
            let writing = writing.map_err(malformed)?;
            pipeline
                .work
                .charge_copied(rewriting.copied().saturating_sub(copied));
            match writing {
                Writing::Copied(_) | Writing::Partition(_) if pipeline.work.is_spent() => {
                    return Ok(Stop::Paused(Pause::Spent));
                }
                Writing::Copied(_) => {}
                Writing::Partition(position) => {
                    self.next = position;
                    pipeline.work.charge(PARTITION_WORK);
                    self.decide(pipeline, request, position, out)?;
                }
                Writing::Records(position) => {
                    if let Some(stop) = self.seal(pipeline, request, guard, position, out)? {
                        return Ok(stop);
                    }
                }
                Writing::End => return Ok(Stop::End),
            }
        }
    }

    /// Keeps, cuts or begins to seal a partition.
    fn decide(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        position: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        let rewriting = self.rewriting.as_mut().ok_or(CloseReason::Internal)?;
        let verdict = self.verdicts.get(position).ok_or(CloseReason::Internal)?;
        let records = self.layout.records(request.frame, position);
        let written = out.len().saturating_sub(rewriting.start());
        let begun = match &verdict.decision {
            Decision::Pass => {
                pipeline.count_passed(&verdict.topic, records);
                let bytes = self.layout.bytes_alone(position, records.len());
                self.passed_left = self.passed_left.saturating_sub(bytes);
                return rewriting.keep(&self.layout, out).map_err(malformed);
            }
            // Looked at before anything is written.
            Decision::Raw(_) => return Err(CloseReason::Internal),
            Decision::Superseded => return rewriting.cut(&self.layout, out).map_err(malformed),
            Decision::Refuse(refusal) | Decision::Seal(_, Key::Refused(refusal)) => Err(refusal.clone()),
            Decision::Seal(header, _) => {
                let bytes_max = pipeline.limits.request_bytes_max;
                // Here, and again when it is sealed: most would not fit.
                let least = written
                    .saturating_add(self.passed_left)
                    .saturating_add(records.len());
                if fits(least, bytes_max) {
                    pipeline.begin_to_seal(verdict, header, records)
                } else {
                    Err(ProduceRefusal::RequestFull { bytes_max })
                }
            }
        };
        match begun {
            Ok(draft) => {
                self.draft = Some(draft);
                rewriting.records(&self.layout).map_err(malformed)
            }
            Err(refusal) => {
                self.refusals.push((position, refusal));
                // With acks=0 the first refusal closes the connection, at the end.
                if self.layout.acks != 0 && self.refusals.len() > REFUSED_PARTITIONS_MAX {
                    return Err(CloseReason::Limit);
                }
                rewriting.cut(&self.layout, out).map_err(malformed)
            }
        }
    }

    /// Goes on to seal a partition; `None` when that is done, or the partition cut.
    fn seal(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        position: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Stop>, CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        let rewriting = self.rewriting.as_mut().ok_or(CloseReason::Internal)?;
        let verdict = self.verdicts.get(position).ok_or(CloseReason::Internal)?;
        let draft = self.draft.as_mut().ok_or(CloseReason::Internal)?;
        let batch = self.layout.records(request.frame, position);
        draft.move_back(rewriting.widen(out).map_err(malformed)?);
        let sealed = match (&verdict.decision, verdict.rule()) {
            (Decision::Seal(_, Key::Refused(refusal)), _) => Err(refusal.clone()),
            (Decision::Seal(_, key), Some(rule)) => {
                let cluster = pipeline.clusters.get(request.cluster);
                let context = SealContext {
                    batch,
                    cluster: &cluster.ok_or(CloseReason::Internal)?.rules.name,
                    topic: &verdict.topic.name,
                    partition: index_of(&self.layout, position),
                    clocks: pipeline.clocks,
                    rule,
                    keys: &verdict.topic.keys,
                    share: match key {
                        Key::Found(share) => Some(share),
                        Key::Wanted { .. } | Key::Refused(_) => None,
                    },
                    now: request.now,
                    may_grow: request.may_grow,
                };
                draft.advance(&context, &mut pipeline.work, &mut pipeline.produce.sealing, out)
            }
            _ => Err(ProduceRefusal::NoRule),
        };
        let refusal = match sealed {
            Ok(Progress::Done(Sealed::Done)) => {
                draft.move_back(rewriting.widen(out).map_err(malformed)?);
                let written = out.len().saturating_sub(rewriting.start());
                let needed = self
                    .passed_left
                    .saturating_add(self.layout.bytes_behind(position));
                let alone = self.layout.bytes_alone(position, draft.sealed_bytes());
                outgrows(
                    written.saturating_add(needed),
                    alone,
                    pipeline.limits.request_bytes_max,
                )
            }
            Ok(Progress::Paused(pause)) => return Ok(Some(Stop::Paused(pause))),
            Ok(Progress::Done(Sealed::NoKey)) => return Ok(Some(Stop::Key)),
            Err(refusal) => Some(refusal),
        };
        let Some(draft) = self.draft.take() else {
            return Err(CloseReason::Internal);
        };
        self.next = position.saturating_add(1);
        match refusal {
            None => {
                let sealed_bytes = draft.finish(&mut pipeline.produce.sealing);
                guard.release(
                    &verdict.topic.name,
                    index_of(&self.layout, position),
                    verdict.sequence,
                );
                pipeline.count_sealed(verdict, batch, sealed_bytes);
                rewriting.written(&self.layout, out).map_err(malformed)?;
            }
            Some(refusal) => {
                draft.end(&mut pipeline.produce.sealing, out);
                self.refusals.push((position, refusal));
                rewriting.cut(&self.layout, out).map_err(malformed)?;
            }
        }
        Ok(None)
    }
}

impl Pipeline {
    fn begin_to_seal(
        &mut self,
        verdict: &Verdict,
        header: &BatchHeader,
        records: &[u8],
    ) -> Result<SealDraft, ProduceRefusal> {
        let rule = verdict.rule().ok_or(ProduceRefusal::NoRule)?;
        let bytes_max = self.limits.decompressed_batch_bytes_max;
        SealDraft::begin(records, header, rule, bytes_max, &mut self.produce.sealing)
    }

    fn count_sealed(&mut self, verdict: &Verdict, records: &[u8], sealed_bytes: usize) {
        let Decision::Seal(header, _) = &verdict.decision else {
            return;
        };
        let record_count = u64::try_from(header.record_count).unwrap_or(0);
        self.metrics.topic(verdict.topic.metrics).sealed(
            record_count,
            records.len() as u64,
            sealed_bytes as u64,
        );
    }
}

impl Verdict {
    fn rule(&self) -> Option<&SealRule> {
        match self.topic.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Seal(rule)) => Some(rule),
            _ => None,
        }
    }
}

/// Why a partition has to be left out with which the request would have `bytes`, and `alone` without all others
/// (PRODUCE-SEAL-8).
fn outgrows(bytes: usize, alone: usize, bytes_max: usize) -> Option<ProduceRefusal> {
    if fits(bytes, bytes_max) {
        None
    } else if fits(alone, bytes_max) {
        Some(ProduceRefusal::RequestFull { bytes_max })
    } else {
        Some(ProduceRefusal::RequestTooLarge { bytes_max })
    }
}

/// `bytes` with the length in front of the frame, which does not count.
fn fits(bytes: usize, bytes_max: usize) -> bool {
    bytes <= bytes_max.saturating_add(LENGTH_PREFIX_BYTES)
}
