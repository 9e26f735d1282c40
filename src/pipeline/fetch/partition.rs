//! The records of one partition: batch after batch is opened, or copied as it is, until one ends the delivery.

use std::rc::Rc;
use std::sync::Arc;

use super::{FetchFrame, FetchWork, Noted, recordless};
use crate::envelope::FormKind;
use crate::keys::{Demand, Urgency};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::open::{Context, Means, OpenDraft, Opened};
use crate::pipeline::refusal::FetchRefusal;
use crate::pipeline::seal_batch::has_room;
use crate::pipeline::told_gaps::Telling;
use crate::pipeline::topics::Topic;
use crate::pipeline::work::{Pause, Progress, STEP_MAX};
use crate::protocol::partitions::PartitionPlace;
use crate::record_batch::{BatchKind, BatchSlice, Batches, GAP_BYTES, Gap};
use crate::rules::{Action, Forms, SealRule};

/// A partition whose records are being written.
pub(super) struct PartitionWork {
    /// Its place in the response.
    position: usize,
    topic: Rc<Topic>,
    /// Its number.
    index: i32,
    high_watermark: i64,
    /// Bytes of its records.
    bytes: usize,
    /// How far they are worked off.
    at: usize,
    /// A batch ended the delivery; the rest is only looked at for keys.
    ended: bool,
    /// The batch at `at`, half opened.
    pub(super) draft: Option<OpenDraft>,
    /// The batch at `at` is copied as it is, up to this position of the records.
    copying: Option<usize>,
    /// Batches in front of which nothing is written, and of which nothing is (FETCH-OPEN-7).
    gap: Option<Gap>,
}

/// What came of a call that worked on a batch.
enum Worked {
    /// There is more to do.
    On,
    /// For now.
    Paused(Pause),
    /// There is no batch any more.
    End,
}

/// A batch that is done.
struct DoneBatch {
    /// -1 where it cannot be read.
    base_offset: i64,
    bytes: usize,
    /// As its header says.
    records: u64,
    opened: Opened,
}

