//! The records of a batch, as they stand in it or decompressed step by step; one piece of code for both directions.
//!
//! - DECOMPRESSING-1: what was decompressed counts as work and as held memory, whatever comes of it.

use super::work::{COMPRESSED_BYTE_WORK, DECOMPRESSION_STEP_WORK, Pause, Work};
use crate::buffers::BufferPool;
use crate::growing::Growing;
use crate::record_batch::codec::STEP_BYTES_MAX;
use crate::record_batch::{
    BatchError, BatchHeader, Codec, Decompression, Decompressor, HEADER_BYTES, Stepped,
};

/// What batches use one after the other; one per executor.
#[derive(Default)]
pub(super) struct DecompressorPool {
    decompressor: Decompressor,
    buffers: BufferPool,
    /// How much the last batch held: the next one is likely like it.
    expected: usize,
}

impl DecompressorPool {
    /// Frees memory that was not needed since this was called last.
    pub(super) fn trim(&mut self) {
        self.buffers.trim();
    }
}

/// Where the records of one batch are.
#[derive(Default)]
pub(super) enum Records {
    /// In the batch itself.
    #[default]
    InBatch,
    /// Here, once `under_way` is gone.
    Decompressed {
        growing: Growing,
        /// Where they end; what stands behind is of other batches.
        end: usize,
        under_way: Option<Box<Decompression>>,
        /// A step asked for so much room.
        room_wanted: usize,
    },
}

impl Records {
    /// For a batch with this header, which may hold `bytes_max` bytes of records, and, with `records_only`, nothing
    /// else (CODEC-5).
    pub(super) fn begin(
        header: &BatchHeader,
        bytes_max: usize,
        records_only: bool,
        pool: &mut DecompressorPool,
    ) -> Result<Self, BatchError> {
        let codec = header.attributes.codec()?;
        if codec == Codec::None {
            return Ok(Self::InBatch);
        }
        let mut under_way = pool.decompressor.begin(codec, 0, bytes_max)?;
        if records_only {
            under_way = under_way.records_only();
        }
        Ok(Self::Decompressed {
            growing: Growing::from(pool.buffers.take(pool.expected)),
            end: 0,
            under_way: Some(Box::new(under_way)),
            room_wanted: 0,
        })
    }

    /// Decompresses `batch` until its records are there (`None`) or something stops it. Memory beyond what is usual is
    /// taken only if it `may_grow`.
    pub(super) fn prepare(
        &mut self,
        batch: &[u8],
        work: &mut Work,
        may_grow: bool,
        pool: &mut DecompressorPool,
    ) -> Result<Option<Pause>, BatchError> {
        let Self::Decompressed {
            growing,
            end,
            under_way,
            room_wanted,
        } = self
        else {
            return Ok(None);
        };
        let Some(decompression) = under_way else {
            return Ok(None);
        };
        let compressed = batch.get(HEADER_BYTES..).ok_or(BatchError::Truncated)?;
        loop {
            if let Err(pause) = work.make_room(growing, room_wanted, may_grow) {
                return Ok(Some(pause));
            }
            let before = (decompression.end(), decompression.consumed());
            let stepped = decompression.step(compressed, growing.bytes_mut());
            if stepped.is_err() {
                // DECOMPRESSING-1: it may have been all of a step.
                work.charge(STEP_BYTES_MAX);
            }
            match stepped? {
                Stepped::Room(bytes) => *room_wanted = bytes,
                progress => {
                    let made = decompression.end().saturating_sub(before.0);
                    let used = decompression.consumed().saturating_sub(before.1);
                    work.charge(made.saturating_add(DECOMPRESSION_STEP_WORK));
                    work.charge(used.saturating_mul(COMPRESSED_BYTE_WORK));
                    if progress == Stepped::Finished {
                        *end = decompression.end();
                        if let Some(decompression) = under_way.take() {
                            pool.decompressor.end(*decompression);
                        }
                        return Ok(None);
                    }
                    if work.is_spent() {
                        return Ok(Some(Pause::Spent));
                    }
                }
            }
        }
    }

    /// The bytes that the records stand in, and where the first begins: `batch`, or what was decompressed.
    pub(super) fn of<'a>(&'a self, batch: &'a [u8]) -> (&'a [u8], usize) {
        match self {
            Self::InBatch => (batch, HEADER_BYTES),
            Self::Decompressed { growing, end, .. } => (growing.bytes().get(..*end).unwrap_or_default(), 0),
        }
    }

    /// The same, to be opened in place.
    pub(super) fn of_mut<'a>(&'a mut self, batch: &'a mut [u8]) -> &'a mut [u8] {
        match self {
            Self::InBatch => batch,
            Self::Decompressed { growing, end, .. } => {
                growing.bytes_mut().get_mut(..*end).unwrap_or_default()
            }
        }
    }

    /// Whether the batch was compressed.
    pub(super) fn were_compressed(&self) -> bool {
        matches!(self, Self::Decompressed { .. })
    }

    /// Gives back what the next batch can use.
    pub(super) fn end(self, pool: &mut DecompressorPool) {
        let Self::Decompressed {
            mut growing,
            end,
            under_way,
            ..
        } = self
        else {
            return;
        };
        if let Some(decompression) = under_way {
            pool.decompressor.end(*decompression);
        }
        pool.expected = end;
        pool.buffers.give(growing.take());
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        let Self::Decompressed {
            growing, under_way, ..
        } = self
        else {
            return 0;
        };
        let context = under_way
            .as_ref()
            .map_or(0, |decompression| decompression.bytes_held());
        growing.capacity().saturating_add(context)
    }
}
