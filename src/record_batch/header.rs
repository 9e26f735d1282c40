//! The 61-byte header of a record batch (magic 2, KIP-98), big-endian throughout.

use crc_fast::{CrcAlgorithm, Digest};

use super::codec::Codec;
use super::error::BatchError;

/// Bytes of a batch header; the records follow.
pub const HEADER_BYTES: usize = 61;

/// Bytes before the part that `batch_length` counts: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;

/// The smallest possible `batch_length`: a header and no records.
pub const BATCH_LENGTH_MIN: usize = HEADER_BYTES - LOG_OVERHEAD;

/// Where the fields stand that a rewritten batch patches, and where the CRC begins to cover.
pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const RECORD_COUNT_AT: usize = 57;

/// The fields of a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record as the batch was written; 0 from a producer.
    pub base_offset: i64,
    /// Bytes behind this field, at least [`BATCH_LENGTH_MIN`]. Not checked against the buffer by `parse`.
    pub batch_length: i32,
    /// Set by the broker; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// Always 2 here.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset delta of the last record as the batch was written; compaction does not lower it.
    pub last_offset_delta: i32,
    /// What timestamp deltas are relative to (milliseconds); with a delete horizon, the horizon.
    pub base_timestamp: i64,
    /// Milliseconds; with `log_append_time`, the timestamp of all records.
    pub max_timestamp: i64,
    /// -1: none.
    pub producer_id: i64,
    /// -1: none.
    pub producer_epoch: i16,
    /// -1: none.
    pub base_sequence: i32,
    /// Number of records; 0 in a batch that compaction emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `batch`.
    ///
    /// # Errors
    ///
    /// [`BatchError::Truncated`] below 61 bytes, [`BatchError::Magic`] for another format than 2,
    /// [`BatchError::Length`] for a length that cannot even hold the header.
    #[inline]
    pub fn parse(batch: &[u8]) -> Result<Self, BatchError> {
        let Some(&header) = batch.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated);
        };
        // INVARIANT: every call below names a window inside the 61 bytes just taken.
        let parsed = Self {
            base_offset: i64::from_be_bytes(window(&header, 0)),
            batch_length: i32::from_be_bytes(window(&header, LENGTH_AT)),
            partition_leader_epoch: i32::from_be_bytes(window(&header, 12)),
            magic: i8::from_be_bytes(window(&header, MAGIC_AT)),
            crc: u32::from_be_bytes(window(&header, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(window(&header, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(window(&header, 23)),
            base_timestamp: i64::from_be_bytes(window(&header, 27)),
            max_timestamp: i64::from_be_bytes(window(&header, 35)),
            producer_id: i64::from_be_bytes(window(&header, 43)),
            producer_epoch: i16::from_be_bytes(window(&header, 51)),
            base_sequence: i32::from_be_bytes(window(&header, 53)),
            record_count: i32::from_be_bytes(window(&header, RECORD_COUNT_AT)),
        };
        if parsed.magic != 2 {
            return Err(BatchError::Magic(parsed.magic));
        }
        match usize::try_from(parsed.batch_length) {
            Ok(length) if length >= BATCH_LENGTH_MIN => Ok(parsed),
            _ => Err(BatchError::Length(parsed.batch_length)),
        }
    }

    /// Bytes of the whole batch, header included, as its length announces them.
    #[inline]
    pub fn batch_bytes(&self) -> usize {
        // INVARIANT: `parse` refuses negative lengths.
        LOG_OVERHEAD.saturating_add(self.batch_length as usize)
    }
}

/// The attributes field of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    /// The bits that name the codec.
    pub const CODEC_MASK: i16 = 0x07;
    /// The broker's time replaces the producer's.
    pub const LOG_APPEND_TIME: i16 = 0x08;
    /// Part of a transaction.
    #[cfg(feature = "testing")]
    pub const TRANSACTIONAL: i16 = 0x10;
    /// Holds a control record (transaction marker and the like), never data.
    pub const CONTROL: i16 = 0x20;
    /// The base timestamp is a delete horizon (KIP-534).
    #[cfg(feature = "testing")]
    pub const DELETE_HORIZON: i16 = 0x40;

    /// The codec's number, known or not: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[inline]
    pub fn codec_number(self) -> u8 {
        (self.0 & Self::CODEC_MASK) as u8
    }

    /// The codec.
    ///
    /// # Errors
    ///
    /// [`BatchError::Codec`] where its number is not a known one.
    #[inline]
    pub fn codec(self) -> Result<Codec, BatchError> {
        let number = self.codec_number();
        Codec::from_number(number).ok_or(BatchError::Codec { number })
    }

    /// Whether the batch belongs to a transaction.
    #[inline]
    #[cfg(feature = "testing")]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records.
    #[inline]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the batch's `max_timestamp` is the timestamp of all its records.
    #[inline]
    pub fn log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }
}

