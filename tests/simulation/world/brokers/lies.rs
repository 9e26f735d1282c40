//! What a broker that lies gives out instead of what it has.

use super::Event;
use super::cluster::Cluster;
use super::sessions::Wanted;
use crate::rig::{at_offset, tampered};

/// A kind of lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A byte of the last record's seal is another one, and the checksum fits.
    Tampered,
    /// Batches of another of the topics that are lied about.
    OtherTopic,
    /// Batches of another partition of the topic. Nothing in a record says that it is not where it belongs.
    OtherPartition,
    /// An older batch once more. Nothing in a record says that it was read already.
    Replayed,
}

/// Whether a broker lies, and about what.
#[derive(Default)]
pub(super) struct Lying {
    pub(super) lies: Vec<Lie>,
    pub(super) topics: Vec<String>,
}

/// One of so many answers of a partition is a lie.
const LIE_OF: u64 = 20;

impl Cluster {
    /// Puts something else in the place of a partition's records, now and then.
    pub(super) fn lie(&mut self, node: i32, wanted: &Wanted, records: &mut Vec<u8>) {
        let topic = wanted.topic.0.as_str();
        let lies = &self.lying.lies;
        if lies.is_empty()
            || !self.lying.topics.iter().any(|about| about == topic)
            || self.dice.below(LIE_OF) > 0
        {
            return;
        }
        let lie = lies[self.dice.below(lies.len() as u64) as usize];
        let Some(instead) = self.told_instead(node, wanted, lie) else {
            return;
        };
        *records = instead;
        self.events.push(Event::Lie {
            node,
            topic: topic.to_owned(),
            partition: wanted.partition,
            offset: wanted.offset,
            lie,
        });
    }

    /// One batch at the offset that is asked for.
    fn told_instead(&mut self, node: i32, wanted: &Wanted, lie: Lie) -> Option<Vec<u8>> {
        let lot = self.dice.below(u64::MAX) as usize;
        let topic = wanted.topic.0.as_str();
        let own = &self
            .partition((topic, wanted.partition))
            .ok()?
            .replicas
            .get(&node)?
            .log;
        let asked = own.batches().get(own.index_of(wanted.offset))?;
        let offset = asked.header.base_offset;
        if lie == Lie::Tampered {
            return (!asked.header.attributes.is_control()).then(|| tampered(&asked.bytes, 0));
        }
        let others: Vec<&[u8]> = match lie {
            Lie::Replayed => own
                .batches()
                .iter()
                .take_while(|batch| batch.header.base_offset < offset)
                .filter(|batch| !batch.header.attributes.is_control())
                .map(|batch| &*batch.bytes)
                .collect(),
            _ => self.elsewhere(wanted, lie),
        };
        others
            .get(lot % others.len().max(1))
            .map(|batch| at_offset(batch, offset))
    }

    /// A batch of each of the other places.
    fn elsewhere(&self, wanted: &Wanted, lie: Lie) -> Vec<&[u8]> {
        let topic = wanted.topic.0.as_str();
        let is_meant = |name: &str, partition: i32| match lie {
            Lie::OtherTopic => name != topic && self.lying.topics.iter().any(|about| about == name),
            _ => name == topic && partition != wanted.partition,
        };
        let mut batches = Vec::new();
        for (name, topic) in &self.topics {
            for (partition, index) in topic.partitions.iter().zip(0..) {
                let data = partition.leading().log.batches().iter();
                let first = data.rev().find(|batch| !batch.header.attributes.is_control());
                if is_meant(name, index) {
                    batches.extend(first.map(|batch| &*batch.bytes));
                }
            }
        }
        batches
    }
}
