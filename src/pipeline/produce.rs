//! A Produce request: each partition is sealed, passed or cut out with a refusal that is merged into the answer.
//!
//! A long request is worked off in pieces, so that it does not stall the executor's other connections. First each partition
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
//! - PRODUCE-SEAL-5: a piece ends behind the batch with which its work reaches [`Pipeline::piece_bytes`]: one batch is never
//!   split, because its salt lives in one call (SEAL-1). Nothing that is done is done again.
//! - PRODUCE-SEAL-6: whether a key may still be used is asked for each batch. One that is taken away between two pieces (its
//!   KEK was refused, its time or its share has ended) is looked up anew, and the request waits for it where it stopped, or has
//!   the partitions refused that need it; what was sealed before stays as it is.
//! - PRODUCE-SEAL-7: nothing of a request goes out before all of it is written.

mod judging;
mod refusals;

use std::time::Instant;

use self::judging::{Decision, Key};
use super::Pipeline;
use super::refusal::ProduceRefusal;
use super::sequence_guard::SequenceGuard;
use super::topics::Topic;
use crate::metrics::CloseReason;
use crate::protocol::produce_request::{PartitionRewrite, ProduceRequest, Rewriting};
use crate::protocol::produce_response::Refusal;
use crate::record_batch::BatchHeader;
use crate::rules::Action;

pub(super) use self::judging::Verdict;

/// A Produce request being worked off.
pub(super) struct ProduceWork {
    layout: ProduceRequest,
    /// Of the partitions that were judged, in the order of the layout.
    verdicts: Vec<Verdict>,
    /// The partition that is written next.
    next: usize,
    rewriting: Option<Rewriting>,
    /// Where in the output the request begins, once it is written.
    start: usize,
    refusals: Vec<(usize, ProduceRefusal)>,
}

/// How far the work is.
pub(super) enum Produced {
    /// Some is done; call again.
    Partly,
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
#[derive(PartialEq, Eq)]
enum Stop {
    /// Nowhere: all is written.
    End,
    /// Enough is done for now.
    Piece,
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
    pub(super) now: Instant,
}

impl ProduceWork {
    /// Parses the request; the memory for it is taken from the pipeline and goes back with [`Self::finish`].
    pub(super) fn begin(pipeline: &mut Pipeline, frame: &[u8], version: i16) -> Result<Self, CloseReason> {
        let mut layout = std::mem::take(&mut pipeline.produce);
        layout
            .parse(frame, version)
            .map_err(|_| CloseReason::MalformedFrame)?;
        Ok(Self {
            layout,
            verdicts: std::mem::take(&mut pipeline.verdicts),
            next: 0,
            rewriting: None,
            start: 0,
            refusals: Vec::new(),
        })
    }

    /// Gives the memory back.
    pub(super) fn finish(mut self, pipeline: &mut Pipeline) {
        self.verdicts.clear();
        self.verdicts.shrink_to(REFUSED_PARTITIONS_MAX);
        pipeline.verdicts = self.verdicts;
        pipeline.produce = self.layout;
    }

    /// Where in the output the request begins; `None` while nothing of it is written.
    pub(super) fn start(&self) -> Option<usize> {
        self.rewriting.is_some().then_some(self.start)
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.start = self.start.saturating_sub(bytes);
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.move_forward(bytes);
        }
    }

