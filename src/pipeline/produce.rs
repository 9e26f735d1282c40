//! A Produce request: each partition is sealed, passed or cut out with a refusal that is merged into the answer.
//!
//! A long request is worked off turn by turn, so that it does not stall the executor's other connections. First each
//! partition is judged, once; then the keys that are needed are found; then the request is written anew, batch after
//! batch.
//!
//! - PRODUCE-SEAL-1: a request waits for keys as a whole, until `seal_wait` is over; then only the partitions without a
//!   key are refused. Before it waits, all are asked for, those that open what comes sealed among them.
//! - PRODUCE-SEAL-2: with acks=0 there is no answer to put a refusal into: the connection is closed, and nothing of the
//!   request is sent.
//! - PRODUCE-SEAL-3: an outage of the KMS is waited out like a key that is late: a refusal costs a plain producer the
//!   order of its records, being held costs nobody anything but time. What is waited for at all: [`seal_wait`].
//! - PRODUCE-SEAL-4: what is remembered of refusals grows with the request: topic and text are shared, and more than
//!   [`REFUSED_PARTITIONS_MAX`] of them close the connection.
//! - PRODUCE-SEAL-5: the work stops when the turn is over ([`super::work`]), in the middle of a batch too, and goes on
//!   there. Nothing that is done is done again, but for a batch whose key was taken away meanwhile (SEAL-BATCH-1).
//! - PRODUCE-SEAL-6: whether a key may still be used is asked whenever the work goes on. One that is taken away
//!   meanwhile (its KEK was refused, its time or its share has ended) is looked up anew, and the request waits for it
//!   where it stopped, or has the partitions refused that need it; batches that were sealed before stay as they are.
//! - PRODUCE-SEAL-7: nothing of a request goes out before all of it is written.
//! - PRODUCE-SEAL-8: a request does not outgrow `request_bytes_max` by being sealed. Partitions are sealed in their
//!   order while they fit beside those that pass; what does not is refused for now, so that the client sends it again
//!   in smaller company. One that alone would not fit is refused for good.
//! - PRODUCE-SEAL-9: of a partition that is named twice the last records count, as at a broker; the others are cut
//!   without a word.

mod judging;
mod raw;
mod refusals;
mod seal_wait;
mod sequence_guard;
mod writing;

use std::time::Instant;

use self::judging::{Decision, Judging, Verdict};
use self::raw::RawWork;
use self::seal_wait::SealWait;
use super::Pipeline;
use super::refusal::ProduceRefusal;
use super::seal_batch::{SealDraft, SealingPool};
use super::topics::Topic;
use super::work::{Pause, Progress};
use crate::envelope::SaltSource;
use crate::growing;
use crate::identity::Client;
use crate::ids::ClusterId;
use crate::metrics::CloseReason;
use crate::protocol::produce_request::{ProduceRequest, Rewriting};
use crate::protocol::produce_response::Refusal;
use crate::record_batch::BatchHeader;
use crate::rules::Asking;

pub use self::sequence_guard::{GuardFull, ProducerSequence, SequenceGuard};

/// What requests use one after the other; one per executor.
pub(super) struct ProducePool {
    layout: ProduceRequest,
    verdicts: Vec<Verdict>,
    sealing: SealingPool,
    /// Which sealing keys are still waited for.
    seal_wait: SealWait,
}

impl ProducePool {
    /// The pool of executor number `executor`.
    pub(super) fn new(executor: usize) -> Self {
        Self {
            layout: ProduceRequest::default(),
            verdicts: Vec::new(),
            sealing: SealingPool::new(SaltSource::new(executor)),
            seal_wait: SealWait::default(),
        }
    }

    /// Frees memory that was not needed since this was called last.
    pub(super) fn trim(&mut self) {
        self.sealing.decompressors.trim();
    }
}

/// A Produce request being worked off.
pub(super) struct ProduceWork {
    layout: ProduceRequest,
    parsed: bool,
    /// Of the partitions that were judged, in the order of the layout.
    verdicts: Vec<Verdict>,
    /// The partition that is being judged.
    judging: Judging,
    /// Partitions that come sealed.
    raw: RawWork,
    /// The partition that is written next.
    next: usize,
    rewriting: Option<Rewriting>,
    /// Of the partition whose records are being written.
    draft: Option<SealDraft>,
    refusals: Vec<(usize, ProduceRefusal)>,
    /// What the partitions take, at most, that pass and are not written yet.
    passed_left: usize,
}

