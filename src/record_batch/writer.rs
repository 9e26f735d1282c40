//! Writes a batch anew around rewritten records: the source's header is copied, and length, codec bits and CRC are
//! patched when the records are there. Nothing else changes (BATCH-3).

use super::codec::Codec;
use super::compact::CompactFrame;
use super::error::BatchError;
use super::header::{
    ATTRIBUTES_AT, Attributes, CRC_AT, HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD, RECORD_COUNT_AT, crc_of,
};
use super::span::Span;

/// A batch under construction at the end of a buffer. Records are appended to the buffer directly.
#[derive(Debug)]
#[must_use = "a batch that is not finished has no length and no checksum"]
pub struct BatchWriter {
    start: usize,
    frame: Option<Box<CompactFrame>>,
}

impl BatchWriter {
    /// Appends the header of `source` (a batch, or its header alone) to `out`.
    ///
    /// # Errors
    ///
    /// [`BatchError::Truncated`] when `source` is shorter than a header.
    pub fn begin(out: &mut Vec<u8>, source: &[u8]) -> Result<Self, BatchError> {
        let header = source
            .first_chunk::<HEADER_BYTES>()
            .ok_or(BatchError::Truncated)?;
        let start = out.len();
        out.extend_from_slice(header);
        Ok(Self { start, frame: None })
    }

    /// The same for a compact batch, whose records go through [`Self::frame`].
    ///
    /// # Errors
    ///
    /// As [`Self::begin`].
    pub fn begin_compact(out: &mut Vec<u8>, source: &[u8]) -> Result<Self, BatchError> {
        let mut writer = Self::begin(out, source)?;
        writer.frame = Some(Box::new(CompactFrame::begin(out)));
        Ok(writer)
    }

    /// Where records of a compact batch are written through.
    pub fn frame(&mut self) -> Option<&mut CompactFrame> {
        self.frame.as_deref_mut()
    }

    /// Bytes of the batch so far.
    pub fn bytes(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.start)
    }

    /// Takes everything back that was written since `begin`.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    /// Completes a batch of as many records as the source had.
    ///
    /// # Errors
    ///
    /// As [`Self::close`].
    #[cfg(feature = "testing")]
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Span, BatchError> {
        let closed = self.close(out, None)?;
        let crc = closed.batch(out).and_then(crc_of);
        Ok(closed.put_checksum(out, crc.unwrap_or_default()))
    }

    /// Completes the batch but for its checksum, for those who take that little by little: the records that follow the
    /// header are not compressed, unless the batch is compact. `record_count`: another number of records than the
    /// source had; the last offset delta stays, as after compaction.
    ///
    /// # Errors
    ///
    /// [`BatchError::TooLarge`] when the length does not fit its field; the batch is then taken back.
    pub fn close(self, out: &mut Vec<u8>, record_count: Option<i32>) -> Result<ClosedBatch, BatchError> {
        let codec = if let Some(frame) = self.frame {
            frame.finish(out);
            Codec::Lz4
        } else {
            Codec::None
        };
        let span = Span {
            start: self.start,
            end: out.len(),
        };
        let patched = out
            .get_mut(self.start..)
            .and_then(|batch| patch(batch, codec, record_count));
        if patched.is_none() {
            out.truncate(self.start);
            return Err(BatchError::TooLarge);
        }
        Ok(ClosedBatch { span })
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        self.move_to(self.start.saturating_sub(bytes));
    }

    /// What was written was moved back in its buffer by `bytes`.
    pub fn move_back(&mut self, bytes: usize) {
        self.move_to(self.start.saturating_add(bytes));
    }

    fn move_to(&mut self, start: usize) {
        self.start = start;
        if let Some(frame) = &mut self.frame {
            frame.moved_to(start.saturating_add(HEADER_BYTES));
        }
    }
}

/// A batch at the end of a buffer that lacks nothing but its checksum.
#[derive(Debug)]
#[must_use = "a batch without its checksum is broken"]
pub struct ClosedBatch {
    span: Span,
}

impl ClosedBatch {
    /// The batch, of which a [`BatchChecksum`](super::header::BatchChecksum) is to be taken.
    pub fn batch<'a>(&self, out: &'a [u8]) -> Option<&'a [u8]> {
        out.get(self.span.range())
    }

    /// Puts the checksum in.
    pub fn put_checksum(self, out: &mut [u8], crc: u32) -> Span {
        // INVARIANT: a header was written.
        let _ = out
            .get_mut(self.span.range())
            .and_then(|batch| put(batch, CRC_AT, crc.to_be_bytes()));
        self.span
    }

    /// Bytes of the batch.
    pub fn bytes(&self) -> usize {
        self.span.len()
    }

    /// Where the batch starts in the buffer.
    pub fn start(&self) -> usize {
        self.span.start
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        self.span.start = self.span.start.saturating_sub(bytes);
        self.span.end = self.span.end.saturating_sub(bytes);
    }

    /// What was written was moved back in its buffer by `bytes`.
    pub fn move_back(&mut self, bytes: usize) {
        self.span.start = self.span.start.saturating_add(bytes);
        self.span.end = self.span.end.saturating_add(bytes);
    }
}

/// `None`: shorter than a header, or longer than a length can say.
fn patch(batch: &mut [u8], codec: Codec, record_count: Option<i32>) -> Option<()> {
    let length = i32::try_from(batch.len().checked_sub(LOG_OVERHEAD)?).ok()?;
    put(batch, LENGTH_AT, length.to_be_bytes())?;
    let attributes = batch
        .get(ATTRIBUTES_AT..)?
        .first_chunk()
        .map(|bytes| i16::from_be_bytes(*bytes))?;
    put(
        batch,
        ATTRIBUTES_AT,
        (attributes & !Attributes::CODEC_MASK | i16::from(codec.number())).to_be_bytes(),
    )?;
    if let Some(record_count) = record_count {
        put(batch, RECORD_COUNT_AT, record_count.to_be_bytes())?;
    }
    Some(())
}

fn put<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) -> Option<()> {
    *batch.get_mut(at..)?.first_chunk_mut()? = bytes;
    Some(())
}

#[cfg(test)]
mod tests;
