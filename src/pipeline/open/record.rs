//! The walk over the records of a batch: each is surveyed, and written as its client wrote it.

use super::survey::{Course, Survey};
use super::{Context, Means, OpeningPool};
use crate::audit::KekName;
use crate::pipeline::decompressing::Records;
use crate::pipeline::refusal::FetchRefusal;
use crate::pipeline::seal_batch::has_room;
use crate::pipeline::work::{Pause, RECORD_WORK, STEP_MAX, Work};
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{BatchError, BatchHeader, BatchWriter, RecordCursor, RecordLayout};
use crate::rules::{Forms, OnUnreadable};

/// The walk over the records of a batch.
pub(super) struct Walk {
    header: BatchHeader,
    pub(super) records: Records,
    /// [`OpeningPool::forgotten`] when it began.
    pub(super) forgotten: u64,
    /// `None` before the records are there.
    cursor: Option<RecordCursor>,
    /// Records up to here are written, or left out.
    written: usize,
    pub(super) writer: Option<BatchWriter>,
    survey: Survey,
    pub(super) sealed: u64,
    pub(super) dropped: i32,
    pub(super) unreadable: Option<(u64, FetchRefusal)>,
    /// A key is missing: nothing is written any more.
    pub(super) waiting: bool,
}

/// A record, and what is to be done with it.
struct Surveyed<'r> {
    record: &'r RecordLayout,
    course: Course,
}

impl Walk {
    pub(super) fn begin(header: BatchHeader, records: Records, forgotten: u64) -> Self {
        Self {
            header,
            records,
            forgotten,
            cursor: None,
            written: 0,
            writer: None,
            survey: Survey::begin(&header),
            sealed: 0,
            dropped: 0,
            unreadable: None,
            waiting: false,
        }
    }

    /// Takes back what was written; what was decompressed stays.
    pub(super) fn begin_anew(&mut self, forgotten: u64, out: &mut Vec<u8>) {
        self.take_back(out);
        let records = std::mem::take(&mut self.records);
        *self = Self::begin(self.header, records, forgotten);
    }

    fn take_back(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = self.writer.take() {
            writer.abandon(out);
        }
    }