/// What the work has come to.
pub(super) enum Produced {
    /// A key is on the way; call again.
    Waiting {
        /// When to look again if nothing has come by then.
        look_again: Option<Instant>,
    },
    /// It goes on as it is.
    Verbatim { acks: i16 },
    /// It was written anew.
    Written { acks: i16, refusals: Vec<Refusal> },
}

/// Keys are on the way.
struct Awaited {
    /// When to look again if nothing has come by then.
    look_again: Option<Instant>,
}

impl Awaited {
    fn and(self, other: Self) -> Self {
        Self {
            look_again: [self.look_again, other.look_again].into_iter().flatten().min(),
        }
    }
}

/// Why the writing stopped.
enum Stop {
    /// Nowhere: all is written.
    End,
    /// For now.
    Paused(Pause),
    /// The next partition has no key that may be used.
    Key,
}

/// A request and where it stands.
pub(super) struct ProduceFrame<'a> {
    pub(super) cluster: ClusterId,
    /// Whom rules are asked about.
    pub(super) asking: Asking<'a>,
    pub(super) client: &'a Client,
    /// Tells the executor's connections apart, for turns at the KMS.
    pub(super) connection: u32,
    /// Without its length.
    pub(super) frame: &'a [u8],
    pub(super) version: i16,
    /// Since when it is held.
    pub(super) since: Instant,
    /// Keys are not waited for any longer.
    pub(super) overdue: bool,
    /// Memory beyond what is usual may be taken.
    pub(super) may_grow: bool,
    pub(super) now: Instant,
}

impl ProduceWork {
    /// Begins with a request; the memory for it is taken from the pool and goes back with [`Self::finish`].
    pub(super) fn begin(pool: &mut ProducePool, frame: &[u8], version: i16) -> Result<Self, CloseReason> {
        let mut layout = std::mem::take(&mut pool.layout);
        layout
            .begin(frame, version)
            .map_err(|_| CloseReason::MalformedFrame)?;
        Ok(Self {
            layout,
            parsed: false,
            verdicts: std::mem::take(&mut pool.verdicts),
            judging: Judging::default(),
            raw: RawWork::default(),
            next: 0,
            rewriting: None,
            draft: None,
            refusals: Vec::new(),
            passed_left: 0,
        })
    }

    /// Gives the memory back.
    pub(super) fn finish(mut self, pool: &mut ProducePool) {
        if let Some(draft) = self.draft.take() {
            draft.end(&mut pool.sealing, &mut Vec::new());
        }
        self.raw = RawWork::default();
        self.verdicts.clear();
        self.verdicts.shrink_to(REFUSED_PARTITIONS_MAX);
        pool.verdicts = self.verdicts;
        pool.layout = self.layout;
    }

