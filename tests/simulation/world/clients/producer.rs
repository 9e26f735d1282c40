//! A producer: makes batches at its own pace, sends them to the leaders, sends again what was refused for now, and
//! keeps what was acknowledged.
//!
//! - an idempotent batch goes again with the sequence that it had, so that it is stored once whatever got lost.
//! - a plain one may be stored twice, and out of order where more than one request is under way.
//! - what is not stored in time is given up, and nobody knows whether it is stored; with sequences, what follows begins
//!   anew with the next epoch.

mod answers;
mod batch;
mod coordination;
mod lane;
mod sending;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, TransactionalId};
use sealwire::record_batch::Codec;

use self::batch::{Batch, Identity};
use self::lane::Lane;
pub(crate) use self::transaction::Outcome;
use self::transaction::Transactions;
use super::network::Network;
use super::{Action, Client, ClientSettings, LinkId, Place};
use crate::dice::Dice;
use crate::wire::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Without sequences, acknowledged by nobody (0), the leader (1) or all (-1).
    Plain {
        acks: i16,
    },
    Idempotent,
    Transactional,
}

#[derive(Clone, Debug)]
pub(crate) struct ProducerSettings {
    /// What its values carry; no two producers have the same.
    pub(crate) number: u32,
    pub(crate) client: ClientSettings,
    pub(crate) kind: Kind,
    /// Requests on a connection that are unanswered.
    pub(crate) in_flight_max: usize,
    /// What it makes in all.
    pub(crate) batches_max: u64,
    /// Between two batches, at most.
    pub(crate) pace_max: Duration,
    /// A batch is given up so long after it was made.
    pub(crate) delivery_timeout: Duration,
}

/// A batch that a broker says to have stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) place: Place,
    /// `None`: stored before, and nobody knows where.
    pub(crate) base_offset: Option<i64>,
    pub(crate) numbers: Range<u64>,
    pub(crate) transaction: Option<u32>,
}

/// Why a batch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Refused(i16),
    /// It was given up with its transaction.
    Transaction,
    /// It was given up because it took too long.
    Overdue,
}

/// A batch that was refused for good or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) place: Place,
    pub(crate) numbers: Range<u64>,
    pub(crate) reason: Reason,
    /// An attempt went unanswered.
    pub(crate) may_be_stored: bool,
}

pub(crate) struct Producer {
    settings: ProducerSettings,
    network: Network,
    lanes: BTreeMap<Place, Lane>,
    asked: BTreeMap<i32, Asked>,
    identity: Option<Identity>,
    identity_asked: bool,
    transactions: Option<Transactions>,
    made: u64,
    next_batch: Duration,
    /// Nothing is asked for its identity before.
    not_before: Duration,
    resting: bool,
    /// Connections on which something was refused by whoever could not say so, and has to close them.
    unsaid: BTreeSet<LinkId>,
    acknowledged: Vec<Acknowledged>,
    failed: Vec<Failed>,
    now: Duration,
}

/// A request that is unanswered.
enum Asked {
    Identity,
    /// Of the transaction's coordinator.
    Coordinated,
    Produce {
        node: i32,
        version: i16,
        places: Vec<Place>,
    },
}

impl Producer {
    pub(crate) fn new(settings: ProducerSettings) -> Self {
        let transactions = (settings.kind == Kind::Transactional)
            .then(|| Transactions::new(format!("transactional-{}", settings.number)));
        Self {
            network: Network::new(settings.client.clone()),
            lanes: settings.client.by_place(),
            asked: BTreeMap::new(),
            identity: None,
            identity_asked: false,
            transactions,
            made: 0,
            next_batch: Duration::ZERO,
            not_before: Duration::ZERO,
            resting: false,
            unsaid: BTreeSet::new(),
            acknowledged: Vec::new(),
            failed: Vec::new(),
            settings,
            now: Duration::ZERO,
        }
    }

    pub(crate) fn settings(&self) -> &ProducerSettings {
        &self.settings
    }

    /// In the order in which it was told.
    pub(crate) fn acknowledged(&self) -> &[Acknowledged] {
        &self.acknowledged
    }

    pub(crate) fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// Whether brokers may have stored the first batches of `place` in another order: the first one came to a node that
    /// did not lead, or not yet, or took nothing just then, and the next one to another that did. Who has stored
    /// nothing of a producer takes any sequence of it, and real clients do nothing about that. Or nothing was answered,
    /// and the connection changed.
    pub(crate) fn may_be_out_of_order(&self, place: &Place) -> bool {
        self.lanes[place].may_be_out_of_order
    }

    /// Whether a value may be stored twice, which nobody can help: see [`Lane::sent_anew`].
    pub(crate) fn may_be_doubled(&self, place: &Place, number: u64) -> bool {
        self.lanes[place].sent_anew.contains(&number)
    }

    /// How its transactions ended; their numbers count from 0.
    pub(crate) fn outcomes(&self) -> &[Outcome] {
        self.transactions.as_ref().map_or(&[], Transactions::outcomes)
    }

    fn makes_batches(&mut self, dice: &mut Dice) {
        while !self.resting && self.made < self.settings.batches_max && self.next_batch <= self.now {
            let pace_ms = u64::try_from(self.settings.pace_max.as_millis()).unwrap();
            self.next_batch = self.now.max(self.next_batch) + Duration::from_millis(1 + dice.below(pace_ms));
            let transaction = match &mut self.transactions {
                None => None,
                Some(transactions) => match transactions.take_batch(dice) {
                    Some(number) => Some(number),
                    None => return,
                },
            };
            self.make_batch(transaction, dice);
        }
    }

