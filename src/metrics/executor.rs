//! What one executor counts, and the copy of it that leaves the executor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{ConnectionCounters, Direction, FrameCounters};
use super::latency::Latency;
use super::reason::labels;
use super::topic::{TopicCounters, TopicIndex, TopicName, TopicTable};
use crate::envelope::StableKeyId;
use crate::foreign::SHOWN_BYTES_MAX;

labels! {
    /// What the proxy spent its time on; one histogram each.
    TimeKind {
        /// A produce request, from its last byte read until it is ready to be written. Waiting for a key is in it.
        Produce => "produce",
        /// A fetch response, likewise.
        Fetch => "fetch",
        /// Any other frame that is held whole.
        Held => "held",
        /// One chunk of a frame that is streamed through.
        Streamed => "streamed",
    }
}

/// Levels that go up and down; set by the executor, added up over executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Bytes of frames held in buffers.
    pub bytes_held: u64,
    /// Long frames that wait for their turn to be read.
    pub frames_queued: u64,
    /// TLS handshakes that wait for their clients.
    pub handshakes_silent: u64,
    /// TLS handshakes with clients that wait until it is their turn.
    pub handshakes_queued: u64,
    /// Requests sent to brokers whose response has not come back.
    pub requests_in_flight: u64,
    /// Produce requests that wait for a key.
    pub produce_parked: u64,
    /// Fetch responses that wait for a key.
    pub fetch_parked: u64,
    /// Sealing keys at hand.
    pub sealing_keys: u64,
    /// Opening keys at hand.
    pub opening_keys: u64,
}

/// How look-ups in the executor's own keys ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCacheCounters {
    /// The key was there.
    pub ready: u64,
    /// It was asked for, or had been already.
    pub waiting: u64,
    /// A failure was remembered.
    pub failed: u64,
}

/// The counters of one executor: plain fields, incremented in place by the thread that owns them.
pub struct ExecutorMetrics {
    /// The executor's number, from 0.
    pub executor: usize,
    /// Client connections.
    pub connections: ConnectionCounters,
    /// Frames and bytes from clients to brokers.
    pub requests: FrameCounters,
    /// Frames and bytes from brokers to clients.
    pub responses: FrameCounters,
    /// Look-ups of keys.
    pub key_cache: KeyCacheCounters,
    /// Levels.
    pub gauges: Gauges,
    topics: TopicTable,
    stable_keys: StableKeyTable,
    topics_max: usize,
    times: [Latency; TimeKind::COUNT],
}

/// The stable key of each domain of a cluster.
pub type StableKeyTable = BTreeMap<(Arc<str>, Arc<str>), StableKeyId>;

impl ExecutorMetrics {
    /// Counters for executor number `executor`, with at most `topics_max` topics counted apart.
    pub fn new(executor: usize, topics_max: usize) -> Self {
        Self {
            executor,
            connections: ConnectionCounters::default(),
            requests: FrameCounters::default(),
            responses: FrameCounters::default(),
            key_cache: KeyCacheCounters::default(),
            gauges: Gauges::default(),
            topics: TopicTable::new(topics_max),
            stable_keys: StableKeyTable::new(),
            topics_max,
            times: Default::default(),
        }
    }

    /// The topic's index, made if there is room; allocates, so ask once and keep it with the topic's rule.
    pub fn topic_index(&mut self, cluster: &Arc<str>, topic: &str) -> TopicIndex {
        self.topics.index(cluster, topic)
    }

    /// The index of all topics of the cluster that no rule names; allocates, too.
    pub fn no_rule_index(&mut self, cluster: &Arc<str>) -> TopicIndex {
        self.topics.no_rule(cluster)
    }

    /// The topic's counters.
    pub fn topic(&mut self, index: TopicIndex) -> &mut TopicCounters {
        self.topics.counters(index)
    }

    /// Takes note of the stable key under which record keys of a domain are sealed: of so many domains at most as there
    /// are topics counted apart.
    pub fn note_stable_key(&mut self, cluster: &Arc<str>, domain: &str, key: StableKeyId) {
        if self.stable_keys.len() < self.topics_max {
            let domain = domain.get(..domain.floor_char_boundary(SHOWN_BYTES_MAX));
            let place = (Arc::clone(cluster), domain.unwrap_or_default().into());
            self.stable_keys.insert(place, key);
        }
    }

    /// The keyring is another one now.
    pub fn forget_stable_keys(&mut self) {
        self.stable_keys.clear();
    }

    /// The frame counters of one direction.
    pub fn frames(&mut self, direction: Direction) -> &mut FrameCounters {
        match direction {
            Direction::Request => &mut self.requests,
            Direction::Response => &mut self.responses,
        }
    }

    /// Counts time spent in the proxy: once for each held frame, or once for each chunk streamed.
    pub fn time(&mut self, kind: TimeKind, took: Duration) {
        // INVARIANT: the array has one place for every kind.
        self.times[kind.index()].record(took);
    }

    /// A copy to hand to another thread.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            executors: vec![self.executor],
            connections: self.connections.clone(),
            connections_open_by_executor: vec![(self.executor, self.connections.open())],
            requests: self.requests.clone(),
            responses: self.responses.clone(),
            key_cache: self.key_cache,
            gauges: self.gauges,
            topics: self.topics.iter().cloned().collect(),
            stable_keys: self.stable_keys.clone(),
            times: self.times.clone(),
        }
    }
}

