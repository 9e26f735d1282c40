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
use super::{Awaited, ProduceFrame, ProduceWork, SequenceGuard, index_of};
use crate::keys::{Demand, Urgency};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::open::{Context, Means, OpenDraft, Opened};
use crate::pipeline::refusal::{FetchRefusal, ProduceRefusal};
use crate::pipeline::topics::Topic;
use crate::pipeline::work::{PARTITION_WORK, Pause, Progress};
use crate::record_batch::BatchHeader;
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

/// What has become of a request's partitions that come sealed.
#[derive(Default)]
pub(super) struct RawWork {
    /// The one that is being looked at.
    check: Option<RawCheck>,
    /// Those in front of this one are done with.
    from: usize,
    /// The first whose key is on the way, while those behind it are looked at so that theirs are asked for.
    awaited: Option<usize>,
    /// All keys were asked for: from now on one partition is waited for after the other, and not all of them are looked
    /// at whenever a key comes.
    all_asked: bool,
}

impl RawWork {
    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.check.as_ref().map_or(0, RawCheck::bytes_held)
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
    ) -> Result<Progress<Option<Awaited>>, CloseReason> {
        let awaited = Awaited {
            look_again: request.now.checked_add(LOOK_AGAIN_AFTER),
        };
        for position in self.raw.from..self.verdicts.len() {
            self.raw.from = position;
            let verdict = self.verdicts.get(position).ok_or(CloseReason::Internal)?;
            let Decision::Raw(header) = verdict.decision else {
                continue;
            };
            if pipeline.work.is_spent() {
                return Ok(Progress::Paused(Pause::Spent));
            }
            let checked = match self.look_at_raw(pipeline, request, position, &header)? {
                Progress::Paused(pause) => return Ok(Progress::Paused(pause)),
                Progress::Done(Opened::Unchanged | Opened::Written { .. }) => Ok(()),
                Progress::Done(Opened::Waiting) if request.overdue => Err(ProduceRefusal::KeyPending),
                Progress::Done(Opened::Waiting) if self.raw.all_asked => {
                    return Ok(Progress::Done(Some(awaited)));
                }
                Progress::Done(Opened::Waiting) => {
                    self.raw.awaited.get_or_insert(position);
                    continue;
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
            let verdict = self.verdicts.get_mut(position).ok_or(CloseReason::Internal)?;
            if checked.is_ok() {
                let index = index_of(&self.layout, position);
                guard.release(&verdict.topic.name, index, verdict.sequence);
            }
            verdict.decision = checked.map_or_else(Decision::Refuse, |()| Decision::Pass);
        }
        self.raw.all_asked = true;
        let Some(first) = self.raw.awaited.take() else {
            self.raw.from = self.verdicts.len();
            return Ok(Progress::Done(None));
        };
        self.raw.from = first;
        // Its time has ended since the first was looked at: now they are refused.
        if request.overdue {
            return Ok(Progress::Paused(Pause::Spent));
        }
        Ok(Progress::Done(Some(awaited)))
    }

    /// Looks at one partition.
    fn look_at_raw(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        position: usize,
        header: &BatchHeader,
    ) -> Result<Progress<Opened>, CloseReason> {
        pipeline.work.charge(PARTITION_WORK);
        let verdict = self.verdicts.get(position).ok_or(CloseReason::Internal)?;
        let rule = verdict.topic.raw.as_ref().ok_or(CloseReason::Internal)?;
        let mut check = match self.raw.check.take() {
            Some(check) => check,
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
        let progress = pipeline.check_raw(&mut check, &verdict.topic, rule, request);
        if matches!(progress, Progress::Paused(_)) {
            self.raw.check = Some(check);
        }
        Ok(progress)
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
