//! Codecs of compressed batches: reading with bounded output, and writing for tests, the harness and `inspect`.
//!
//! Readers accept what Java's readers accept (a broker has them in front of every consumer), with one difference:
//! a stream that ends early is always an error here.
//!
//! - CODEC-1: never more than the limit (and one step of growth) is produced or reserved, whatever the input announces.
//! - CODEC-2: after an error the output is as long as before.
//! - CODEC-3: contexts are made on first use and kept; one that has grown past [`CONTEXT_BYTES_KEPT`] is dropped after use.

mod gzip;
mod lz4;
mod snappy;
mod zstandard;

/// A batch's compression. The numbers are those of the attributes' lowest three bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Number 0: records stand in the batch as they are.
    #[default]
    None,
    /// Number 1: RFC 1952, possibly several members.
    Gzip,
    /// Number 2: xerial's framing (`snappy-java`) of raw blocks, or one raw block without framing.
    Snappy,
    /// Number 3: one LZ4 frame with independent blocks (KIP-57).
    Lz4,
    /// Number 4: RFC 8878 frames (KIP-110); on produce from version 7 on.
    Zstd,
}

impl Codec {
    /// The codec with this number, if it is a known one.
    #[inline]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in the attributes of a batch.
    #[inline]
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in Kafka's `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a batch's records cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The output would be longer than allowed.
    #[error("the batch holds more than {limit} bytes once decompressed")]
    LimitExceeded {
        /// The limit, bytes.
        limit: usize,
    },
    /// The compressed stream ends early.
    #[error("the {0} stream ends early")]
    Truncated(&'static str),
    /// The compressed stream is not what its format demands.
    #[error("the {codec} stream is malformed: {what}")]
    Malformed {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The allocator gave no memory.
    #[error("no memory to decompress a batch")]
    OutOfMemory,
    /// The compressor failed.
    #[error("the {0} compressor failed")]
    Compress(&'static str),
}

impl CodecError {
    /// The Kafka code for a producer: 10 MESSAGE_TOO_LARGE where a smaller batch would do (Java splits it and tries
    /// again), 87 INVALID_RECORD where the bytes are wrong for ever, and for memory -1 UNKNOWN_SERVER_ERROR.
    pub fn kafka_code(&self) -> i16 {
        match self {
            Self::LimitExceeded { .. } => 10,
            Self::Truncated(_) | Self::Malformed { .. } => 87,
            Self::OutOfMemory | Self::Compress(_) => -1,
        }
    }
}

/// Decompresses batches; keeps the contexts that codecs need. One per executor.
#[derive(Default)]
pub struct Decompressor {
    gzip: gzip::Inflater,
    snappy: snappy::Decoder,
    zstd: zstandard::Decoder,
}

impl Decompressor {
    /// Without any context yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the records that `input` (a batch without its header) holds to `out`, at most `limit` bytes of them.
    ///
    /// A batch that compaction has emptied has no stream at all: do not call this when the record count is 0.
    ///
    /// # Errors
    ///
    /// [`CodecError`]; `out` is then as long as it was.
    pub fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let mut output = Output::new(out, limit);
        let result = match codec {
            Codec::None => output.append(input),
            Codec::Gzip => self.gzip.decompress(input, &mut output),
            Codec::Snappy => self.snappy.decompress(input, &mut output),
            Codec::Lz4 => lz4::decompress(input, &mut output),
            Codec::Zstd => self.zstd.decompress(input, &mut output),
        };
        if result.is_err() {
            output.undo();
        }
        result
    }
}

/// Appends `records` to `out`, compressed as Kafka's own clients do it (default levels).
///
/// # Errors
///
/// [`CodecError::Compress`], which none of the codecs is known to give for input that fits a batch.
pub fn compress(codec: Codec, records: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    match codec {
        Codec::None => {
            out.extend_from_slice(records);
            Ok(())
        }
        Codec::Gzip => gzip::compress(records, out),
        Codec::Snappy => snappy::compress(records, out),
        Codec::Lz4 => lz4::compress(records, out),
        Codec::Zstd => zstandard::compress(records, out),
    }
}

/// The end of a vector that a decompressor may fill, up to a limit.
struct Output<'o> {
    bytes: &'o mut Vec<u8>,
    start: usize,
    limit: usize,
}

impl<'o> Output<'o> {
    fn new(bytes: &'o mut Vec<u8>, limit: usize) -> Self {
        Self {
            start: bytes.len(),
            bytes,
            limit,
        }
    }

    fn produced(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    fn exceeded(&self) -> CodecError {
        CodecError::LimitExceeded { limit: self.limit }
    }

    /// Bytes that may still come.
    fn left(&self) -> Result<usize, CodecError> {
        self.limit.checked_sub(self.produced()).ok_or(self.exceeded())
    }

    fn append(&mut self, stored: &[u8]) -> Result<(), CodecError> {
        if stored.len() > self.left()? {
            return Err(self.exceeded());
        }
        self.bytes
            .try_reserve(stored.len())
            .map_err(|_| CodecError::OutOfMemory)?;
        self.bytes.extend_from_slice(stored);
        Ok(())
    }

    /// Makes sure of some spare capacity, growing with what was produced. `hint` is a size that the input announces; it
    /// is believed only as far as `plausible` goes. One byte over the limit is provided, so that excess can be noticed.
    fn grow(&mut self, hint: usize, plausible: usize) -> Result<(), CodecError> {
        let left = self.left()?;
        if self.bytes.capacity() > self.bytes.len() {
            return Ok(());
        }
        let step = self
            .produced()
            .max(hint.min(plausible))
            .max(STEP_BYTES)
            .min(left + 1);
        self.bytes
            .try_reserve_exact(step)
            .map_err(|_| CodecError::OutOfMemory)
    }

    /// A zeroed window of `bytes` more bytes, which must be within the limit, to be cut with [`Self::cut`].
    fn window(&mut self, bytes: usize) -> Result<(usize, &mut [u8]), CodecError> {
        let from = self.bytes.len();
        self.bytes
            .try_reserve(bytes)
            .map_err(|_| CodecError::OutOfMemory)?;
        self.bytes.resize(from + bytes, 0);
        Ok((from, self.bytes.get_mut(from..).unwrap_or_default()))
    }

    fn cut(&mut self, end: usize) {
        self.bytes.truncate(end);
    }

    fn undo(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// Contexts larger than this are dropped after use; the largest window of levels below zstd's "ultra" fits.
pub const CONTEXT_BYTES_KEPT: usize = 12 << 20;

/// The least that output grows by: a common batch in one step.
const STEP_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
