//! A Produce request: each partition is sealed, passed or cut out with a refusal that is merged into the answer.
//!
//! A long request is worked off turn by turn, so that it does not stall the executor's other connections. First each partition
//! is judged, once; then the keys that are needed are found; then the request is written anew, batch after batch.
//!
//! - PRODUCE-SEAL-1: a request waits for keys as a whole, until `seal_wait` is over; then only the partitions without a key
//!   are refused.
//! - PRODUCE-SEAL-2: with acks=0 there is no answer to put a refusal into: the connection is closed, and nothing of the
//!   request is sent.
//! - PRODUCE-SEAL-3: an outage of the KMS is waited out like a key that is late: a refusal costs a plain producer the order of
//!   its records, being held costs nobody anything but time. What is waited for at all: [`super::seal_wait`].
//! - PRODUCE-SEAL-4: what is remembered of refusals grows with the request: topic and text are shared, and more than
//!   [`REFUSED_PARTITIONS_MAX`] of them close the connection.
//! - PRODUCE-SEAL-5: the work stops when the turn is over ([`super::work`]), in the middle of a batch too, and goes on there.
//!   Nothing that is done is done again, but for a batch whose key was taken away meanwhile (SEAL-1).
//! - PRODUCE-SEAL-6: whether a key may still be used is asked whenever the work goes on. One that is taken away meanwhile (its
//!   KEK was refused, its time or its share has ended) is looked up anew, and the request waits for it where it stopped, or has
//!   the partitions refused that need it; batches that were sealed before stay as they are.
//! - PRODUCE-SEAL-7: nothing of a request goes out before all of it is written.
//! - PRODUCE-SEAL-8: a request does not outgrow `request_bytes_max` by being sealed: what would come behind is refused.

mod judging;
mod refusals;

use std::time::Instant;

use self::judging::{Decision, Judging, Key};
use super::Pipeline;
use super::refusal::ProduceRefusal;
use super::seal_batch::{SealContext, SealDraft, Sealed, has_room};
use super::sequence_guard::SequenceGuard;
use super::topics::Topic;
use super::work::{PARSED_BYTES, PARSING_WORK, PARTITION_WORK, STEP_MAX};
use crate::metrics::CloseReason;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::produce_request::{ProduceRequest, Rewriting, Writing};
use crate::protocol::produce_response::Refusal;
use crate::record_batch::BatchHeader;
use crate::rules::{Action, SealRule};

pub(super) use self::judging::Verdict;

/// A Produce request being worked off.
pub(super) struct ProduceWork {
    layout: ProduceRequest,
    parsed: bool,
    /// Of the partitions that were judged, in the order of the layout.
    verdicts: Vec<Verdict>,
    /// The partition that is being judged.
    judging: Judging,
    /// The partition that is written next.
    next: usize,
    rewriting: Option<Rewriting>,
    /// Of the partition whose records are being written.
    draft: Option<SealDraft>,
    refusals: Vec<(usize, ProduceRefusal)>,
}

/// How far the work is.
pub(super) enum Produced {
    /// The turn is over; call again.
    Partly,
    /// The output has to have room for so many bytes more first.
    Room(usize),
    /// More memory is needed than may be taken now.
    Full,
    /// A key is on the way.
    Waiting {
        /// When to look again if nothing has come by then.
        look_again: Option<Instant>,
    },
    /// It goes on as it is.
    Verbatim { acks: i16 },
    /// It was written anew.
    Written { acks: i16, refusals: Vec<Refusal> },
}

/// Why the writing stopped.
enum Stop {
    /// Nowhere: all is written.
    End,
    /// For now.
    At(Produced),
    /// The next partition has no key that may be used.
    Key,
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
    /// Memory beyond what is usual may be taken.
    pub(super) may_grow: bool,
    pub(super) now: Instant,
}