impl FetchWork {
    /// Goes on with the batch that is half done, or with the next one. `None`: call again.
    pub(super) fn write_records(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Pause>, CloseReason> {
        let malformed = |_| CloseReason::MalformedFrame;
        let mut open = self.open.take().ok_or(CloseReason::Internal)?;
        // What is written is not all moved at the end.
        let widened = self.rewriting.widen(out).map_err(malformed)?;
        if let Some(draft) = &mut open.draft {
            draft.move_back(widened);
        }
        let mut worked = self.work_on_batch(pipeline, fetch, &mut open, out)?;
        if matches!(worked, Worked::End)
            && let Some(gap) = open.gap.filter(|_| !self.rewriting.has_records(out))
            && !self.tell_gap(fetch, &open, gap, out)
        {
            worked = Worked::Paused(Pause::Room(GAP_BYTES));
        }
        match worked {
            Worked::On => self.open = Some(open),
            Worked::Paused(pause) => {
                self.open = Some(open);
                return Ok(Some(pause));
            }
            Worked::End => {
                let ended = self.rewriting.end_records(self.layout.partitions(), out);
                ended.map_err(malformed)?;
            }
        }
        Ok(None)
    }

    /// Nothing of the partition is written but that it has a gap; `false` where there is no room.
    fn tell_gap(
        &mut self,
        fetch: &FetchFrame<'_>,
        open: &PartitionWork,
        gap: Gap,
        out: &mut Vec<u8>,
    ) -> bool {
        if !has_room(out, GAP_BYTES) {
            return false;
        }
        let (form, furthers) = fetch.told_gaps.form_of(&open.topic.name, open.index, gap);
        gap.put(form, out);
        if furthers {
            self.delivers = true;
        } else {
            self.emptied = true;
        }
        self.tellings.push(Telling {
            topic: Arc::clone(&open.topic.name),
            index: open.index,
            gap,
            form,
        });
        true
    }

    fn work_on_batch(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &mut FetchFrame<'_>,
        open: &mut PartitionWork,
        out: &mut Vec<u8>,
    ) -> Result<Worked, CloseReason> {
        // FETCH-OPEN-6
        let written = out.len().saturating_sub(self.rewriting.start().unwrap_or(0));
        let decompressed_max = pipeline.limits.decompressed_batch_bytes_max;
        let has_grown = self.delivers && written > decompressed_max.max(fetch.frame.len());
        let records = self.layout.partitions().records_mut(fetch.frame, open.position);
        if let Some(until) = open.copying {
            let batch = records.get(..until).ok_or(CloseReason::Internal)?;
            return open.copy_on(pipeline, batch, out);
        }
        if has_grown && open.draft.is_none() {
            return Ok(Worked::End);
        }
        let topic = Rc::clone(&open.topic);
        let rest = records.get_mut(open.at..).ok_or(CloseReason::Internal)?;
        let done = match Batches::new(rest).next() {
            Some(Ok(slice)) => {
                let batch = rest.get_mut(slice.span.range()).ok_or(CloseReason::Internal)?;
                let base_offset = batch.first_chunk().copied().map_or(-1, i64::from_be_bytes);
                let context = Context {
                    topic: &topic,
                    rule: seal_rule(&topic).ok_or(CloseReason::Internal)?,
                    demand: Demand {
                        urgency: urgency(open.high_watermark, base_offset),
                        connection: fetch.connection,
                    },
                    opens: true,
                    records_only: false,
                    decompressed_bytes_max: decompressed_max,
                    may_grow: fetch.may_grow,
                    begun: fetch.begun,
                    now: fetch.now,
                };
                match open.open_batch(pipeline, &slice, batch, &context, out) {
                    Progress::Done(opened) => DoneBatch {
                        base_offset,
                        bytes: slice.span.len(),
                        records: record_count(&slice),
                        opened,
                    },
                    Progress::Paused(pause) => return Ok(Worked::Paused(pause)),
                }
            }
            Some(Err(error)) => DoneBatch {
                base_offset: -1,
                bytes: rest.len(),
                records: 0,
                opened: Opened::Refused(error.into()),
            },
            None => {
                // FETCH-OPEN-5. Brokers send a part alone only to versions of Fetch below 3.
                if !rest.is_empty() && !open.ended && self.delivers_nothing_of(open, out) {
                    self.emptied = true;
                }
                return Ok(Worked::End);
            }
        };
        self.settle(pipeline, fetch, open, done, out)?;
        Ok(Worked::On)
    }

    /// Whether the client gets nothing of a partition, as far as it is done.
    fn delivers_nothing_of(&self, open: &PartitionWork, out: &[u8]) -> bool {
        !self.rewriting.has_records(out) && open.gap.is_none()
    }

    /// Counts a batch that is done, and says how its partition goes on.
    fn settle(
        &mut self,
        pipeline: &mut Pipeline,
        fetch: &FetchFrame<'_>,
        open: &mut PartitionWork,
        done: DoneBatch,
        out: &mut [u8],
    ) -> Result<(), CloseReason> {
        let topic = Rc::clone(&open.topic);
        let metrics = pipeline.metrics.topic(topic.metrics);
        let batch_end = open.at.saturating_add(done.bytes);
        let unreadable = match done.opened {
            Opened::Unchanged if open.ended => None,
            Opened::Unchanged => {
                self.delivers = true;
                metrics.passed(0, done.bytes as u64);
                open.copying = Some(batch_end);
                return Ok(());
            }
            Opened::Written {
                records,
                bytes,
                unreadable,
            } => {
                self.delivers = true;
                metrics.opened(records, bytes as u64);
                unreadable
            }
            Opened::Skipped { header, unreadable } => {
                if !self.rewriting.has_records(out) {
                    let gap = open.gap.map_or(Gap::of(&header), |gap| gap.up_to(&header));
                    open.gap = Some(gap);
                }
                Some(unreadable)
            }
            Opened::Waiting => {
                self.waits = true;
                if !open.ended && self.delivers_nothing_of(open, out) {
                    self.emptied = true;
                }
                open.ended = true;
                None
            }
            Opened::Refused(refusal) => {
                if !open.ended {
                    let noted = open.noted(done.base_offset, &refusal, done.records, done.bytes);
                    self.note(pipeline, fetch, open.position, &noted);
                    if self.delivers_nothing_of(open, out) {
                        self.emptied = true;
                        let told = self.rewriting.set_error_code(out, refusal.error_code());
                        told.map_err(|_| CloseReason::Internal)?;
                    }
                }
                // What lies behind will be asked for again; its keys are not worth asking for now.
                open.ended = true;
                open.at = open.bytes;
                return Ok(());
            }
        };
        open.at = batch_end;
        if let Some((count, refusal)) = unreadable {
            metrics.records_skipped = metrics.records_skipped.saturating_add(count);
            // They count as skipped.
            let noted = open.noted(done.base_offset, &refusal, 0, 0);
            self.note(pipeline, fetch, open.position, &noted);
        }
        Ok(())
    }
}

impl PartitionWork {
    /// Begins with a partition that has records.
    pub(super) fn begin(position: usize, topic: Rc<Topic>, partition: &PartitionPlace, bytes: usize) -> Self {
        Self {
            position,
            topic,
            index: partition.index,
            high_watermark: partition.high_watermark,
            bytes,
            at: 0,
            ended: false,
            draft: None,
            copying: None,
            gap: None,
        }
    }

