//! What happened to the records of each topic.

use std::collections::HashMap;
use std::sync::Arc;

use super::connection::Direction;
use super::reason::RefusalReason;

/// A topic's place in one executor's table; kept beside the topic's rule so that counting costs one index.
///
/// Valid only for the [`super::ExecutorMetrics`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicIndex(u32);

impl TopicIndex {
    /// Topics that no rule names share this bucket: their names come from anybody and would push the real ones out.
    pub const NO_RULE: Self = Self(0);
    /// Topics past the bound share this bucket.
    pub const OVERFLOW: Self = Self(1);

    fn place(self) -> usize {
        self.0 as usize
    }
}

/// A topic of a cluster, as it is labelled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    /// The cluster's name in the configuration; empty for the shared buckets.
    pub cluster: Arc<str>,
    /// The topic's name, or `(no rule)` / `(other)`: no topic of Kafka's may have parentheses in its name.
    pub topic: Arc<str>,
}

/// Counters of one topic. Bytes are payload bytes of record batches, without the protocol around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicCounters {
    /// Records sealed.
    pub records_sealed: u64,
    /// Bytes of the batches as clients sent them.
    pub bytes_sealed: u64,
    /// Bytes of the same batches as brokers get them; the difference is what sealing costs in storage.
    pub bytes_sealed_stored: u64,
    /// Records opened and delivered.
    pub records_opened: u64,
    /// Bytes of the batches as clients got them.
    pub bytes_opened: u64,
    /// Records passed through unchanged, in either direction.
    pub records_passed: u64,
    /// Bytes passed through unchanged, in either direction.
    pub bytes_passed: u64,
    /// Records dropped or blanked on fetch because the rule says so (`on_unreadable`).
    pub records_skipped: u64,
    refusals: Vec<RefusalCount>,
}

/// How often one reason was given to one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// `Request` for produce, `Response` for fetch.
    pub direction: Direction,
    /// Why.
    pub reason: RefusalReason,
    /// Partitions refused, once for each request or response that named them.
    pub partitions: u64,
    /// Records in them, where they could be counted.
    pub records: u64,
    /// Bytes of their batches.
    pub bytes: u64,
}

impl TopicCounters {
    /// Counts one sealed batch: `bytes_in` as the client sent it, `bytes_out` as the broker gets it.
    pub fn sealed(&mut self, records: u64, bytes_in: u64, bytes_out: u64) {
        self.records_sealed = self.records_sealed.wrapping_add(records);
        self.bytes_sealed = self.bytes_sealed.wrapping_add(bytes_in);
        self.bytes_sealed_stored = self.bytes_sealed_stored.wrapping_add(bytes_out);
    }

    /// Counts one opened batch: `bytes` as the client gets it.
    pub fn opened(&mut self, records: u64, bytes: u64) {
        self.records_opened = self.records_opened.wrapping_add(records);
        self.bytes_opened = self.bytes_opened.wrapping_add(bytes);
    }

    /// Counts one batch (or one partition's batches) that passed unchanged.
    pub fn passed(&mut self, records: u64, bytes: u64) {
        self.records_passed = self.records_passed.wrapping_add(records);
        self.bytes_passed = self.bytes_passed.wrapping_add(bytes);
    }

    /// Counts one refused partition; `records` is 0 where they were not counted.
    pub fn refused(&mut self, direction: Direction, reason: RefusalReason, records: u64, bytes: u64) {
        self.add_refusal(RefusalCount {
            direction,
            reason,
            partitions: 1,
            records,
            bytes,
        });
    }

