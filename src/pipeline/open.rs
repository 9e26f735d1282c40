//! One stored batch opened: record after record is looked at (form, KEK, key) and written as its client wrote it.
//!
//! A batch is opened in as many steps as it takes. Nothing is kept for each record.
//!
//! - OPEN-BATCH-1: a record is opened only when its key is at hand. The first one whose key is not takes back what was written of
//!   the batch; the rest is only looked at, so that all keys are asked for at once.
//! - OPEN-BATCH-2: on a refusal or a missing key the output is what it was.
//! - OPEN-BATCH-3: a batch without a sealed record goes on as it is, if the rule accepts each of its records. A compressed
//!   one is written anew all the same unless plaintext is accepted: what lies behind the end of a gzip or LZ4 stream is
//!   ignored here as Java ignores it, and another client might read records there.
//! - OPEN-BATCH-4: when keys are taken away while a batch is being opened, it is begun anew.
//! - OPEN-BATCH-5: where plaintext is not accepted, what nobody vouches for is at most a key with a null value: an accepted
//!   tombstone comes without its headers.
//! - OPEN-BATCH-6: a batch asks for so many keys at most as can be remembered together, or it would ask for ever; records under
//!   others do not open ([`BatchKeys`]).

mod batch_keys;

use std::rc::Rc;
use std::time::Instant;

pub(super) use self::batch_keys::BATCH_KEYS_MAX;
use self::batch_keys::BatchKeys;
use super::decompressing::{DecompressorPool, Prepared, Records};
use super::refusal::FetchRefusal;
use super::seal_batch::has_room;
use super::topics::Topic;
use super::work::{BATCH_WORK, Pause, Progress, RECORD_WORK, STEP_MAX, Work};
use crate::audit::KekName;
use crate::envelope::{Form, Marked, Marker, Opener, OpeningKey, find_marker};
use crate::keys::{Demand, ExecutorKeys, Lookup};
use crate::record_batch::header::stored_crc;
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{
    BatchChecksum, BatchError, BatchHeader, BatchWriter, ClosedBatch, RecordCursor, RecordLayout,
};
use crate::rules::{Forms, OnUnreadable, SealRule};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It goes on as it is.
    Unchanged,
    /// The new batch was appended to the output.
    Written {
        /// Records that were opened.
        records: u64,
        /// Bytes of the new batch.
        bytes: usize,
        /// Records that were left out or emptied because they do not open.
        unreadable: Option<(u64, FetchRefusal)>,
    },
    /// All its records are left out because they do not open, and nothing is written.
    Skipped {
        /// The batch.
        header: BatchHeader,
        /// How many they are, and why.
        unreadable: (u64, FetchRefusal),
    },
    /// A key was asked for and is not there yet.
    Waiting,
    /// The batch may not be delivered.
    Refused(FetchRefusal),
}

/// What batches use one after the other; one per executor.
#[derive(Default)]
pub(super) struct OpeningPool {
    opener: Opener,
    pub(super) decompressors: DecompressorPool,
    /// How often keys were taken away (OPEN-BATCH-4).
    forgotten: u64,
}

impl OpeningPool {
    /// Keys were dropped: what was derived from them goes as well.
    pub(super) fn forget(&mut self) {
        self.opener.forget();
        self.forgotten = self.forgotten.wrapping_add(1);
    }
}

/// What a batch is opened with: the executor's.
pub(super) struct Means<'a> {
    pub(super) keys: &'a mut ExecutorKeys,
    pub(super) work: &'a mut Work,
    pub(super) pool: &'a mut OpeningPool,
}

/// What a batch is opened for, with each call.
pub(super) struct Context<'a> {
    pub(super) topic: &'a Topic,
    pub(super) rule: &'a SealRule,
    pub(super) demand: Demand,
    pub(super) decompressed_bytes_max: usize,
    pub(super) may_grow: bool,
    /// When the frame was begun that it stands in.
    pub(super) begun: Instant,
    pub(super) now: Instant,
}

/// A batch that is being opened; see the module.
pub(super) struct OpenDraft {
    header: BatchHeader,
    /// Keys are asked for and nothing is opened.
    survey_only: bool,
    stage: Stage,
}

enum Stage {
    /// Opening gives the batch a new checksum, which must not hide that the stored one was wrong.
    Checksum(BatchChecksum),
    Records(Walk),
    /// Everything but its checksum is written.
    Closed(ClosedBatch, BatchChecksum, Opened),
    Ended,
}

