//! Facts about brokers that are subtle: what they remember, what a follower shows, what sessions leave out, where
//! transactions hold readers back, what a restart takes away.

mod fetching;
mod lying;
mod producing;
mod transactions;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
    TransactionalId,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use sealwire::testing::BatchBuilder;

use super::{Brokers, ConnectionId};
use crate::rig::batch_of;
use crate::wire::{decode_response, only_frame, request, text, topic_name};

/// A cluster and what the time is there.
struct Bench {
    brokers: Brokers,
    now: Duration,
}

impl Bench {
    /// Three nodes; each partition is on two of them, the first one on 1, which leads, and 2.
    fn new() -> Self {
        Self {
            brokers: Brokers::new(&[1, 2, 3], &[("a", 2), ("b", 1)], 2, 7),
            now: Duration::ZERO,
        }
    }

    fn connect(&mut self, node: i32) -> ConnectionId {
        let (host, port) = self.brokers.address(node);
        let (host, port) = (host.to_owned(), port);
        self.brokers.connect(&host, port).expect("somebody is there")
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.brokers.receive(id, bytes, self.now);
    }

    fn output(&mut self, id: ConnectionId) -> Vec<u8> {
        self.brokers.take_output(id, self.now)
    }

    /// Lets as much time pass, with all that happens meanwhile.
    fn pass_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.brokers.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.brokers.tick(self.now);
        }
        self.now = end;
    }

    /// The answer to a request, now or as soon as it comes.
    fn ask<A, B>(&mut self, id: ConnectionId, (key, version): (ApiKey, i16), body: &A) -> B
    where
        A: Encodable + HeaderVersion,
        B: Decodable + HeaderVersion,
    {
        self.send(id, &request(key, version, 5, body));
        for _ in 0..1000 {
            let output = self.output(id);
            if !output.is_empty() {
                return decode_response(&only_frame(&output), version);
            }
            self.pass_ms(1);
        }
        panic!("no answer")
    }

    /// Code and base offset of a batch that is produced to a partition of topic a.
    fn produce(&mut self, id: ConnectionId, acks: i16, partition: i32, batch: &BatchBuilder) -> (i16, i64) {
        let answer: ProduceResponse = self.ask(id, (ApiKey::Produce, 9), &to_produce(acks, partition, batch));
        let told = &answer.responses[0].partition_responses[0];
        (told.error_code, told.base_offset)
    }

    /// The answer about partition 0 of topic a.
    fn fetch(&mut self, id: ConnectionId, version: i16, offset: i64) -> PartitionData {
        let answer: FetchResponse = self.ask(id, (ApiKey::Fetch, version), &to_fetch(&[(0, offset)]));
        answer.responses[0].partitions[0].clone()
    }

    fn metadata(&mut self, id: ConnectionId, version: i16) -> MetadataResponse {
        let body = MetadataRequest::default().with_topics(None);
        self.ask(id, (ApiKey::Metadata, version), &body)
    }
}

fn to_produce(acks: i16, partition: i32, batch: &BatchBuilder) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(Bytes::from(batch.build().unwrap())));
    let topic = TopicProduceData::default()
        .with_name(topic_name("a"))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(500)
        .with_topic_data(vec![topic])
}

/// Partitions of topic a, each from an offset on.
fn to_fetch(partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default()
        .with_topic(topic_name("a"))
        .with_partitions(partitions.collect());
    FetchRequest::default().with_min_bytes(1).with_topics(vec![topic])
}

/// One record of an idempotent producer.
fn numbered(epoch: i16, sequence: i32) -> BatchBuilder {
    batch_of(&["value"]).producer(7, epoch, sequence)
}

fn id_of_transactions() -> TransactionalId {
    TransactionalId(text("t"))
}