/// CRC-32C of what the CRC of `batch` (header and records) covers; `None` below a whole header.
#[inline]
pub fn crc_of(batch: &[u8]) -> Option<u32> {
    if batch.len() < HEADER_BYTES {
        return None;
    }
    batch.get(ATTRIBUTES_AT..).map(crc_fast::crc32_iscsi)
}

/// Whether the CRC of `batch`, exactly one batch from its first byte to its last, is right.
#[inline]
pub fn crc_matches(batch: &[u8]) -> bool {
    let stored = stored_crc(batch);
    stored.is_some() && stored == crc_of(batch)
}

/// The CRC that `batch` has in its header.
#[inline]
pub fn stored_crc(batch: &[u8]) -> Option<u32> {
    batch
        .get(CRC_AT..)
        .and_then(|rest| rest.first_chunk())
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// [`crc_of`] of a long batch, little by little.
#[derive(Default)]
pub struct BatchChecksum {
    /// Of what was looked at so far; boxed, because most batches are short and need none.
    digest: Option<Box<Digest>>,
    at: usize,
}

impl BatchChecksum {
    /// Looks at up to `bytes_max` bytes more of `batch`, which is to be the same with every call. With the checksum,
    /// once all was looked at, how many bytes it were; 0 below a whole header.
    pub fn step(&mut self, batch: &[u8], bytes_max: usize) -> (usize, Option<u32>) {
        let covered = batch.get(ATTRIBUTES_AT..).unwrap_or_default();
        if batch.len() < HEADER_BYTES {
            return (0, Some(0));
        }
        if self.at == 0 && covered.len() <= bytes_max {
            return (covered.len(), Some(crc_fast::crc32_iscsi(covered)));
        }
        let rest = covered.get(self.at..).unwrap_or_default();
        let piece = rest.get(..bytes_max.max(1)).unwrap_or(rest);
        let digest = self
            .digest
            .get_or_insert_with(|| Box::new(Digest::new(CrcAlgorithm::Crc32Iscsi)));
        digest.update(piece);
        self.at = self.at.saturating_add(piece.len());
        // A CRC of 32 bits.
        let whole = (self.at >= covered.len()).then(|| digest.finalize() as u32);
        (piece.len(), whole)
    }
}

#[inline(always)]
fn window<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "callers pass constants with at + N <= HEADER_BYTES"
    )]
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_in_steps_is_that_of_the_whole_batch() {
        let batch: Vec<u8> = (0..=255).cycle().take(HEADER_BYTES + 300).collect();
        let covered = batch.len() - ATTRIBUTES_AT;
        for bytes_max in [0, 1, 7, covered - 1, covered, covered + 1] {
            let mut checksum = BatchChecksum::default();
            let mut steps = Vec::new();
            let crc = loop {
                let (bytes, crc) = checksum.step(&batch, bytes_max);
                assert!((1..=bytes_max.max(1)).contains(&bytes), "{bytes} of {bytes_max}");
                steps.push(bytes);
                if let Some(crc) = crc {
                    break crc;
                }
            };
            assert_eq!(Some(crc), crc_of(&batch), "{bytes_max}");
            assert_eq!(steps.iter().sum::<usize>(), covered);
            assert_eq!(steps.len(), covered.div_ceil(bytes_max.max(1)));
            assert_eq!(
                checksum.digest.is_none(),
                bytes_max >= covered,
                "short ones need none"
            );
        }
    }

    #[test]
    fn a_length_holds_the_header_at_least() {
        for (length, possible) in [(49, true), (48, false), (0, false), (-1, false), (i32::MAX, true)] {
            let mut batch = [0; HEADER_BYTES];
            batch[LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
            batch[MAGIC_AT] = 2;
            let parsed = BatchHeader::parse(&batch).map(|header| header.batch_bytes());
            let expected = if possible {
                Ok(LOG_OVERHEAD + length as usize)
            } else {
                Err(BatchError::Length(length))
            };
            assert_eq!(parsed, expected);
        }
    }

    #[test]
    fn each_attribute_is_a_bit_of_its_own() {
        let flags = |bits| {
            let attributes = Attributes(bits);
            [
                attributes.log_append_time(),
                attributes.is_transactional(),
                attributes.is_control(),
            ]
        };
        assert_eq!(flags(0x08), [true, false, false]);
        assert_eq!(flags(0x10), [false, true, false]);
        assert_eq!(flags(0x20), [false, false, true]);
        assert_eq!(flags(!0x38), [false; 3]);
        assert_eq!(Attributes(!7).codec_number(), 0);
        assert_eq!(Attributes(7).codec_number(), 7);
    }

    #[test]
    fn a_checksum_needs_a_whole_header() {
        let batch = [1; HEADER_BYTES];
        assert!(crc_of(&batch).is_some());
        assert_eq!(BatchChecksum::default().step(&batch, 100), (40, crc_of(&batch)));
        let short = &batch[..HEADER_BYTES - 1];
        assert_eq!(crc_of(short), None);
        assert_eq!(BatchChecksum::default().step(short, 100), (0, Some(0)));
    }
}
