//! How far a batch is: its checksum, its records, and the checksum of what is written.

use super::record::Walk;
use super::{Context, Means, Opened, OpeningPool};
use crate::pipeline::decompressing::Records;
use crate::pipeline::refusal::FetchRefusal;
use crate::pipeline::work::{BATCH_WORK, Pause, Progress, Work};
use crate::record_batch::header::stored_crc;
use crate::record_batch::{BatchChecksum, BatchError, BatchHeader, ClosedBatch};

/// A batch that is being opened; see [`super`].
pub(in crate::pipeline) struct OpenDraft {
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

impl OpenDraft {
    /// Begins with a whole batch of format 2 with records that are no control records. With `survey_only` keys are
    /// asked for and nothing is opened.
    pub(in crate::pipeline) fn begin(header: &BatchHeader, survey_only: bool) -> Self {
        Self {
            header: *header,
            survey_only,
            stage: Stage::Checksum(BatchChecksum::default()),
        }
    }

    /// Goes on until the batch is opened or the turn is over.
    pub(in crate::pipeline) fn advance(
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
            let pool = &mut means.pool.decompressors;
            let records = Records::begin(&self.header, bytes_max, context.records_only, pool)?;
            self.stage = Stage::Records(Walk::begin(self.header, records, means.pool.forgotten));
        }
        if let Stage::Records(walk) = &mut self.stage {
            if walk.forgotten != means.pool.forgotten {
                walk.begin_anew(means.pool.forgotten, out);
            }
            let prepared =
                walk.records
                    .prepare(batch, means.work, context.may_grow, &mut means.pool.decompressors)?;
            if let Some(pause) = prepared {
                return Ok(Progress::Paused(pause));
            }
            let survey_only = self.survey_only;
            if let Some(pause) = walk.advance(survey_only, batch, context, means, out)? {
                return Ok(Progress::Paused(pause));
            }
            if let Some(opened) = self.close(means.pool, out)? {
                return Ok(Progress::Done(opened));
            }
        }
        Ok(self.take_checksum(means.work, out))
    }

    /// All records were looked at: says what became of the batch, or closes what was written of it.
    fn close(&mut self, pool: &mut OpeningPool, out: &mut Vec<u8>) -> Result<Option<Opened>, FetchRefusal> {
        let Stage::Records(walk) = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(None);
        };
        walk.records.end(&mut pool.decompressors);
        if walk.waiting {
            return Ok(Some(Opened::Waiting));
        }
        let Some(writer) = walk.writer else {
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
    pub(in crate::pipeline) fn move_forward(&mut self, bytes: usize) {
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
    pub(in crate::pipeline) fn move_back(&mut self, bytes: usize) {
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
    pub(in crate::pipeline) fn end(mut self, pool: &mut OpeningPool) {
        self.take_back(pool, &mut Vec::new());
    }

    /// Bytes of memory that it owns.
    pub(in crate::pipeline) fn bytes_held(&self) -> usize {
        match &self.stage {
            Stage::Records(walk) => walk.bytes_held(),
            Stage::Checksum(_) | Stage::Closed(..) | Stage::Ended => 0,
        }
    }
}