impl ProduceWork {
    /// Begins with a request; the memory for it is taken from the pipeline and goes back with [`Self::finish`].
    pub(super) fn begin(pipeline: &mut Pipeline, frame: &[u8], version: i16) -> Result<Self, CloseReason> {
        let mut layout = std::mem::take(&mut pipeline.produce);
        layout
            .begin(frame, version)
            .map_err(|_| CloseReason::MalformedFrame)?;
        Ok(Self {
            layout,
            parsed: false,
            verdicts: std::mem::take(&mut pipeline.verdicts),
            judging: Judging::default(),
            next: 0,
            rewriting: None,
            draft: None,
            refusals: Vec::new(),
        })
    }

    /// Gives the memory back.
    pub(super) fn finish(mut self, pipeline: &mut Pipeline) {
        if let Some(draft) = self.draft.take() {
            draft.end(&mut pipeline.sealing, &mut Vec::new());
        }
        self.verdicts.clear();
        self.verdicts.shrink_to(REFUSED_PARTITIONS_MAX);
        pipeline.verdicts = self.verdicts;
        pipeline.produce = self.layout;
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
        self.draft.as_ref().map_or(0, SealDraft::bytes_held)
    }

    /// Works until the request is written or the turn is over. What is written of the request stands behind what `out` held when
    /// its writing began, length included, and is to be there again with the next call; on an error it is taken back.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        out: &mut Vec<u8>,
    ) -> Result<Produced, CloseReason> {
        if !self.parse_rest(pipeline, request)? || !self.judge_rest(pipeline, request, guard)? {
            return Ok(Produced::Partly);
        }
        loop {
            if let Some(wait) = self.find_keys(pipeline, request) {
                return Ok(Produced::Waiting {
                    look_again: wait.look_again,
                });
            }
            if self.rewriting.is_none() {
                if self.passes_whole() {
                    self.count_all_passed(pipeline, request);
                    return Ok(Produced::Verbatim {
                        acks: self.layout.acks,
                    });
                }
                out.reserve(self.bytes_expected(request));
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
                    return ended;
                }
                Stop::At(produced) => return Ok(produced),
                Stop::Key => {}
            }
        }
    }

    /// Parses on until the turn is over; says whether all is parsed.
    fn parse_rest(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
    ) -> Result<bool, CloseReason> {
        while !self.parsed {
            let parsed = self.layout.parse_on(request.frame, PARSED_BYTES);
            self.parsed = parsed.map_err(|_| CloseReason::MalformedFrame)?;
            if !self.parsed {
                pipeline.work.charge(PARSING_WORK);
                if pipeline.work.is_spent() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Judges partitions until the turn is over; says whether all are judged.
    fn judge_rest(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &SequenceGuard,
    ) -> Result<bool, CloseReason> {
        while self.verdicts.len() < self.layout.partitions.len() {
            let position = self.verdicts.len();
            let name = self
                .layout
                .topic_name(request.frame, position)
                .ok_or(CloseReason::MalformedFrame)?;
            let partition = index_of(&self.layout, position);
            let records = self.layout.records(request.frame, position);
            let verdict = pipeline.judge(request, guard, name, partition, records, &mut self.judging)?;
            if let Some(verdict) = verdict {
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

    /// Writes partitions until all are written, the turn is over, or a key is gone.
    fn write_on(
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
            let room = request.frame.len().saturating_sub(copied).min(STEP_MAX);
            if !has_room(out, room) {
                return Ok(Stop::At(Produced::Room(room)));
            }
            let writing = rewriting.advance(&self.layout, request.frame, out, STEP_MAX);
            let writing = writing.map_err(malformed)?;
            pipeline
                .work
                .charge_copied(rewriting.copied().saturating_sub(copied));
            match writing {
                Writing::Copied(_) | Writing::Partition(_) if pipeline.work.is_spent() => {
                    return Ok(Stop::At(Produced::Partly));
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
        let begun = match &verdict.decision {
            Decision::Pass => {
                pipeline.count_passed(&verdict.topic, records);
                return rewriting.keep(&self.layout, out).map_err(malformed);
            }
            Decision::Refuse(refusal) | Decision::Seal(_, Key::Refused(refusal)) => Err(refusal.clone()),
            Decision::Seal(header, _) => {
                // Here, and again when it is sealed: most would not fit.
                let written = out.len().saturating_sub(rewriting.start());
                let rest = request.frame.len().saturating_sub(rewriting.copied());
                check_length(written.saturating_add(rest), pipeline.limits.request_bytes_max)
                    .and_then(|()| pipeline.begin_to_seal(verdict, header, records))
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
                let context = SealContext {
                    batch,
                    rule,
                    share: match key {
                        Key::Found(share) => Some(share),
                        Key::Wanted | Key::Refused(_) => None,
                    },
                    now: request.now,
                    may_grow: request.may_grow,
                };
                draft.advance(&context, &mut pipeline.work, &mut pipeline.sealing, out)
            }
            _ => Err(ProduceRefusal::NoRule),
        };
        let refusal = match sealed {
            Ok(Sealed::Done) => {
                draft.move_back(rewriting.widen(out).map_err(malformed)?);
                let written = out.len().saturating_sub(rewriting.start());
                let end = rewriting.copied().saturating_add(batch.len());
                let rest = request.frame.len().saturating_sub(end);
                check_length(written.saturating_add(rest), pipeline.limits.request_bytes_max).err()
            }
            Ok(Sealed::Spent) => return Ok(Some(Stop::At(Produced::Partly))),
            Ok(Sealed::Room(bytes)) => return Ok(Some(Stop::At(Produced::Room(bytes)))),
            Ok(Sealed::Full) => return Ok(Some(Stop::At(Produced::Full))),
            Ok(Sealed::NoKey) => return Ok(Some(Stop::Key)),
            Err(refusal) => Some(refusal),
        };
        let Some(draft) = self.draft.take() else {
            return Err(CloseReason::Internal);
        };
        self.next = position.saturating_add(1);
        match refusal {
            None => {
                let sealed_bytes = draft.finish(&mut pipeline.sealing);
                guard.release(
                    &verdict.topic.name,
                    index_of(&self.layout, position),
                    verdict.sequence,
                );
                pipeline.count_sealed(verdict, batch, sealed_bytes);
                rewriting.written(&self.layout, out).map_err(malformed)?;
            }
            Some(refusal) => {
                draft.end(&mut pipeline.sealing, out);
                self.refusals.push((position, refusal));
                rewriting.cut(&self.layout, out).map_err(malformed)?;
            }
        }
        Ok(None)
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
    fn begin_to_seal(
        &mut self,
        verdict: &Verdict,
        header: &BatchHeader,
        records: &[u8],
    ) -> Result<SealDraft, ProduceRefusal> {
        let rule = verdict.rule().ok_or(ProduceRefusal::NoRule)?;
        let bytes_max = self.limits.decompressed_batch_bytes_max;
        SealDraft::begin(records, header, rule, bytes_max, &mut self.sealing)
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

    fn count_passed(&mut self, topic: &Topic, records: &[u8]) {
        let count =
            BatchHeader::parse(records).map_or(0, |header| u64::try_from(header.record_count).unwrap_or(0));
        self.metrics
            .topic(topic.metrics)
            .passed(count, records.len() as u64);
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

/// PRODUCE-SEAL-8
fn check_length(bytes: usize, bytes_max: usize) -> Result<(), ProduceRefusal> {
    // The length in front of the frame does not count.
    if bytes > bytes_max.saturating_add(LENGTH_PREFIX_BYTES) {
        return Err(ProduceRefusal::RequestTooLarge { bytes_max });
    }
    Ok(())
}

fn index_of(layout: &ProduceRequest, position: usize) -> i32 {
    layout
        .partitions
        .get(position)
        .map_or(-1, |partition| partition.index)
}

/// Room for what steps want before they write: a buffer that lacks a few bytes at its end would be moved whole.
const SLACK_BYTES: usize = 4096;
/// Partitions of one request that are refused one by one; as many as the sequence guard remembers, and no client sends a
/// batch for more of them at a time.
const REFUSED_PARTITIONS_MAX: usize = SequenceGuard::ENTRIES_MAX;
