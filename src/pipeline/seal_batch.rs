//! One batch of a producer sealed: the client's records (decompressed if need be) become sealed records of a new batch.
//!
//! A batch is sealed in as many steps as it takes; its salt, its counter and the share of its key live in one draft.
//!
//! - SEAL-BATCH-1: a draft can be neither copied nor begun anew. Its salt is drawn when its first record is to be
//!   sealed; when the key is taken away before the last one is, what was sealed is taken back, and the batch begins
//!   again under another key with another salt.
//! - SEAL-BATCH-2: on a refusal the output is what it was.
//! - SEAL-BATCH-3: no more is decompressed than a batch of the topic can hold, and nothing is sealed past the topic's
//!   limit.
//! - SEAL-BATCH-4: a batch is written compact where the rule says so and that makes it shorter: not with one record,
//!   nor with records so long that a marker is little of them, nor with offset deltas that no broker takes of a
//!   compressed batch.
//! - SEAL-BATCH-5: a compact batch that would be more than the reading side decompresses is refused, as it would be for
//!   its length with its records one by one.

use std::rc::Rc;
use std::time::Instant;

use super::decompressing::{DecompressorPool, Records};
use super::refusal::ProduceRefusal;
use super::stable_keys::TopicKeys;
use super::work::{BATCH_WORK, Pause, Progress, RECORD_WORK, Work};
use crate::clocks::Clocks;
use crate::envelope::{BatchPlace, BatchSealer, SaltSource, SealBuffers, SealTerms};
use crate::growing::MOVED_AT_ONCE;
use crate::keys::SealingShare;
use crate::record_batch::{
    BatchChecksum, BatchError, BatchHeader, BatchWriter, ClosedBatch, Codec, CodecError, CompactFrame,
    HEADER_BYTES, RecordCursor, SHARED_RECORD_BYTES_MAX,
};
use crate::rules::SealRule;

/// What drafts use one after the other; one per executor.
pub(super) struct SealingPool {
    pub(super) decompressors: DecompressorPool,
    buffers: SealBuffers,
    salts: SaltSource,
}

impl SealingPool {
    pub(super) fn new(salts: SaltSource) -> Self {
        Self {
            decompressors: DecompressorPool::default(),
            buffers: SealBuffers::default(),
            salts,
        }
    }
}

/// A batch that is being sealed; see the module.
pub(super) struct SealDraft {
    header: BatchHeader,
    records: Records,
    decompressed_bytes_max: usize,
    /// The batch holds at most what the topic allows, and not what the proxy does.
    bounded_by_rule: bool,
    attempt: Option<Attempt>,
    /// Its offset deltas are not 0, 1, 2 … (SEAL-BATCH-4).
    has_odd_offsets: bool,
    /// All records are sealed.
    closed: Option<(ClosedBatch, BatchChecksum)>,
    sealed_bytes: usize,
}

/// One key, one salt (SEAL-BATCH-1).
struct Attempt {
    share: Rc<SealingShare>,
    sealer: BatchSealer,
    cursor: RecordCursor,
    writer: BatchWriter,
    /// Bytes of the sealed batch so far.
    bytes: usize,
}

/// What a draft has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    /// The sealed batch stands at the end of the output.
    Done,
    /// There is no key that may be used.
    NoKey,
}

/// What a draft is given with each call.
pub(super) struct SealContext<'a> {
    /// The whole batch, which [`check_produced`](crate::record_batch::check_produced) has found to be good.
    pub(super) batch: &'a [u8],
    pub(super) cluster: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) clocks: Clocks,
    pub(super) rule: &'a SealRule,
    /// What seals record keys.
    pub(super) keys: &'a TopicKeys,
    /// The share to begin with.
    pub(super) share: Option<&'a Rc<SealingShare>>,
    pub(super) now: Instant,
    pub(super) may_grow: bool,
}

impl SealContext<'_> {
    fn place(&self) -> BatchPlace<'_> {
        BatchPlace {
            cluster: self.cluster,
            topic: self.topic,
            partition: self.partition,
            batch_header: self.batch.get(..HEADER_BYTES).unwrap_or(self.batch),
            clocks: self.clocks,
        }
    }
}

impl SealDraft {
    /// Begins with `batch`. `decompressed_bytes_max` bounds what it may hold, whatever the topic allows, and what a
    /// compact one may (SEAL-BATCH-5).
    pub(super) fn begin(
        batch: &[u8],
        header: &BatchHeader,
        rule: &SealRule,
        decompressed_bytes_max: usize,
        pool: &mut SealingPool,
    ) -> Result<Self, ProduceRefusal> {
        let records_max = rule.max_message_bytes.saturating_sub(HEADER_BYTES);
        let records = Records::begin(
            header,
            decompressed_bytes_max.min(records_max),
            false,
            &mut pool.decompressors,
        )?;
        // Sealing makes records longer.
        if !records.were_compressed() && batch.len() > rule.max_message_bytes {
            return Err(too_large(batch.len(), rule));
        }
        Ok(Self {
            header: *header,
            records,
            decompressed_bytes_max,
            bounded_by_rule: records_max <= decompressed_bytes_max,
            attempt: None,
            has_odd_offsets: false,
            closed: None,
            sealed_bytes: 0,
        })
    }

