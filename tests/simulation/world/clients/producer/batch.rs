//! Batches that a producer has made and that are not acknowledged.

use std::ops::Range;
use std::time::Duration;

use sealwire::record_batch::Codec;
use sealwire::testing::{BatchBuilder, RecordInput};

use super::{Failed, Reason};
use crate::world::clients::Place;
use crate::world::clients::value::Value;

/// Producer id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

pub(super) struct Batch {
    /// Of its values.
    pub(super) numbers: Range<u64>,
    pub(super) codec: Codec,
    pub(super) made: Duration,
    /// The transaction that it belongs to.
    pub(super) transaction: Option<u32>,
    /// Not before then.
    pub(super) not_before: Duration,
    /// It was sent, and nobody said that it was not stored.
    pub(super) may_be_stored: bool,
    /// Given with the first send and kept: whose it is, and its first sequence.
    pub(super) stamp: Option<(Identity, i32)>,
    /// Built when its stamp is known.
    bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn new(numbers: Range<u64>, codec: Codec, made: Duration, transaction: Option<u32>) -> Self {
        Self {
            numbers,
            codec,
            made,
            transaction,
            not_before: Duration::ZERO,
            may_be_stored: false,
            stamp: None,
            bytes: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.numbers.end - self.numbers.start).expect("a few records")
    }

    pub(super) fn sequence(&self) -> Option<i32> {
        self.stamp.map(|(_, sequence)| sequence)
    }

    /// As it goes to `place`; the same bytes each time, until the stamp is changed.
    pub(super) fn bytes(&mut self, producer: u32, place: &Place) -> &[u8] {
        if self.bytes.is_empty() {
            self.bytes = self.build(producer, place);
        }
        &self.bytes
    }

    pub(super) fn set_stamp(&mut self, stamp: Option<(Identity, i32)>) {
        self.stamp = stamp;
        self.bytes.clear();
    }

    /// Two batches of the same records; the sequences stay with them.
    pub(super) fn split(&self) -> [Self; 2] {
        let Range { start, end } = self.numbers;
        let middle = start.midpoint(end);
        [start..middle, middle..end].map(|numbers| {
            let before = i32::try_from(numbers.start - start).expect("a few records");
            let mut part = Self::new(numbers, self.codec, self.made, self.transaction);
            part.set_stamp(self.stamp.map(|(identity, first)| (identity, first + before)));
            part
        })
    }

    /// What becomes known of it when it is not to be stored any more.
    pub(super) fn failed(self, place: &Place, reason: Reason) -> Failed {
        Failed {
            place: place.clone(),
            numbers: self.numbers,
            reason,
            may_be_stored: self.may_be_stored,
        }
    }

    fn build(&self, producer: u32, (topic, partition): &Place) -> Vec<u8> {
        let mut builder = BatchBuilder::new().codec(self.codec);
        let timestamp = BEGINNING_MS + i64::try_from(self.made.as_millis()).expect("a short time");
        if let Some((identity, sequence)) = self.stamp {
            builder = builder.producer(identity.id, identity.epoch, sequence);
        }
        if self.transaction.is_some() {
            builder = builder.transactional();
        }
        for number in self.numbers.clone() {
            let value = Value {
                producer,
                partition: *partition,
                number,
            };
            builder = builder.record(RecordInput {
                timestamp,
                key: Some(b"key"),
                value: Some(value.text(topic).as_bytes()),
                headers: &[],
            });
        }
        builder.build().expect("a batch can be built")
    }
}

/// What records say of when a world began, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_700_000_000_000;
