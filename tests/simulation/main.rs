//! A seeded world of one client, one broker and one KMS around a session: bytes in pieces of any size, keys that come late,
//! in any order or not at all, or are taken away, a clock that jumps, a broker that sometimes lies, frames that are worked off
//! in pieces of any size. Checked against a simple model:
//!
//! - answers come in the order of the requests, each to its own, and none is missing when the world comes to rest;
//! - nothing that was to be sealed reaches the broker in clear, and nothing of a topic without a rule reaches anybody;
//! - a partition is answered as stored exactly when the broker has stored it, and an idempotent producer's batches are stored
//!   in order, without gaps, once each;
//! - every batch that is delivered is the one that was produced, byte for byte, and in the end all are delivered.
//!
//! `SEALWIRE_SIMULATION_SEED` runs one seed alone.

mod dice;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../pipeline/rig.rs"]
mod rig;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../pipeline/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest, TopicName};
use sealwire::config::Limits;
use sealwire::keys::{KeyFailure, KeyReply, KeyRequest};
use sealwire::pipeline::{Wait, Work};
use sealwire::record_batch::{BatchHeader, BatchKind, Batches, Codec};

use self::dice::{Batch, Dice};
use crate::rig::{Dek, Halt, Rig, address, at_offset, contains, dek, tampered};
use crate::wire::{
    Fetched, api_versions_request, decode_request, delivered, fetch_response, fetched, own_answer, prefixed,
    produce, produced, request, stored, text, to_produce, verdicts,
};

const SEEDS: u64 = 300;
const STEPS: usize = 250;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// The client's topics; those that are sealed are produced to with sequences.
const TOPICS: [&str; 4] = ["sealed-a", "other-a", "pass-a", "unknown"];
const PARTITIONS: i32 = 2;
/// The node on whose port a client comes that does not bootstrap.
const NODE: i32 = 1;
/// Requests that the client has in flight at most.
const IN_FLIGHT_MAX: usize = 5;

#[test]
fn nothing_is_lost_leaked_or_reordered_whatever_happens_when() {
    if let Ok(seed) = std::env::var("SEALWIRE_SIMULATION_SEED") {
        World::new(seed.parse().expect("the seed is a number")).run();
        return;
    }
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        match std::panic::catch_unwind(|| World::new(seed).run()) {
            Ok(events) => seen.extend(events),
            Err(_) => panic!("the world of SEALWIRE_SIMULATION_SEED={seed} went wrong as said above"),
        }
    }
    assert_eq!(
        Vec::from_iter(seen),
        [
            Event::Withheld,
            Event::ProduceWaited,
            Event::ProduceYielded,
            Event::KeyTakenMeanwhile,
            Event::ProduceRefused,
            Event::FetchHeld,
            Event::FetchYielded,
            Event::NoDataYet,
            Event::KeyRefused,
            Event::LieRefused,
            Event::Delivered,
        ],
        "all of it happens in some world"
    );
}

/// What must have happened for the worlds to have shown anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The session has asked the broker for itself first.
    Withheld,
    ProduceWaited,
    ProduceYielded,
    /// A sealing key was taken away between two pieces of a request.
    KeyTakenMeanwhile,
    ProduceRefused,
    FetchHeld,
    FetchYielded,
    NoDataYet,
    KeyRefused,
    LieRefused,
    Delivered,
}

type Place = (String, i32);

/// A request that the client has sent and that is not answered.
enum Sent {
    Produce(Vec<(Place, Batch)>),
    Fetch,
    /// Streamed by the proxy, or answered by it.
    Other,
}

/// Where a producer stands in one partition.
#[derive(Default)]
struct Producer {
    next_sequence: i32,
    /// Batches that were refused for now; they go again, in order, before new ones.
    again: VecDeque<Batch>,
    in_flight: usize,
}

/// What the broker has stored of one partition.
#[derive(Default)]
struct Log {
    /// Base offset, the batch as stored, and as it was before it was sealed.
    batches: Vec<(i64, Vec<u8>, Vec<u8>)>,
    end: i64,
}

