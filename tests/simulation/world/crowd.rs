//! The clients of a world: producers of every kind, consumers of every kind, and what each consumer was given.

use std::collections::BTreeSet;
use std::time::Duration;

use super::brokers::Brokers;
use super::clients::account::Account;
use super::clients::consumer::{ConsumerSettings, Delivered};
use super::clients::network::Address;
use super::clients::producer::{Acknowledged, Kind, Outcome, ProducerSettings, Reason};
use super::clients::value::{HEAVY_FROM, is_refused};
use super::clients::{Asker, Client, ClientSettings, Consumer, Family, Place, Producer};
use crate::dice::Dice;

pub(crate) struct Crowd {
    pub(crate) producers: Vec<Producer>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) askers: Vec<Asker>,
}

impl Crowd {
    /// Clients that know these addresses at first and use these partitions; with long records and long answers, or with
    /// short ones.
    pub(crate) fn new(
        kinds: &[Kind],
        places: &[Place],
        bootstrap: &[Address],
        is_heavy: bool,
        dice: &mut Dice,
    ) -> Self {
        let client = |family, request_timeout| ClientSettings {
            family,
            bootstrap: bootstrap.to_vec(),
            places: places.to_vec(),
            request_timeout,
        };
        let first = if is_heavy { HEAVY_FROM } else { 0 };
        let producers = (first..).zip(kinds).map(|(number, kind)| {
            let request_timeout = Duration::from_millis(1000 + dice.below(5000));
            let mut client = client(family(dice), request_timeout);
            // Whose sequences break or whose transactions abort with each refusal shows little else.
            if !matches!(kind, Kind::Plain { .. }) {
                client.places.retain(|(topic, _)| !is_refused(topic));
            }
            Producer::new(ProducerSettings {
                number,
                kind: *kind,
                in_flight_max: [1, 5][dice.below(2) as usize],
                batches_max: 60,
                pace_max: Duration::from_millis(1 + dice.below(400)),
                // Java takes no less.
                delivery_timeout: request_timeout + Duration::from_millis(dice.below(20_000)),
                client,
            })
        });
        let producers = producers.collect();
        let begins = Duration::from_millis(if is_heavy {
            dice.below(CONSUMERS_BEGIN_MAX)
        } else {
            0
        });
        let consumers = (0..4).map(|number| {
            Consumer::new(ConsumerSettings {
                rack: (number % 2 == 0).then(|| format!("rack-{}", 1 + dice.below(3))),
                read_committed: number < 2,
                client: client(family(dice), Duration::from_millis(2000 + dice.below(5000))),
                bytes_max: if is_heavy { 1 << 19 } else { 1 << dice.below(20) },
                partition_bytes_max: if is_heavy { 1 << 18 } else { 1 << dice.below(16) },
                begins,
            })
        });
        let consumers: Vec<Consumer> = consumers.collect();
        Self {
            producers,
            accounts: consumers.iter().map(|_| Account::default()).collect(),
            consumers,
            askers: (0..ASKERS)
                .map(|_| Asker::new(client(Family::Java, ASKER_PATIENCE)))
                .collect(),
        }
    }

    /// Keeps some of the producers and the first consumers.
    pub(crate) fn shrink(&mut self, producers: &[usize], consumers: usize) {
        let mut number = 0..;
        self.producers
            .retain(|_| number.next().is_some_and(|number| producers.contains(&number)));
        self.consumers.truncate(consumers);
        self.accounts.truncate(consumers);
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len() + self.consumers.len() + self.askers.len()
    }

    pub(crate) fn client(&mut self, at: usize) -> &mut dyn Client {
        let (producers, consumers) = (self.producers.len(), self.consumers.len());
        match at {
            at if at < producers => &mut self.producers[at],
            at if at < producers + consumers => &mut self.consumers[at - producers],
            at => &mut self.askers[at - producers - consumers],
        }
    }