    /// Does one piece of the work. What is written of the request stands behind what `out` held when its writing began, length
    /// included, and is to be there again with the next call; on an error it is taken back.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        out: &mut Vec<u8>,
    ) -> Result<Produced, CloseReason> {
        let mut piece = Piece {
            done: 0,
            bytes_max: pipeline.piece_bytes,
        };
        if !self.judge_rest(pipeline, request, guard, &mut piece)? {
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
                self.start = out.len();
                out.reserve(self.bytes_expected(request));
            }
            match self.write_on(pipeline, request, guard, &mut piece, out)? {
                Stop::End => {
                    let ended = self.end(pipeline, request, guard);
                    if ended.is_err() {
                        out.truncate(self.start);
                    }
                    return ended;
                }
                Stop::Piece => return Ok(Produced::Partly),
                Stop::Key => {}
            }
        }
    }

    /// Judges partitions until the piece is done; says whether all are judged.
    fn judge_rest(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &SequenceGuard,
        piece: &mut Piece,
    ) -> Result<bool, CloseReason> {
        while self.verdicts.len() < self.layout.partitions.len() {
            if piece.is_done() {
                return Ok(false);
            }
            let position = self.verdicts.len();
            let name = self
                .layout
                .topic_name(request.frame, position)
                .ok_or(CloseReason::MalformedFrame)?;
            let partition = index_of(&self.layout, position);
            let records = self.layout.records(request.frame, position);
            let verdict = pipeline.judge(request, guard, name, partition, records)?;
            self.verdicts.push(verdict);
            piece.looked_at(records.len());
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

    /// How long the request will be, unless it is compressed: a buffer that has to grow on the way is copied whole in one piece.
    fn bytes_expected(&self, request: &ProduceFrame<'_>) -> usize {
        let seals = self
            .verdicts
            .iter()
            .map(Verdict::seal_bytes)
            .fold(0, usize::saturating_add);
        // Counts are the client's word.
        request.frame.len().saturating_add(seals.min(request.frame.len()))
    }

    /// Writes partitions until all are written, the piece is done, or a key is gone.
    fn write_on(
        &mut self,
        pipeline: &mut Pipeline,
        request: &ProduceFrame<'_>,
        guard: &mut SequenceGuard,
        piece: &mut Piece,
        out: &mut Vec<u8>,
    ) -> Result<Stop, CloseReason> {
        let Self {
            layout,
            verdicts,
            next,
            rewriting,
            refusals,
            ..
        } = self;
        let mut stop = Stop::End;
        let written = layout.rewrite_on(request.frame, rewriting, out, &mut |position, out| {
            *next = position;
            if piece.is_done() {
                stop = Stop::Piece;
                return None;
            }
            let Some(verdict) = verdicts.get_mut(position) else {
                return Some(PartitionRewrite::Cut);
            };
            let records = layout.records(request.frame, position);
            let start = out.len();
            let rewrite = match pipeline.write_partition(verdict, records, request.now, out) {
                Ok(Some(rewrite)) => {
                    guard.release(&verdict.topic.name, index_of(layout, position), verdict.sequence);
                    rewrite
                }
                Ok(None) => {
                    stop = Stop::Key;
                    return None;
                }
                Err(refusal) => {
                    refusals.push((position, refusal));
                    PartitionRewrite::Cut
                }
            };
            match rewrite {
                PartitionRewrite::Written => {
                    piece.sealed(records.len().max(out.len().saturating_sub(start)));
                }
                PartitionRewrite::Keep | PartitionRewrite::Cut => piece.looked_at(records.len()),
            }
            Some(rewrite)
        });
        written.map_err(|_| CloseReason::MalformedFrame)?;
        Ok(stop)
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
        self.tell_guard(guard)?;
        if self.refusals.len() > REFUSED_PARTITIONS_MAX {
            return Err(CloseReason::Limit);
        }
        Ok(Produced::Written {
            acks,
            refusals: self.note_refusals(pipeline, request),
        })
    }
}

/// How much of a piece is done.
struct Piece {
    done: usize,
    bytes_max: usize,
}

impl Piece {
    fn is_done(&self) -> bool {
        self.done >= self.bytes_max
    }

    /// A batch was sealed that had, or has, so many bytes.
    fn sealed(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes).saturating_add(BATCH_WORK);
    }

    /// A partition was looked at, and so many bytes of it were checked or copied.
    fn looked_at(&mut self, bytes: usize) {
        self.done = self
            .done
            .saturating_add(bytes / SEALING_TO_COPYING)
            .saturating_add(PARTITION_WORK);
    }
}

impl Pipeline {
    /// Writes one partition; `None` when there is no key that may be used.
    fn write_partition(
        &mut self,
        verdict: &Verdict,
        records: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Option<PartitionRewrite>, ProduceRefusal> {
        let (header, share) = match &verdict.decision {
            Decision::Refuse(refusal) | Decision::Seal(_, Key::Refused(refusal)) => {
                return Err(refusal.clone());
            }
            Decision::Pass => {
                self.count_passed(&verdict.topic, records);
                return Ok(Some(PartitionRewrite::Keep));
            }
            Decision::Seal(_, Key::Wanted) => return Ok(None),
            Decision::Seal(header, Key::Found(share)) => (header, share),
        };
        let Some(Action::Seal(rule)) = verdict.topic.rule.as_ref().map(|rule| &rule.action) else {
            return Err(ProduceRefusal::NoRule);
        };
        let Some(key) = share.take_batch(now) else {
            return Ok(None);
        };
        let start = out.len();
        let bytes_max = self.limits.decompressed_batch_bytes_max;
        self.sealing.seal(records, header, rule, key, bytes_max, out)?;
        let sealed_bytes = out.len().saturating_sub(start) as u64;
        share.note_bytes(sealed_bytes);
        let record_count = u64::try_from(header.record_count).unwrap_or(0);
        self.metrics
            .topic(verdict.topic.metrics)
            .sealed(record_count, records.len() as u64, sealed_bytes);
        Ok(Some(PartitionRewrite::Written))
    }

    fn count_passed(&mut self, topic: &Topic, records: &[u8]) {
        let count =
            BatchHeader::parse(records).map_or(0, |header| u64::try_from(header.record_count).unwrap_or(0));
        self.metrics
            .topic(topic.metrics)
            .passed(count, records.len() as u64);
    }
}

fn index_of(layout: &ProduceRequest, position: usize) -> i32 {
    layout
        .partitions
        .get(position)
        .map_or(-1, |partition| partition.index)
}

/// Partitions of one request that are refused one by one; as many as the sequence guard remembers, and no client sends a
/// batch for more of them at a time.
const REFUSED_PARTITIONS_MAX: usize = SequenceGuard::ENTRIES_MAX;
/// A checksum or a copy of a byte costs about so much less than sealing it.
const SEALING_TO_COPYING: usize = 8;
/// To begin a batch (salt, sub-key) costs about as much as to seal so many bytes.
const BATCH_WORK: usize = 512;
/// Topic, header and key of a partition cost about as much as to seal so many bytes.
const PARTITION_WORK: usize = 128;
