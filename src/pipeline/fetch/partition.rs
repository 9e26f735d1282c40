//! The records of one partition: batch after batch is opened, or copied as it is, until one ends the delivery.

use std::rc::Rc;
use std::sync::Arc;

use super::{FetchFrame, FetchWork, Fetched, Next, Noted, recordless, records_of};
use crate::envelope::Form;
use crate::keys::{Demand, Urgency};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::open_batch::{Context, Means, OpenDraft, Opened, Opens};
use crate::pipeline::refusal::FetchRefusal;
use crate::pipeline::seal_batch::has_room;
use crate::pipeline::told_gaps::Telling;
use crate::pipeline::topics::Topic;
use crate::pipeline::work::STEP_MAX;
use crate::protocol::writer::LengthSlot;
use crate::record_batch::{BatchKind, BatchSlice, Batches, GAP_BYTES, Gap};
use crate::rules::{Action, Forms};

/// A partition whose records are being written.
pub(super) struct OpenPartition {
    pub(super) topic: Rc<Topic>,
    pub(super) error_code_at: usize,
    pub(super) records_length: LengthSlot,
    /// How far its records are worked off.
    pub(super) at: usize,
    /// A batch ended the delivery; the rest is only looked at for keys.
    pub(super) ended: bool,
    /// The batch at `at`, half opened.
    pub(super) draft: Option<OpenDraft>,
    /// The batch at `at` is copied as it is, up to this position of the frame.
    pub(super) copying: Option<usize>,
    /// Batches in front of which nothing is written, and of which nothing is (FETCH-OPEN-7).
    pub(super) gap: Option<Gap>,
}

impl OpenPartition {
    /// Whether none of its records is written.
    fn is_empty(&self, out: &[u8]) -> bool {
        out.len() == self.records_length.content_start()
    }

    /// Whether the client gets nothing of it, as far as it is done.
    fn delivers_nothing(&self, out: &[u8]) -> bool {
        self.is_empty(out) && self.gap.is_none()
    }
}

