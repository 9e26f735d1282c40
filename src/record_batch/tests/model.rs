//! Batches as plain values, and an encoder that shares no code with the module.

use proptest::prelude::*;

use crate::record_batch::{RecordLayout, headers};
use crate::testing::{BatchBuilder, RecordInput};

type Header = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
}

/// A producer's batch that a broker accepts, not compressed.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) base_timestamp: i64,
    pub(super) producer: (i64, i16, i32),
    pub(super) transactional: bool,
    pub(super) records: Vec<Record>,
}

impl Model {
    /// Integers get up to `padding` superfluous bytes, as far as their type allows.
    pub(super) fn encode(&self, padding: usize) -> Vec<u8> {
        let mut section = Vec::new();
        for record in &self.records {
            let mut body = vec![0];
            integer(&mut body, record.timestamp_delta, padding, 10);
            integer(&mut body, record.offset_delta.into(), padding, 5);
            nullable(&mut body, record.key.as_deref(), padding);
            nullable(&mut body, record.value.as_deref(), padding);
            integer(&mut body, record.headers.len() as i64, padding, 5);
            for (key, value) in &record.headers {
                nullable(&mut body, Some(key), padding);
                nullable(&mut body, value.as_deref(), padding);
            }
            nullable(&mut section, Some(&body), padding);
        }
        let count = self.records.len() as i32;
        let latest = self
            .records
            .iter()
            .map(|record| self.base_timestamp + record.timestamp_delta)
            .max();
        let (id, epoch, sequence) = self.producer;
        let mut covered = Vec::new();
        covered.extend_from_slice(&(if self.transactional { 0x10i16 } else { 0 }).to_be_bytes());
        covered.extend_from_slice(&(count - 1).to_be_bytes());
        covered.extend_from_slice(&self.base_timestamp.to_be_bytes());
        covered.extend_from_slice(&latest.unwrap_or(-1).to_be_bytes());
        covered.extend_from_slice(&id.to_be_bytes());
        covered.extend_from_slice(&epoch.to_be_bytes());
        covered.extend_from_slice(&sequence.to_be_bytes());
        covered.extend_from_slice(&count.to_be_bytes());
        covered.extend_from_slice(&section);
        let mut batch = vec![0; 8];
        batch.extend_from_slice(&(covered.len() as i32 + 9).to_be_bytes());
        batch.extend_from_slice(&(-1i32).to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&crc32c(&covered).to_be_bytes());
        batch.extend_from_slice(&covered);
        batch
    }

    pub(super) fn builder(&self) -> BatchBuilder {
        let (id, epoch, sequence) = self.producer;
        let mut builder = BatchBuilder::new()
            .base_timestamp(self.base_timestamp)
            .producer(id, epoch, sequence);
        if self.transactional {
            builder = builder.transactional();
        }
        for record in &self.records {
            let headers: Vec<(&[u8], Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_deref()))
                .collect();
            builder = builder.record(RecordInput {
                timestamp: self.base_timestamp + record.timestamp_delta,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            });
        }
        builder
    }
}

/// A parsed record as a value of the model.
pub(super) fn parsed(buf: &[u8], layout: &RecordLayout) -> Record {
    let headers = headers(buf, layout).map(|header| {
        let header = header.unwrap();
        (
            header.key.of(buf).to_vec(),
            header.value.map(|value| value.of(buf).to_vec()),
        )
    });
    Record {
        timestamp_delta: layout.timestamp_delta,
        offset_delta: layout.offset_delta,
        key: layout.key.map(|key| key.of(buf).to_vec()),
        value: layout.value.map(|value| value.of(buf).to_vec()),
        headers: headers.collect(),
    }
}

pub(super) fn any_model() -> impl Strategy<Value = Model> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    // Lower case keys: the oracle wants UTF-8.
    let header = ("[a-c]{0,3}", prop::option::of(bytes(80)));
    let record = (
        -1_000_000i64..1_000_000_000_000,
        prop::option::of(bytes(90)),
        prop::option::of(bytes(300)),
        prop::collection::vec(header.prop_map(|(key, value)| (key.into_bytes(), value)), 0..4),
    );
    let records = prop::collection::vec(record, 1..8);
    let producer = prop_oneof![Just((-1, -1, -1)), (0i64.., 0i16.., 0i32..)];
    (0i64..2_000_000_000_000, producer, any::<bool>(), records).prop_map(
        |(base_timestamp, producer, transactional, records)| Model {
            base_timestamp,
            producer,
            transactional,
            records: (0..)
                .zip(records)
                .map(|(offset_delta, (timestamp_delta, key, value, headers))| Record {
                    timestamp_delta,
                    offset_delta,
                    key,
                    value,
                    headers,
                })
                .collect(),
        },
    )
}

/// Bytes overwritten, and an end cut off.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    writes: Vec<(prop::sample::Index, u8)>,
    cut: Option<prop::sample::Index>,
}

impl Damage {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        for (index, byte) in &self.writes {
            if !bytes.is_empty() {
                let position = index.index(bytes.len());
                bytes[position] = *byte;
            }
        }
        if let Some(cut) = &self.cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
    }
}

pub(super) fn damaged() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0x80), Just(0)];
    let writes = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..4);
    (writes, prop::option::of(any::<prop::sample::Index>())).prop_map(|(writes, cut)| Damage { writes, cut })
}

fn nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>, padding: usize) {
    match bytes {
        Some(bytes) => {
            integer(out, bytes.len() as i64, padding, 5);
            out.extend_from_slice(bytes);
        }
        None => integer(out, -1, padding, 5),
    }
}

/// Zigzag by its definition: 0, -1, 1, -2, 2 … become 0, 1, 2, 3, 4 …
fn integer(out: &mut Vec<u8>, value: i64, padding: usize, bytes_max: usize) {
    let value = i128::from(value);
    let mut raw = if value < 0 { -2 * value - 1 } else { 2 * value };
    let mut digits = Vec::new();
    while digits.is_empty() || raw > 0 {
        digits.push((raw % 128) as u8);
        raw /= 128;
    }
    for _ in 0..padding {
        if digits.len() < bytes_max {
            digits.push(0);
        }
    }
    let last = digits.len() - 1;
    digits[..last].iter_mut().for_each(|digit| *digit |= 0x80);
    out.extend_from_slice(&digits);
}

/// CRC-32C bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
