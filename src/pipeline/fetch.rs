//! A Fetch response: each partition is opened, passed, or emptied with a code.
//!
//! The response is written anew in one pass: what lies between two records fields is copied. A long one is worked off in
//! pieces, so that it does not stall the executor's other connections.
//!
//! - FETCH-OPEN-1: partitions stay in place, whatever happens to their records (KIP-227).
//! - FETCH-OPEN-2: batches in front of one that may not be delivered are delivered first, with code 0; the code comes when
//!   that batch is the first.
//! - FETCH-OPEN-3: a batch whose key is on the way ends what is delivered of its partition: code 0, watermarks untouched. All
//!   keys of a response are asked for at once.
//! - FETCH-OPEN-4: a response that delivers nothing because of us is held for `fetch_hold`, or clients spin.
//! - FETCH-OPEN-5: a truncated tail is dropped, even if it is all there is: some clients read records out of a part of a
//!   batch, and nobody has verified them.

use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use super::Pipeline;
use super::open_batch::{Context, Opened};
use super::recordless;
use super::refusal::FetchRefusal;
use super::topics::Topic;
use crate::envelope::Form;
use crate::keys::{Demand, Urgency};
use crate::metrics::{CloseReason, Direction};
use crate::protocol::error_code;
use crate::protocol::fetch_response::{FetchPartition, FetchResponse};
use crate::protocol::writer::{LengthForm, LengthSlot};
use crate::record_batch::{BatchKind, BatchSlice, Batches};
use crate::rules::{Action, Forms, SealRule};

/// A Fetch response being worked off.
pub(super) struct FetchWork {
    layout: FetchResponse,
    /// The partition that comes next.
    partition: usize,
    /// The partition that is half done.
    open: Option<OpenPartition>,
    /// How much of the frame is copied or replaced.
    copied: usize,
    /// Where the response begins in the output.
    start: usize,
    length: Option<LengthSlot>,
    /// Any records are delivered.
    delivers: bool,
    /// A partition was cut short because its key is on the way.
    waits: bool,
    /// A partition was emptied or cut short because of us.
    emptied: bool,
    /// Partitions whose refusals were counted and audited.
    noted: Vec<usize>,
    /// The same of earlier times, when the response was held: once is enough.
    noted_before: Vec<usize>,
}

/// A partition whose records are being written.
struct OpenPartition {
    topic: Rc<Topic>,
    error_code_at: usize,
    records_length: LengthSlot,
    content_start: usize,
    /// How far its records are worked off.
    at: usize,
    /// A batch ended the delivery; the rest is only looked at for keys.
    ended: bool,
}

/// A response and what is known about it.
pub(super) struct FetchFrame<'a> {
    pub(super) cluster: usize,
    /// Without its length.
    pub(super) frame: &'a mut [u8],
    pub(super) version: i16,
    /// Tells the executor's connections apart, for turns at the KMS.
    pub(super) connection: u32,
    pub(super) now: Instant,
}

/// How far the work is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Some is done; call again.
    Partly,
    /// The response is written.
    Written,
    /// The response is written, and delivers nothing because of us: it is to be held.
    Nothing {
        /// It may deliver something when a key arrives.
        waits: bool,
    },
}

impl FetchWork {
    /// Parses the response; its layout is taken from the pipeline and goes back with [`Self::finish`].
    pub(super) fn begin(pipeline: &mut Pipeline, frame: &[u8], version: i16) -> Result<Self, CloseReason> {
        let mut layout = std::mem::take(&mut pipeline.fetch);
        layout
            .parse(frame, version)
            .map_err(|_| CloseReason::MalformedFrame)?;
        Ok(Self {
            layout,
            partition: 0,
            open: None,
            copied: 0,
            start: 0,
            length: None,
            delivers: false,
            waits: false,
            emptied: false,
            noted: Vec::new(),
            noted_before: Vec::new(),
        })
    }

    /// Gives the layout back.
    pub(super) fn finish(self, pipeline: &mut Pipeline) {
        pipeline.fetch = self.layout;
    }

    /// To be worked off once more, from the start.
    pub(super) fn again(mut self) -> Self {
        self.noted_before.append(&mut self.noted);
        self.noted_before.sort_unstable();
        Self {
            partition: 0,
            open: None,
            copied: 0,
            start: 0,
            length: None,
            delivers: false,
            waits: false,
            emptied: false,
            ..self
        }
    }

