//! What producers were told against what a consumer was given.
//!
//! - ACCOUNT-1: what was acknowledged is delivered, at the offset that was told; of a transaction, to those that read
//!   what is committed, if it was committed and not otherwise.
//! - ACCOUNT-2: what has a sequence, or is never sent again, is delivered once, in the order in which it was made.
//! - ACCOUNT-3: what was refused for good or given up is not delivered, unless an attempt went unanswered.

use std::collections::BTreeMap;
use std::ops::Range;

use super::consumer::Delivered;
use super::producer::{Acknowledged, Kind, Outcome};
use super::value::Value;
use super::{Consumer, Place, Producer};

/// What one consumer was given, by offset.
#[derive(Default)]
pub(crate) struct Account {
    delivered: BTreeMap<Place, BTreeMap<i64, Value>>,
}

impl Account {
    /// Notes what the consumer was given.
    pub(crate) fn note(&mut self, delivered: &[Delivered]) {
        for delivered in delivered {
            let known = self.delivered.entry(delivered.place.clone()).or_default();
            let former = known.insert(delivered.offset, delivered.value);
            assert!(
                former.is_none_or(|former| former == delivered.value),
                "{:?} at {}: {former:?}, then {:?}",
                delivered.place,
                delivered.offset,
                delivered.value
            );
        }
    }

    pub(crate) fn delivered(&self) -> &BTreeMap<Place, BTreeMap<i64, Value>> {
        &self.delivered
    }

    /// Panics where the producers were told otherwise. `was_lost` says of what only a leader has acknowledged whether
    /// the brokers lost it.
    pub(crate) fn check(
        &self,
        consumer: &Consumer,
        producers: &[Producer],
        was_lost: impl Fn(&Acknowledged) -> bool,
    ) {
        let read_committed = consumer.settings().read_committed;
        let numbers = self.numbers();
        for producer in producers {
            let acks = match producer.settings().kind {
                Kind::Plain { acks: 0 } => {
                    self.check_order(producer, &numbers);
                    0
                }
                Kind::Plain { acks } => acks,
                Kind::Idempotent | Kind::Transactional => {
                    self.check_order(producer, &numbers);
                    -1
                }
            };
            // ACCOUNT-3
            for failed in producer.failed().iter().filter(|failed| !failed.may_be_stored) {
                let is_there = is_delivered(producer, &failed.place, &failed.numbers, &numbers);
                assert!(!is_there, "{failed:?} and is delivered");
            }
            for acknowledged in producer.acknowledged() {
                let outcome = acknowledged.transaction.map(|number| outcome(producer, number));
                match outcome.filter(|_| read_committed) {
                    None | Some(Outcome::Committed) if acks == 1 && was_lost(acknowledged) => {}
                    None | Some(Outcome::Committed) => self.check_delivered(producer, acknowledged, &numbers),
                    Some(Outcome::Aborted) => check_hidden(producer, acknowledged, &numbers),
                    Some(Outcome::Unknown) => {}
                }
            }
        }
    }

    /// Where each value was delivered, in the order of offsets.
    fn numbers(&self) -> BTreeMap<(u32, &Place), Vec<(i64, u64)>> {
        let mut numbers: BTreeMap<_, Vec<(i64, u64)>> = BTreeMap::new();
        for (place, values) in &self.delivered {
            for (offset, value) in values {
                assert_eq!(value.partition, place.1, "a value of another partition");
                numbers
                    .entry((value.producer, place))
                    .or_default()
                    .push((*offset, value.number));
            }
        }
        numbers
    }

    /// ACCOUNT-1
    fn check_delivered(&self, producer: &Producer, acknowledged: &Acknowledged, numbers: &Numbers<'_>) {
        let place = &acknowledged.place;
        if let Some(base_offset) = acknowledged.base_offset {
            for (offset, number) in (base_offset..).zip(acknowledged.numbers.clone()) {
                let value = self.delivered.get(place).and_then(|values| values.get(&offset));
                let own = (producer.settings().number, number);
                assert_eq!(
                    value.map(|value| (value.producer, value.number)),
                    Some(own),
                    "{place:?} at {offset}: acknowledged and not delivered there"
                );
            }
            return;
        }
        for number in acknowledged.numbers.clone() {
            let values = numbers.get(&(producer.settings().number, place));
            let is_there = values.is_some_and(|values| values.iter().any(|&(_, other)| other == number));
            assert!(is_there, "{place:?}: {number} is acknowledged and not delivered");
        }
    }

    /// ACCOUNT-2
    fn check_order(&self, producer: &Producer, numbers: &Numbers<'_>) {
        let own = numbers
            .iter()
            .filter(|((number, _), _)| *number == producer.settings().number);
        for ((_, place), values) in own {
            let mut values = values.clone();
            if producer.may_be_out_of_order(place) {
                values.sort_unstable_by_key(|&(_, number)| number);
            }
            values.retain(|(_, number)| !producer.may_be_doubled(place, *number));
            for pair in values.windows(2) {
                assert!(
                    pair[0].1 < pair[1].1,
                    "{place:?}, producer {}: {} comes at {} and {} at {}",
                    producer.settings().number,
                    pair[0].1,
                    pair[0].0,
                    pair[1].1,
                    pair[1].0
                );
            }
        }
    }
}

type Numbers<'a> = BTreeMap<(u32, &'a Place), Vec<(i64, u64)>>;

fn outcome(producer: &Producer, transaction: u32) -> Outcome {
    let outcome = producer.outcomes().get(transaction as usize);
    outcome.copied().unwrap_or(Outcome::Unknown)
}

/// ACCOUNT-1
fn check_hidden(producer: &Producer, acknowledged: &Acknowledged, numbers: &Numbers<'_>) {
    let is_there = is_delivered(producer, &acknowledged.place, &acknowledged.numbers, numbers);
    assert!(!is_there, "{acknowledged:?} is aborted and delivered");
}

/// Whether any of a batch's values was.
fn is_delivered(producer: &Producer, place: &Place, batch: &Range<u64>, numbers: &Numbers<'_>) -> bool {
    let values = numbers.get(&(producer.settings().number, place));
    values.is_some_and(|values| values.iter().any(|(_, number)| batch.contains(number)))
}
