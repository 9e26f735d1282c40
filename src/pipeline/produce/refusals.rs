//! What becomes of the partitions of a Produce request that were refused: remembered, counted, and worded for the
//! client.

use std::sync::Arc;

use super::{ProduceFrame, ProduceWork, SequenceGuard, Verdict, index_of, record_count};
use crate::audit::{Operation, Reason};
use crate::ids::ClusterId;
use crate::metrics::{CloseReason, Direction, RefusalReason};
use crate::pipeline::refusal::ProduceRefusal;
use crate::pipeline::{Cluster, Pipeline, Refused};
use crate::protocol::error_code;
use crate::protocol::produce_response::Refusal;
use crate::rules::Action;

impl ProduceWork {
    /// What was refused with a retriable code is not overtaken; what was refused for good holds nothing back any more.
    pub(super) fn tell_guard(&self, guard: &mut SequenceGuard) -> Result<(), CloseReason> {
        for (position, refusal) in &self.refusals {
            let Some(verdict) = self.verdicts.get(*position) else {
                continue;
            };
            let (topic, partition) = (&verdict.topic.name, index_of(&self.layout, *position));
            if refusal.is_retriable() {
                guard
                    .refuse(topic, partition, verdict.sequence)
                    .map_err(|_| CloseReason::Limit)?;
            } else {
                guard.release(topic, partition, verdict.sequence);
            }
        }
        Ok(())
    }

    /// Counts refusals and words them for the client.
    pub(super) fn note_refusals(&self, pipeline: &mut Pipeline, request: &ProduceFrame<'_>) -> Vec<Refusal> {
        let mut merged: Vec<Refusal> = Vec::with_capacity(self.refusals.len());
        let mut worded: Option<&ProduceRefusal> = None;
        for (position, refusal) in &self.refusals {
            let Some(Verdict { topic, .. }) = self.verdicts.get(*position) else {
                continue;
            };
            let records = self.layout.records(request.frame, *position);
            let partition = index_of(&self.layout, *position);
            let record_count = if refusal.knows_records() {
                record_count(records)
            } else {
                0
            };
            pipeline.metrics.topic(topic.metrics).refused(
                Direction::Request,
                refusal.reason(),
                record_count,
                records.len() as u64,
            );
            // That the audit log stands still is for nobody to write into it.
            let is_audited = *refusal != ProduceRefusal::AuditHeld;
            let event = is_audited.then(|| Refused {
                cluster: request.cluster,
                client: request.client,
                topic,
                partition,
                offset: -1,
                operation: Operation::Produce,
                reason: Reason::Counted(refusal.reason()),
                kek: refusal.kek().cloned(),
            });
            if let Some(event) = event {
                pipeline.audit(event);
            }
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
}

impl Pipeline {
    /// A broker has refused a partition of `topic` with this code: counts that where it was sealed and is too large.
    pub(in crate::pipeline) fn count_too_large(&mut self, cluster: ClusterId, topic: &str, code: i16) {
        if code != error_code::MESSAGE_TOO_LARGE {
            return;
        }
        let Some(Cluster { rules, .. }) = self.clusters.get_mut(cluster) else {
            return;
        };
        let topic = rules.topic(topic, &mut self.metrics, &mut self.work);
        if topic
            .rule
            .as_ref()
            .is_some_and(|rule| matches!(rule.action, Action::Seal(_)))
        {
            let counters = self.metrics.topic(topic.metrics);
            counters.refused(Direction::Request, RefusalReason::TooLargeForBroker, 0, 0);
        }
    }
}
