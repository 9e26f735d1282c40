//! Codecs of compressed batches: reading with bounded output.
//!
//! Readers accept what Java's readers accept (a broker has them in front of every consumer), with one difference:
//! a stream that ends early is always an error here.
//!
//! - CODEC-1: never more than the limit (and one step of growth) is produced or reserved, whatever the input announces.
//! - CODEC-2: after an error [`Decompressor::decompress`] leaves the output as long as before.
//! - CODEC-3: whatever the input is, a step is short: nobody waits for a whole batch ([`Decompression::step`]).
//! - CODEC-4: what stands behind the records while they are decompressed is neither read nor shown: clearing that place
//!   for every batch would cost as much as filling it.
//! - CODEC-5: of a batch that is to hold nothing but records ([`Decompression::records_only`]) one stream is read,
//!   which ends where the batch does and has no place for a text: whatever else readers pass over is an error.

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
}

/// Begins to decompress batches; keeps the contexts that codecs need between them, made on first use, unless one has
/// grown past [`CONTEXT_BYTES_KEPT`]. One per executor.
#[derive(Default)]
pub struct Decompressor {
    gzip: gzip::Contexts,
    zstd: zstandard::Contexts,
}

impl Decompressor {
    /// Without any context yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins one batch, whose records will stand behind the first `start` bytes of an output and be at most `limit`
    /// bytes. What the output has there is overwritten.
    ///
    /// A batch that compaction has emptied has no stream at all: do not call this when the record count is 0.
    ///
    /// # Errors
    ///
    /// [`CodecError::OutOfMemory`].
    pub fn begin(&mut self, codec: Codec, start: usize, limit: usize) -> Result<Decompression, CodecError> {
        let reading = match codec {
            Codec::None => Reading::None,
            Codec::Gzip => Reading::Gzip(Box::new(self.gzip.begin())),
            Codec::Snappy => Reading::Snappy(snappy::Reading::default()),
            Codec::Lz4 => Reading::Lz4(lz4::Reading::default()),
            Codec::Zstd => Reading::Zstd(self.zstd.begin()?),
        };
        Ok(Decompression {
            reading,
            at: 0,
            start,
            end: start,
            limit,
            records_only: false,
        })
    }

    /// Takes back what a batch needed, finished or not.
    pub fn end(&mut self, decompression: Decompression) {
        match decompression.reading {
            Reading::Gzip(reading) => self.gzip.end(*reading),
            Reading::Zstd(reading) => self.zstd.end(reading),
            Reading::None | Reading::Snappy(_) | Reading::Lz4(_) => {}
        }
    }