/// The walk over the records of a batch.
struct Walk {
    header: BatchHeader,
    records: Records,
    /// [`OpeningPool::forgotten`] when it began.
    forgotten: u64,
    /// `None` before the records are there.
    cursor: Option<RecordCursor>,
    /// Records up to here are written, or left out.
    written: usize,
    writer: Option<BatchWriter>,
    /// The key of the last record: mostly that of all others as well.
    key: Option<Rc<OpeningKey>>,
    keys: BatchKeys,
    sealed: u64,
    dropped: i32,
    unreadable: Option<(u64, FetchRefusal)>,
    /// A key is missing: nothing is written any more.
    waiting: bool,
}

/// What is to be done with one record.
enum Action {
    /// Open it with the key of the walk.
    Open(Marker),
    /// Its form is accepted as it is.
    Copy,
    /// It is accepted without its headers (OPEN-BATCH-5).
    Strip,
    /// Its key is on the way.
    Wait,
    /// It does not open; the rule says what to do.
    Unreadable(FetchRefusal),
}

impl OpenDraft {
    /// Begins with a whole batch of format 2 with records that are no control records. With `survey_only` keys are asked for
    /// and nothing is opened.
    pub(super) fn begin(header: &BatchHeader, survey_only: bool) -> Self {
        Self {
            header: *header,
            survey_only,
            stage: Stage::Checksum(BatchChecksum::default()),
        }
    }

    /// Goes on until the batch is opened or the turn is over.
    pub(super) fn advance(
        &mut self,
        batch: &mut [u8],
        context: &Context<'_>,
        means: &mut Means<'_>,
        out: &mut Vec<u8>,
    ) -> Progress<Opened> {
        match self.try_advance(batch, context, means, out) {
            Ok(opens) => opens,
            Err(refusal) => {
                self.take_back(means.pool, out);
                Progress::Done(Opened::Refused(refusal))
            }
        }
    }

    fn try_advance(
        &mut self,
        batch: &mut [u8],
        context: &Context<'_>,
        means: &mut Means<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Opened>, FetchRefusal> {
        if let Stage::Checksum(checksum) = &mut self.stage {
            let Some(crc) = means.work.check(checksum, batch) else {
                return Ok(Progress::Paused(Pause::Spent));
            };
            if stored_crc(batch) != Some(crc) {
                return Err(BatchError::Checksum.into());
            }
            means.work.charge(BATCH_WORK);
            let bytes_max = context.decompressed_bytes_max;
            let records = Records::begin(&self.header, bytes_max, &mut means.pool.decompressors)?;
            self.stage = Stage::Records(Walk::begin(self.header, records, means.pool.forgotten));
        }
        if let Stage::Records(walk) = &mut self.stage {
            if walk.forgotten != means.pool.forgotten {
                walk.begin_anew(means.pool.forgotten, out);
            }
            let prepared =
                walk.records
                    .prepare(batch, means.work, context.may_grow, &mut means.pool.decompressors)?;
            match prepared {
                Prepared::Ready => {}
                Prepared::Spent => return Ok(Progress::Paused(Pause::Spent)),
                Prepared::Full => return Ok(Progress::Paused(Pause::Full)),
            }
            let survey_only = self.survey_only;
            if let Some(pause) = walk.advance(survey_only, batch, context, means, out)? {
                return Ok(Progress::Paused(pause));
            }
            if let Some(opened) = self.close(context, means.pool, out)? {
                return Ok(Progress::Done(opened));
            }
        }
        Ok(self.take_checksum(means.work, out))
    }

    /// All records were looked at: says what became of the batch, or closes what was written of it.
    fn close(
        &mut self,
        context: &Context<'_>,
        pool: &mut OpeningPool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Opened>, FetchRefusal> {
        let Stage::Records(walk) = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(None);
        };
        // OPEN-BATCH-3
        let compressed = walk.records.were_compressed();
        let as_it_is = !compressed || context.rule.accept.contains(Forms::PLAINTEXT);
        walk.records.end(&mut pool.decompressors);
        if walk.waiting {
            return Ok(Some(Opened::Waiting));
        }
        let Some(writer) = walk.writer else {
            debug_assert!(
                self.survey_only || as_it_is,
                "what is not to go on as it is was written"
            );
            return Ok(Some(Opened::Unchanged));
        };
        // INVARIANT: no more records were left out than there are.
        let record_count = self.header.record_count.saturating_sub(walk.dropped);
        if let (0, Some((count, refusal))) = (record_count, &walk.unreadable) {
            writer.abandon(out);
            return Ok(Some(Opened::Skipped {
                header: self.header,
                unreadable: (*count, refusal.clone()),
            }));
        }
        let opened = Opened::Written {
            records: walk.sealed,
            bytes: writer.bytes(out),
            unreadable: walk.unreadable,
        };
        let closed = writer.close(out, Some(record_count))?;
        self.stage = Stage::Closed(closed, BatchChecksum::default(), opened);
        Ok(None)
    }

    fn take_checksum(&mut self, work: &mut Work, out: &mut [u8]) -> Progress<Opened> {
        if let Stage::Closed(closed, checksum, _) = &mut self.stage {
            let batch = closed.batch(out).unwrap_or_default();
            let Some(crc) = work.check(checksum, batch) else {
                return Progress::Paused(Pause::Spent);
            };
            if let Stage::Closed(closed, _, opened) = std::mem::replace(&mut self.stage, Stage::Ended) {
                closed.put_checksum(out, crc);
                return Progress::Done(opened);
            }
        }
        Progress::Done(Opened::Refused(BatchError::TooLarge.into()))
    }

    /// Takes back what was written (OPEN-BATCH-2) and gives back what the next batch can use.
    fn take_back(&mut self, pool: &mut OpeningPool, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Records(mut walk) => {
                walk.begin_anew(0, out);
                walk.records.end(&mut pool.decompressors);
            }
            Stage::Closed(closed, ..) => out.truncate(closed.start()),
            Stage::Checksum(_) | Stage::Ended => {}
        }
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        match &mut self.stage {
            Stage::Records(walk) => {
                if let Some(writer) = &mut walk.writer {
                    writer.move_forward(bytes);
                }
            }
            Stage::Closed(closed, ..) => closed.move_forward(bytes),
            Stage::Checksum(_) | Stage::Ended => {}
        }
    }