    /// Goes on until the batch is sealed or the turn is over. On an error it is to be ended.
    pub(super) fn advance(
        &mut self,
        context: &SealContext<'_>,
        work: &mut Work,
        pool: &mut SealingPool,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Sealed>, ProduceRefusal> {
        let prepared = self
            .records
            .prepare(context.batch, work, context.may_grow, &mut pool.decompressors);
        match prepared {
            Ok(None) => {}
            Ok(Some(pause)) => return Ok(Progress::Paused(pause)),
            Err(BatchError::Compression(CodecError::LimitExceeded { limit })) if self.bounded_by_rule => {
                return Err(too_large(limit.saturating_add(HEADER_BYTES + 1), context.rule));
            }
            Err(error) => return Err(error.into()),
        }
        if self.closed.is_none() {
            match self.seal_records(context, work, pool, out)? {
                Progress::Done(Sealed::Done) => {}
                stopped => return Ok(stopped),
            }
        }
        Ok(self.take_checksum(work, out))
    }

    /// Seals records from where the last call stopped.
    fn seal_records(
        &mut self,
        context: &SealContext<'_>,
        work: &mut Work,
        pool: &mut SealingPool,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Sealed>, ProduceRefusal> {
        // TOPIC-KEYS-2
        context.keys.sealing()?;
        // SEAL-BATCH-1
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| !attempt.share.holds(context.now))
        {
            self.take_back(pool, out);
        }
        if self.attempt.is_none() {
            self.attempt = self.begin_attempt(context, work, pool, out)?;
        }
        let (records, _) = self.records.of(context.batch);
        let Some(attempt) = &mut self.attempt else {
            return Ok(Progress::Done(Sealed::NoKey));
        };
        loop {
            let before = attempt.cursor;
            let record = match attempt.cursor.next(records) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // SEAL-BATCH-4: of such a batch offset deltas are expected only for it to be compact.
                Err(BatchError::OffsetDelta { .. }) if !self.records.were_compressed() => {
                    self.has_odd_offsets = true;
                    self.take_back(pool, out);
                    return self.seal_records(context, work, pool, out);
                }
                Err(error) => return Err(error.into()),
            };
            let bytes_max = attempt.sealer.sealed_bytes_max(&record);
            let room = CompactFrame::room_for(bytes_max);
            if !has_room(out, room) {
                attempt.cursor = before;
                return Ok(Progress::Paused(Pause::Room(room)));
            }
            let from = out.len();
            match attempt.writer.frame() {
                None => attempt.sealer.seal_record(records, &record, out)?,
                Some(frame) => attempt.sealer.seal_compact_record(records, &record, frame, out)?,
            }
            work.charge(out.len().saturating_sub(from).saturating_add(RECORD_WORK));
            // Each header is looked at.
            work.charge(record.headers.len());
            attempt.bytes = attempt.writer.bytes(out);
            let limit = self.decompressed_bytes_max;
            if attempt
                .writer
                .frame()
                .is_some_and(|frame| frame.text_bytes() > limit)
            {
                return Err(BatchError::Compression(CodecError::LimitExceeded { limit }).into());
            }
            // What ends a frame may still make it a little shorter.
            if attempt.bytes
                > context
                    .rule
                    .max_message_bytes
                    .saturating_add(room.saturating_sub(bytes_max))
            {
                return Err(too_large(attempt.bytes, context.rule));
            }
            if attempt.cursor.announced() > 0 && work.is_spent() {
                return Ok(Progress::Paused(Pause::Spent));
            }
        }
        self.close(context, pool, out)?;
        Ok(Progress::Done(Sealed::Done))
    }

    /// All records are sealed.
    fn close(
        &mut self,
        context: &SealContext<'_>,
        pool: &mut SealingPool,
        out: &mut Vec<u8>,
    ) -> Result<(), ProduceRefusal> {
        if let Some(attempt) = self.attempt.take() {
            pool.buffers = attempt.sealer.end();
            let closed = attempt.writer.close(out, None)?;
            self.sealed_bytes = closed.bytes();
            attempt.share.note_bytes(self.sealed_bytes as u64);
            self.closed = Some((closed, BatchChecksum::default()));
            if self.sealed_bytes > context.rule.max_message_bytes {
                return Err(too_large(self.sealed_bytes, context.rule));
            }
        }
        Ok(())
    }

