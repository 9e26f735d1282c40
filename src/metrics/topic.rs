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
    fn place(self) -> usize {
        self.0 as usize
    }
}

/// A topic of a cluster, as it is labelled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    /// The cluster's name in the configuration.
    pub cluster: Arc<str>,
    /// The topic's name, or [`NO_RULE`] / [`OTHER`]: no topic of Kafka's may have parentheses in its name.
    pub topic: Arc<str>,
}

/// Topics of a cluster that no rule names share this place: their names come from anybody and would push the real ones
/// out.
const NO_RULE: &str = "(no rule)";
/// Topics of a cluster past the bound share this place.
const OTHER: &str = "(other)";

impl TopicName {
    fn new(cluster: &Arc<str>, topic: &str) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            topic: Arc::from(topic),
        }
    }
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

/// The bounded table behind [`TopicIndex`]: so many topics, and for each cluster the two places that topics share.
pub(super) struct TopicTable {
    counters: Vec<(TopicName, TopicCounters)>,
    places: HashMap<TopicName, TopicIndex>,
    /// Topics that are counted apart.
    topics: usize,
    topics_max: usize,
}

impl TopicTable {
    pub(super) fn new(topics_max: usize) -> Self {
        Self {
            counters: Vec::new(),
            places: HashMap::new(),
            topics: 0,
            topics_max,
        }
    }

    /// The place of a topic that a rule names.
    pub(super) fn index(&mut self, cluster: &Arc<str>, topic: &str) -> TopicIndex {
        let name = TopicName::new(cluster, topic);
        if let Some(index) = self.places.get(&name) {
            return *index;
        }
        if self.topics >= self.topics_max {
            return self.place(TopicName::new(cluster, OTHER));
        }
        self.topics += 1;
        self.place(name)
    }

    /// The place of all topics of the cluster that no rule names.
    pub(super) fn no_rule(&mut self, cluster: &Arc<str>) -> TopicIndex {
        self.place(TopicName::new(cluster, NO_RULE))
    }

    fn place(&mut self, name: TopicName) -> TopicIndex {
        if let Some(index) = self.places.get(&name) {
            return *index;
        }
        // INVARIANT: at most `limits.topics_max`, and two for each cluster of the configuration: far below u32::MAX.
        let index = TopicIndex(self.counters.len() as u32);
        self.counters.push((name.clone(), TopicCounters::default()));
        self.places.insert(name, index);
        index
    }

    /// Counters of an index that this table gave.
    pub(super) fn counters(&mut self, index: TopicIndex) -> &mut TopicCounters {
        if index.place() >= self.counters.len() {
            let foreign = self.place(TopicName::new(&Arc::from(""), OTHER));
            // INVARIANT: `place` has just put it there, and nothing is ever removed.
            return &mut self.counters[foreign.place()].1;
        }
        // INVARIANT: it was just checked.
        &mut self.counters[index.place()].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(TopicName, TopicCounters)> {
        self.counters.iter().filter(|(_, counters)| !counters.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// METRICS-2
    #[test]
    fn the_last_topic_within_the_bound_is_apart_and_the_next_one_is_not() {
        let cluster: Arc<str> = Arc::from("main");
        let mut table = TopicTable::new(2);
        let first = table.index(&cluster, "a");
        let second = table.index(&cluster, "b");
        assert_ne!(first, second);
        let other = table.index(&cluster, "c");
        assert!(other != first && other != second);
        assert_eq!(table.index(&cluster, "d"), other);
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
    fn what_no_rule_names_and_what_is_past_the_bound_is_counted_by_cluster() {
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        let mut table = TopicTable::new(0);
        for cluster in [&one, &two, &one] {
            let (no_rule, other) = (table.no_rule(cluster), table.index(cluster, "a"));
            table
                .counters(no_rule)
                .refused(Direction::Request, RefusalReason::NoRule, 1, 1);
            table.counters(other).passed(1, 1);
        }
        let mut counted: Vec<_> = table
            .iter()
            .map(|(name, counters)| {
                let refused: u64 = counters.refusals().iter().map(|count| count.partitions).sum();
                (&*name.cluster, &*name.topic, counters.records_passed + refused)
            })
            .collect();
        counted.sort_unstable();
        let expected = [
            ("one", NO_RULE, 2),
            ("one", OTHER, 2),
            ("two", NO_RULE, 1),
            ("two", OTHER, 1),
        ];
        assert_eq!(counted, expected);
    }

    #[test]
    fn an_index_of_another_table_counts_as_other() {
        let cluster: Arc<str> = Arc::from("main");
        let mut large = TopicTable::new(10);
        large.index(&cluster, "a");
        let foreign = large.index(&cluster, "b");
        let mut small = TopicTable::new(10);
        small.counters(foreign).passed(1, 1);
        let counted: Vec<_> = small.iter().map(|(name, _)| &*name.topic).collect();
        assert_eq!(counted, [OTHER]);
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
