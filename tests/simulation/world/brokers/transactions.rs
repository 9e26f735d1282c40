//! The coordinator of transactions: who has which transactional id in which epoch, what his transaction has touched,
//! and how it ends.
//!
//! - TRANSACTIONS-1: an end that was answered is kept: its markers are written to every partition, again where an
//!   election took one, and only when all replicas in sync have them another transaction begins.
//! - TRANSACTIONS-2: whoever asks for an id anew ends what was open under it, and shuts out who had it before.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::cluster::{Cluster, Place};
use super::log::Stored;

#[derive(Default)]
pub(super) struct Transactions {
    by_id: BTreeMap<String, Transaction>,
    last_producer_id: i64,
}

struct Transaction {
    producer_id: i64,
    epoch: i16,
    /// Of who had it before, if it is the same producer: he may not know yet that it has moved.
    last_epoch: Option<i16>,
    timeout: Duration,
    state: State,
    /// What it has touched, each with the marker that was written there.
    partitions: BTreeMap<(String, i32), Option<Rc<Stored>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing {
        since: Duration,
    },
    /// It is decided; markers are written in this epoch.
    Ending {
        commit: bool,
        epoch: i16,
    },
    Ended {
        commit: bool,
    },
}

/// A producer's id and epoch.
pub(super) type Producer = (i64, i16);

/// From here on each transaction ends with a new epoch of its producer, and a batch takes its partition into the
/// transaction (KIP-890).
pub(super) const EPOCHS_FROM_END_TXN: i16 = 5;
const ADDS_PARTITIONS_FROM_PRODUCE: i16 = 12;

impl Transaction {
    fn producer(&self) -> Producer {
        (self.producer_id, self.epoch)
    }

    fn begin_end(&mut self, commit: bool, epoch: i16) {
        self.state = State::Ending { commit, epoch };
    }

    /// Takes a partition into the transaction that is open, or opens one.
    fn add(&mut self, (topic, partition): Place<'_>, now: Duration) {
        if !matches!(self.state, State::Ongoing { .. }) {
            self.state = State::Ongoing { since: now };
        }
        self.partitions.insert((topic.to_owned(), partition), None);
    }

    fn timed_out_at(&self) -> Option<Duration> {
        match self.state {
            State::Ongoing { since } => Some(since + self.timeout),
            _ => None,
        }
    }
}

impl Transactions {
    pub(super) fn new_producer(&mut self) -> Producer {
        self.last_producer_id += 1;
        (self.last_producer_id, 0)
    }

    /// A producer's id in an epoch of its own. `known` is what he takes himself for.
    pub(super) fn init(
        &mut self,
        id: &str,
        timeout: Duration,
        known: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        let Some(transaction) = self.by_id.get_mut(id) else {
            let (producer_id, epoch) = self.new_producer();
            let transaction = Transaction {
                producer_id,
                epoch,
                last_epoch: None,
                timeout,
                state: State::Empty,
                partitions: BTreeMap::new(),
            };
            self.by_id.insert(id.to_owned(), transaction);
            return Ok((producer_id, epoch));
        };
        if let Some(known) = known
            && known != transaction.producer()
        {
            let is_late = (known.0, Some(known.1)) == (transaction.producer_id, transaction.last_epoch);
            return if is_late && !matches!(transaction.state, State::Ending { .. }) {
                Ok(transaction.producer())
            } else {
                Err(ResponseError::ProducerFenced)
            };
        }
        match transaction.state {
            State::Ending { .. } => Err(ResponseError::ConcurrentTransactions),
            State::Ongoing { .. } => {
                // Whoever is at it is shut out at once, where his batches go too.
                transaction.begin_end(false, transaction.epoch + 1);
                Err(ResponseError::ConcurrentTransactions)
            }
            State::Empty | State::Ended { .. } => {
                transaction.last_epoch = known.map(|known| known.1);
                transaction.epoch += 1;
                transaction.timeout = timeout;
                transaction.state = State::Empty;
                Ok(transaction.producer())
            }
        }
    }

    fn of(&mut self, id: &str, producer: Producer) -> Result<&mut Transaction, ResponseError> {
        let transaction = self
            .by_id
            .get_mut(id)
            .filter(|known| known.producer_id == producer.0);
        let transaction = transaction.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.epoch == producer.1 {
            Ok(transaction)
        } else {
            Err(ResponseError::ProducerFenced)
        }
    }