    /// Goes on to copy the batch at `at` as it is, behind which `records` end.
    fn copy_on(
        &mut self,
        pipeline: &mut Pipeline,
        records: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Worked, CloseReason> {
        let rest = records.get(self.at..).ok_or(CloseReason::Internal)?;
        let piece = rest.get(..STEP_MAX).unwrap_or(rest);
        if !has_room(out, piece.len()) {
            return Ok(Worked::Paused(Pause::Room(piece.len())));
        }
        out.extend_from_slice(piece);
        pipeline.work.charge_copied(piece.len());
        self.at = self.at.saturating_add(piece.len());
        if self.at == records.len() {
            self.copying = None;
        }
        Ok(Worked::On)
    }

    /// Goes on to open one batch, if it is of a kind that is opened.
    fn open_batch(
        &mut self,
        pipeline: &mut Pipeline,
        slice: &BatchSlice,
        batch: &mut [u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Progress<Opened> {
        let header = match &slice.kind {
            // Such a set carries no seal, so that whoever may write to the log could put plaintext into it.
            BatchKind::Old { .. } if context.rule.accept.contains(Forms::PLAINTEXT) => {
                return Progress::Done(Opened::Unchanged);
            }
            BatchKind::Old { .. } => {
                return Progress::Done(Opened::Refused(FetchRefusal::Form(FormKind::Plaintext)));
            }
            BatchKind::V2(header) if recordless::claims_no_record(header) => {
                return Progress::Done(match recordless::check(batch, header) {
                    Ok(()) => Opened::Unchanged,
                    Err(error) => Opened::Refused(error.into()),
                });
            }
            BatchKind::V2(header) => header,
        };
        let draft = self.draft.take();
        let mut draft = draft.unwrap_or_else(|| OpenDraft::begin(header, self.ended));
        let Pipeline {
            keys, work, fetch, ..
        } = pipeline;
        let mut means = Means {
            keys,
            work,
            pool: &mut fetch.opening,
        };
        let opens = draft.advance(batch, context, &mut means, out);
        if !matches!(opens, Progress::Done(_)) {
            self.draft = Some(draft);
        }
        opens
    }

    /// A refusal of it, or of one of its batches.
    fn noted<'a>(&'a self, offset: i64, refusal: &'a FetchRefusal, records: u64, bytes: usize) -> Noted<'a> {
        Noted {
            topic: &self.topic,
            partition: self.index,
            offset,
            refusal,
            records,
            bytes,
        }
    }
}

fn seal_rule(topic: &Topic) -> Option<&SealRule> {
    match topic.rule.as_ref().map(|rule| &rule.action) {
        Some(Action::Seal(rule)) => Some(rule),
        _ => None,
    }
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