    /// When the first of them has something to do by itself.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let producers = self.producers.iter().filter_map(Client::next_due);
        producers
            .chain(self.consumers.iter().filter_map(Client::next_due))
            .chain(self.askers.iter().filter_map(Client::next_due))
            .min()
    }

    /// Takes note of what consumers were given; each with its number.
    pub(crate) fn note(&mut self, mut look: impl FnMut(usize, &Delivered)) {
        let consumers = self.consumers.iter_mut().zip(&mut self.accounts);
        for (number, (consumer, account)) in consumers.enumerate() {
            let delivered = consumer.take_delivered();
            delivered.iter().for_each(|delivered| look(number, delivered));
            account.note(&delivered);
        }
    }

    pub(crate) fn rest(&mut self) {
        self.producers.iter_mut().for_each(Client::rest);
        self.consumers.iter_mut().for_each(Client::rest);
        self.askers.iter_mut().for_each(Client::rest);
    }

    /// Who has not ended what he began: all is stored and all is read by the time that nobody is left.
    pub(crate) fn unfinished(&self, brokers: &Brokers) -> Vec<String> {
        let producers = self.producers.iter().filter(|producer| !producer.is_done());
        let producers = producers.map(|producer| format!("{:?}", producer.settings()));
        let consumers = self.consumers.iter().flat_map(|consumer| {
            let places = consumer.settings().client.places.iter();
            let unread = places.filter_map(|(topic, partition)| {
                let position = consumer.position(&(topic.clone(), *partition));
                let end = brokers.high_watermark(topic, *partition);
                (position != Some(end)).then(|| format!("{topic}-{partition} at {position:?} of {end}"))
            });
            let is_busy = (!consumer.is_done()).then(|| "waits".to_owned());
            let unread = unread.chain(is_busy);
            unread.map(|unread| format!("{unread}: {:?}", consumer.settings()))
        });
        producers.chain(consumers).collect()
    }

    /// Whether nobody has anything left to do; as [`Self::unfinished`], without words.
    pub(crate) fn is_over(&self, brokers: &Brokers) -> bool {
        // What only a leader has acknowledged is not shown before it is replicated.
        let is_read = |consumer: &Consumer, (topic, partition): &Place| {
            let end = brokers.high_watermark(topic, *partition);
            let stored = brokers.log(topic, *partition).last();
            consumer.position(&(topic.clone(), *partition)) == Some(end)
                && stored.is_none_or(|stored| stored.end() == end)
        };
        self.producers.iter().all(Client::is_done)
            && self.consumers.iter().all(|consumer| {
                let mut places = consumer.settings().client.places.iter();
                consumer.is_done() && places.all(|place| is_read(consumer, place))
            })
    }

    /// Whether the brokers have lost what only a leader had acknowledged.
    fn was_lost(brokers: &Brokers, acknowledged: &Acknowledged) -> bool {
        let (topic, partition) = &acknowledged.place;
        let mut lost = brokers.lost(topic, *partition).iter();
        lost.any(|stored| Some(stored.header.base_offset) == acknowledged.base_offset)
    }

    /// What producers were told is what consumers were given.
    pub(crate) fn check(&self, brokers: &Brokers) {
        for (account, consumer) in self.accounts.iter().zip(&self.consumers) {
            account.check(consumer, &self.producers, |acknowledged| {
                Self::was_lost(brokers, acknowledged)
            });
        }
    }

    pub(crate) fn has_lost(&self, brokers: &Brokers) -> bool {
        let mut acknowledged = self.producers.iter().flat_map(Producer::acknowledged);
        acknowledged.any(|acknowledged| Self::was_lost(brokers, acknowledged))
    }

    /// What was given up because it took too long: by which family, and whether it may be stored.
    pub(crate) fn overdue(&self) -> BTreeSet<(Family, bool)> {
        let of_producer = |producer: &Producer| {
            let family = producer.settings().client.family;
            let failed = producer.failed().iter();
            let overdue = failed.filter(|failed| failed.reason == Reason::Overdue);
            overdue
                .map(|failed| (family, failed.may_be_stored))
                .collect::<Vec<_>>()
        };
        self.producers.iter().flat_map(of_producer).collect()
    }

    pub(crate) fn has_outcome(&self, wanted: Outcome) -> bool {
        let mut outcomes = self.producers.iter().flat_map(Producer::outcomes);
        outcomes.any(|outcome| *outcome == wanted)
    }
}

/// Milliseconds until consumers are started, all at once, in half of the worlds with long records.
const CONSUMERS_BEGIN_MAX: u64 = 16_000;
/// So many that one of them asks while the control thread looks.
const ASKERS: usize = 6;
const ASKER_PATIENCE: Duration = Duration::from_secs(5);

fn family(dice: &mut Dice) -> Family {
    [Family::Java, Family::Librdkafka][dice.below(2) as usize]
}