    /// Takes a share of the key for one more attempt; `None` where there is none.
    fn begin_attempt(
        &self,
        context: &SealContext<'_>,
        work: &mut Work,
        pool: &mut SealingPool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Attempt>, ProduceRefusal> {
        let Some(share) = context.share else {
            return Ok(None);
        };
        let Some(key) = share.take_batch(context.now) else {
            return Ok(None);
        };
        work.charge(BATCH_WORK);
        let buffers = std::mem::take(&mut pool.buffers);
        let rule = context.rule;
        let (_, first) = self.records.of(context.batch);
        let sealer = key.begin(
            &mut pool.salts,
            &context.place(),
            &SealTerms {
                keys: context.keys.sealing()?,
                ..SealTerms::new(&rule.domain, rule.headers)
            },
            buffers,
        )?;
        let (cursor, writer) = if self.is_compact(context) {
            (
                RecordCursor::gapless(&self.header, first),
                BatchWriter::begin_compact(out, context.batch)?,
            )
        } else {
            (
                RecordCursor::produced(&self.header, first),
                BatchWriter::begin(out, context.batch)?,
            )
        };
        Ok(Some(Attempt {
            share: Rc::clone(share),
            sealer,
            cursor,
            writer,
            bytes: HEADER_BYTES,
        }))
    }

    /// SEAL-BATCH-4.
    fn is_compact(&self, context: &SealContext<'_>) -> bool {
        let (records, first) = self.records.of(context.batch);
        let count = usize::try_from(self.header.record_count).unwrap_or(0);
        let shared_bytes_max = count.saturating_mul(SHARED_RECORD_BYTES_MAX);
        context.rule.stored_codec == Codec::Lz4
            && count > 1
            && records.len().saturating_sub(first) <= shared_bytes_max
            && !self.has_odd_offsets
    }

    /// Puts the checksum in.
    fn take_checksum(&mut self, work: &mut Work, out: &mut [u8]) -> Progress<Sealed> {
        if let Some((closed, checksum)) = &mut self.closed {
            let batch = closed.batch(out).unwrap_or_default();
            let Some(crc) = work.check(checksum, batch) else {
                return Progress::Paused(Pause::Spent);
            };
            if let Some((closed, _)) = self.closed.take() {
                closed.put_checksum(out, crc);
            }
        }
        Progress::Done(Sealed::Done)
    }

    /// Takes back what was sealed: the salt is gone with it.
    fn take_back(&mut self, pool: &mut SealingPool, out: &mut Vec<u8>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.share.note_bytes(attempt.bytes as u64);
            pool.buffers = attempt.sealer.end();
            attempt.writer.abandon(out);
        }
    }

    /// Whether it has the key that it needs.
    pub(super) fn has_key(&self, now: Instant) -> bool {
        let holds = |attempt: &Attempt| attempt.share.holds(now);
        self.closed.is_some() || self.attempt.as_ref().is_some_and(holds)
    }

    /// How long the sealed batch is, once all records are sealed.
    pub(super) fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub(super) fn move_forward(&mut self, bytes: usize) {
        if let Some(attempt) = &mut self.attempt {
            attempt.writer.move_forward(bytes);
        }
        if let Some((closed, _)) = &mut self.closed {
            closed.move_forward(bytes);
        }
    }

    /// What was written was moved back in its buffer by `bytes`.
    pub(super) fn move_back(&mut self, bytes: usize) {
        if let Some(attempt) = &mut self.attempt {
            attempt.writer.move_back(bytes);
        }
        if let Some((closed, _)) = &mut self.closed {
            closed.move_back(bytes);
        }
    }

    /// Ends it when it is done, and says how long the sealed batch is.
    pub(super) fn finish(self, pool: &mut SealingPool) -> usize {
        self.records.end(&mut pool.decompressors);
        self.sealed_bytes
    }

    /// Ends it before it is done; what was sealed is taken back (SEAL-BATCH-2).
    pub(super) fn end(mut self, pool: &mut SealingPool, out: &mut Vec<u8>) {
        self.take_back(pool, out);
        if let Some((closed, _)) = self.closed.take() {
            out.truncate(closed.start());
        }
        self.records.end(&mut pool.decompressors);
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.records.bytes_held()
    }
}

/// Whether `bytes` more fit into `out`; makes room where that moves little.
pub(super) fn has_room(out: &mut Vec<u8>, bytes: usize) -> bool {
    if out.capacity().saturating_sub(out.len()) >= bytes {
        return true;
    }
    if out.len() > MOVED_AT_ONCE {
        return false;
    }
    out.reserve(bytes);
    true
}

fn too_large(bytes: usize, rule: &SealRule) -> ProduceRefusal {
    ProduceRefusal::TooLarge {
        bytes,
        bytes_max: rule.max_message_bytes,
    }
}

#[cfg(test)]
mod tests;
