//! What a log knows of each producer, as `ProducerStateManager` does: its epoch, its last batches, its transaction.
//!
//! - PRODUCERS-1: a batch that is among the last five of its producer's epoch, by first and last sequence, is a
//!   duplicate and is answered with the offset that it has.
//! - PRODUCERS-2: a producer of whom the partition knows nothing may begin with any sequence; one whose epoch is new
//!   begins with 0; every other batch follows the one before it.

use std::collections::VecDeque;

use kafka_protocol::ResponseError;
use sealwire::record_batch::BatchHeader;

use super::log::Stored;

/// What is known of one producer in one log.
#[derive(Default)]
pub(super) struct ProducerState {
    epoch: i16,
    /// The last batches of this epoch; none after a marker that brought a new one.
    batches: VecDeque<Remembered>,
    /// Where the open transaction begins.
    pub(super) open_from: Option<i64>,
}

/// A batch that would be known again.
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// `NUM_BATCHES_TO_RETAIN` of Kafka.
const REMEMBERED_BATCHES: usize = 5;

impl ProducerState {
    /// Base offset of the batch that this one repeats, if it does.
    pub(super) fn check(state: Option<&Self>, header: &BatchHeader) -> Result<Option<i64>, ResponseError> {
        let Some(state) = state else {
            return Ok(None);
        };
        let first = header.base_sequence;
        let last = last_sequence(header);
        if header.producer_epoch < state.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > state.epoch {
            return if first == 0 {
                Ok(None)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let again = |known: &&Remembered| (known.first_sequence, known.last_sequence) == (first, last);
        if let Some(known) = state.batches.iter().find(again) {
            return Ok(Some(known.base_offset));
        }
        let expected = match state.batches.back() {
            Some(known) if known.last_sequence < i32::MAX => known.last_sequence + 1,
            _ => 0,
        };
        if first == expected {
            Ok(None)
        } else {
            Err(ResponseError::OutOfOrderSequenceNumber)
        }
    }

    /// Takes in a batch of records that was appended.
    pub(super) fn note(&mut self, batch: &Stored) {
        self.begin_epoch(batch.header.producer_epoch);
        if self.batches.len() == REMEMBERED_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(Remembered {
            first_sequence: batch.header.base_sequence,
            last_sequence: last_sequence(&batch.header),
            base_offset: batch.header.base_offset,
        });
    }

    /// Forgets the batches of an older epoch.
    pub(super) fn begin_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }
}

/// Sequences begin with 0 again behind the greatest one.
fn last_sequence(header: &BatchHeader) -> i32 {
    let behind = i64::from(header.base_sequence) + i64::from(header.last_offset_delta);
    (behind % (i64::from(i32::MAX) + 1)) as i32
}