struct World {
    rig: Rig,
    dice: Dice,
    next_id: i32,
    /// Bytes on the way from the client to the proxy, and from the broker to it.
    from_client: Vec<u8>,
    from_broker: Vec<u8>,
    /// Bytes that have arrived and are not a whole frame yet.
    at_broker: Vec<u8>,
    at_client: Vec<u8>,
    unanswered: VecDeque<(i32, Sent)>,
    producers: BTreeMap<Place, Producer>,
    logs: BTreeMap<Place, Log>,
    /// Whether the broker stored the partition of the request.
    stored: BTreeMap<(i32, Place), bool>,
    lied: BTreeMap<i32, bool>,
    positions: BTreeMap<Place, i64>,
    /// What the KMS was asked and has not answered.
    asked: Vec<KeyRequest>,
    resting: bool,
    /// A request is worked off, and others have their turn.
    yielded: bool,
    seen: BTreeSet<Event>,
}

impl World {
    fn new(seed: u64) -> Self {
        // A client that the broker knows, or one that comes straight to a node's port.
        let mut rig = if seed.is_multiple_of(2) {
            Rig::new()
        } else {
            Rig::stranger(Limits::default(), Some((NODE, address("kafka-1", 9092))))
        };
        rig.stops_at_yields = true;
        // Each batch by itself, a few at a time, or whole frames.
        if let Some(piece_bytes) = [Some(1), Some(700), None][(seed % 3) as usize] {
            rig.pipeline.work = Work::new(piece_bytes);
        }
        Self {
            rig,
            dice: Dice(seed),
            next_id: 0,
            from_client: Vec::new(),
            from_broker: Vec::new(),
            at_broker: Vec::new(),
            at_client: Vec::new(),
            unanswered: VecDeque::new(),
            producers: BTreeMap::new(),
            logs: BTreeMap::new(),
            stored: BTreeMap::new(),
            lied: BTreeMap::new(),
            positions: BTreeMap::new(),
            asked: Vec::new(),
            resting: false,
            yielded: false,
            seen: BTreeSet::new(),
        }
    }

    fn run(mut self) -> BTreeSet<Event> {
        for _ in 0..STEPS {
            match self.dice.below(10) {
                0..=2 => self.client_acts(),
                3..=4 => self.feed_requests(),
                5..=6 => self.feed_responses(),
                7 => {
                    self.kms_acts();
                    self.kms_takes_away();
                }
                8 => self.rig.pass_time(Duration::from_millis(self.dice.below(900))),
                _ => self.rig.keys_tick(),
            }
            self.settle();
        }
        self.come_to_rest();
        self.seen
    }

    /// No more trouble: everything that was begun ends, and everything that is stored is read.
    fn come_to_rest(&mut self) {
        self.resting = true;
        for _ in 0..400 {
            let read = self.logs.iter().all(|(place, log)| {
                place.0 == "unknown" || self.positions.get(place).copied().unwrap_or_default() == log.end
            });
            let sent = self.producers.values().all(|producer| producer.again.is_empty());
            if self.unanswered.is_empty() && read && sent {
                assert!(self.rig.session.is_quiet());
                assert_eq!(self.rig.pipeline.metrics.gauges.requests_in_flight, 0);
                assert_eq!(self.rig.parked(), (0, 0));
                return;
            }
            self.kms_acts();
            self.rig.pass_time(Duration::from_millis(300));
            if self.unanswered.is_empty() {
                self.client_produces();
                self.client_fetches();
            }
            self.feed_requests();
            self.feed_responses();
            self.settle();
        }
        panic!(
            "the world does not come to rest: {} requests unanswered",
            self.unanswered.len()
        );
    }

    fn client_acts(&mut self) {
        if self.unanswered.len() >= IN_FLIGHT_MAX {
            return;
        }
        match self.dice.below(10) {
            0..=4 => self.client_produces(),
            5..=7 => self.client_fetches(),
            8 => {
                let mut frame = vec![0, 2, 0, 7];
                let id = self.send(Sent::Other);
                frame.extend(id.to_be_bytes());
                frame.resize(8 + self.dice.below(400) as usize, 0);
                self.from_client.extend(prefixed(&frame));
            }
            _ => {
                let id = self.send(Sent::Other);
                self.from_client.extend(api_versions_request(99, id));
            }
        }
    }