/// What one executor had counted when it was asked, or the sum over several.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which executors are in it.
    pub executors: Vec<usize>,
    /// Client connections.
    pub connections: ConnectionCounters,
    /// Open connections of each executor, to see that they are spread evenly.
    pub connections_open_by_executor: Vec<(usize, u64)>,
    /// Frames and bytes from clients to brokers.
    pub requests: FrameCounters,
    /// Frames and bytes from brokers to clients.
    pub responses: FrameCounters,
    /// Look-ups of keys.
    pub key_cache: KeyCacheCounters,
    /// Levels.
    pub gauges: Gauges,
    /// Topics that have counted anything.
    pub topics: BTreeMap<TopicName, TopicCounters>,
    /// The stable keys under which record keys are sealed.
    pub stable_keys: StableKeyTable,
    times: [Latency; TimeKind::COUNT],
}

impl Snapshot {
    /// Time spent in the proxy on `kind`.
    pub fn time(&self, kind: TimeKind) -> &Latency {
        &self.times[kind.index()]
    }

    /// The frame counters of one direction.
    pub fn frames(&self, direction: Direction) -> &FrameCounters {
        match direction {
            Direction::Request => &self.requests,
            Direction::Response => &self.responses,
        }
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.executors.extend(&other.executors);
        self.connections.merge(&other.connections);
        self.connections_open_by_executor
            .extend(&other.connections_open_by_executor);
        self.requests.merge(&other.requests);
        self.responses.merge(&other.responses);
        let (mine, added) = (&mut self.key_cache, other.key_cache);
        mine.ready = mine.ready.wrapping_add(added.ready);
        mine.waiting = mine.waiting.wrapping_add(added.waiting);
        mine.failed = mine.failed.wrapping_add(added.failed);
        let (mine, added) = (&mut self.gauges, other.gauges);
        mine.bytes_held = mine.bytes_held.wrapping_add(added.bytes_held);
        mine.frames_queued = mine.frames_queued.wrapping_add(added.frames_queued);
        mine.handshakes_silent = mine.handshakes_silent.wrapping_add(added.handshakes_silent);
        mine.handshakes_queued = mine.handshakes_queued.wrapping_add(added.handshakes_queued);
        mine.requests_in_flight = mine.requests_in_flight.wrapping_add(added.requests_in_flight);
        mine.produce_parked = mine.produce_parked.wrapping_add(added.produce_parked);
        mine.fetch_parked = mine.fetch_parked.wrapping_add(added.fetch_parked);
        mine.sealing_keys = mine.sealing_keys.wrapping_add(added.sealing_keys);
        mine.opening_keys = mine.opening_keys.wrapping_add(added.opening_keys);
        for (name, counters) in &other.topics {
            self.topics.entry(name.clone()).or_default().merge(counters);
        }
        for (place, key) in &other.stable_keys {
            self.stable_keys.insert(place.clone(), *key);
        }
        for (time, added) in self.times.iter_mut().zip(&other.times) {
            time.merge(added);
        }
    }

    /// The sum of `snapshots`.
    pub fn merged<'s>(snapshots: impl IntoIterator<Item = &'s Self>) -> Self {
        let mut sum = Self::default();
        for snapshot in snapshots {
            sum.merge(snapshot);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CloseReason, RefusalReason};

    fn busy(executor: usize) -> ExecutorMetrics {
        let mut metrics = ExecutorMetrics::new(executor, 8);
        let topic = metrics.topic_index(&Arc::from("main"), "payments");
        metrics.topic(topic).sealed(10, 1000, 2000);
        metrics.topic(topic).opened(5, 500);
        let reason = RefusalReason::Tag;
        metrics.topic(topic).refused(Direction::Response, reason, 1, 100);
        metrics.connections.accepted += 2;
        metrics.connections.closed(CloseReason::ClientClosed);
        metrics.frames(Direction::Request).frame(0);
        metrics.time(TimeKind::Produce, Duration::from_micros(20));
        metrics
    }

    #[test]
    fn merging_adds_topics_by_name_whatever_their_index() {
        let one = busy(0);
        let mut two = ExecutorMetrics::new(1, 8);
        two.topic_index(&Arc::from("main"), "another");
        let payments = two.topic_index(&Arc::from("main"), "payments");
        two.topic(payments).sealed(1, 10, 20);
        let sum = Snapshot::merged([&one.snapshot(), &two.snapshot()]);
        let name = TopicName {
            cluster: Arc::from("main"),
            topic: Arc::from("payments"),
        };
        assert_eq!(sum.topics[&name].records_sealed, 11);
        assert_eq!(sum.topics[&name].bytes_sealed_stored, 2020);
        // A topic that has counted nothing does not appear.
        assert_eq!(sum.topics.len(), 1);
    }

    /// METRICS-4
    #[test]
    fn merging_is_the_same_in_either_order() {
        let (one, two) = (busy(0).snapshot(), busy(1).snapshot());
        let (left, right) = (Snapshot::merged([&one, &two]), Snapshot::merged([&two, &one]));
        assert_eq!(left.topics, right.topics);
        assert_eq!(left.connections, right.connections);
        assert_eq!(left.requests, right.requests);
        assert_eq!(left.time(TimeKind::Produce).count(), 2);
        assert_eq!(right.time(TimeKind::Produce).count(), 2);
        assert_eq!(left.connections.open(), 2);
    }
}
