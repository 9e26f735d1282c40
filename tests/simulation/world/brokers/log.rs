//! One replica's log of a partition, and what it knows by having it: producers, transactions, what was aborted.
//!
//! - REPLICAS-1: two logs of a partition are equal up to some batch and share nothing behind it; batches are shared,
//!   not copied.
//! - REPLICAS-2: everything else is made of the batches: a log that is cut off knows what it would know had it never
//!   been longer.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use sealwire::record_batch::BatchHeader;

use super::producers::ProducerState;

/// A batch in a log.
pub(crate) struct Stored {
    /// With the offset that it has here.
    pub(crate) header: BatchHeader,
    /// As it is read.
    pub(crate) bytes: Bytes,
    /// When a leader appended it.
    pub(crate) at: Duration,
    /// Whether it is a marker that aborts a transaction.
    pub(super) aborts: bool,
    /// Bytes of the log before it.
    pub(super) position: usize,
}

impl Stored {
    /// The offset behind its last record.
    pub(crate) fn end(&self) -> i64 {
        self.header.base_offset + i64::from(self.header.last_offset_delta) + 1
    }
}

/// A transaction that has its marker.
struct Ended {
    producer_id: i64,
    first_offset: i64,
    marker_offset: i64,
    aborted: bool,
}

#[derive(Default)]
pub(super) struct Log {
    batches: Vec<Rc<Stored>>,
    producers: BTreeMap<i64, ProducerState>,
    /// In the order of their markers.
    ended: Vec<Ended>,
}

impl Log {
    pub(super) fn batches(&self) -> &[Rc<Stored>] {
        &self.batches
    }

    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.end())
    }

    /// Bytes before the batch of this number.
    pub(super) fn position(&self, index: usize) -> usize {
        match self.batches.get(index) {
            Some(batch) => batch.position,
            None => self
                .batches
                .last()
                .map_or(0, |batch| batch.position + batch.bytes.len()),
        }
    }

    /// Number of the batch that holds the offset, or of the first one behind it.
    pub(super) fn index_of(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.end() <= offset)
    }

    pub(super) fn contains(&self, batch: &Rc<Stored>) -> bool {
        let there = self.batches.get(self.index_of(batch.header.base_offset));
        there.is_some_and(|there| Rc::ptr_eq(there, batch))
    }

    /// How many batches both have.
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        // REPLICAS-1: whoever has a batch has all before it.
        self.batches.partition_point(|batch| other.contains(batch))
    }

    /// Base offset of the batch that is there already and that this one repeats, if it does.
    pub(super) fn check_producer(&self, header: &BatchHeader) -> Result<Option<i64>, ResponseError> {
        ProducerState::check(self.producers.get(&header.producer_id), header)
    }

    pub(super) fn append(&mut self, batch: Rc<Stored>) {
        self.note_producer(&batch);
        self.batches.push(batch);
    }

    fn note_producer(&mut self, batch: &Stored) {
        let header = &batch.header;
        if header.producer_id < 0 {
            return;
        }
        let state = self.producers.entry(header.producer_id).or_default();
        if header.attributes.is_control() {
            state.begin_epoch(header.producer_epoch);
            if let Some(first_offset) = state.open_from.take() {
                self.ended.push(Ended {
                    producer_id: header.producer_id,
                    first_offset,
                    marker_offset: header.base_offset,
                    aborted: batch.aborts,
                });
            }
            return;
        }
        state.note(batch);
        if header.attributes.is_transactional() {
            state.open_from.get_or_insert(header.base_offset);
        }
    }

    /// Keeps as many batches.
    pub(super) fn truncate(&mut self, count: usize) {
        if count >= self.batches.len() {
            return;
        }
        let mut kept = std::mem::take(self);
        kept.batches.truncate(count);
        for batch in kept.batches {
            self.append(batch);
        }
    }

    /// Up to where no transaction can change any more what was read: one that is open, or whose marker is not on all
    /// replicas yet, is above it.
    pub(super) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let open = self.producers.values().filter_map(|state| state.open_from);
        let not_replicated = self
            .ended
            .iter()
            .rev()
            .take_while(|ended| ended.marker_offset >= high_watermark)
            .map(|ended| ended.first_offset);
        open.chain(not_replicated)
            .min()
            .unwrap_or(high_watermark)
            .min(high_watermark)
    }

    /// Producer and first offset of every aborted transaction that has records from `from` on and before `end`.
    pub(super) fn aborted_between(&self, from: i64, end: i64) -> impl Iterator<Item = (i64, i64)> {
        let first = self.ended.partition_point(|ended| ended.marker_offset < from);
        self.ended
            .iter()
            .skip(first)
            .filter(move |ended| ended.aborted && ended.first_offset < end)
            .map(|ended| (ended.producer_id, ended.first_offset))
    }
}