    /// Appends the records that `input` (a batch without its header) holds to `out`, at most `limit` bytes of them, in
    /// one go.
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
        let start = out.len();
        let mut decompression = self.begin(codec, start, limit)?;
        let result = loop {
            match decompression.step(input, out) {
                Ok(Stepped::More) => {}
                Ok(Stepped::Finished) => break Ok(()),
                Ok(Stepped::Room(bytes)) => {
                    let produced = decompression.end().saturating_sub(start);
                    // CODEC-1: growing with what was produced, and to one byte past the limit.
                    let left = limit.saturating_sub(produced).saturating_add(1);
                    if out.try_reserve_exact(bytes.max(produced.min(left))).is_err() {
                        break Err(CodecError::OutOfMemory);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        out.truncate(result.as_ref().map_or(start, |()| decompression.end()));
        self.end(decompression);
        result
    }
}

/// One batch that is decompressed step by step. Owns the context that its codec needs.
///
/// After an error it is of no more use, and what it has appended is to be taken back.
pub struct Decompression {
    reading: Reading,
    /// How much of the input is used up.
    at: usize,
    /// Where in the output its records begin.
    start: usize,
    /// Where those end that are there.
    end: usize,
    limit: usize,
    records_only: bool,
}

/// What a step of a [`Decompression`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Nothing was done: the output, which ends with the records now, has to have spare capacity for so many bytes
    /// first.
    Room(usize),
    /// Some was appended, or some of the input used up.
    More,
    /// Everything was appended.
    Finished,
}

enum Reading {
    None,
    Gzip(Box<gzip::Reading>),
    Snappy(snappy::Reading),
    Lz4(lz4::Reading),
    Zstd(zstandard::Reading),
}

impl Decompression {
    /// Refuses what readers pass over (CODEC-5).
    #[must_use]
    pub fn records_only(self) -> Self {
        Self {
            records_only: true,
            ..self
        }
    }

    /// Does one step: at most [`STEP_BYTES_MAX`] of the input or of the output, or one block of at most 1 MiB; of LZ4,
    /// a block of 4 MiB that is stored as it is.
    /// `input` and `out` are to be the same with every step, but for the capacity of `out`.
    ///
    /// # Errors
    ///
    /// [`CodecError`].
    pub fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Stepped, CodecError> {
        let mut output = Output {
            bytes: out,
            start: self.start,
            end: &mut self.end,
            limit: self.limit,
            records_only: self.records_only,
        };
        match &mut self.reading {
            Reading::None => {
                let rest = input.get(self.at..).unwrap_or_default();
                let piece = rest.get(..STEP_BYTES_MAX).unwrap_or(rest);
                if let Some(room) = output.append(piece)? {
                    return Ok(room);
                }
                self.at = self.at.saturating_add(piece.len());
                Ok(if self.at == input.len() {
                    Stepped::Finished
                } else {
                    Stepped::More
                })
            }
            Reading::Gzip(reading) => reading.step(input, &mut self.at, &mut output),
            Reading::Snappy(reading) => reading.step(input, &mut self.at, &mut output),
            Reading::Lz4(reading) => reading.step(input, &mut self.at, &mut output),
            Reading::Zstd(reading) => reading.step(input, &mut self.at, &mut output),
        }
    }

    /// Where in the output the records end that are there; behind it stand bytes that mean nothing (CODEC-4).
    pub fn end(&self) -> usize {
        self.end
    }

    /// How much of the input is used up.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Bytes of memory that its context owns, about.
    pub fn bytes_held(&self) -> usize {
        match &self.reading {
            Reading::None | Reading::Snappy(_) | Reading::Lz4(_) => 0,
            Reading::Gzip(_) => gzip::CONTEXT_BYTES,
            Reading::Zstd(reading) => reading.bytes_held(),
        }
    }
}

/// A vector that a step may fill from `end` on, up to a limit and within its capacity.
struct Output<'o> {
    bytes: &'o mut Vec<u8>,
    start: usize,
    end: &'o mut usize,
    limit: usize,
    /// What does not come out may not stand in the input either.
    records_only: bool,
}

impl Output<'_> {
    fn produced(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    fn exceeded(&self) -> CodecError {
        CodecError::LimitExceeded { limit: self.limit }
    }

    /// CODEC-5: `what` stands in the input and does not come out.
    fn pass_over(&self, codec: &'static str, what: &'static str) -> Result<(), CodecError> {
        match self.records_only {
            true => Err(CodecError::Malformed { codec, what }),
            false => Ok(()),
        }
    }

    /// Bytes that may still come.
    fn left(&self) -> Result<usize, CodecError> {
        self.limit.checked_sub(self.produced()).ok_or(self.exceeded())
    }

    /// What is to be answered when there is no spare capacity for `bytes`.
    fn room_for(&mut self, bytes: usize) -> Option<Stepped> {
        let spare = self.bytes.capacity().saturating_sub(*self.end);
        (spare < bytes).then(|| {
            self.bytes.truncate(*self.end);
            Stepped::Room(bytes)
        })
    }

    /// Appends what is stored as it is; says if there is no room for it.
    fn append(&mut self, stored: &[u8]) -> Result<Option<Stepped>, CodecError> {
        if stored.len() > self.left()? {
            return Err(self.exceeded());
        }
        let room = self.room_for(stored.len());
        if room.is_none() {
            self.window(stored.len()).copy_from_slice(stored);
            self.add(stored.len());
        }
        Ok(room)
    }

    /// How long the window of a codec that streams is to be: grows with what was produced. `hint` is a size that the
    /// input announces; it is believed only as far as `plausible` goes. One byte over the limit is provided, so that
    /// excess can be noticed.
    fn streaming_window(&self, hint: usize, plausible: usize) -> Result<usize, CodecError> {
        let left = self.left()?;
        let wanted = self.produced().max(hint.min(plausible)).max(STEP_BYTES_MIN);
        Ok(wanted.min(STEP_BYTES_MAX).min(left.saturating_add(1)))
    }

    /// The place of `bytes` more bytes, for which there is room, and not one less; what stands there means nothing.
    /// [`Self::add`] says how many of them were filled.
    fn window(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.end.saturating_add(bytes);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(*self.end..end).unwrap_or_default()
    }

    /// Appends so many bytes of those that begin `distance` in front of the end; what overlaps with what it appends
    /// repeats. So much was appended before.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the distance is within what was appended"
    )]
    fn repeat(&mut self, distance: usize, bytes: usize) {
        self.window(bytes);
        let from = *self.end - distance;
        let place = self.bytes.get_mut(from..).unwrap_or_default();
        let mut done = 0;
        while done < bytes {
            let piece = (bytes - done).min(distance + done);
            place.copy_within(..piece, distance + done);
            done += piece;
        }
        self.add(bytes);
    }

    fn add(&mut self, bytes: usize) {
        *self.end = self.end.saturating_add(bytes);
    }
}

/// What may stand in the input and does not come out.
const BEHIND: &str = "something stands behind its end";

/// Contexts larger than this are dropped after use; the largest window of levels below zstd's "ultra" fits.
pub const CONTEXT_BYTES_KEPT: usize = 12 << 20;

/// The window that a step of a streaming codec has at least: a common batch in one step.
const STEP_BYTES_MIN: usize = 32 << 10;

/// Bytes of input, and of output, that one step takes at most: about a quarter of a millisecond.
pub const STEP_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests;