    fn make_batch(&mut self, transaction: Option<u32>, dice: &mut Dice) {
        let at = dice.below(self.settings.client.places.len() as u64) as usize;
        let lane = self
            .lanes
            .get_mut(&self.settings.client.places[at])
            .expect("a lane for each place");
        let numbers = lane.next_number..lane.next_number + 1 + dice.below(4);
        lane.next_number = numbers.end;
        let codec = CODECS[dice.below(CODECS.len() as u64) as usize];
        lane.waiting
            .push_back(Batch::new(numbers, codec, self.now, transaction));
        self.made += 1;
    }

    /// What took too long is not sent again; it may be stored, where it was sent. Its transaction cannot be committed.
    /// Who rests is patient: what is not stored once nothing goes wrong any more is stuck, and would be hidden.
    fn gives_up_overdue(&mut self) {
        let Some(deadline) = self.now.checked_sub(self.settings.delivery_timeout) else {
            return;
        };
        if self.resting {
            return;
        }
        for (place, lane) in &mut self.lanes {
            let overdue = lane.take_overdue(self.settings.client.family, deadline);
            if let (false, Some(transactions)) = (overdue.is_empty(), &mut self.transactions) {
                transactions.must_abort(false);
            }
            let overdue = overdue.into_iter();
            self.failed
                .extend(overdue.map(|batch| batch.failed(place, Reason::Overdue)));
        }
    }

    /// An idempotent producer asks any node who it is.
    fn asks_identity(&mut self) {
        let is_idempotent = self.settings.kind == Kind::Idempotent;
        if !is_idempotent || self.identity.is_some() || self.identity_asked || self.not_before > self.now {
            return;
        }
        if let Some(id) = self.network.any_ready() {
            self.ask_identity(id, None, None);
        }
    }

    /// Asks for a producer id, or for the next epoch of `former`.
    fn ask_identity(&mut self, id: LinkId, transactional_id: Option<&str>, former: Option<Identity>) -> i32 {
        let former = former.unwrap_or(Identity { id: -1, epoch: -1 });
        let body = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(former.id.into())
            .with_producer_epoch(former.epoch);
        let version = self.network.version(id, ApiKey::InitProducerId, 4);
        let correlation_id = self.network.ask(id, ApiKey::InitProducerId, version, &body);
        if transactional_id.is_none() {
            self.asked.insert(correlation_id, Asked::Identity);
            self.identity_asked = true;
        }
        correlation_id
    }

    /// Lanes whose sequences broke begin anew with the next epoch, once all that is under way has come back.
    fn mends_broken_lanes(&mut self) {
        if self.settings.kind != Kind::Idempotent {
            return;
        }
        if !self.lanes.values().any(Lane::is_mendable) {
            return;
        }
        let Some(identity) = &mut self.identity else {
            return;
        };
        // As Java does it: a new epoch of its own making, which brokers take from producers without transactions.
        identity.epoch += 1;
        self.lanes
            .values_mut()
            .filter(|lane| lane.is_mendable())
            .for_each(Lane::begin_anew);
    }

    fn wanted_nodes(&self) -> Vec<i32> {
        let mut nodes = self.network.cluster.leaders(&self.settings.client.places);
        nodes.extend(self.transactions.as_ref().and_then(Transactions::coordinator));
        nodes
    }
}

impl Client for Producer {
    fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    fn act(&mut self, now: Duration, dice: &mut Dice) -> Vec<Action> {
        if self.network.is_idle(self.next_due(), now) {
            return Vec::new();
        }
        self.now = now;
        self.network.begin(now);
        while let Some(event) = self.network.next_event() {
            self.takes_in(event);
        }
        self.gives_up_overdue();
        self.network.connect_and_look(&self.wanted_nodes(), dice);
        self.makes_batches(dice);
        self.asks_identity();
        self.coordinates();
        self.mends_broken_lanes();
        self.sends_batches();
        self.network.take_actions()
    }

    fn next_due(&self) -> Option<Duration> {
        let batch = (!self.resting && self.made < self.settings.batches_max).then_some(self.next_batch);
        let transactions = self.transactions.as_ref().map(Transactions::next_due);
        let oldest = |lane: &Lane| lane.oldest(self.settings.client.family);
        let impatient = self.lanes.values().filter(|_| !self.resting);
        let overdue = impatient
            .filter_map(oldest)
            .map(|oldest| oldest + self.settings.delivery_timeout)
            .min();
        self.lanes
            .values()
            .filter_map(Lane::next_due)
            .chain(batch)
            .chain(transactions)
            .chain(overdue)
            .chain([self.not_before])
            .filter(|&due| due > self.now)
            .chain(self.network.next_due())
            .min()
    }

    fn rest(&mut self) {
        self.resting = true;
        self.network.touch();
        if let Some(transactions) = &mut self.transactions {
            transactions.rest();
        }
    }

    fn is_done(&self) -> bool {
        let is_idle = self.transactions.as_ref().is_none_or(Transactions::is_idle);
        let is_told = self.unsaid.iter().all(|id| !self.network.has(*id));
        is_idle && is_told && self.lanes.values().all(Lane::is_empty)
    }
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// Before something that was refused for now is asked again.
const RETRY_BACK_OFF: Duration = Duration::from_millis(100);
