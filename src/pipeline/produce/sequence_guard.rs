//! The sequence guard: keeps a refused batch of an idempotent producer from being overtaken by its successors.
//!
//! When the first batch of a partition is refused with a retriable code and the next one in flight is forwarded, the
//! broker, which has no state for the producer yet, accepts that one; librdkafka then loses the refused records
//! silently. So, on one connection, once a sequence is refused, higher ones of the same producer, epoch and partition
//! are refused with the same code until the refused one comes again.
//!
//! - GUARD-1: while a sequence stands refused, no higher one of its partition is let through.
//! - GUARD-2: bounded: beyond [`SequenceGuard::ENTRIES_MAX`] the caller closes the connection, which makes a client
//!   send everything again in order.

use std::collections::HashMap;

/// A producer's identity on one partition.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stream {
    producer_id: i64,
    topic: Box<str>,
    partition: i32,
}

struct RefusedSequence {
    producer_epoch: i16,
    base_sequence: i32,
}

/// Producer fields of a batch, as its header says them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSequence {
    /// -1: not idempotent, and the guard does not apply.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl ProducerSequence {
    /// Of a batch that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    };
}

/// The guard of one connection; see the module.
#[derive(Default)]
pub struct SequenceGuard {
    refused: HashMap<Stream, RefusedSequence>,
}

/// The guard has no room for another refused sequence (GUARD-2).
#[derive(Debug, PartialEq, Eq)]
pub struct GuardFull;

impl SequenceGuard {
    /// Refused partitions remembered on one connection.
    pub const ENTRIES_MAX: usize = 4096;

    /// Whether a batch has to be refused because an earlier one of its stream stands refused (GUARD-1).
    pub fn holds_back(&self, topic: &str, partition: i32, sequence: ProducerSequence) -> bool {
        if self.refused.is_empty() || sequence.producer_id < 0 {
            return false;
        }
        let stream = Stream::new(topic, partition, sequence.producer_id);
        self.refused.get(&stream).is_some_and(|refused| {
            refused.producer_epoch == sequence.producer_epoch
                && is_after(sequence.base_sequence, refused.base_sequence)
        })
    }

    /// Remembers that a batch was refused with a retriable code.
    pub fn refuse(
        &mut self,
        topic: &str,
        partition: i32,
        sequence: ProducerSequence,
    ) -> Result<(), GuardFull> {
        if sequence.producer_id < 0 {
            return Ok(());
        }
        let stream = Stream::new(topic, partition, sequence.producer_id);
        match self.refused.get_mut(&stream) {
            Some(refused) if refused.producer_epoch == sequence.producer_epoch => {
                if is_after(refused.base_sequence, sequence.base_sequence) {
                    refused.base_sequence = sequence.base_sequence;
                }
            }
            // A straggler of an epoch that is over says nothing about the present one.
            Some(refused) if sequence.producer_epoch < refused.producer_epoch => {}
            Some(refused) => {
                *refused = RefusedSequence {
                    producer_epoch: sequence.producer_epoch,
                    base_sequence: sequence.base_sequence,
                };
            }
            None => {
                if self.refused.len() >= Self::ENTRIES_MAX {
                    return Err(GuardFull);
                }
                self.refused.insert(
                    stream,
                    RefusedSequence {
                        producer_epoch: sequence.producer_epoch,
                        base_sequence: sequence.base_sequence,
                    },
                );
            }
        }
        Ok(())
    }

    /// Forgets the stream's refusal if `sequence` is the refused one, or of a later epoch: it has been let through, or
    /// finally refused. An older one that is let through meanwhile (a retry after a broker's error) releases nothing.
    pub fn release(&mut self, topic: &str, partition: i32, sequence: ProducerSequence) {
        if self.refused.is_empty() || sequence.producer_id < 0 {
            return;
        }
        let stream = Stream::new(topic, partition, sequence.producer_id);
        let stands = self.refused.get(&stream).is_some_and(|refused| {
            sequence.producer_epoch < refused.producer_epoch
                || (sequence.producer_epoch == refused.producer_epoch
                    && sequence.base_sequence != refused.base_sequence)
        });
        if !stands {
            self.refused.remove(&stream);
        }
    }
}

impl Stream {
    fn new(topic: &str, partition: i32, producer_id: i64) -> Self {
        Self {
            producer_id,
            topic: topic.into(),
            partition,
        }
    }
}

/// Whether sequence `left` comes after `right`; sequences wrap from 2^31-1 to 0.
fn is_after(left: i32, right: i32) -> bool {
    let distance = left.wrapping_sub(right) & i32::MAX;
    distance != 0 && distance < (1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(producer_epoch: i16, base_sequence: i32) -> ProducerSequence {
        ProducerSequence {
            producer_id: 7,
            producer_epoch,
            base_sequence,
        }
    }

    /// GUARD-1.
    #[test]
    fn higher_sequences_wait_for_the_refused_one() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(0, 10)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(0, 11)));
        assert!(
            !guard.holds_back("t", 0, sequence(0, 10)),
            "the refused one itself may come again"
        );
        assert!(
            !guard.holds_back("t", 0, sequence(0, 5)),
            "an older retry may pass"
        );
        assert!(
            !guard.holds_back("t", 1, sequence(0, 11)),
            "other partitions are undisturbed"
        );
        guard.release("t", 0, sequence(0, 10));
        assert!(!guard.holds_back("t", 0, sequence(0, 11)));
    }

    #[test]
    fn only_the_refused_sequence_releases_its_successors() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(3, 10)), Ok(()));
        guard.release("t", 0, sequence(3, 5));
        guard.release("t", 0, sequence(2, 10));
        assert_eq!(guard.refuse("t", 0, sequence(2, 4)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(3, 11)), "10 has not come again");
        guard.release("t", 0, sequence(4, 0));
        assert!(!guard.holds_back("t", 0, sequence(3, 11)), "the epoch is over");
    }

    #[test]
    fn the_lowest_refused_sequence_stands() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(0, 10)), Ok(()));
        assert_eq!(guard.refuse("t", 0, sequence(0, 12)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(0, 11)));
        assert_eq!(guard.refuse("t", 0, sequence(0, 8)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(0, 10)));
    }

    #[test]
    fn a_new_epoch_starts_afresh_and_sequences_wrap() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(0, i32::MAX)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(0, 0)), "0 follows 2^31-1");
        assert!(!guard.holds_back("t", 0, sequence(1, 0)));
        assert_eq!(guard.refuse("t", 0, sequence(1, 3)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(1, 4)));
    }

    /// GUARD-2.
    #[test]
    fn producers_without_an_id_are_not_guarded_and_the_guard_is_bounded() {
        let mut guard = SequenceGuard::default();
        let plain = ProducerSequence::NONE;
        assert_eq!(guard.refuse("t", 0, plain), Ok(()));
        assert!(!guard.holds_back("t", 0, plain));
        for partition in 0..SequenceGuard::ENTRIES_MAX as i32 {
            assert_eq!(guard.refuse("t", partition, sequence(0, 1)), Ok(()));
        }
        assert_eq!(guard.refuse("t", -1, sequence(0, 1)), Err(GuardFull));
    }
}
