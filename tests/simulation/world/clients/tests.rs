//! Manners of clients, seen at the bytes that they send.

use std::collections::{BTreeMap, BTreeSet};

use super::consumer::ConsumerSettings;
use super::producer::{Kind, ProducerSettings, Reason};
use super::*;
use crate::wire::{Produced, produced};
use crate::world::brokers::{Brokers, ConnectionId};

const MS: Duration = Duration::from_millis(1);

/// A client and brokers that hear it at once, unless they are deaf to some requests.
struct Bench<C> {
    client: C,
    brokers: Brokers,
    connections: BTreeMap<LinkId, ConnectionId>,
    /// The nodes that it connected to, in its order.
    connected: Vec<i32>,
    /// Whole frames, in their order.
    sent: Vec<Vec<u8>>,
    /// The API whose requests do not arrive, nor does what comes behind them.
    deaf_to: Option<u8>,
    dead: BTreeSet<LinkId>,
    dice: Dice,
    now: Duration,
}

impl<C: Client> Bench<C> {
    fn new(client: impl FnOnce(Vec<Address>) -> C) -> Self {
        let brokers = Brokers::new(&[1, 2, 3], &[("sealed-a", 2)], 1, 7);
        let (host, port) = brokers.address(3);
        Self {
            client: client(vec![(host.to_owned(), port)]),
            connections: BTreeMap::new(),
            connected: Vec::new(),
            sent: Vec::new(),
            deaf_to: None,
            dead: BTreeSet::new(),
            dice: Dice(1),
            now: Duration::ZERO,
            brokers,
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += 5 * MS;
            for action in self.client.act(self.now, &mut self.dice) {
                self.does(action);
            }
            self.brokers.tick(self.now);
            for (link, connection) in self.connections.clone() {
                let bytes = self.brokers.take_output(connection, self.now);
                self.client.received(link, &bytes, self.now);
            }
        }
    }

    fn does(&mut self, action: Action) {
        match action {
            Action::Connect { id, host, port } => {
                let connection = self.brokers.connect(&host, port).expect("a node is there");
                self.connected
                    .push(self.brokers.node(connection).expect("a node"));
                self.connections.insert(id, connection);
                self.client.connected(id, self.now);
            }
            Action::Send { id, bytes } => {
                if Some(bytes[5]) == self.deaf_to {
                    self.dead.insert(id);
                }
                if !self.dead.contains(&id) {
                    self.brokers.receive(self.connections[&id], &bytes, self.now);
                }
                self.sent.push(bytes);
            }
            Action::Close { id } => {
                let connection = self.connections.remove(&id).expect("it is open");
                self.brokers.end(connection);
            }
        }
    }

    /// What was sent in Produce requests, request after request.
    fn produced(&self) -> Vec<Vec<Produced>> {
        let frames = self.sent.iter().filter(|frame| frame[5] == 0);
        let body = |frame: &Vec<u8>| produced(&frame[4..], i16::from(frame[7]));
        frames.map(body).collect()
    }
}

fn places() -> [Place; 2] {
    [0, 1].map(|partition| ("sealed-a".to_owned(), partition))
}

fn settings(family: Family, in_flight_max: usize, bootstrap: Vec<Address>) -> ProducerSettings {
    ProducerSettings {
        number: 0,
        kind: Kind::Idempotent,
        in_flight_max,
        batches_max: 40,
        pace_max: 5 * MS,
        delivery_timeout: 20_000 * MS,
        client: ClientSettings {
            family,
            bootstrap,
            places: places().to_vec(),
            request_timeout: 1000 * MS,
        },
    }
}

fn producer(family: Family, in_flight_max: usize) -> Bench<Producer> {
    Bench::new(|bootstrap| Producer::new(settings(family, in_flight_max, bootstrap)))
}

#[test]
fn java_connects_to_those_that_lead_and_librdkafka_to_all() {
    let mut java = producer(Family::Java, 5);
    java.pass(200 * MS);
    assert_eq!(
        java.connected,
        [3, 1, 2],
        "the bootstrap address, then the leaders"
    );
    let mut librdkafka = producer(Family::Librdkafka, 5);
    librdkafka.pass(200 * MS);
    assert_eq!(librdkafka.connected, [3, 1, 2], "node 3 is the bootstrap address");
    let asks = |frame: &&Vec<u8>| frame[5] == 3;
    assert_eq!(librdkafka.sent.iter().filter(asks).count(), 1, "one is asked");
}

#[test]
fn as_many_batches_of_a_partition_are_under_way_as_the_family_allows() {
    for (family, in_flight_max, expected) in [
        (Family::Java, 5, 5),
        (Family::Java, 1, 1),
        (Family::Librdkafka, 5, 1),
    ] {
        let mut bench = producer(family, in_flight_max);
        bench.deaf_to = Some(0);
        bench.pass(500 * MS);
        let requests = bench.produced();
        let to_first = |batch: &&Produced| batch.1 == 0;
        let count = requests.iter().flatten().filter(to_first).count();
        assert_eq!(count, expected, "{family:?} with {in_flight_max}");
    }
}

