//! InitProducerId, AddPartitionsToTxn and EndTxn: what a producer asks the coordinator of its transactions.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};

use super::cluster::{Cluster, Place};
use super::requests::{Outcome, Request};
use super::transactions::{EPOCHS_FROM_END_TXN, Producer};

/// Versions below these know [`ResponseError::InvalidProducerEpoch`] only.
const FENCED_FROM: [(Api, i16); 3] = [(Api::Init, 4), (Api::Add, 2), (Api::End, 2)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    Init,
    Add,
    End,
}

impl Cluster {
    pub(super) fn init_producer_id(&mut self, request: &Request, body: &InitProducerIdRequest) -> Outcome {
        self.changes += 1;
        let known = (body.producer_id.0, body.producer_epoch);
        let given = match &body.transactional_id {
            // Whoever has none gets another id each time.
            None => Ok(self.transactions.new_producer()),
            Some(id) => self.check_coordinator(request.node, &id.0).and_then(|()| {
                let timeout = Duration::from_millis(body.transaction_timeout_ms.max(0) as u64);
                let known = (request.version >= 3 && known.0 >= 0).then_some(known);
                self.transactions.init(&id.0, timeout, known)
            }),
        };
        let answer = InitProducerIdResponse::default();
        let answer = match given {
            Ok((producer_id, epoch)) => answer
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(epoch),
            Err(error) => answer
                .with_error_code(code(Api::Init, request, error))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        request.answer(&answer)
    }

    pub(super) fn add_partitions(&mut self, request: &Request, body: &AddPartitionsToTxnRequest) -> Outcome {
        self.changes += 1;
        let answer = AddPartitionsToTxnResponse::default();
        if request.version < 4 {
            let producer = (body.v3_and_below_producer_id.0, body.v3_and_below_producer_epoch);
            let id = &body.v3_and_below_transactional_id.0;
            let results = self.add_topics(request, id, producer, &body.v3_and_below_topics);
            return request.answer(&answer.with_results_by_topic_v3_and_below(results));
        }
        let results = body.transactions.iter().map(|transaction| {
            let producer = (transaction.producer_id.0, transaction.producer_epoch);
            let id = &transaction.transactional_id;
            AddPartitionsToTxnResult::default()
                .with_transactional_id(id.clone())
                .with_topic_results(self.add_topics(request, &id.0, producer, &transaction.topics))
        });
        let results = results.collect();
        request.answer(&answer.with_results_by_transaction(results))
    }

    fn add_topics(
        &mut self,
        request: &Request,
        id: &str,
        producer: Producer,
        topics: &[AddPartitionsToTxnTopic],
    ) -> Vec<AddPartitionsToTxnTopicResult> {
        let places: Vec<Place<'_>> = topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|index| (topic.name.0.as_str(), *index))
            })
            .collect();
        let all_exist = places.iter().all(|place| self.partition(*place).is_ok());
        let added = self.check_coordinator(request.node, id).and_then(|()| {
            if all_exist {
                self.transactions
                    .add_partitions(id, producer, &places, request.now)
            } else {
                Err(ResponseError::OperationNotAttempted)
            }
        });
        let result_of = |place: Place<'_>| match (self.partition(place), added) {
            (Err(error), Err(ResponseError::OperationNotAttempted)) => error.code(),
            (_, Err(error)) => code(Api::Add, request, error),
            (_, Ok(())) => 0,
        };
        let results = topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|index| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*index)
                    .with_partition_error_code(result_of((topic.name.0.as_str(), *index)))
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(partitions.collect())
        });
        results.collect()
    }

    pub(super) fn end_transaction(&mut self, request: &Request, body: &EndTxnRequest) -> Outcome {
        self.changes += 1;
        let id = &body.transactional_id.0;
        let producer = (body.producer_id.0, body.producer_epoch);
        let ended = self.check_coordinator(request.node, id).and_then(|()| {
            self.transactions
                .end(id, producer, body.committed, request.version)
        });
        let answer = EndTxnResponse::default();
        let answer = match ended {
            Ok((producer_id, epoch)) if request.version >= EPOCHS_FROM_END_TXN => answer
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(epoch),
            Ok(_) => answer,
            Err(error) => answer.with_error_code(code(Api::End, request, error)),
        };
        request.answer(&answer)
    }
}

fn code(api: Api, request: &Request, error: ResponseError) -> i16 {
    let knows = |(known, from): (Api, i16)| known == api && request.version >= from;
    match error {
        ResponseError::ProducerFenced if !FENCED_FROM.into_iter().any(knows) => {
            ResponseError::InvalidProducerEpoch.code()
        }
        other => other.code(),
    }
}
