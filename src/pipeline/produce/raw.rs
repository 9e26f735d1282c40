//! Records that come sealed already: of clients that a rule's `raw_for` names.
//!
//! - RAW-1: nothing of such a client goes on that is not sealed for the topic: each record is in a form that opens,
//!   under a KEK and for a domain that the rule has, and opens, unless the rule says that nobody tries (`raw_verify`).
//!   What nobody vouches for, a null value without a seal among it, is refused.
//! - RAW-2: what was found good goes on byte for byte.
//! - RAW-3: nothing but records stands in it: of a compressed batch, nothing behind the end of its stream, or beside
//!   what comes out of it (CODEC-5).

use std::time::Duration;

use zeroize::Zeroizing;

use super::judging::Decision;
use super::{ProduceFrame, ProduceWork, Produced, SequenceGuard, index_of};
use crate::keys::{Demand, Urgency};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::open::{Context, Means, OpenDraft, Opened};
use crate::pipeline::refusal::{FetchRefusal, ProduceRefusal};
use crate::pipeline::topics::Topic;
use crate::pipeline::work::{PARTITION_WORK, Pause, Progress};
use crate::rules::SealRule;

/// A partition that is being looked at.
pub(super) struct RawCheck {
    /// Its batch: opening works on a copy.
    batch: Vec<u8>,
    /// What came of opening, which nobody gets: overwritten in the end.
    opened: Zeroizing<Vec<u8>>,
    draft: OpenDraft,
}

impl RawCheck {
    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        let copies = self.batch.capacity().saturating_add(self.opened.capacity());
        copies.saturating_add(self.draft.bytes_held())
    }
}

impl ProduceWork {
    /// Looks at what comes sealed, partition after partition; `None` when that is done: each of them passes or is
    /// refused.
    pub(super) fn check_raw(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
    ) -> Result<Option<Progress<Produced>>, CloseReason> {
        for position in self.raw_from..self.verdicts.len() {
            self.raw_from = position;
            let verdict = self.verdicts.get(position).ok_or(CloseReason::Internal)?;
            let Decision::Raw(header) = &verdict.decision else {
                continue;
            };
            if pipeline.work.is_spent() {
                return Ok(Some(Progress::Paused(Pause::Spent)));
            }
            pipeline.work.charge(PARTITION_WORK);
            let rule = verdict.topic.raw.as_ref().ok_or(CloseReason::Internal)?;
            let mut raw = match self.raw.take() {
                Some(raw) => raw,
                None => {
                    let batch = self.layout.records(request.frame, position).to_vec();
                    pipeline.work.charge_copied(batch.len());
                    RawCheck {
                        // Opening makes records shorter: what is not compressed need not move and leave copies.
                        opened: Zeroizing::new(Vec::with_capacity(batch.len())),
                        batch,
                        draft: OpenDraft::begin(header, !rule.access.raw_verify),
                    }
                }
            };
            let checked = match pipeline.check_raw(&mut raw, &verdict.topic, rule, request) {
                Progress::Paused(pause) => {
                    self.raw = Some(raw);
                    return Ok(Some(Progress::Paused(pause)));
                }
                Progress::Done(Opened::Unchanged | Opened::Written { .. }) => Ok(()),
                Progress::Done(Opened::Waiting) if request.overdue => Err(ProduceRefusal::KeyPending),
                Progress::Done(Opened::Waiting) => {
                    let look_again = request.now.checked_add(LOOK_AGAIN_AFTER);
                    return Ok(Some(Progress::Done(Produced::Waiting { look_again })));
                }
                Progress::Done(
                    Opened::Refused(refusal)
                    | Opened::Skipped {
                        unreadable: (_, refusal),
                        ..
                    },
                ) => Err(match refusal {
                    FetchRefusal::Batch(error) => error.into(),
                    refusal => ProduceRefusal::NotSealed(refusal),
                }),
            };
            let (name, sequence) = (&verdict.topic.name, verdict.sequence);
            if checked.is_ok() {
                guard.release(name, index_of(&self.layout, position), sequence);
            }
            let verdict = self.verdicts.get_mut(position).ok_or(CloseReason::Internal)?;
            verdict.decision = checked.map_or_else(Decision::Refuse, |()| Decision::Pass);
        }
        self.raw_from = self.verdicts.len();
        Ok(None)
    }
}

impl Pipeline {
    /// RAW-1
    fn check_raw(
        &mut self,
        raw: &mut RawCheck,
        topic: &Topic,
        rule: &SealRule,
        request: &ProduceFrame<'_>,
    ) -> Progress<Opened> {
        let context = Context {
            topic,
            rule,
            demand: Demand {
                urgency: Urgency::Tail,
                connection: request.connection,
            },
            opens: rule.access.raw_verify,
            records_only: true,
            decompressed_bytes_max: self.limits.decompressed_batch_bytes_max,
            may_grow: request.may_grow,
            begun: request.since,
            now: request.now,
        };
        let mut means = Means {
            keys: &mut self.keys,
            work: &mut self.work,
            pool: &mut self.fetch.opening,
        };
        loop {
            let advanced = raw
                .draft
                .advance(&mut raw.batch, &context, &mut means, &mut raw.opened);
            match advanced {
                // It is ours alone: nobody else can make room in it.
                Progress::Paused(Pause::Room(_)) if !request.may_grow => {
                    return Progress::Paused(Pause::Full);
                }
                Progress::Paused(Pause::Room(bytes)) => {
                    means.work.charge_copied(raw.opened.len());
                    raw.opened.reserve(bytes);
                    if means.work.is_spent() {
                        return Progress::Paused(Pause::Spent);
                    }
                }
                progress => return progress,
            }
        }
    }
}

/// Keys that are asked for wake whoever waits; after an outage nothing is under way that would.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
