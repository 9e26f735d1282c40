//! The sequence guard: keeps a refused batch of an idempotent producer from being overtaken by its successors.
//!
//! When the first batch of a partition is refused with a retriable code and the next one in flight is forwarded, the
//! broker, which has no state for the producer yet, accepts that one; librdkafka then loses the refused records
//! silently. So, on one connection, once a sequence is refused, higher ones of the same producer, epoch and partition
//! are refused with the same code until the refused one comes again.
//!
//! - GUARD-1: while a sequence stands refused, no higher one of its partition is let through, but for GUARD-3.
//! - GUARD-2: bounded: beyond [`SequenceGuard::ENTRIES_MAX`] the caller closes the connection, which makes a client
//!   send everything again in order.
//! - GUARD-3: a client sends again from the lowest that it has. So when one that was held back comes again, or one
//!   between it and the refused one, and the refused one has not, that one was stored by way of another connection,
//!   while another broker led the partition, or given up: nothing is held back for its sake any more.

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
    /// The highest that was held back since it was refused last: they come in order.
    held_back: Option<i32>,
}

impl RefusedSequence {
    fn new(sequence: ProducerSequence) -> Self {
        Self {
            producer_epoch: sequence.producer_epoch,
            base_sequence: sequence.base_sequence,
            held_back: None,
        }
    }

    /// Whether a client that sends `base_sequence` sends again without the refused one (GUARD-3).
    fn is_outlived_by(&self, base_sequence: i32) -> bool {
        is_after(base_sequence, self.base_sequence)
            && self
                .held_back
                .is_some_and(|held_back| !is_after(base_sequence, held_back))
    }
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
                && !refused.is_outlived_by(sequence.base_sequence)
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
                let comes_after = is_after(sequence.base_sequence, refused.base_sequence);
                if !comes_after || refused.is_outlived_by(sequence.base_sequence) {
                    *refused = RefusedSequence::new(sequence);
                } else {
                    refused.held_back = Some(sequence.base_sequence);
                }
            }
            // A straggler of an epoch that is over says nothing about the present one.
            Some(refused) if sequence.producer_epoch < refused.producer_epoch => {}
            Some(refused) => *refused = RefusedSequence::new(sequence),
            None => {
                if self.refused.len() >= Self::ENTRIES_MAX {
                    return Err(GuardFull);
                }
                self.refused.insert(stream, RefusedSequence::new(sequence));
            }
        }
        Ok(())
    }

    /// Forgets the stream's refusal if `sequence` is the refused one, one that has outlived it (GUARD-3), or of a later
    /// epoch: it has been let through, or finally refused. An older one that is let through meanwhile (a retry after a
    /// broker's error) releases nothing.
    pub fn release(&mut self, topic: &str, partition: i32, sequence: ProducerSequence) {
        if self.refused.is_empty() || sequence.producer_id < 0 {
            return;
        }
        let stream = Stream::new(topic, partition, sequence.producer_id);
        let stands = self.refused.get(&stream).is_some_and(|refused| {
            sequence.producer_epoch < refused.producer_epoch
                || (sequence.producer_epoch == refused.producer_epoch
                    && sequence.base_sequence != refused.base_sequence
                    && !refused.is_outlived_by(sequence.base_sequence))
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

    /// GUARD-3: 10 was stored by way of another connection, and perhaps others behind it.
    #[test]
    fn what_is_held_back_twice_is_let_through() {
        for comes_again in 11..=13 {
            let mut guard = SequenceGuard::default();
            assert_eq!(guard.refuse("t", 0, sequence(0, 10)), Ok(()));
            for held_back in 11..=13 {
                assert!(guard.holds_back("t", 0, sequence(0, held_back)));
                assert_eq!(guard.refuse("t", 0, sequence(0, held_back)), Ok(()));
            }
            assert!(guard.holds_back("t", 0, sequence(0, 14)), "it comes behind them");
            assert!(!guard.holds_back("t", 0, sequence(0, comes_again)));
            // Refused for a reason of its own: now it is the one that has to come first.
            assert_eq!(guard.refuse("t", 0, sequence(0, comes_again)), Ok(()));
            assert!(guard.holds_back("t", 0, sequence(0, comes_again + 1)));
            guard.release("t", 0, sequence(0, comes_again));
            assert!(!guard.holds_back("t", 0, sequence(0, comes_again + 1)));
        }
    }

    /// What came back was stored elsewhere as well.
    #[test]
    fn a_sequence_behind_all_that_were_held_back_is_held_back_once() {
        let mut guard = SequenceGuard::default();
        for refused in [10, 11, 15] {
            assert_eq!(guard.refuse("t", 0, sequence(0, refused)), Ok(()));
        }
        assert!(!guard.holds_back("t", 0, sequence(0, 15)));
        guard.release("t", 0, sequence(0, 15));
        assert!(!guard.holds_back("t", 0, sequence(0, 16)));
    }

    #[test]
    fn a_refused_sequence_that_comes_again_holds_back_as_before() {
        let mut guard = SequenceGuard::default();
        for _ in 0..3 {
            assert_eq!(guard.refuse("t", 0, sequence(0, 10)), Ok(()));
            assert!(guard.holds_back("t", 0, sequence(0, 11)));
            assert_eq!(guard.refuse("t", 0, sequence(0, 11)), Ok(()));
        }
        guard.release("t", 0, sequence(0, 10));
        assert!(!guard.holds_back("t", 0, sequence(0, 11)));
    }

    #[test]
    fn only_the_refused_sequence_releases_its_successors() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(3, 10)), Ok(()));
        guard.release("t", 0, sequence(3, 5));
        guard.release("t", 0, sequence(2, 10));
        assert_eq!(guard.refuse("t", 0, sequence(3, 11)), Ok(()));
        guard.release("t", 0, sequence(3, 5));
        assert_eq!(guard.refuse("t", 0, sequence(2, 4)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(3, 12)), "10 has not come again");
        guard.release("t", 0, sequence(4, 0));
        assert!(!guard.holds_back("t", 0, sequence(3, 12)), "the epoch is over");
    }

    #[test]
    fn the_lowest_refused_sequence_stands() {
        let mut guard = SequenceGuard::default();
        assert_eq!(guard.refuse("t", 0, sequence(0, 10)), Ok(()));
        assert_eq!(guard.refuse("t", 0, sequence(0, 12)), Ok(()));
        assert!(guard.holds_back("t", 0, sequence(0, 13)));
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