    /// Where in the output the request begins; `None` while nothing of it is written.
    pub(super) fn start(&self) -> Option<usize> {
        self.rewriting.as_ref().map(Rewriting::start)
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.move_forward(bytes);
        }
        if let Some(draft) = &mut self.draft {
            draft.move_forward(bytes);
        }
    }

    /// Bytes of memory that it owns besides the output.
    pub(super) fn bytes_held(&self) -> usize {
        let draft = self.draft.as_ref().map_or(0, SealDraft::bytes_held);
        self.raw.bytes_held().saturating_add(draft)
    }

    /// Works until the request is written or the turn is over. What is written of the request stands behind what `out`
    /// held when its writing began, length included, and is to be there again with the next call; on an error it is
    /// taken back.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Produced>, CloseReason> {
        let parse_on = |bytes_max| self.layout.parse_on(request.frame, bytes_max);
        let parsed = pipeline.work.parse(&mut self.parsed, parse_on);
        let parsed = parsed.map_err(|_| CloseReason::MalformedFrame)?;
        if !parsed || !self.judge_rest(pipeline, request, guard)? {
            return Ok(Progress::Paused(Pause::Spent));
        }
        loop {
            let sealing = self.find_keys(pipeline, request);
            let opening = match self.check_raw(pipeline, request, guard)? {
                Progress::Paused(pause) => return Ok(Progress::Paused(pause)),
                Progress::Done(opening) => opening,
            };
            let awaited = sealing.into_iter().chain(opening).reduce(Awaited::and);
            if let Some(Awaited { look_again }) = awaited {
                return Ok(Progress::Done(Produced::Waiting { look_again }));
            }
            if self.rewriting.is_none() {
                if self.passes_whole() {
                    self.count_all_passed(pipeline, request);
                    return Ok(Progress::Done(Produced::Verbatim {
                        acks: self.layout.acks,
                    }));
                }
                growing::reserve(out, self.bytes_expected(request));
                self.passed_left = self.passed(request);
                let rewriting = Rewriting::begin(&self.layout, request.frame, out);
                self.rewriting = Some(rewriting.map_err(|_| CloseReason::MalformedFrame)?);
            }
            match self.write_on(pipeline, request, guard, out)? {
                Stop::End => {
                    let start = self.start();
                    let ended = self.end(pipeline, request, guard);
                    if ended.is_err() {
                        out.truncate(start.unwrap_or(out.len()));
                    }
                    return ended.map(Progress::Done);
                }
                Stop::Paused(pause) => return Ok(Progress::Paused(pause)),
                Stop::Key => {}
            }
        }
    }

    /// Judges partitions until the turn is over; says whether all are judged.
    fn judge_rest(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &SequenceGuard,
    ) -> Result<bool, CloseReason> {
        while self.verdicts.len() < self.layout.partitions.len() {
            if let Some(verdict) = self.judge(pipeline, request, guard)? {
                self.judging = Judging::default();
                self.verdicts.push(verdict);
            }
            if pipeline.work.is_spent() && self.verdicts.len() < self.layout.partitions.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn passes_whole(&self) -> bool {
        self.verdicts
            .iter()
            .all(|verdict| matches!(verdict.decision, Decision::Pass))
    }

    fn count_all_passed(&self, pipeline: &mut Pipeline, request: &ProduceFrame<'_>) {
        for (position, verdict) in self.verdicts.iter().enumerate() {
            let records = self.layout.records(request.frame, position);
            pipeline.count_passed(&verdict.topic, records);
        }
    }

    /// What the partitions take, at most, that pass.
    fn passed(&self, request: &ProduceFrame<'_>) -> usize {
        let passed = self
            .verdicts
            .iter()
            .enumerate()
            .filter(|(_, verdict)| matches!(verdict.decision, Decision::Pass));
        passed
            .map(|(position, _)| {
                let records = self.layout.records(request.frame, position);
                self.layout.bytes_alone(position, records.len())
            })
            .fold(0, usize::saturating_add)
    }

    /// How long the request will be, unless it is compressed: a buffer that has to grow on the way is copied.
    fn bytes_expected(&self, request: &ProduceFrame<'_>) -> usize {
        let seals = self
            .verdicts
            .iter()
            .map(Verdict::seal_bytes)
            .fold(0, usize::saturating_add);
        // Counts are the client's word.
        let sealed = request.frame.len().saturating_add(seals.min(request.frame.len()));
        sealed.saturating_add(SLACK_BYTES)
    }

    /// All is written: what was refused is remembered and worded.
    fn end(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
    ) -> Result<Produced, CloseReason> {
        let acks = self.layout.acks;
        if acks == 0 && !self.refusals.is_empty() {
            self.note_refusals(pipeline, request);
            return Err(CloseReason::AcksZeroUnsealable);
        }
        if self.refusals.len() > REFUSED_PARTITIONS_MAX {
            return Err(CloseReason::Limit);
        }
        self.tell_guard(guard)?;
        Ok(Produced::Written {
            acks,
            refusals: self.note_refusals(pipeline, request),
        })
    }
}

impl Pipeline {
    fn count_passed(&mut self, topic: &Topic, records: &[u8]) {
        self.metrics
            .topic(topic.metrics)
            .passed(record_count(records), records.len() as u64);
    }
}

/// Records of a batch, as its header says; 0 where it has none.
fn record_count(records: &[u8]) -> u64 {
    BatchHeader::parse(records).map_or(0, |header| u64::try_from(header.record_count).unwrap_or(0))
}

fn index_of(layout: &ProduceRequest, position: usize) -> i32 {
    layout
        .partitions
        .get(position)
        .map_or(-1, |partition| partition.index)
}

/// Room for what steps want before they write: a buffer that lacks a few bytes at its end would be moved whole.
const SLACK_BYTES: usize = 4096;
/// Partitions of one request that are refused one by one; as many as the sequence guard remembers, and no client sends
/// a batch for more of them at a time.
const REFUSED_PARTITIONS_MAX: usize = SequenceGuard::ENTRIES_MAX;