    pub(super) fn add_partitions(
        &mut self,
        id: &str,
        producer: Producer,
        places: &[Place<'_>],
        now: Duration,
    ) -> Result<(), ResponseError> {
        let transaction = self.of(id, producer)?;
        if matches!(transaction.state, State::Ending { .. }) {
            return Err(ResponseError::ConcurrentTransactions);
        }
        for place in places {
            transaction.add(*place, now);
        }
        Ok(())
    }

    /// Whether the transaction holds the partition that a batch is for, in this version of Produce.
    pub(super) fn check_produced(
        &mut self,
        id: &str,
        producer: Producer,
        place: Place<'_>,
        version: i16,
        now: Duration,
    ) -> Result<(), ResponseError> {
        let adds = version >= ADDS_PARTITIONS_FROM_PRODUCE;
        let transaction = self.of(id, producer).map_err(|error| match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        match transaction.state {
            State::Ending { .. } if adds => Err(ResponseError::ConcurrentTransactions),
            State::Ending { .. } => Err(ResponseError::NotEnoughReplicas),
            _ if adds => {
                transaction.add(place, now);
                Ok(())
            }
            State::Ongoing { .. }
                if transaction
                    .partitions
                    .contains_key(&(place.0.to_owned(), place.1)) =>
            {
                Ok(())
            }
            _ if version == ADDS_PARTITIONS_FROM_PRODUCE - 1 => Err(ResponseError::TransactionAbortable),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Decides a transaction. The producer as it is from now on.
    pub(super) fn end(
        &mut self,
        id: &str,
        producer: Producer,
        commit: bool,
        version: i16,
    ) -> Result<Producer, ResponseError> {
        let with_epochs = version >= EPOCHS_FROM_END_TXN;
        if let Some(transaction) = self.by_id.get(id)
            && with_epochs
            && (transaction.producer_id, transaction.last_epoch) == (producer.0, Some(producer.1))
        {
            // He has not heard the answer.
            return match transaction.state {
                State::Ending { commit: decided, .. } | State::Ended { commit: decided }
                    if decided == commit =>
                {
                    Ok(transaction.producer())
                }
                _ => Err(ResponseError::ProducerFenced),
            };
        }
        let transaction = self.of(id, producer)?;
        match transaction.state {
            State::Ending { commit: decided, .. } if decided == commit => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            State::Ended { commit: decided } if decided == commit && !with_epochs => {
                return Ok(producer);
            }
            State::Ongoing { .. } => {}
            // An abort of nothing is one.
            State::Empty | State::Ended { .. } if with_epochs && !commit => {}
            _ => return Err(ResponseError::InvalidTxnState),
        }
        if with_epochs {
            transaction.last_epoch = Some(transaction.epoch);
            transaction.epoch += 1;
        }
        transaction.begin_end(commit, transaction.epoch);
        Ok(transaction.producer())
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.by_id.values().filter_map(Transaction::timed_out_at).min()
    }
}

impl Cluster {
    /// Writes markers where they are missing, and ends what takes too long.
    pub(super) fn tick_transactions(&mut self, now: Duration) {
        let mut transactions = std::mem::take(&mut self.transactions);
        for transaction in transactions.by_id.values_mut() {
            if transaction.timed_out_at().is_some_and(|at| at <= now) {
                transaction.epoch += 1;
                transaction.last_epoch = None;
                transaction.begin_end(false, transaction.epoch);
            }
            if let State::Ending { commit, epoch } = transaction.state {
                let producer = (transaction.producer_id, epoch);
                transaction
                    .partitions
                    .retain(|place, marker| !self.is_marked(place, marker, producer, commit, now));
                if transaction.partitions.is_empty() {
                    transaction.epoch = epoch;
                    transaction.state = State::Ended { commit };
                }
            }
        }
        self.transactions = transactions;
    }

    /// Whether the marker is on all replicas of a partition that are in sync.
    fn is_marked(
        &mut self,
        (topic, partition): &(String, i32),
        marker: &mut Option<Rc<Stored>>,
        producer: Producer,
        commit: bool,
        now: Duration,
    ) -> bool {
        let up = self.up();
        let Ok(partition) = self.partition_mut((topic, *partition)) else {
            return true;
        };
        if !up.contains(&partition.leader) {
            return false;
        }
        let there = marker
            .as_ref()
            .filter(|marker| partition.leading().log.contains(marker));
        match there {
            Some(marker) => partition.leading().high_watermark >= marker.end(),
            None => {
                let written = partition.mark(producer, commit, now);
                let is_everywhere = partition.leading().high_watermark >= written.end();
                *marker = Some(written);
                self.changes += 1;
                is_everywhere
            }
        }
    }
}