    /// Looks at records from where the last call stopped, and writes them; `None` behind the last one.
    pub(super) fn advance(
        &mut self,
        survey_only: bool,
        batch: &mut [u8],
        context: &Context<'_>,
        means: &mut Means<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Pause>, FetchRefusal> {
        let (_, first) = self.records.of(batch);
        let mut cursor = match self.cursor {
            Some(cursor) => cursor,
            None => {
                self.written = first;
                RecordCursor::stored(&self.header, first)
            }
        };
        loop {
            self.cursor = Some(cursor);
            let (records, _) = self.records.of(batch);
            let Some(record) = cursor.next(records)? else {
                break;
            };
            let course = self.survey.course(records, &record, context, means.keys)?;
            means
                .work
                .charge(record.whole().len().saturating_add(RECORD_WORK));
            match course {
                Course::Wait => {
                    self.waiting = true;
                    self.take_back(out);
                }
                _ if self.waiting || survey_only => {}
                Course::Copy => {}
                Course::Open(_) | Course::Strip { .. } | Course::Unreadable(_) => {
                    if let Some(pause) = self.write_up_to(record.start, batch, means.work, out)? {
                        return Ok(Some(pause));
                    }
                    let room = record.whole().len().saturating_add(RECORD_GROWTH_MAX);
                    if !has_room(out, room) {
                        return Ok(Some(Pause::Room(room)));
                    }
                    let surveyed = Surveyed {
                        record: &record,
                        course,
                    };
                    self.write(batch, surveyed, context, means.pool, out)?;
                    self.written = record.end;
                }
            }
            if cursor.announced() > 0 && means.work.is_spent() {
                self.cursor = Some(cursor);
                return Ok(Some(Pause::Spent));
            }
        }
        // OPEN-BATCH-3
        let as_it_is = !self.records.were_compressed() || context.rule.accept.contains(Forms::PLAINTEXT);
        if self.waiting || survey_only || (self.writer.is_none() && as_it_is) {
            return Ok(None);
        }
        let end = self.records.of(batch).0.len();
        self.write_up_to(end, batch, means.work, out)
    }

    /// Copies the records in front of `end` that are not written yet; `None` when they are.
    fn write_up_to(
        &mut self,
        end: usize,
        batch: &[u8],
        work: &mut Work,
        out: &mut Vec<u8>,
    ) -> Result<Option<Pause>, FetchRefusal> {
        if self.writer.is_none() {
            self.writer = Some(BatchWriter::begin(out, batch)?);
        }
        let (records, _) = self.records.of(batch);
        while self.written < end {
            let rest = records.get(self.written..end).ok_or(BatchError::Truncated)?;
            let piece = rest.get(..STEP_MAX).unwrap_or(rest);
            if !has_room(out, piece.len()) {
                return Ok(Some(Pause::Room(piece.len())));
            }
            out.extend_from_slice(piece);
            work.charge_copied(piece.len());
            self.written = self.written.saturating_add(piece.len());
            if self.written < end && work.is_spent() {
                return Ok(Some(Pause::Spent));
            }
        }
        Ok(None)
    }

    /// Writes one record that is sealed, or that does not open.
    fn write(
        &mut self,
        batch: &mut [u8],
        surveyed: Surveyed<'_>,
        context: &Context<'_>,
        pool: &mut OpeningPool,
        out: &mut Vec<u8>,
    ) -> Result<(), FetchRefusal> {
        let Surveyed { record, course } = surveyed;
        let records = self.records.of_mut(batch);
        let refusal = match course {
            Course::Open(marker) => {
                let wrapped = || marker.wrapped_dek(records);
                let key = self.survey.key();
                let key = key.ok_or_else(|| FetchRefusal::KekNotNamed(KekName::in_record(wrapped())))?;
                let domains = &context.topic.keys.domains;
                let opener = &mut pool.opener;
                match key
                    .opens_records()
                    .and_then(|key| opener.open_record(key, records, marker.in_record(record), domains, out))
                {
                    Ok(()) => {
                        self.sealed = self.sealed.saturating_add(1);
                        return Ok(());
                    }
                    Err(error) => FetchRefusal::Open(error),
                }
            }
            Course::Strip { key_opened } => {
                let key = key_opened.then(|| self.survey.opened_key());
                write_tombstone(records, record, key, out);
                return Ok(());
            }
            Course::Unreadable(refusal) => refusal,
            Course::Copy | Course::Wait => return Ok(()),
        };
        match context.rule.on_unreadable {
            OnUnreadable::Refuse => return Err(refusal),
            // Which key it is nobody knows.
            OnUnreadable::Null if !refusal.leaves_key_sealed() => write_tombstone(records, record, None, out),
            OnUnreadable::Skip | OnUnreadable::Null => self.dropped = self.dropped.saturating_add(1),
        }
        let count = self.unreadable.as_ref().map_or(0, |(count, _)| *count);
        self.unreadable = Some((count.saturating_add(1), refusal));
        Ok(())
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.records.bytes_held().saturating_add(self.survey.bytes_held())
    }
}

/// Writes the record with its key, or with `key` instead of it, a null value and no headers.
fn write_tombstone(records: &[u8], record: &RecordLayout, key: Option<&[u8]>, out: &mut Vec<u8>) {
    const NULL: i32 = -1;
    // INVARIANT: the record is shorter than the one that it stands for, whose length is an i32.
    let length = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    let kept = match key {
        None => record.fixed_and_key(),
        Some(_) => record.fixed,
    };
    let kept = kept.of(records);
    let key_bytes = key.map_or(0, |key| varint_bytes(length(key.len())).saturating_add(key.len()));
    let body_bytes = [kept.len(), key_bytes, varint_bytes(NULL), varint_bytes(0)];
    put_varint(out, length(body_bytes.into_iter().fold(0, usize::saturating_add)));
    out.extend_from_slice(kept);
    if let Some(key) = key {
        put_varint(out, length(key.len()));
        out.extend_from_slice(key);
    }
    put_varint(out, NULL);
    put_varint(out, 0);
}

/// Opening makes a record shorter; what a padded length or null value may add to it.
const RECORD_GROWTH_MAX: usize = 16;