impl FetchWork {
    /// Goes on with the batch that is half done, or with the next one. `None`: call again.
    pub(super) fn next_batch(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Fetched>, CloseReason> {
        let Some(mut open) = self.open.take() else {
            return Err(CloseReason::Internal);
        };
        // What is written is not all moved at the end.
        let widened = open.records_length.widen(out);
        let widened = widened.map_err(|_| CloseReason::MalformedFrame)?;
        if let Some(draft) = &mut open.draft {
            draft.move_back(widened);
        }
        match self.work_on_batch(pipeline, fetch, &mut open, out) {
            Ok(Some(Batched::Stopped(fetched))) => {
                self.open = Some(open);
                Ok(Some(fetched))
            }
            Ok(Some(Batched::End)) => {
                if let Some(gap) = open.gap.filter(|_| open.is_empty(out)) {
                    let (topic, index) = (&open.topic.name, self.present()?.index);
                    let (form, furthers) = fetch.told_gaps.form_of(topic, index, gap);
                    if !has_room(out, GAP_BYTES) {
                        self.open = Some(open);
                        return Ok(Some(Fetched::Room(GAP_BYTES)));
                    }
                    gap.put(form, out);
                    if furthers {
                        self.delivers = true;
                    } else {
                        self.emptied = true;
                    }
                    self.tellings.push(Telling {
                        topic: Arc::clone(topic),
                        index,
                        gap,
                        form,
                    });
                }
                let partition = self.present()?;
                self.copy_until = partition.end;
                open.records_length
                    .fill_with_content_len(out)
                    .map_err(|_| CloseReason::MalformedFrame)?;
                self.partition = self.partition.saturating_add(1);
                self.next = Next::Partition;
                Ok(None)
            }
            Ok(None) => {
                self.open = Some(open);
                Ok(None)
            }
            Err(reason) => Err(reason),
        }
    }

    #[expect(clippy::too_many_lines, reason = "longer than a screen: to be split")]
    fn work_on_batch(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        open: &mut OpenPartition,
        out: &mut Vec<u8>,
    ) -> Result<Option<Batched>, CloseReason> {
        let partition = self.present()?;
        let (end, index) = (records_of(partition).end, partition.index);
        let (high_watermark, written) = (partition.high_watermark, out.len().saturating_sub(self.start));
        if let Some(until) = open.copying {
            let rest = fetch
                .frame
                .get(open.at..until)
                .ok_or(CloseReason::MalformedFrame)?;
            let piece = rest.get(..STEP_MAX).unwrap_or(rest);
            if !has_room(out, piece.len()) {
                return Ok(Some(Batched::Stopped(Fetched::Room(piece.len()))));
            }
            out.extend_from_slice(piece);
            pipeline.work.charge_copied(piece.len());
            open.at = open.at.saturating_add(piece.len());
            if open.at == until {
                open.copying = None;
            }
            return Ok(None);
        }
        // FETCH-OPEN-6
        let written_max = pipeline
            .limits
            .decompressed_batch_bytes_max
            .max(fetch.frame.len());
        if self.delivers && open.draft.is_none() && written > written_max {
            return Ok(Some(Batched::End));
        }
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
                if !rest.is_empty() && open.delivers_nothing(out) && !open.ended {
                    self.emptied = true;
                }
                return Ok(Some(Batched::End));
            }
        };
        let records = match &slice {
            Some(Ok(slice)) => record_count(slice),
            _ => 0,
        };
        let topic = Rc::clone(&open.topic);
        let Some(Action::Seal(rule)) = topic.rule.as_ref().map(|rule| &rule.action) else {
            return Err(CloseReason::Internal);
        };
        let (base_offset, opened) = match slice {
            Some(Ok(slice)) => {
                let batch = rest
                    .get_mut(slice.span.range())
                    .ok_or(CloseReason::MalformedFrame)?;
                let base = batch.first_chunk().ok_or(CloseReason::MalformedFrame)?;
                let base_offset = i64::from_be_bytes(*base);
                let context = Context {
                    topic: &topic,
                    rule,
                    demand: Demand {
                        urgency: urgency(high_watermark, base_offset),
                        connection: fetch.connection,
                    },
                    decompressed_bytes_max: pipeline.limits.decompressed_batch_bytes_max,
                    may_grow: fetch.may_grow,
                    begun: fetch.begun,
                    now: fetch.now,
                };
                match open_slice(pipeline, &slice, batch, &context, open, out) {
                    Opens::Done(opened) => (base_offset, opened),
                    Opens::Spent => return Ok(Some(Batched::Stopped(Fetched::Partly))),
                    Opens::Room(room) => return Ok(Some(Batched::Stopped(Fetched::Room(room)))),
                    Opens::Full => return Ok(Some(Batched::Stopped(Fetched::Full))),
                }
            }
            Some(Err(error)) => (-1, Opened::Refused(error.into())),
            None => return Err(CloseReason::Internal),
        };
        let batch_end = open.at.saturating_add(bytes);
        let note_skipped = |fetched: &mut Self, pipeline: &mut Pipeline, count, refusal: &FetchRefusal| {
            pipeline.metrics.topic(topic.metrics).records_skipped += count;
            let noted = Noted {
                topic: &topic,
                partition: index,
                offset: base_offset,
                refusal,
                // They count as skipped.
                records: 0,
                bytes: 0,
            };
            fetched.note(pipeline, fetch, &noted);
        };
        match opened {
            Opened::Unchanged if open.ended => open.at = batch_end,
            Opened::Unchanged => {
                self.delivers = true;
                pipeline.metrics.topic(topic.metrics).passed(0, bytes as u64);
                open.copying = Some(batch_end);
            }
            Opened::Written {
                records: opened,
                bytes: bytes_written,
                unreadable,
            } => {
                self.delivers = true;
                let metrics = pipeline.metrics.topic(topic.metrics);
                metrics.opened(opened, bytes_written as u64);
                if let Some((count, refusal)) = unreadable {
                    note_skipped(self, pipeline, count, &refusal);
                }
                open.at = batch_end;
            }
            Opened::Skipped { header, unreadable } => {
                let (count, refusal) = unreadable;
                note_skipped(self, pipeline, count, &refusal);
                if open.is_empty(out) {
                    let gap = open.gap.map_or(Gap::of(&header), |gap| gap.up_to(&header));
                    open.gap = Some(gap);
                }
                open.at = batch_end;
            }
            Opened::Waiting => {
                self.waits = true;
                if !open.ended && open.delivers_nothing(out) {
                    self.emptied = true;
                }
                open.ended = true;
                open.at = batch_end;
            }
            Opened::Refused(refusal) => {
                if !open.ended {
                    let noted = Noted {
                        topic: &topic,
                        partition: index,
                        offset: base_offset,
                        refusal: &refusal,
                        records,
                        bytes,
                    };
                    self.note(pipeline, fetch, &noted);
                    if open.delivers_nothing(out) {
                        self.emptied = true;
                        let code = refusal.error_code().to_be_bytes();
                        let code_end = open.error_code_at.saturating_add(code.len());
                        if let Some(field) = out.get_mut(open.error_code_at..code_end) {
                            field.copy_from_slice(&code);
                        }
                    }
                }
                // What lies behind will be asked for again; its keys are not worth asking for now.
                open.ended = true;
                open.at = end;
            }
        }
        Ok(None)
    }
}

