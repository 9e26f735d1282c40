//! Builds record batches from nothing. It copies and allocates. Every field of the header can be set, the wrong ones
//! too, except for length and CRC, which always fit.

use super::compressing::{CompressError, compress};
use crate::record_batch::header::{Attributes, LOG_OVERHEAD, crc_of};
use crate::record_batch::varint::{put_varint, put_varlong};
use crate::record_batch::{Codec, HEADER_BYTES};

/// One record to be written. Lengths must fit an i32.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordInput<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// `None`: null.
    pub key: Option<&'a [u8]>,
    /// `None`: null.
    pub value: Option<&'a [u8]>,
    /// Key and value (`None`: null) of each header, in order; duplicates are kept.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A batch under construction. Starts as a producer's plain batch: base offset 0, no producer id, no compression.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: i64,
    partition_leader_epoch: i32,
    codec: Codec,
    attributes: i16,
    base_timestamp: Option<i64>,
    max_timestamp: Option<i64>,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    last_offset_delta: Option<i32>,
    record_count: Option<i32>,
    /// Records as they go into the batch, before compression.
    records: Vec<u8>,
    count: i32,
    next_offset_delta: i32,
    latest_timestamp: Option<i64>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            codec: Codec::None,
            attributes: 0,
            base_timestamp: None,
            max_timestamp: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            last_offset_delta: None,
            record_count: None,
            records: Vec::new(),
            count: 0,
            next_offset_delta: 0,
            latest_timestamp: None,
        }
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses the records when the batch is built.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Offset of the first record, as in a log.
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// As a broker sets it.
    pub fn partition_leader_epoch(mut self, epoch: i32) -> Self {
        self.partition_leader_epoch = epoch;
        self
    }

    /// Producer id, epoch and the first record's sequence.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(self) -> Self {
        self.flag(Attributes::TRANSACTIONAL)
    }

    /// Marks the batch as a control batch.
    pub fn control(self) -> Self {
        self.flag(Attributes::CONTROL)
    }

    /// Makes `timestamp` the time of all records, as a broker with LogAppendTime does.
    pub fn log_append_time(mut self, timestamp: i64) -> Self {
        self.max_timestamp = Some(timestamp);
        self.flag(Attributes::LOG_APPEND_TIME)
    }

    /// Makes the base timestamp a delete horizon (KIP-534). To be called before the first record.
    pub fn delete_horizon(self, timestamp: i64) -> Self {
        self.base_timestamp(timestamp).flag(Attributes::DELETE_HORIZON)
    }

    /// What timestamp deltas are relative to; otherwise the first record's. To be called before the first record.
    pub fn base_timestamp(mut self, timestamp: i64) -> Self {
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Sets bits of the attributes.
    pub fn flag(mut self, bits: i16) -> Self {
        self.attributes |= bits;
        self
    }

    /// Another last offset delta than the records give, as compaction leaves it.
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Another record count than there are records.
    pub fn record_count(mut self, count: i32) -> Self {
        self.record_count = Some(count);
        self
    }

    /// Appends a record at the next offset.
    pub fn record(self, record: RecordInput<'_>) -> Self {
        let delta = self.next_offset_delta;
        self.record_at(delta, record)
    }

    /// Appends a record at `offset_delta`; the next one follows it.
    pub fn record_at(mut self, offset_delta: i32, record: RecordInput<'_>) -> Self {
        let base = *self.base_timestamp.get_or_insert(record.timestamp);
        let mut body = vec![0];
        put_varlong(&mut body, record.timestamp.wrapping_sub(base));
        put_varint(&mut body, offset_delta);
        put_bytes(&mut body, record.key);
        put_bytes(&mut body, record.value);
        put_varint(&mut body, record.headers.len() as i32);
        for (key, value) in record.headers {
            put_bytes(&mut body, Some(key));
            put_bytes(&mut body, *value);
        }
        put_bytes(&mut self.records, Some(&body));
        self.count = self.count.wrapping_add(1);
        self.next_offset_delta = offset_delta.wrapping_add(1);
        self.latest_timestamp = self.latest_timestamp.max(Some(record.timestamp));
        self
    }

    /// Bytes of the records so far, not compressed.
    pub fn records_bytes(&self) -> usize {
        self.records.len()
    }

    /// The whole batch.
    ///
    /// # Errors
    ///
    /// [`CompressError`], see [`compress`].
    pub fn build(&self) -> Result<Vec<u8>, CompressError> {
        let mut batch = Vec::with_capacity(HEADER_BYTES + self.records.len());
        batch.extend_from_slice(&self.base_offset.to_be_bytes());
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&self.partition_leader_epoch.to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&(self.attributes | i16::from(self.codec.number())).to_be_bytes());
        let last_offset_delta = self
            .last_offset_delta
            .unwrap_or(self.next_offset_delta.wrapping_sub(1));
        batch.extend_from_slice(&last_offset_delta.to_be_bytes());
        batch.extend_from_slice(&self.base_timestamp.unwrap_or(-1).to_be_bytes());
        let max_timestamp = self.max_timestamp.or(self.latest_timestamp).unwrap_or(-1);
        batch.extend_from_slice(&max_timestamp.to_be_bytes());
        batch.extend_from_slice(&self.producer_id.to_be_bytes());
        batch.extend_from_slice(&self.producer_epoch.to_be_bytes());
        batch.extend_from_slice(&self.base_sequence.to_be_bytes());
        batch.extend_from_slice(&self.record_count.unwrap_or(self.count).to_be_bytes());
        // A batch that compaction emptied has no stream, whatever its codec.
        if self.count > 0 {
            compress(self.codec, &self.records, &mut batch)?;
        }
        fit_length_and_crc(&mut batch);
        Ok(batch)
    }
}

/// Sets length and CRC of `batch` to fit its bytes; does nothing below a whole header. For tests that alter a batch.
pub fn fit_length_and_crc(batch: &mut [u8]) {
    let length = batch.len().saturating_sub(LOG_OVERHEAD) as i32;
    if let Some(field) = batch.get_mut(LENGTH_FIELD) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    if let Some(crc) = crc_of(batch)
        && let Some(field) = batch.get_mut(CRC_FIELD)
    {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

const LENGTH_FIELD: std::ops::Range<usize> = 8..12;
const CRC_FIELD: std::ops::Range<usize> = 17..21;
