//! A seeded world of one client, one broker and one KMS around a session: bytes in pieces of any size, keys that come
//! late, in any order or not at all, or are taken away, a clock that jumps, a broker that sometimes lies, frames that
//! are worked off in pieces of any size. Checked against a simple model:
//!
//! - answers come in the order of the requests, each to its own, and none is missing when the world comes to rest;
//! - nothing that was to be sealed reaches the broker in clear, and nothing of a topic without a rule reaches anybody;
//! - a partition is answered as stored exactly when the broker has stored it, and an idempotent producer's batches are
//!   stored in order, without gaps, once each;
//! - equal keys of the topic whose keys are sealed are stored equally;
//! - every batch that is delivered is the one that was produced, byte for byte, and in the end all are delivered.
//!
//! [`world`] has worlds around the whole program. [`seeds`] says how to run one seed alone.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

mod broker;
mod client;
#[allow(dead_code, reason = "others use all of it")]
#[path = "../support/configuration.rs"]
mod configuration;
mod dice;
mod kms;
mod randomness;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../pipeline/rig.rs"]
mod rig;
mod seeds;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../pipeline/wire.rs"]
mod wire;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sealwire::config::Limits;
use sealwire::keys::{KeyRequest, StableKeys};
use sealwire::pipeline::{Wait, Work};

use self::dice::{Batch, Dice};
use crate::rig::{Halt, Rig, address, contains};

const SEEDS: u64 = 300;
const STEPS: usize = 250;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// The client's topics; those that are sealed are produced to with sequences.
const TOPICS: [&str; 5] = ["sealed-a", "other-a", KEYS, "pass-a", "unknown"];
/// The one whose record keys are sealed.
const KEYS: &str = "keys-a";
const PARTITIONS: i32 = 2;
/// The node on whose port a client comes that does not bootstrap.
const NODE: i32 = 1;
/// Requests that the client has in flight at most.
const IN_FLIGHT_MAX: usize = 5;

#[test]
fn nothing_is_lost_leaked_or_reordered_whatever_happens_when() {
    let ended = seeds::each(SEEDS, |seed| World::new(seed).run());
    if (ended.len() as u64) < SEEDS {
        return;
    }
    let seen: BTreeSet<Event> = ended.into_iter().flatten().collect();
    assert_eq!(
        Vec::from_iter(seen),
        [
            Event::Withheld,
            Event::ProduceWaited,
            Event::ProduceYielded,
            Event::KeyTakenMeanwhile,
            Event::StableKeyRefused,
            Event::ProduceRefused,
            Event::FetchHeld,
            Event::FetchYielded,
            Event::FetchStreamed,
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
    StableKeyRefused,
    ProduceRefused,
    FetchHeld,
    FetchYielded,
    /// A part of an answer was there before the rest.
    FetchStreamed,
    NoDataYet,
    KeyRefused,
    LieRefused,
    Delivered,
}

type Place = (String, i32);

/// A request that the client has sent and that is not answered.
enum Sent {
    Produce(Vec<(Place, Batch)>),
    /// So many topics.
    Fetch(usize),
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
    stable_keys: Arc<StableKeys>,
    /// What the keys that clients sent are stored as.
    sealed_keys: BTreeMap<Option<Vec<u8>>, Option<Vec<u8>>>,
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
        let stable_keys = Rig::stable_key_of(&[KEYS]);
        rig.pipeline.take_stable_keys(&stable_keys);
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
            stable_keys,
            sealed_keys: BTreeMap::new(),
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
                    self.topics_are_looked_at();
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
        self.stable_key_comes();
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
            self.topics_are_looked_at();
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
        if let (Some((_, Sent::Fetch(topics))), false) = (self.unanswered.front(), self.at_client.is_empty())
        {
            assert_eq!(*topics, 1, "what may have to be changed is held");
            self.seen.insert(Event::FetchStreamed);
        }
    }
}

fn whole_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = i32::from_be_bytes(*bytes.first_chunk()?);
    let end = 4 + usize::try_from(length).unwrap();
    (bytes.len() >= end).then(|| bytes.drain(..end).skip(4).collect())
}
