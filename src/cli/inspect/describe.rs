//! What is said about one stored record, and the sums over all of them.

use std::collections::BTreeMap;

use super::batch_sizes::{Sizes, StoredBatch};
use super::{InspectError, Selection};
use crate::envelope::{
    Domain, Form, FormKind, HeaderMode, Marker, StableKeyId, WrappedDek, form_of, kroxylicious,
};
use crate::record_batch::{
    BatchHeader, BatchKind, BatchSlice, Decompressor, RecordCursor, RecordLayout, crc_matches, stored_records,
};

/// Where records come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadFrom<'a> {
    /// The topic, where it is known; of a segment, its folder's name says so.
    pub(super) topic: Option<&'a str>,
    /// The partition, likewise.
    pub(super) partition: Option<i32>,
}

/// One thing that was found.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) origin: ReadFrom<'a>,
    /// The record's offset; of a batch that is shown whole, its first.
    pub(super) offset: i64,
    pub(super) what: What<'a>,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    /// A record.
    Record(Stored<'a>),
    /// The batch of the records that follow.
    Batch(StoredBatch),
    /// A control batch: the end of a transaction, for example. Brokers write them, and nobody seals them.
    Control,
    /// A set of messages in format 0 or 1, which Kafka 4 has given up.
    OldFormat { magic: i8 },
    /// A batch or a record that cannot be read.
    Unreadable { why: String },
}

/// A record as it is stored; sizes in bytes.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) form: FormKind,
    /// The number of the format in which it is sealed or encrypted, as far as that can be told.
    pub(super) format: Option<u8>,
    pub(super) seal: Option<SealFacts<'a>>,
    /// Of a record of Kroxylicious: the name of the KEK that its data key is wrapped under.
    pub(super) foreign_kek: Option<&'a str>,
    /// `None`: null.
    pub(super) key_bytes: Option<usize>,
    /// `None`: null.
    pub(super) value_bytes: Option<usize>,
    /// Headers besides the marker.
    pub(super) headers: usize,
    /// The record with everything.
    pub(super) record_bytes: usize,
    /// The batch's codec.
    pub(super) codec: &'static str,
}

/// What a seal says about itself. Nobody has verified it: that takes the key.
#[derive(Debug)]
pub(super) struct SealFacts<'a> {
    pub(super) headers: HeaderMode,
    pub(super) key_sealed: bool,
    /// Under which stable key; `None`: it is null, readable, or none that can be read.
    pub(super) stable_key: Option<StableKeyId>,
    pub(super) domain_hint: [u8; 4],
    /// Whether the hint is that of the topic's name; `None` where the topic is not known.
    pub(super) domain_is_topic: Option<bool>,
    /// `None`: not even its frame can be read.
    pub(super) wrapped_dek: Option<WrappedDek<'a>>,
    pub(super) wrapped_dek_bytes: usize,
    pub(super) counter: u32,
    pub(super) hidden_bytes: usize,
    /// The marker header with everything: what sealing has added to the record.
    pub(super) marker_bytes: usize,
}

/// Walks one batch and shows its records; how many were shown.
pub(super) fn batch(
    records: &[u8],
    slice: &BatchSlice,
    origin: ReadFrom<'_>,
    selection: Selection,
    decompressor: &mut Decompressor,
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
) -> Result<u64, InspectError> {
    let bytes = slice.span.of(records);
    let header = match &slice.kind {
        BatchKind::V2(header) => header,
        BatchKind::Old { magic } => {
            let offset = bytes.first_chunk().map_or(-1, |bytes| i64::from_be_bytes(*bytes));
            let what = What::OldFormat { magic: *magic };
            return one(show, origin, offset, what);
        }
    };
    if header.attributes.is_control() {
        return one(show, origin, header.base_offset, What::Control);
    }
    if !crc_matches(bytes) {
        let why = "the batch's checksum does not match".to_owned();
        return one(show, origin, header.base_offset, What::Unreadable { why });
    }
    let mut plain = Vec::new();
    match stored_records(bytes, header, DECOMPRESSED_BYTES_MAX, decompressor, &mut plain) {
        Ok(records) => {
            let sizes = StoredBatch::of(bytes.len(), header, records);
            let last = header
                .base_offset
                .wrapping_add(i64::from(header.last_offset_delta));
            let is_reached = selection.offset.is_none_or(|first| last >= first);
            if let Some(batch) = sizes.filter(|_| is_reached) {
                one(show, origin, header.base_offset, What::Batch(batch))?;
            }
            each_record(records, header, origin, selection, show)
        }
        Err(error) => {
            let why = error.to_string();
            one(show, origin, header.base_offset, What::Unreadable { why })
        }
    }
}

fn one(
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
    origin: ReadFrom<'_>,
    offset: i64,
    what: What<'_>,
) -> Result<u64, InspectError> {
    show(&Item { origin, offset, what })?;
    Ok(1)
}

/// A batch that holds more is not one that a broker with sensible settings has taken.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

