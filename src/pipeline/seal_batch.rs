//! One batch of a producer sealed: the client's records (decompressed if need be) become sealed records of a new batch.
//!
//! - SEAL-1: the salt is drawn when the batch is begun, and the batch is sealed to its end or taken back in the same call.
//! - SEAL-2: on a refusal the output is what it was.

use super::refusal::ProduceRefusal;
use crate::envelope::{SealBuffers, SealingKey};
use crate::record_batch::{
    BatchError, BatchHeader, BatchWriter, Codec, Decompressor, HEADER_BYTES, RecordCursor,
};
use crate::rules::SealRule;

/// Buffers that are used again for every batch.
#[derive(Default)]
pub(super) struct Sealing {
    decompressor: Decompressor,
    decompressed: Vec<u8>,
    buffers: SealBuffers,
}

impl Sealing {
    /// Seals `batch`, which [`check_produced`](crate::record_batch::check_produced) has found to be good, and appends the
    /// sealed batch to `out`. `decompressed_bytes_max` bounds what the batch may hold.
    pub(super) fn seal(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        rule: &SealRule,
        key: &SealingKey,
        decompressed_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProduceRefusal> {
        let start = out.len();
        let sealed = self.seal_or_leave_rest(batch, header, rule, key, decompressed_bytes_max, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        if self.decompressed.capacity() > KEPT_BYTES_MAX {
            self.decompressed = Vec::new();
        }
        sealed
    }

    fn seal_or_leave_rest(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        rule: &SealRule,
        key: &SealingKey,
        decompressed_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProduceRefusal> {
        let codec = codec_of(header)?;
        let (records, first) = match codec {
            Codec::None => (batch, HEADER_BYTES),
            codec => {
                let compressed = batch.get(HEADER_BYTES..).ok_or(BatchError::Truncated)?;
                self.decompressed.clear();
                self.decompressor
                    .decompress(codec, compressed, decompressed_bytes_max, &mut self.decompressed)
                    .map_err(BatchError::from)?;
                (self.decompressed.as_slice(), 0)
            }
        };
        let mut sealer = key.begin(&rule.domain, rule.headers, &mut self.buffers)?;
        let writer = BatchWriter::begin(out, batch)?;
        let mut cursor = RecordCursor::produced(header, first);
        while let Some(record) = cursor.next(records)? {
            sealer.seal_record(records, &record, out)?;
        }
        let bytes = writer.finish(out)?.len();
        if bytes > rule.max_message_bytes {
            return Err(ProduceRefusal::TooLarge {
                bytes,
                bytes_max: rule.max_message_bytes,
            });
        }
        Ok(())
    }
}

/// The batch's codec.
pub(super) fn codec_of(header: &BatchHeader) -> Result<Codec, BatchError> {
    header.attributes.codec().ok_or(BatchError::Codec {
        number: header.attributes.codec_number(),
    })
}

/// A larger buffer is given back: batches are a megabyte at most unless a topic allows more.
pub(super) const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