    /// Whether every partition is passed: nothing to write anew.
    pub(super) fn is_verbatim(
        &self,
        pipeline: &mut Pipeline,
        fetch: &FetchFrame<'_>,
    ) -> Result<bool, CloseReason> {
        for position in 0..self.layout.partitions.len() {
            let topic = topic_of(&self.layout, pipeline, fetch, position)?;
            let passes = matches!(
                topic.rule.as_ref().map(|rule| &rule.action),
                Some(Action::Pass | Action::KafkaInternal)
            );
            let empty = self.layout.records(fetch.frame, position).is_empty();
            let sealed = matches!(
                topic.rule.as_ref().map(|rule| &rule.action),
                Some(Action::Seal(_))
            );
            if !(passes || (sealed && empty)) {
                return Ok(false);
            }
        }
        for position in 0..self.layout.partitions.len() {
            let bytes = self.layout.records(fetch.frame, position).len();
            if bytes > 0 {
                let topic = topic_of(&self.layout, pipeline, fetch, position)?;
                pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
            }
        }
        Ok(true)
    }

    /// Works off batches until the piece or the response is done. What is written stands at the end of `out`, and is to be there
    /// again with the next call.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Fetched, CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        if self.length.is_none() {
            self.start = out.len();
            // Opening makes records shorter; the frame is in hand, so that its length is no mere announcement.
            out.reserve(fetch.frame.len().saturating_add(size_of::<i32>()));
            self.length = Some(LengthSlot::reserve(out, LengthForm::Int32, 0).map_err(malformed)?);
        }
        let mut done = 0usize;
        while let Some(partition) = self.layout.partitions.get(self.partition).cloned() {
            if self.open.is_none() && !self.enter(pipeline, fetch, &partition, out)? {
                self.partition += 1;
                continue;
            }
            while let Some(bytes) = self.next_batch(pipeline, fetch, &partition, out)? {
                done = done.saturating_add(bytes);
                if done >= pipeline.piece_bytes {
                    return Ok(Fetched::Partly);
                }
            }
            self.leave(out)?;
            self.partition += 1;
        }
        self.copy_to(fetch.frame.len(), fetch.frame, out)?;
        if let Some(length) = self.length.take() {
            length.fill_with_content_len(out).map_err(malformed)?;
        }
        if self.emptied && !self.delivers {
            return Ok(Fetched::Nothing { waits: self.waits });
        }
        Ok(Fetched::Written)
    }

    /// Where in the output the response begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        self.start = self.start.saturating_sub(bytes);
        if let Some(length) = &mut self.length {
            length.move_forward(bytes);
        }
        if let Some(open) = &mut self.open {
            open.error_code_at = open.error_code_at.saturating_sub(bytes);
            open.content_start = open.content_start.saturating_sub(bytes);
            open.records_length.move_forward(bytes);
        }
    }

    /// Takes back what was written.
    pub(super) fn retract(&self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    /// Begins a partition: `false` when there is nothing to work off in it.
    fn enter(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        partition: &FetchPartition,
        out: &mut Vec<u8>,
    ) -> Result<bool, CloseReason> {
        let topic = topic_of(&self.layout, pipeline, fetch, self.partition)?;
        let records = records_of(partition);
        let refusal = match topic.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Seal(_)) if records.is_empty() => None,
            Some(Action::Pass | Action::KafkaInternal) => {
                if !records.is_empty() {
                    self.delivers = true;
                    pipeline
                        .metrics
                        .topic(topic.metrics)
                        .passed(0, records.len() as u64);
                }
                None
            }
            Some(Action::Seal(_)) => {
                self.copy_to(partition.error_code_at, fetch.frame, out)?;
                let error_code_at = out.len();
                self.copy_to(partition.records_length.start, fetch.frame, out)?;
                let records_length = LengthSlot::reserve(out, self.form(fetch.version), records.len())
                    .map_err(|_| CloseReason::MalformedFrame)?;
                self.copied = records.end;
                self.open = Some(OpenPartition {
                    topic,
                    error_code_at,
                    content_start: records_length.content_start(),
                    records_length,
                    at: records.start,
                    ended: false,
                });
                return Ok(true);
            }
            Some(Action::Reject { .. }) => Some(FetchRefusal::Rejected),
            None => Some(FetchRefusal::NoRule),
        };
        if let Some(refusal) = refusal {
            // A broker's own error says more than ours.
            if partition.error_code == error_code::NONE {
                self.note(
                    pipeline,
                    fetch,
                    &topic,
                    partition.index,
                    -1,
                    &refusal,
                    records.len(),
                );
                self.copy_to(partition.error_code_at, fetch.frame, out)?;
                out.extend_from_slice(&refusal.error_code().to_be_bytes());
                self.copied = partition.error_code_at.saturating_add(size_of::<i16>());
            }
            self.copy_to(partition.records_length.start, fetch.frame, out)?;
            let empty = LengthSlot::reserve(out, self.form(fetch.version), 0)
                .map_err(|_| CloseReason::MalformedFrame)?;
            empty.fill(out, 0).map_err(|_| CloseReason::MalformedFrame)?;
            self.copied = records.end;
            self.emptied = true;
        }
        self.copy_to(partition.end, fetch.frame, out)?;
        Ok(false)
    }

    /// Works off one batch of the partition, and says what it had of bytes, clear or sealed; `None` behind the last one.
    fn next_batch(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        partition: &FetchPartition,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, CloseReason> {
        let Some(mut open) = self.open.take() else {
            return Ok(None);
        };
        let end = records_of(partition).end;
        let rest = fetch
            .frame
            .get_mut(open.at..end)
            .ok_or(CloseReason::MalformedFrame)?;
        let mut batches = Batches::new(rest);
        let slice = batches.next();
        let bytes = match &slice {
            Some(Ok(BatchSlice { span, .. })) => span.len(),
            Some(Err(_)) => rest.len(),
            None => {
                // FETCH-OPEN-5. Brokers send a part alone only to versions of Fetch below 3.
                if !rest.is_empty() && out.len() == open.content_start && !open.ended {
                    self.emptied = true;
                }
                self.open = Some(open);
                return Ok(None);
            }
        };
        let topic = Rc::clone(&open.topic);
        let Some(Action::Seal(rule)) = topic.rule.as_ref().map(|rule| &rule.action) else {
            return Err(CloseReason::Internal);
        };
        let mut written_bytes = 0;
        let (base_offset, opened) = match slice {
            Some(Ok(slice)) => {
                let batch = rest
                    .get_mut(slice.span.range())
                    .ok_or(CloseReason::MalformedFrame)?;
                let mut base = [0; 8];
                base.copy_from_slice(batch.get(..8).ok_or(CloseReason::MalformedFrame)?);
                let context = Context {
                    topic: &topic,
                    rule,
                    demand: Demand {
                        urgency: urgency(partition, i64::from_be_bytes(base)),
                        connection: fetch.connection,
                    },
                    decompressed_bytes_max: pipeline.limits.decompressed_batch_bytes_max,
                    now: fetch.now,
                };
                let written_from = out.len();
                let opened = open_slice(pipeline, &slice, batch, rule, &context, open.ended, out);
                written_bytes = out.len().saturating_sub(written_from);
                if opened == Opened::Unchanged && !open.ended {
                    out.extend_from_slice(batch);
                }
                (i64::from_be_bytes(base), opened)
            }
            Some(Err(error)) => (-1, Opened::Refused(error.into())),
            None => return Err(CloseReason::Internal),
        };
        open.at = open.at.saturating_add(bytes);
        match opened {
            Opened::Unchanged => {
                if !open.ended {
                    self.delivers = true;
                    pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
                }
            }
            Opened::Written { records, unreadable } => {
                self.delivers = true;
                pipeline
                    .metrics
                    .topic(topic.metrics)
                    .opened(records, written_bytes as u64);
                if let Some((count, refusal)) = unreadable {
                    pipeline.metrics.topic(topic.metrics).records_skipped += count;
                    self.note(pipeline, fetch, &topic, partition.index, base_offset, &refusal, 0);
                }
            }
            Opened::Waiting => {
                self.waits = true;
                if !open.ended && out.len() == open.content_start {
                    self.emptied = true;
                }
                open.ended = true;
            }
            Opened::Refused(refusal) => {
                if !open.ended {
                    self.note(
                        pipeline,
                        fetch,
                        &topic,
                        partition.index,
                        base_offset,
                        &refusal,
                        bytes,
                    );
                    if out.len() == open.content_start {
                        self.emptied = true;
                        let code = refusal.error_code().to_be_bytes();
                        if let Some(field) =
                            out.get_mut(open.error_code_at..open.error_code_at.saturating_add(code.len()))
                        {
                            field.copy_from_slice(&code);
                        }
                    }
                }
                // What lies behind will be asked for again; its keys are not worth asking for now.
                open.ended = true;
                open.at = end;
            }
        }
        self.open = Some(open);
        Ok(Some(bytes.max(written_bytes)))
    }

    /// Ends a partition. The tagged fields behind its records are copied with what comes next.
    fn leave(&mut self, out: &mut Vec<u8>) -> Result<(), CloseReason> {
        if let Some(open) = self.open.take() {
            open.records_length
                .fill_with_content_len(out)
                .map_err(|_| CloseReason::MalformedFrame)?;
        }
        Ok(())
    }

    fn copy_to(&mut self, position: usize, frame: &[u8], out: &mut Vec<u8>) -> Result<(), CloseReason> {
        out.extend_from_slice(
            frame
                .get(self.copied..position)
                .ok_or(CloseReason::MalformedFrame)?,
        );
        self.copied = position;
        Ok(())
    }

    fn form(&self, version: i16) -> LengthForm {
        LengthForm::of(version >= FLEXIBLE_FROM)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one fact each, told to the counters and to the audit log"
    )]
    fn note(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &FetchFrame<'_>,
        topic: &Topic,
        partition: i32,
        offset: i64,
        refusal: &FetchRefusal,
        bytes: usize,
    ) {
        if self.noted_before.binary_search(&self.partition).is_ok() {
            return;
        }
        self.noted.push(self.partition);
        pipeline
            .metrics
            .topic(topic.metrics)
            .refused(Direction::Response, refusal.reason(), 0, bytes as u64);
        pipeline.audit(
            fetch.cluster,
            topic,
            partition,
            offset,
            "fetch",
            refusal.audit_reason(),
        );
    }
}