#[test]
fn what_is_not_answered_goes_again_as_it_was() {
    for family in [Family::Java, Family::Librdkafka] {
        let mut bench = producer(family, 1);
        bench.deaf_to = Some(0);
        bench.pass(900 * MS);
        let first: Vec<Produced> = bench.produced().concat();
        assert_eq!(first.len(), 2, "one batch for each partition");
        assert!(bench.client.acknowledged().is_empty());
        bench.deaf_to = None;
        bench.pass(1000 * MS);
        let again = bench.produced().concat();
        for batch in &first {
            let same = again.iter().filter(|other| *other == batch);
            assert_eq!(same.count(), 2, "{family:?}: sent twice, in the same bytes");
        }
        bench.pass(2000 * MS);
        assert!(bench.client.is_done());
        assert_eq!(bench.client.acknowledged().len(), 40);
    }
}

#[test]
fn what_is_not_stored_in_time_is_given_up_and_what_follows_has_a_new_epoch() {
    for family in [Family::Java, Family::Librdkafka] {
        let mut bench = Bench::new(|bootstrap| {
            Producer::new(ProducerSettings {
                pace_max: 200 * MS,
                delivery_timeout: 3000 * MS,
                ..settings(family, 1, bootstrap)
            })
        });
        bench.deaf_to = Some(0);
        bench.pass(2900 * MS);
        assert!(
            bench.client.failed().is_empty(),
            "{family:?}: not before its time"
        );
        bench.pass(1600 * MS);
        bench.deaf_to = None;
        bench.pass(3000 * MS);
        assert!(bench.client.is_done());
        let failed = bench.client.failed();
        assert!(failed.iter().all(|failed| failed.reason == Reason::Overdue));
        let in_doubt = failed.iter().filter(|failed| failed.may_be_stored).count();
        assert!((1..failed.len()).contains(&in_doubt), "{family:?}: what was sent");
        let acknowledged = bench.client.acknowledged().len();
        assert_eq!(acknowledged + failed.len(), 40, "{family:?}");
        let stored = places().map(|(topic, partition)| bench.brokers.log(&topic, partition).to_vec());
        assert_eq!(
            stored.concat().len(),
            acknowledged,
            "{family:?}: is not sent again"
        );
        for first in stored.map(|stored| stored[0].header) {
            assert!(first.producer_epoch > 0, "{family:?}: {first:?}");
            assert_eq!(first.base_sequence, 0);
        }
    }
}

#[test]
fn who_asks_in_a_version_that_is_not_known_asks_again_in_one_that_is() {
    let mut bench = producer(Family::Java, 1);
    let first = bench.client.act(MS, &mut Dice(1));
    let [Action::Connect { id, .. }] = first[..] else {
        panic!("{first:?}")
    };
    bench.client.connected(id, MS);
    let asks = |client: &mut Producer, now: Duration| {
        let sent = client.act(now, &mut Dice(1));
        let [Action::Send { bytes, .. }] = &sent[..] else {
            panic!("{sent:?}")
        };
        (bytes[5], bytes[7], bytes[11])
    };
    assert_eq!(asks(&mut bench.client, 2 * MS), (18, 5, 1));
    // Error 35, and ApiVersions up to 3.
    let refusal = [0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3];
    bench.client.received(id, &refusal[..9], 3 * MS);
    assert_eq!(bench.client.act(3 * MS, &mut Dice(1)), []);
    bench.client.received(id, &refusal[9..], 4 * MS);
    assert_eq!(asks(&mut bench.client, 4 * MS), (18, 3, 2));
    // Older ones name none.
    let silence = [0, 0, 0, 10, 0, 0, 0, 2, 0, 35, 0, 0, 0, 0];
    bench.client.received(id, &silence, 5 * MS);
    assert_eq!(asks(&mut bench.client, 5 * MS), (18, 0, 3));
}

#[test]
#[should_panic(expected = "answers are out of order")]
fn an_answer_to_another_request_is_taken_by_nobody() {
    let mut bench = producer(Family::Java, 1);
    bench.deaf_to = Some(3);
    bench.pass(20 * MS);
    let (&link, _) = bench.connections.first_key_value().expect("one connection");
    bench.client.received(link, &[0, 0, 0, 4, 0, 0, 0, 99], bench.now);
}

#[test]
fn a_reader_with_a_rack_goes_to_the_replica_that_it_is_sent_to() {
    let mut bench = Bench::new(|bootstrap| {
        Consumer::new(ConsumerSettings {
            begins: Duration::ZERO,
            client: ClientSettings {
                family: Family::Java,
                bootstrap,
                places: places()[..1].to_vec(),
                request_timeout: 5000 * MS,
            },
            rack: Some("rack-2".to_owned()),
            read_committed: false,
            bytes_max: 1 << 20,
            partition_bytes_max: 1 << 20,
        })
    });
    bench.brokers = Brokers::new(&[1, 2, 3], &[("sealed-a", 1)], 2, 7);
    bench.pass(200 * MS);
    assert_eq!(
        bench.connected,
        [3, 1, 2],
        "the bootstrap address, the leader, the follower"
    );
    assert_eq!(bench.client.position(&places()[0]), Some(0));
}