    fn send(&mut self, sent: Sent) -> i32 {
        self.next_id += 1;
        self.unanswered.push_back((self.next_id, sent));
        self.next_id
    }

    fn client_produces(&mut self) {
        let mut batches = Vec::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let place = (topic.to_owned(), partition);
                let producer = self.producers.entry(place.clone()).or_default();
                // What was refused goes again once all that was behind it has come back as well.
                let batch = match producer.again.front() {
                    Some(_) if producer.in_flight > 0 => continue,
                    Some(_) => producer.again.pop_front(),
                    None if self.resting || self.dice.below(3) > 0 => continue,
                    None => {
                        producer.next_sequence += 1;
                        Some(self.dice.batch(topic, producer.next_sequence - 1))
                    }
                };
                producer.in_flight += 1;
                batches.extend(batch.map(|batch| (place, batch)));
            }
        }
        if batches.is_empty() {
            return;
        }
        let id = self.send(Sent::Produce(batches.clone()));
        let partitions: Vec<_> = batches
            .iter()
            .map(|((topic, partition), batch)| to_produce(topic, *partition, &batch.sent))
            .collect();
        self.from_client
            .extend(produce(PRODUCE_VERSION, id, -1, &partitions));
    }

    fn client_fetches(&mut self) {
        let topics = TOPICS.map(|topic| {
            let partitions = (0..PARTITIONS).map(|partition| {
                let position = self.positions.get(&(topic.to_owned(), partition));
                FetchPartition::default()
                    .with_partition(partition)
                    .with_fetch_offset(position.copied().unwrap_or_default())
            });
            FetchTopic::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.collect())
        });
        let body = FetchRequest::default().with_topics(topics.to_vec());
        let id = self.send(Sent::Fetch);
        self.from_client
            .extend(request(ApiKey::Fetch, FETCH_VERSION, id, &body));
    }

    fn feed_requests(&mut self) {
        let piece = self.dice.piece(&mut self.from_client, self.resting);
        let mut halted = self.rig.client_sends(&piece);
        while self.resting && halted == Ok(Halt::Yielded) {
            halted = self.rig.client_sends(&[]);
        }
        let halt = halted.unwrap_or_else(|reason| panic!("closed: {reason:?}"));
        if matches!(halt, Halt::Blocked(Wait::Answer(_))) {
            self.seen.insert(Event::Withheld);
        }
        self.yielded = halt == Halt::Yielded;
        if self.yielded {
            self.seen.insert(Event::ProduceYielded);
        }
        if self.rig.parked().0 > 0 {
            assert!(matches!(halt, Halt::Blocked(Wait::News(_))), "{halt:?}");
            self.seen.insert(Event::ProduceWaited);
        }
    }

    fn feed_responses(&mut self) {
        let piece = self.dice.piece(&mut self.from_broker, self.resting);
        let mut halted = self.rig.broker_sends(&piece);
        while self.resting && halted == Ok(Halt::Yielded) {
            halted = self.rig.broker_sends(&[]);
        }
        match halted.unwrap_or_else(|reason| panic!("closed: {reason:?}")) {
            Halt::Yielded => {
                self.seen.insert(Event::FetchYielded);
            }
            Halt::Blocked(Wait::Addresses(news, _)) => self.rig.learn(news),
            _ => {}
        }
        if self.rig.parked().1 > 0 {
            self.seen.insert(Event::FetchHeld);
        }
    }

    fn kms_acts(&mut self) {
        self.asked.extend(self.rig.pipeline.keys.take_requests());
        while !self.asked.is_empty() && (self.resting || self.dice.below(3) > 0) {
            let at = self.dice.below(self.asked.len() as u64) as usize;
            let trouble = if self.resting { 0 } else { self.dice.below(6) };
            match self.asked.swap_remove(at) {
                KeyRequest::Seal { kek, .. } => {
                    let key = dek(name_of(&kek), self.dice.below(3) as u16);
                    if trouble == 1 {
                        self.rig.refuse_sealing(&key, KeyFailure::Unavailable);
                    } else {
                        self.rig.give_sealing(&key);
                    }
                }
                KeyRequest::Open { wrapped, .. } => {
                    let key = dek_of(&wrapped);
                    match trouble {
                        1 => self.rig.refuse_opened(&key, KeyFailure::Unavailable),
                        2 => self.rig.refuse_opened(&key, KeyFailure::KekDisabled),
                        _ => self.rig.give_opened(&key),
                    }
                }
                KeyRequest::Used { .. } => {}
            }
        }
    }

    fn kms_takes_away(&mut self) {
        if self.dice.below(2) > 0 {
            return;
        }
        let kek = ["payments", "other"][self.dice.below(2) as usize];
        let held = self.rig.pipeline.keys.sealing_count();
        self.rig.apply(KeyReply::Released {
            kms: 0,
            kek: kek.into(),
        });
        if self.yielded && self.rig.pipeline.keys.sealing_count() < held {
            self.seen.insert(Event::KeyTakenMeanwhile);
        }
    }

    /// The broker and the client take in what has reached them.
    fn settle(&mut self) {
        self.at_broker.extend(self.rig.at_broker());
        self.at_client.extend(self.rig.at_client());
        assert!(!contains(&self.at_broker, "sesame"), "the broker can read it");
        assert!(
            !contains(&self.at_client, "unknown-canary"),
            "the client can read it"
        );
        while let Some(frame) = whole_frame(&mut self.at_broker) {
            self.broker_answers(&frame);
        }
        while let Some(frame) = whole_frame(&mut self.at_client) {
            self.client_receives(&frame);
        }
    }

    fn broker_answers(&mut self, frame: &[u8]) {
        let id = i32::from_be_bytes(*frame[4..].first_chunk().unwrap());
        let answer = match frame[1] {
            0 => {
                for (topic, partition, records) in produced(frame, PRODUCE_VERSION) {
                    self.store(id, (topic, partition), records);
                }
                stored(PRODUCE_VERSION, id, frame)
            }
            1 => self.broker_reads(id, frame),
            3 => own_answer(id, &[(NODE, "kafka-1", 9092)]),
            _ => {
                let mut answer = id.to_be_bytes().to_vec();
                answer.resize(4 + self.dice.below(400) as usize, 0);
                prefixed(&answer)
            }
        };
        self.from_broker.extend(answer);
    }

    fn store(&mut self, id: i32, place: Place, records: Vec<u8>) {
        let Some((_, Sent::Produce(batches))) = self.unanswered.iter().find(|(sent, _)| *sent == id) else {
            panic!("request {id} is not one that waits")
        };
        let (_, batch) = batches.iter().find(|(sent, _)| *sent == place).unwrap();
        let header = BatchHeader::parse(&records).unwrap();
        assert_eq!(header.base_sequence, batch.sequence);
        // Compressed text would escape the search for the canary.
        assert_eq!(header.attributes.codec(), Some(Codec::None));
        let log = self.logs.entry(place.clone()).or_default();
        assert_eq!(
            header.base_sequence as usize,
            log.batches.len(),
            "{place:?} is stored out of order"
        );
        log.batches.push((
            log.end,
            at_offset(&records, log.end),
            at_offset(&batch.clear, log.end),
        ));
        log.end += i64::from(header.record_count);
        self.stored.insert((id, place), true);
    }

    fn broker_reads(&mut self, id: i32, frame: &[u8]) -> Vec<u8> {
        let request: FetchRequest = decode_request(frame, FETCH_VERSION);
        let lies = !self.resting && self.dice.below(8) == 0;
        let mut answer = Vec::new();
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let name = topic.topic.0.to_string();
                if name == "unknown" {
                    answer.push(fetched(&name, wanted.partition, b"unknown-canary"));
                    continue;
                }
                let log = self.logs.entry((name.clone(), wanted.partition)).or_default();
                let mut records = Vec::new();
                let count = 1 + self.dice.below(4) as usize;
                let behind = log
                    .batches
                    .iter()
                    .filter(|(offset, ..)| *offset >= wanted.fetch_offset);
                for (_, batch, _) in behind.take(count) {
                    if lies && name != "pass-a" && self.dice.below(3) == 0 {
                        records.extend(tampered(batch, 0));
                    } else {
                        records.extend(batch);
                    }
                }
                if self.dice.below(4) == 0 {
                    records.truncate(records.len() - records.len().min(self.dice.below(50) as usize));
                }
                answer.push(fetched(&name, wanted.partition, &records));
            }
        }
        self.lied.insert(id, lies);
        fetch_response(FETCH_VERSION, id, &answer)
    }

    fn client_receives(&mut self, frame: &[u8]) {
        let id = i32::from_be_bytes(*frame.first_chunk().unwrap());
        let (expected, sent) = self.unanswered.pop_front().expect("an answer to nothing");
        assert_eq!(id, expected, "answers are out of order");
        match sent {
            Sent::Produce(batches) => self.client_learns(id, &batches, frame),
            Sent::Fetch => {
                let partitions = delivered(frame, FETCH_VERSION);
                assert_eq!(partitions.len(), TOPICS.len() * PARTITIONS as usize);
                for partition in partitions {
                    self.client_reads(id, &partition);
                }
            }
            Sent::Other => {}
        }
    }

    fn client_learns(&mut self, id: i32, batches: &[(Place, Batch)], frame: &[u8]) {
        let verdicts = verdicts(frame, PRODUCE_VERSION);
        assert_eq!(verdicts.len(), batches.len(), "each partition is answered once");
        for verdict in verdicts {
            let place = (verdict.topic, verdict.partition);
            let (_, batch) = batches.iter().find(|(sent, _)| *sent == place).unwrap();
            let is_stored = self.stored.contains_key(&(id, place.clone()));
            assert_eq!(
                verdict.error_code == 0,
                is_stored,
                "{place:?}: {}",
                verdict.message
            );
            let producer = self.producers.get_mut(&place).unwrap();
            producer.in_flight -= 1;
            match (place.0.as_str(), verdict.error_code) {
                (_, 0) => {}
                ("unknown", code) => assert_eq!(code, 44),
                ("pass-a", code) => panic!("what is passed got {code}"),
                (_, code) => {
                    assert_eq!(code, 19, "{}", verdict.message);
                    producer.again.push_back(batch.clone());
                    self.seen.insert(Event::ProduceRefused);
                }
            }
        }
    }

    fn client_reads(&mut self, id: i32, partition: &Fetched) {
        let place = (partition.topic.clone(), partition.partition);
        if place.0 == "unknown" {
            assert_eq!(
                (partition.error_code, partition.records.as_slice()),
                (29, &b""[..])
            );
            return;
        }
        match partition.error_code {
            0 => {}
            2 => {
                assert!(self.lied[&id], "{place:?} was not tampered with");
                self.seen.insert(Event::LieRefused);
            }
            29 => {
                assert!(place.0 != "pass-a");
                self.seen.insert(Event::KeyRefused);
            }
            other => panic!("{place:?} got {other}"),
        }
        let log = &self.logs[&place];
        let position = self.positions.entry(place.clone()).or_default();
        let records = &partition.records;
        if partition.error_code == 0 && records.is_empty() && *position < log.end {
            self.seen.insert(Event::NoDataYet);
        }
        for slice in Batches::new(records).map_while(Result::ok) {
            let BatchKind::V2(header) = slice.kind else {
                panic!("an old message set")
            };
            let Some((_, _, clear)) = log
                .batches
                .iter()
                .find(|(offset, ..)| *offset == header.base_offset)
            else {
                panic!("{place:?} has no batch at {}", header.base_offset)
            };
            assert_eq!(
                slice.span.of(records),
                clear,
                "{place:?} at {}",
                header.base_offset
            );
            // Fetches that were sent before the position moved read the same once more.
            if header.base_offset == *position {
                *position += i64::from(header.record_count);
                self.seen.insert(Event::Delivered);
            } else {
                assert!(header.base_offset < *position, "{place:?}: a batch was left out");
            }
        }
    }
}

fn name_of(kek: &str) -> &'static str {
    if kek == "other" { "other" } else { "payments" }
}

fn dek_of(wrapped: &[u8]) -> Dek {
    let kek = if contains(wrapped, "other") {
        "other"
    } else {
        "payments"
    };
    dek(kek, (*wrapped.last().unwrap()).into())
}

fn whole_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = i32::from_be_bytes(*bytes.first_chunk()?);
    let end = 4 + usize::try_from(length).unwrap();
    (bytes.len() >= end).then(|| bytes.drain(..end).skip(4).collect())
}