    /// The refusals counted so far, each (direction, reason) once.
    pub fn refusals(&self) -> &[RefusalCount] {
        &self.refusals
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add_refusal(&mut self, added: RefusalCount) {
        // A handful of entries at most, and only on refusals: a scan beats a dense table in every topic.
        let known = self
            .refusals
            .iter_mut()
            .find(|count| count.direction == added.direction && count.reason == added.reason);
        match known {
            Some(count) => {
                count.partitions = count.partitions.wrapping_add(added.partitions);
                count.records = count.records.wrapping_add(added.records);
                count.bytes = count.bytes.wrapping_add(added.bytes);
            }
            None => self.refusals.push(added),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sealed(
            other.records_sealed,
            other.bytes_sealed,
            other.bytes_sealed_stored,
        );
        self.opened(other.records_opened, other.bytes_opened);
        self.passed(other.records_passed, other.bytes_passed);
        self.records_skipped = self.records_skipped.wrapping_add(other.records_skipped);
        for refusal in &other.refusals {
            self.add_refusal(*refusal);
        }
    }
}

/// The bounded table behind [`TopicIndex`].
pub(super) struct TopicTable {
    counters: Vec<(TopicName, TopicCounters)>,
    places: HashMap<TopicName, TopicIndex>,
    topics_max: usize,
}

impl TopicTable {
    pub(super) fn new(topics_max: usize) -> Self {
        let shared = |topic: &str| {
            let name = TopicName {
                cluster: Arc::from(""),
                topic: Arc::from(topic),
            };
            (name, TopicCounters::default())
        };
        Self {
            counters: vec![shared("(no rule)"), shared("(other)")],
            places: HashMap::new(),
            topics_max: topics_max.min(TOPICS_MAX),
        }
    }

    pub(super) fn index(&mut self, cluster: &Arc<str>, topic: &str) -> TopicIndex {
        let name = TopicName {
            cluster: Arc::clone(cluster),
            topic: Arc::from(topic),
        };
        if let Some(index) = self.places.get(&name) {
            return *index;
        }
        if self.places.len() >= self.topics_max {
            return TopicIndex::OVERFLOW;
        }
        // INVARIANT: at most TOPICS_MAX + 2 entries, far below u32::MAX.
        let index = TopicIndex(self.counters.len() as u32);
        self.counters.push((name.clone(), TopicCounters::default()));
        self.places.insert(name, index);
        index
    }

    pub(super) fn counters(&mut self, index: TopicIndex) -> &mut TopicCounters {
        let place = if index.place() < self.counters.len() {
            index.place()
        } else {
            TopicIndex::OVERFLOW.place()
        };
        // INVARIANT: `new` put two entries there, nothing is ever removed, and `place` was just checked.
        &mut self.counters[place].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(TopicName, TopicCounters)> {
        self.counters.iter().filter(|(_, counters)| !counters.is_empty())
    }
}

/// No configuration may ask for more: each topic is a dozen time series for the scraper.
const TOPICS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_topic_within_the_bound_is_apart_and_the_next_one_is_not() {
        let cluster: Arc<str> = Arc::from("main");
        let mut table = TopicTable::new(2);
        let first = table.index(&cluster, "a");
        let second = table.index(&cluster, "b");
        assert_ne!(first, second);
        assert_ne!(second, TopicIndex::OVERFLOW);
        assert_eq!(table.index(&cluster, "c"), TopicIndex::OVERFLOW);
        assert_eq!(table.index(&cluster, "a"), first);
    }

    #[test]
    fn the_same_topic_of_two_clusters_is_counted_apart() {
        let mut table = TopicTable::new(10);
        let one = table.index(&Arc::from("one"), "a");
        let two = table.index(&Arc::from("two"), "a");
        assert_ne!(one, two);
    }

    #[test]
    fn an_index_of_another_table_counts_as_other() {
        let cluster: Arc<str> = Arc::from("main");
        let mut large = TopicTable::new(10);
        large.index(&cluster, "a");
        let foreign = large.index(&cluster, "b");
        let mut small = TopicTable::new(10);
        small.counters(foreign).passed(1, 1);
        assert_eq!(small.counters(TopicIndex::OVERFLOW).records_passed, 1);
    }

    #[test]
    fn refusals_add_up_by_direction_and_reason() {
        let mut counters = TopicCounters::default();
        counters.refused(Direction::Request, RefusalReason::Tag, 1, 10);
        counters.refused(Direction::Request, RefusalReason::Tag, 2, 20);
        counters.refused(Direction::Response, RefusalReason::Tag, 4, 40);
        assert_eq!(counters.refusals().len(), 2);
        let produce = counters.refusals()[0];
        assert_eq!((produce.partitions, produce.records, produce.bytes), (2, 3, 30));
    }
}