/// Opens one batch, if it is of a kind that is opened.
fn open_slice(
    pipeline: &mut Pipeline,
    slice: &BatchSlice,
    batch: &mut [u8],
    rule: &SealRule,
    context: &Context<'_>,
    survey_only: bool,
    out: &mut Vec<u8>,
) -> Opened {
    match &slice.kind {
        // Such a set carries no seal, so that whoever may write to the log could put plaintext into it.
        BatchKind::Old { .. } if rule.accept.contains(Forms::PLAINTEXT) => Opened::Unchanged,
        BatchKind::Old { .. } => Opened::Refused(FetchRefusal::Form(Form::Plaintext)),
        BatchKind::V2(header) if recordless::claims_no_record(header) => {
            match recordless::check(batch, header) {
                Ok(()) => Opened::Unchanged,
                Err(error) => Opened::Refused(error.into()),
            }
        }
        BatchKind::V2(header) => {
            pipeline
                .opening
                .open(batch, header, context, &mut pipeline.keys, survey_only, out)
        }
    }
}

fn topic_of(
    layout: &FetchResponse,
    pipeline: &mut Pipeline,
    fetch: &FetchFrame<'_>,
    position: usize,
) -> Result<Rc<Topic>, CloseReason> {
    let name = layout
        .topic_name(fetch.frame, position)
        .ok_or(CloseReason::MalformedFrame)?;
    Ok(pipeline
        .clusters
        .get_mut(fetch.cluster)
        .ok_or(CloseReason::Internal)?
        .topic(name, &mut pipeline.metrics))
}

/// Where the records lie; behind the length where they are null.
fn records_of(partition: &FetchPartition) -> Range<usize> {
    partition
        .records
        .clone()
        .unwrap_or(partition.records_length.end..partition.records_length.end)
}

/// A batch within reach of the log's end is what a tailing consumer waits for.
fn urgency(partition: &FetchPartition, base_offset: i64) -> Urgency {
    if partition.high_watermark.saturating_sub(base_offset) <= TAIL_RECORDS {
        Urgency::Tail
    } else {
        Urgency::Backfill
    }
}

/// Records behind the high watermark that still count as its tail.
const TAIL_RECORDS: i64 = 10_000;
/// The first version of Fetch with compact fields.
const FLEXIBLE_FROM: i16 = 12;
