//! How long a stored batch is, and how long its client's was: both are told from lengths alone.

use crate::envelope::stable_key::SEALED_KEY_BYTES;
use crate::envelope::{Form, HeaderMode, Marker, form_of};
use crate::record_batch::varint::varint_bytes;
use crate::record_batch::{BatchHeader, HEADER_BYTES, RecordCursor, RecordLayout};

/// A whole batch, whichever of its records are shown.
#[derive(Debug)]
pub(super) struct StoredBatch {
    pub(super) codec: &'static str,
    /// Some record is sealed.
    pub(super) is_sealed: bool,
    pub(super) sizes: Sizes,
}

impl StoredBatch {
    /// Of a stored batch whose records are at hand, decompressed; `None` if one of them cannot be read.
    pub(super) fn of(
        stored_bytes: usize,
        header: &BatchHeader,
        (records, mut cursor): (&[u8], RecordCursor),
    ) -> Option<Self> {
        let mut sizes = Sizes {
            batches: 1,
            records: 0,
            stored_bytes: stored_bytes as u64,
            clear_bytes: HEADER_BYTES as u64,
        };
        let mut is_sealed = false;
        while let Some(record) = cursor.next(records).ok()? {
            let clear_bytes = match form_of(records, &record).ok()? {
                Form::RecordSeal(marker) => {
                    is_sealed = true;
                    clear_bytes(&record, &marker)
                }
                Form::Kroxylicious { .. } | Form::Tombstone | Form::Plaintext => record.whole().len(),
            };
            sizes.records = sizes.records.saturating_add(1);
            sizes.clear_bytes = sizes.clear_bytes.saturating_add(clear_bytes as u64);
        }
        Some(Self {
            codec: header.attributes.codec().map_or("unknown", |codec| codec.name()),
            is_sealed,
            sizes,
        })
    }
}

/// How long a sealed record is once it is opened: ciphertext is as long as what it hides.
fn clear_bytes(record: &RecordLayout, marker: &Marker) -> usize {
    let seal = marker.seal();
    let header_section = match seal.parts.headers {
        HeaderMode::Sealed => seal.hidden.len(),
        HeaderMode::Free | HeaderMode::Bound => {
            let [with, without] =
                [0, 1].map(|marker| varint_bytes(length(record.header_count.saturating_sub(marker))));
            record
                .headers
                .len()
                .saturating_sub(marker.header().len())
                .saturating_sub(with.saturating_sub(without))
        }
    };
    let stored_key = record.key.map_or(0, |key| key.len());
    let key_bytes = match seal.parts.key_sealed {
        true => stored_key.saturating_sub(SEALED_KEY_BYTES),
        false => stored_key,
    };
    let with_length = |bytes| varint_bytes(length(bytes)).saturating_add(bytes);
    let sealed_key_adds = with_length(stored_key).saturating_sub(with_length(key_bytes));
    let body = record
        .headers
        .start
        .saturating_sub(record.body)
        .saturating_sub(sealed_key_adds)
        .saturating_add(header_section);
    varint_bytes(length(body)).saturating_add(body)
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Sums over batches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) batches: u64,
    pub(super) records: u64,
    /// On the disk, batches' headers included.
    pub(super) stored_bytes: u64,
    /// The same records as their clients wrote them, without a codec and without seals.
    pub(super) clear_bytes: u64,
}

impl Sizes {
    pub(super) fn add(&mut self, more: Self) {
        *self = Self {
            batches: self.batches.saturating_add(more.batches),
            records: self.records.saturating_add(more.records),
            stored_bytes: self.stored_bytes.saturating_add(more.stored_bytes),
            clear_bytes: self.clear_bytes.saturating_add(more.clear_bytes),
        };
    }

    /// What sealing has added, less what a codec has saved.
    pub(super) fn added_bytes(self) -> i64 {
        let [stored, clear] =
            [self.stored_bytes, self.clear_bytes].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        stored.saturating_sub(clear)
    }

    /// `bytes` for each record.
    pub(super) fn each(self, bytes: f64) -> f64 {
        bytes / self.records.max(1) as f64
    }
}
