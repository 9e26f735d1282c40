//! A consumer: asks every leader, or the replica that it was sent to, for what comes next in its partitions, and keeps
//! where it is.
//!
//! - a position moves behind what was read and nowhere else, but to what ListOffsets says once it is out of range.
//! - one fetch at a time is under way to a node.

mod reading;
mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest, TopicName};
use sealwire::record_batch::Decompressor;

use self::session::FetchSession;
use super::network::Network;
use super::value::{Value, is_refused};
use super::{Action, Client, ClientSettings, Family, LinkId, Place};
use crate::dice::Dice;
use crate::wire::text;

#[derive(Clone, Debug)]
pub(crate) struct ConsumerSettings {
    pub(crate) client: ClientSettings,
    /// Its rack, if it wants to read from a replica that is near.
    pub(crate) rack: Option<String>,
    pub(crate) read_committed: bool,
    /// What it asks for at most, of a node and of a partition.
    pub(crate) bytes_max: i32,
    pub(crate) partition_bytes_max: i32,
    /// When it is started: there may be much to be read by then.
    pub(crate) begins: Duration,
}

/// A record that the application was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) place: Place,
    pub(crate) offset: i64,
    pub(crate) value: Value,
}

/// Where a consumer is in one partition.
#[derive(Clone, Copy, Default)]
struct Position {
    /// `None`: ListOffsets is to say it.
    offset: Option<i64>,
    /// The end as a broker told it last: of what is committed, for those who read nothing else.
    end: Option<i64>,
    /// A replica that the leader has named, and until when.
    preferred: Option<(i32, Duration)>,
    not_before: Duration,
}

pub(crate) struct Consumer {
    settings: ConsumerSettings,
    network: Network,
    positions: BTreeMap<Place, Position>,
    sessions: BTreeMap<i32, FetchSession>,
    /// Requests that are unanswered, and the nodes that were asked.
    asked: BTreeMap<i32, (i32, Asked)>,
    delivered: Vec<Delivered>,
    /// What the application was told, by code.
    refusals: BTreeMap<(Place, i16), u64>,
    decompressor: Decompressor,
    now: Duration,
}

enum Asked {
    Offsets {
        version: i16,
        places: Vec<Place>,
    },
    Fetch {
        version: i16,
        places: BTreeMap<Place, i64>,
    },
}

impl Consumer {
    pub(crate) fn new(settings: ConsumerSettings) -> Self {
        Self {
            network: Network::new(settings.client.clone()),
            positions: settings.client.by_place(),
            sessions: BTreeMap::new(),
            asked: BTreeMap::new(),
            delivered: Vec::new(),
            refusals: BTreeMap::new(),
            decompressor: Decompressor::new(),
            settings,
            now: Duration::ZERO,
        }
    }

    pub(crate) fn settings(&self) -> &ConsumerSettings {
        &self.settings
    }