/// What came of a call that worked on a batch.
enum Batched {
    Stopped(Fetched),
    /// There is no batch any more.
    End,
}

/// Goes on to open one batch, if it is of a kind that is opened.
fn open_slice(
    pipeline: &mut Pipeline,
    slice: &BatchSlice,
    batch: &mut [u8],
    context: &Context<'_>,
    open: &mut OpenPartition,
    out: &mut Vec<u8>,
) -> Opens {
    let header = match &slice.kind {
        // Such a set carries no seal, so that whoever may write to the log could put plaintext into it.
        BatchKind::Old { .. } if context.rule.accept.contains(Forms::PLAINTEXT) => {
            return Opens::Done(Opened::Unchanged);
        }
        BatchKind::Old { .. } => {
            return Opens::Done(Opened::Refused(FetchRefusal::Form(Form::Plaintext)));
        }
        BatchKind::V2(header) if recordless::claims_no_record(header) => {
            return Opens::Done(match recordless::check(batch, header) {
                Ok(()) => Opened::Unchanged,
                Err(error) => Opened::Refused(error.into()),
            });
        }
        BatchKind::V2(header) => header,
    };
    let draft = open.draft.take();
    let mut draft = draft.unwrap_or_else(|| OpenDraft::begin(header, open.ended));
    let Pipeline {
        keys, work, fetch, ..
    } = pipeline;
    let mut means = Means {
        keys,
        work,
        pool: &mut fetch.opening,
    };
    let opens = draft.advance(batch, context, &mut means, out);
    if !matches!(opens, Opens::Done(_)) {
        open.draft = Some(draft);
    }
    opens
}

/// Records of a batch, as its header says.
fn record_count(slice: &BatchSlice) -> u64 {
    match &slice.kind {
        BatchKind::V2(header) => u64::try_from(header.record_count).unwrap_or(0),
        BatchKind::Old { .. } => 0,
    }
}

/// A batch within reach of the log's end is what a tailing consumer waits for.
fn urgency(high_watermark: i64, base_offset: i64) -> Urgency {
    if high_watermark.saturating_sub(base_offset) <= TAIL_RECORDS {
        Urgency::Tail
    } else {
        Urgency::Backfill
    }
}

/// Records behind the high watermark that still count as its tail.
const TAIL_RECORDS: i64 = 10_000;
