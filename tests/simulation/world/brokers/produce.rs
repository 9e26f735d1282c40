//! Produce: a partition's batch is checked, appended, and answered when as many replicas have it as the request says.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use sealwire::record_batch::BatchHeader;

use super::Event;
use super::batch_checks::check_batch;
use super::cluster::{Cluster, Place};
use super::connection::{Answer, Malformed, Quota, Waiting};
use super::partition::Appended;
use super::requests::{Outcome, Request};
use crate::wire::response;

/// A Produce request whose batches are appended and not everywhere yet.
pub(super) struct WaitingProduce {
    pub(super) due: Duration,
    version: i16,
    correlation_id: i32,
    throttle: Duration,
    partitions: Vec<Produced>,
}

struct Produced {
    topic: TopicName,
    partition: i32,
    outcome: Result<Appended, ResponseError>,
    /// Nothing more will become of it.
    decided: bool,
}

/// `acks` of a request that is answered when all that are in sync have it.
const ALL: i16 = -1;

impl Cluster {
    pub(super) fn produce(
        &mut self,
        request: &Request,
        body: ProduceRequest,
        quota: &mut Quota,
    ) -> Result<Outcome, Malformed> {
        if ![0, 1, ALL].contains(&body.acks) {
            return Err(Malformed);
        }
        let mut partitions = Vec::new();
        for topic in &body.topic_data {
            for data in &topic.partition_data {
                let place = (topic.name.0.as_str(), data.index);
                let outcome = self.produce_batch(request, &body, place, data);
                partitions.push(Produced {
                    topic: topic.name.clone(),
                    partition: data.index,
                    outcome,
                    decided: body.acks != ALL || outcome.is_err(),
                });
            }
        }
        if body.acks == 0 {
            let failed = partitions.iter().any(|produced| produced.outcome.is_err());
            return Ok(if failed { Outcome::Close } else { Outcome::Nothing });
        }
        quota.use_up(request.bytes, request.now);
        let mut waiting = WaitingProduce {
            due: request.now + Duration::from_millis(body.timeout_ms.max(0) as u64),
            version: request.version,
            correlation_id: request.correlation_id,
            throttle: quota.throttle(request.now),
            partitions,
        };
        Ok(
            match self.answer_produce(request.node, &mut waiting, request.now) {
                Some(answer) => Outcome::Answer(answer),
                None => Outcome::Waits(Waiting::Produce(waiting)),
            },
        )
    }

    fn produce_batch(
        &mut self,
        request: &Request,
        body: &ProduceRequest,
        place: Place<'_>,
        data: &PartitionProduceData,
    ) -> Result<Appended, ResponseError> {
        let records = data.records.clone().unwrap_or_default();
        let header = check_batch(&records, request.version, self.max_message_bytes).inspect_err(|error| {
            self.events.push(Event::BadBatch {
                node: request.node,
                topic: place.0.to_owned(),
                partition: place.1,
                code: error.code(),
            });
        })?;
        let leads = self.partition(place)?.leader == request.node;
        if !leads {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        if header.attributes.is_transactional() {
            self.check_transaction(request, body, place, &header)?;
        }
        self.changes += 1;
        self.partition_mut(place)?.produce(&header, &records, request.now)
    }

    /// Whether the batch belongs to a transaction that its coordinator knows; from version 12 on it takes its partition
    /// into it (KIP-890).
    fn check_transaction(
        &mut self,
        request: &Request,
        body: &ProduceRequest,
        place: Place<'_>,
        header: &BatchHeader,
    ) -> Result<(), ResponseError> {
        let Some(id) = &body.transactional_id else {
            return Err(ResponseError::InvalidRecord);
        };
        let producer = (header.producer_id, header.producer_epoch);
        let log = &self.partition(place)?.leading().log;
        // What is there already is there, whatever has become of its transaction.
        if log.check_producer(header)?.is_some() {
            return Ok(());
        }
        self.transactions
            .check_produced(id.0.as_str(), producer, place, request.version, request.now)
    }

    /// The answer, once every partition is stored as asked for, or not, or the request's time is over.
    pub(super) fn answer_produce(
        &self,
        node: i32,
        waiting: &mut WaitingProduce,
        now: Duration,
    ) -> Option<Answer> {
        for produced in waiting.partitions.iter_mut().filter(|produced| !produced.decided) {
            let Ok(appended) = &produced.outcome else { continue };
            let partition = self.partition((produced.topic.0.as_str(), produced.partition));
            let stored = match partition.map(|partition| partition.replicated(node, appended)) {
                Ok(Some(stored)) => stored,
                Ok(None) if now >= waiting.due => Err(ResponseError::RequestTimedOut),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            produced.decided = true;
            if let Err(error) = stored {
                produced.outcome = Err(error);
            }
        }
        if waiting.partitions.iter().any(|produced| !produced.decided) {
            return None;
        }
        Some(waiting.answer())
    }
}

impl WaitingProduce {
    fn answer(&self) -> Answer {
        let mut topics: Vec<TopicProduceResponse> = Vec::new();
        for produced in &self.partitions {
            let partition = PartitionProduceResponse::default()
                .with_index(produced.partition)
                .with_log_append_time_ms(-1);
            let partition = match &produced.outcome {
                Ok(appended) => partition.with_base_offset(appended.base_offset),
                Err(error) => partition
                    .with_error_code(error.code())
                    .with_base_offset(-1)
                    .with_log_start_offset(-1),
            };
            match topics.last_mut() {
                Some(topic) if topic.name == produced.topic => topic.partition_responses.push(partition),
                _ => topics.push(
                    TopicProduceResponse::default()
                        .with_name(produced.topic.clone())
                        .with_partition_responses(vec![partition]),
                ),
            }
        }
        let body = ProduceResponse::default()
            .with_throttle_time_ms(self.throttle.as_millis() as i32)
            .with_responses(topics);
        Answer {
            bytes: response(self.version, self.correlation_id, &body),
            throttle: self.throttle,
        }
    }
}