    /// What was delivered since the last call, in the order of each partition.
    pub(crate) fn take_delivered(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.delivered)
    }

    /// How often the application was told of a code that retries do not hide.
    pub(crate) fn refusals(&self) -> &BTreeMap<(Place, i16), u64> {
        &self.refusals
    }

    /// The offset that it reads next.
    pub(crate) fn position(&self, place: &Place) -> Option<i64> {
        self.positions[place].offset
    }

    /// The node that is asked for `place`.
    fn node_of(&self, place: &Place) -> Option<i32> {
        let preferred = self.positions[place]
            .preferred
            .filter(|(node, until)| *until > self.now && self.network.cluster.nodes.contains_key(node));
        preferred
            .map(|(node, _)| node)
            .or_else(|| self.network.cluster.leader(place))
    }

    fn is_asked(&self, node: i32) -> bool {
        self.asked.values().any(|(asked, _)| *asked == node)
    }

    /// What may be asked for now, by node.
    fn wanted(&self) -> BTreeMap<i32, Vec<Place>> {
        let mut wanted: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
        for (place, position) in &self.positions {
            if position.not_before <= self.now
                && let Some(node) = self.node_of(place)
            {
                wanted.entry(node).or_default().push(place.clone());
            }
        }
        wanted
    }

    fn fetches(&mut self, wanted: BTreeMap<i32, Vec<Place>>) {
        for (node, places) in wanted {
            if self.is_asked(node) {
                continue;
            }
            let Some(id) = self.network.ready(node) else {
                continue;
            };
            let (known, unknown): (Vec<Place>, Vec<Place>) = places
                .into_iter()
                .partition(|place| self.positions[place].offset.is_some());
            if !unknown.is_empty() {
                self.asks_offsets(node, id, unknown);
            } else if !known.is_empty() {
                self.asks_records(node, id, known);
            }
        }
    }

    /// Where the log begins.
    fn asks_offsets(&mut self, node: i32, id: LinkId, places: Vec<Place>) {
        let topics = places.iter().map(|(topic, partition)| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(*partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(EARLIEST);
            ListOffsetsTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(vec![partition])
        });
        let body = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(i8::from(self.settings.read_committed))
            .with_topics(topics.collect());
        let version = self.network.version(id, ApiKey::ListOffsets, 7);
        let correlation_id = self.network.ask(id, ApiKey::ListOffsets, version, &body);
        self.asked
            .insert(correlation_id, (node, Asked::Offsets { version, places }));
    }

    fn asks_records(&mut self, node: i32, id: LinkId, places: Vec<Place>) {
        let wanted: BTreeMap<Place, i64> = places
            .into_iter()
            .filter_map(|place| Some((place.clone(), self.positions[&place].offset?)))
            .collect();
        let session = self
            .sessions
            .entry(node)
            .or_insert_with(|| FetchSession::new(self.settings.client.family));
        let asked = session.next(&wanted);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((topic, partition), offset) in asked.changed {
            let partition = FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(offset)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(self.settings.partition_bytes_max);
            match topics.last_mut() {
                Some(last) if last.topic.0.as_str() == topic => last.partitions.push(partition),
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic(TopicName(text(&topic)))
                        .with_partitions(vec![partition]),
                ),
            }
        }
        let forgotten = asked.forgotten.iter().map(|(topic, partition)| {
            ForgottenTopic::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(vec![*partition])
        });
        let body = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(WAIT_MAX_MS)
            .with_min_bytes(1)
            .with_max_bytes(self.settings.bytes_max)
            .with_isolation_level(i8::from(self.settings.read_committed))
            .with_session_id(asked.id)
            .with_session_epoch(asked.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten.collect())
            .with_rack_id(text(self.settings.rack.as_deref().unwrap_or_default()));
        let own_max = match self.settings.client.family {
            Family::Java => 12,
            Family::Librdkafka => 11,
        };
        let version = self.network.version(id, ApiKey::Fetch, own_max);
        let correlation_id = self.network.ask(id, ApiKey::Fetch, version, &body);
        let fetch = Asked::Fetch {
            version,
            places: wanted,
        };
        self.asked.insert(correlation_id, (node, fetch));
    }
}

impl Client for Consumer {
    fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    fn act(&mut self, now: Duration, dice: &mut Dice) -> Vec<Action> {
        if now < self.settings.begins || self.network.is_idle(self.next_due(), now) {
            return Vec::new();
        }
        self.now = now;
        self.network.begin(now);
        while let Some(event) = self.network.next_event() {
            self.takes_in(event);
        }
        let wanted = self.wanted();
        let nodes: Vec<i32> = wanted.keys().copied().collect();
        self.network.connect_and_look(&nodes, dice);
        self.fetches(wanted);
        self.network.take_actions()
    }

    fn next_due(&self) -> Option<Duration> {
        if self.now < self.settings.begins {
            return Some(self.settings.begins);
        }
        self.positions
            .values()
            .map(|position| position.not_before)
            .filter(|&due| due > self.now)
            .chain(self.network.next_due())
            .min()
    }

    fn rest(&mut self) {}

    /// It has read up to where the logs end, as far as it knows, or was told that it may not.
    fn is_done(&self) -> bool {
        self.positions.iter().all(|(place, position)| {
            let is_told = is_refused(&place.0) && self.refusals.contains_key(&(place.clone(), UNAUTHORIZED));
            is_told || position.end.is_some() && position.offset >= position.end
        })
    }
}

/// The first offset that is there.
const EARLIEST: i64 = -2;
/// What the application is told of a topic that no rule names.
const UNAUTHORIZED: i16 = 29;
const WAIT_MAX_MS: i32 = 500;