    /// What was written was moved back in its buffer by `bytes`.
    pub(super) fn move_back(&mut self, bytes: usize) {
        match &mut self.stage {
            Stage::Records(walk) => {
                if let Some(writer) = &mut walk.writer {
                    writer.move_back(bytes);
                }
            }
            Stage::Closed(closed, ..) => closed.move_back(bytes),
            Stage::Checksum(_) | Stage::Ended => {}
        }
    }

    /// Ends it before it is done.
    pub(super) fn end(mut self, pool: &mut OpeningPool) {
        self.take_back(pool, &mut Vec::new());
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        match &self.stage {
            Stage::Records(walk) => walk.records.bytes_held().saturating_add(walk.keys.bytes_held()),
            Stage::Checksum(_) | Stage::Closed(..) | Stage::Ended => 0,
        }
    }
}

impl Walk {
    fn begin(header: BatchHeader, records: Records, forgotten: u64) -> Self {
        Self {
            header,
            records,
            forgotten,
            cursor: None,
            written: 0,
            writer: None,
            key: None,
            keys: BatchKeys::new(header.record_count),
            sealed: 0,
            dropped: 0,
            unreadable: None,
            waiting: false,
        }
    }

    /// Takes back what was written; what was decompressed stays.
    fn begin_anew(&mut self, forgotten: u64, out: &mut Vec<u8>) {
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
    fn advance(
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
            let action = self.action(batch, &record, context, means.keys)?;
            means
                .work
                .charge(record.whole().len().saturating_add(RECORD_WORK));
            match action {
                Action::Wait => {
                    self.waiting = true;
                    self.take_back(out);
                }
                _ if self.waiting || survey_only => {}
                Action::Copy => {}
                Action::Open(_) | Action::Strip | Action::Unreadable(_) => {
                    if let Some(pause) = self.write_up_to(record.start, batch, means.work, out)? {
                        return Ok(Some(pause));
                    }
                    let room = record.whole().len().saturating_add(RECORD_GROWTH_MAX);
                    if !has_room(out, room) {
                        return Ok(Some(Pause::Room(room)));
                    }
                    self.write(batch, &record, action, context, means.pool, out)?;
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

    /// What is to be done with a record.
    fn action(
        &mut self,
        batch: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Action, FetchRefusal> {
        let (records, _) = self.records.of(batch);
        match Self::known(&mut self.key, &mut self.keys, records, record, context, keys) {
            Err(refusal)
                if refusal.is_unreadable_record() && context.rule.on_unreadable != OnUnreadable::Refuse =>
            {
                Ok(Action::Unreadable(refusal))
            }
            known => known,
        }
    }

    /// The form of a record and, where it is sealed, its key: it is then `key`.
    fn known(
        key: &mut Option<Rc<OpeningKey>>,
        batch_keys: &mut BatchKeys,
        records: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Action, FetchRefusal> {
        let marker = match find_marker(records, record)? {
            Marked::One(marker) => marker,
            Marked::None(form) if context.rule.accept.contains(accepted_as(form)) => {
                let believed = form != Form::Tombstone
                    || record.header_count == 0
                    || context.rule.accept.contains(Forms::PLAINTEXT);
                return Ok(if believed { Action::Copy } else { Action::Strip });
            }
            Marked::None(form) => return Err(FetchRefusal::Form(form)),
        };
        // ENV-50. Before its key is asked for; the tag binds what it says of itself.
        if marker.seal().parts.headers < context.rule.open_headers {
            return Err(FetchRefusal::WeakHeaders);
        }
        let wrapped = marker.wrapped_dek(records);
        if key.as_ref().is_some_and(|key| key.wrapped_dek() == wrapped) {
            return Ok(Action::Open(marker));
        }
        let kms = context
            .topic
            .kms_of(wrapped)
            .ok_or_else(|| FetchRefusal::KekNotNamed(KekName::in_record(wrapped)))?;
        if !batch_keys.admit(wrapped) {
            return Err(FetchRefusal::TooManyKeys);
        }
        match keys.opening(kms, wrapped, context.demand, context.begun, context.now) {
            Lookup::Ready(found) => {
                *key = Some(found);
                Ok(Action::Open(marker))
            }
            Lookup::Failed(failure) if !failure.is_outage() => {
                Err(FetchRefusal::Key(failure, KekName::in_record(wrapped)))
            }
            Lookup::Waiting | Lookup::Failed(_) => Ok(Action::Wait),
        }
    }

    /// Writes one record that is sealed, or that does not open.
    #[expect(clippy::too_many_arguments, reason = "a type is missing")]
    fn write(
        &mut self,
        batch: &mut [u8],
        record: &RecordLayout,
        action: Action,
        context: &Context<'_>,
        pool: &mut OpeningPool,
        out: &mut Vec<u8>,
    ) -> Result<(), FetchRefusal> {
        let records = self.records.of_mut(batch);
        let refusal = match action {
            Action::Open(marker) => {
                let wrapped = || marker.wrapped_dek(records);
                let key = self.key.as_ref();
                let key = key.ok_or_else(|| FetchRefusal::KekNotNamed(KekName::in_record(wrapped())))?;
                let domains = &context.topic.domains;
                match pool
                    .opener
                    .open_record(key, records, record, &marker, domains, out)
                {
                    Ok(()) => {
                        self.sealed = self.sealed.saturating_add(1);
                        return Ok(());
                    }
                    Err(error) => FetchRefusal::Open(error),
                }
            }
            Action::Strip => {
                write_tombstone(records, record, out);
                return Ok(());
            }
            Action::Unreadable(refusal) => refusal,
            Action::Copy | Action::Wait => return Ok(()),
        };
        match context.rule.on_unreadable {
            OnUnreadable::Refuse => return Err(refusal),
            OnUnreadable::Skip => self.dropped = self.dropped.saturating_add(1),
            OnUnreadable::Null => write_tombstone(records, record, out),
        }
        let count = self.unreadable.as_ref().map_or(0, |(count, _)| *count);
        self.unreadable = Some((count.saturating_add(1), refusal));
        Ok(())
    }
}

/// Writes the record with its key, a null value and no headers.
fn write_tombstone(records: &[u8], record: &RecordLayout, out: &mut Vec<u8>) {
    const NULL: i32 = -1;
    let kept = record.fixed_and_key().of(records);
    let body_bytes = kept.len() + varint_bytes(NULL) + varint_bytes(0);
    // INVARIANT: the record is shorter than the one that it stands for, whose length is an i32.
    put_varint(out, i32::try_from(body_bytes).unwrap_or(i32::MAX));
    out.extend_from_slice(kept);
    put_varint(out, NULL);
    put_varint(out, 0);
}

/// The form as a rule's `accept` names it.
pub(super) fn accepted_as(form: Form) -> Forms {
    match form {
        Form::Sealwire => Forms::SEALWIRE,
        Form::Kroxylicious => Forms::KROXYLICIOUS,
        Form::Tombstone => Forms::TOMBSTONE,
        Form::Plaintext => Forms::PLAINTEXT,
    }
}

/// Opening makes a record shorter; what a padded length or null value may add to it.
const RECORD_GROWTH_MAX: usize = 16;
