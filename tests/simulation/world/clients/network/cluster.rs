//! What Metadata has told a client last.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::MetadataResponse;

use super::Address;
use crate::world::clients::Place;

#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<i32, Address>,
    leaders: BTreeMap<Place, i32>,
}

impl Cluster {
    /// Takes over an answer, and says whether every partition of it has a leader.
    pub(super) fn learn(&mut self, answer: &MetadataResponse) -> bool {
        self.nodes = answer
            .brokers
            .iter()
            .map(|broker| {
                let port = u16::try_from(broker.port).expect("a port");
                (broker.node_id.0, (broker.host.to_string(), port))
            })
            .collect();
        let mut is_complete = !self.nodes.is_empty();
        for topic in &answer.topics {
            let name = topic.name.as_ref().expect("topics are asked for by name");
            is_complete &= topic.error_code == 0;
            for partition in &topic.partitions {
                let place = (name.0.to_string(), partition.partition_index);
                if self.nodes.contains_key(&partition.leader_id.0) {
                    self.leaders.insert(place, partition.leader_id.0);
                } else {
                    is_complete = false;
                    self.leaders.remove(&place);
                }
            }
        }
        is_complete
    }

    pub(crate) fn leader(&self, place: &Place) -> Option<i32> {
        self.leaders.get(place).copied()
    }

    /// The nodes that lead one of `places`.
    pub(crate) fn leaders<'p>(&self, places: impl IntoIterator<Item = &'p Place>) -> Vec<i32> {
        let nodes: BTreeSet<i32> = places
            .into_iter()
            .filter_map(|place| self.leader(place))
            .collect();
        nodes.into_iter().collect()
    }
}
