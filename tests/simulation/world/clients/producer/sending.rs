//! What goes to whom: one request for all partitions of a node, or for each partition one.

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, TopicName, TransactionalId};

use super::batch::Batch;
use super::transaction::Transactions;
use super::{Asked, Kind, Producer};
use crate::wire::text;
use crate::world::clients::value::is_refused;
use crate::world::clients::{Family, LinkId, Place};

impl Producer {
    pub(super) fn sends_batches(&mut self) {
        if self.settings.kind == Kind::Idempotent && self.identity.is_none() {
            return;
        }
        for node in self.network.cluster.leaders(&self.settings.client.places) {
            while let Some(id) = self.network.ready(node) {
                if self.network.in_flight(id) >= self.settings.in_flight_max || !self.sends_to(node, id) {
                    break;
                }
            }
        }
    }

    /// One request with what may go to `node` now; `false`: there is nothing.
    fn sends_to(&mut self, node: i32, id: LinkId) -> bool {
        let mut taken: Vec<(Place, Batch)> = Vec::new();
        for (place, lane) in &mut self.lanes {
            if self.network.cluster.leader(place) != Some(node) {
                continue;
            }
            if self
                .transactions
                .as_ref()
                .is_some_and(|transactions| !transactions.may_send_to(place))
            {
                continue;
            }
            if let Some(batch) = lane.take_next(self.settings.client.family, self.identity, self.now) {
                taken.push((place.clone(), batch));
                if self.settings.client.family == Family::Librdkafka {
                    break;
                }
            }
        }
        if taken.is_empty() {
            return false;
        }
        let version = self.network.version(id, ApiKey::Produce, self.version_max());
        let body = self.produce_request(&mut taken);
        if self.settings.kind == (Kind::Plain { acks: 0 }) {
            self.network.tell(id, ApiKey::Produce, version, &body);
            for (place, _) in &taken {
                self.lanes.get_mut(place).expect("a lane for each place").told(id);
                if is_refused(&place.0) {
                    self.unsaid.insert(id);
                }
            }
            return true;
        }
        let correlation_id = self.network.ask(id, ApiKey::Produce, version, &body);
        let places = taken.iter().map(|(place, _)| place.clone()).collect();
        for (place, batch) in taken {
            self.lanes
                .get_mut(&place)
                .expect("a lane for each place")
                .sent(correlation_id, node, batch);
        }
        let produce = Asked::Produce {
            node,
            version,
            places,
        };
        self.asked.insert(correlation_id, produce);
        true
    }

    fn produce_request(&self, taken: &mut [(Place, Batch)]) -> ProduceRequest {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for (place, batch) in taken {
            let bytes = Bytes::copy_from_slice(batch.bytes(self.settings.number, place));
            let partition = PartitionProduceData::default()
                .with_index(place.1)
                .with_records(Some(bytes));
            match topics.last_mut() {
                Some(topic) if topic.name.0.as_str() == place.0 => topic.partition_data.push(partition),
                _ => topics.push(
                    TopicProduceData::default()
                        .with_name(TopicName(text(&place.0)))
                        .with_partition_data(vec![partition]),
                ),
            }
        }
        let acks = match self.settings.kind {
            Kind::Plain { acks } => acks,
            Kind::Idempotent | Kind::Transactional => -1,
        };
        let transactional_id = self.transactions.as_ref().map(Transactions::id);
        ProduceRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_acks(acks)
            .with_timeout_ms(30_000)
            .with_topic_data(topics)
    }

    /// From version 12 on a transaction's partitions need not be added first.
    fn version_max(&self) -> i16 {
        match (self.settings.client.family, self.settings.kind) {
            (Family::Java, Kind::Transactional) => 11,
            (Family::Java, _) => 12,
            (Family::Librdkafka, _) => 10,
        }
    }
}