fn each_record(
    (plain, mut cursor): (&[u8], RecordCursor),
    header: &BatchHeader,
    origin: ReadFrom<'_>,
    selection: Selection,
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
) -> Result<u64, InspectError> {
    let mut shown = 0u64;
    while shown < selection.count {
        let (offset, what) = match cursor.next(plain) {
            Ok(None) => break,
            Ok(Some(record)) => {
                let offset = header.base_offset.wrapping_add(i64::from(record.offset_delta));
                (offset, stored(plain, &record, header, origin))
            }
            Err(error) => {
                let why = error.to_string();
                let shown_last = one(show, origin, header.base_offset, What::Unreadable { why })?;
                return Ok(shown.saturating_add(shown_last));
            }
        };
        if selection.offset.is_none_or(|first| offset >= first) {
            shown = shown.saturating_add(one(show, origin, offset, what)?);
        }
    }
    Ok(shown)
}

fn stored<'a>(
    plain: &'a [u8],
    record: &RecordLayout,
    header: &BatchHeader,
    origin: ReadFrom<'_>,
) -> What<'a> {
    let form = match form_of(plain, record) {
        Ok(form) => form,
        Err(error) => {
            return What::Unreadable {
                why: error.to_string(),
            };
        }
    };
    let seal = match &form {
        Form::RecordSeal(marker) => Some(seal_facts(plain, record, marker, origin)),
        Form::Kroxylicious { .. } | Form::Tombstone | Form::Plaintext => None,
    };
    let foreign_kek = match &form {
        Form::Kroxylicious { version: Some(2) } => record
            .value
            .and_then(|value| kroxylicious::wrapped_dek_of(value.of(plain)))
            .and_then(kroxylicious::kek_of),
        _ => None,
    };
    let timestamp = if header.attributes.log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.wrapping_add(record.timestamp_delta)
    };
    What::Record(Stored {
        timestamp,
        form: form.kind(),
        format: form.format(),
        headers: record.header_count.saturating_sub(usize::from(seal.is_some())),
        seal,
        foreign_kek,
        key_bytes: record.key.map(|key| key.len()),
        value_bytes: record.value.map(|value| value.len()),
        record_bytes: record.whole().len(),
        codec: header.attributes.codec().map_or("unknown", |codec| codec.name()),
    })
}

fn seal_facts<'a>(
    plain: &'a [u8],
    record: &RecordLayout,
    marker: &Marker,
    origin: ReadFrom<'_>,
) -> SealFacts<'a> {
    let seal = marker.seal();
    let wrapped = marker.wrapped_dek(plain);
    let hint_of = |topic: &str| Domain::new(topic).ok().map(|domain| domain.hint());
    SealFacts {
        headers: seal.parts.headers,
        key_sealed: seal.parts.key_sealed,
        stable_key: record
            .key
            .filter(|_| seal.parts.key_sealed)
            .and_then(|key| StableKeyId::in_sealed_key(key.of(plain)).ok()),
        domain_hint: seal.domain_hint,
        domain_is_topic: origin
            .topic
            .and_then(hint_of)
            .map(|hint| hint == seal.domain_hint),
        wrapped_dek: WrappedDek::parse(wrapped).ok(),
        wrapped_dek_bytes: wrapped.len(),
        counter: seal.counter,
        hidden_bytes: seal.hidden.len(),
        marker_bytes: marker.header().len(),
    }
}

/// Stable keys that are counted each by itself.
const STABLE_KEYS_MAX: usize = 100;

/// Sums.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Records by form, and what else was found.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Bytes of all records.
    pub(super) record_bytes: u64,
    /// Bytes of all marker headers.
    pub(super) marker_bytes: u64,
    /// Records by the stable key that their key is sealed under; `None`: keys that came when there were
    /// [`STABLE_KEYS_MAX`] (INSPECT-2).
    pub(super) stable_keys: BTreeMap<Option<StableKeyId>, u64>,
    /// Of whole batches, also where only some of their records are shown.
    pub(super) all: Sizes,
    /// Of those that have a sealed record.
    pub(super) sealed: Sizes,
}

impl Summary {
    pub(super) fn add(&mut self, item: &Item<'_>) {
        let name = match &item.what {
            What::Record(stored) => {
                self.record_bytes = self.record_bytes.saturating_add(stored.record_bytes as u64);
                let marker_bytes = stored.seal.as_ref().map_or(0, |seal| seal.marker_bytes as u64);
                self.marker_bytes = self.marker_bytes.saturating_add(marker_bytes);
                if let Some(id) = stored.seal.as_ref().and_then(|seal| seal.stable_key) {
                    let has_room = self.stable_keys.len() < STABLE_KEYS_MAX;
                    let key = Some(id).filter(|id| has_room || self.stable_keys.contains_key(&Some(*id)));
                    let count = self.stable_keys.entry(key).or_default();
                    *count = count.saturating_add(1);
                }
                stored.form.name()
            }
            What::Batch(batch) => {
                self.all.add(batch.sizes);
                if batch.is_sealed {
                    self.sealed.add(batch.sizes);
                }
                return;
            }
            What::Control => "control",
            What::OldFormat { .. } => "old_format",
            What::Unreadable { .. } => "unreadable",
        };
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
    }
}
