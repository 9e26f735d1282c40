//! What a producer asks the coordinator of its transactions, one question at a time.
//!
//! - an end that is not answered is asked for again, and again with the same outcome.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, EndTxnRequest, EndTxnResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdResponse, TopicName, TransactionalId,
};

use super::batch::Identity;
use super::lane::Lane;
use super::transaction::{Outcome, Question, Stage};
use super::{Asked, Producer, RETRY_BACK_OFF, Reason};
use crate::wire::{decode_response, text};
use crate::world::clients::Place;
use crate::world::clients::errors::{Coordinated, coordinated};

impl Producer {
    /// Asks the coordinator for what comes next.
    pub(super) fn coordinates(&mut self) {
        self.goes_on_to_the_end();
        let Some(transactions) = &self.transactions else {
            return;
        };
        if transactions.asked.is_some() || transactions.not_before > self.now {
            return;
        }
        let Some(coordinator) = transactions.coordinator else {
            self.asks_for_the_coordinator();
            return;
        };
        let question = match transactions.stage {
            Stage::Idle => return,
            Stage::Identity => Question::Identity,
            Stage::Ending(outcome) => Question::End(outcome),
            Stage::Open => {
                let wants = |(place, lane): &(&Place, &Lane)| {
                    !lane.waiting.is_empty() && !transactions.added.contains(*place)
                };
                let places: Vec<Place> = self
                    .lanes
                    .iter()
                    .filter(wants)
                    .map(|(place, _)| place.clone())
                    .collect();
                if places.is_empty() {
                    return;
                }
                Question::Add(places)
            }
        };
        if self.network.ready(coordinator).is_some() {
            self.asks(coordinator, question);
        }
    }

    /// An open transaction is ended once all of it is stored, or all that is under way has come back.
    fn goes_on_to_the_end(&mut self) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        if transactions.stage != Stage::Open || transactions.asked.is_some() {
            return;
        }
        if transactions.fails {
            for (place, lane) in &mut self.lanes {
                let given_up = lane.waiting.drain(..);
                self.failed
                    .extend(given_up.map(|batch| batch.failed(place, Reason::Transaction)));
            }
            if !self.lanes.values().all(Lane::is_quiet) {
                return;
            }
            // Nobody was asked to commit: whoever asks for the next epoch has it aborted.
            if transactions.fenced || transactions.added.is_empty() {
                transactions.end(Outcome::Aborted);
            } else {
                transactions.stage = Stage::Ending(Outcome::Aborted);
            }
        } else if self.lanes.values().all(Lane::is_empty)
            && (transactions.left == 0 || self.made == self.settings.batches_max)
        {
            transactions.stage = Stage::Ending(transactions.outcome);
        }
    }

    fn asks_for_the_coordinator(&mut self) {
        let Some(id) = self.network.any_ready() else {
            return;
        };
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        let body = FindCoordinatorRequest::default()
            .with_key(text(&transactions.id))
            .with_key_type(1);
        transactions.asked = Some(Question::Coordinator);
        let correlation_id = self.network.ask(id, ApiKey::FindCoordinator, 3, &body);
        self.asked.insert(correlation_id, Asked::Coordinated);
    }

    fn asks(&mut self, coordinator: i32, question: Question) {
        let Some(id) = self.network.ready(coordinator) else {
            return;
        };
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        let transactional_id = transactions.id.clone();
        let former = self.identity.filter(|_| !transactions.fenced);
        transactions.asked = Some(question.clone());
        let identity = self.identity.unwrap_or(Identity { id: -1, epoch: -1 });
        let correlation_id = match &question {
            Question::Coordinator => return,
            Question::Identity => self.ask_identity(id, Some(&transactional_id), former),
            Question::Add(places) => {
                let topics = places.iter().map(|(topic, partition)| {
                    AddPartitionsToTxnTopic::default()
                        .with_name(TopicName(text(topic)))
                        .with_partitions(vec![*partition])
                });
                let body = AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(TransactionalId(text(&transactional_id)))
                    .with_v3_and_below_producer_id(identity.id.into())
                    .with_v3_and_below_producer_epoch(identity.epoch)
                    .with_v3_and_below_topics(topics.collect());
                self.network.ask(id, ApiKey::AddPartitionsToTxn, 3, &body)
            }
            Question::End(outcome) => {
                let body = EndTxnRequest::default()
                    .with_transactional_id(TransactionalId(text(&transactional_id)))
                    .with_producer_id(identity.id.into())
                    .with_producer_epoch(identity.epoch)
                    .with_committed(*outcome == Outcome::Committed);
                self.network.ask(id, ApiKey::EndTxn, 3, &body)
            }
        };
        self.asked.insert(correlation_id, Asked::Coordinated);
    }

    /// The coordinator, or whoever was asked for it, has answered; `None`: it has not.
    pub(super) fn is_coordinated(&mut self, frame: Option<&[u8]>) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        let question = transactions.asked.take().expect("something was asked");
        let told = match (frame, &question) {
            (None, _) => Coordinated::Elsewhere,
            (Some(frame), Question::Coordinator) => {
                let answer: FindCoordinatorResponse = decode_response(frame, 3);
                let told = coordinated(answer.error_code);
                transactions.coordinator = (told == Coordinated::Done).then_some(answer.node_id.0);
                told
            }
            (Some(frame), Question::Identity) => {
                let answer: InitProducerIdResponse = decode_response(frame, 4);
                let told = coordinated(answer.error_code);
                if told == Coordinated::Done {
                    self.identity = Some(Identity {
                        id: answer.producer_id.0,
                        epoch: answer.producer_epoch,
                    });
                    self.lanes.values_mut().for_each(Lane::begin_anew);
                }
                told
            }
            (Some(frame), Question::Add(_)) => worst_of(&decode_response(frame, 3)),
            (Some(frame), Question::End(_)) => {
                let answer: EndTxnResponse = decode_response(frame, 3);
                coordinated(answer.error_code)
            }
        };
        if told == Coordinated::Done {
            match question {
                Question::Coordinator => {}
                Question::Identity => {
                    transactions.fenced = false;
                    transactions.fails = false;
                    transactions.stage = Stage::Idle;
                }
                Question::Add(places) => transactions.added.extend(places),
                Question::End(outcome) => transactions.end(outcome),
            }
            return;
        }
        transactions.not_before = self.now + RETRY_BACK_OFF;
        match told {
            Coordinated::Done | Coordinated::Again => {}
            Coordinated::Elsewhere => {
                transactions.coordinator = None;
                self.network.refresh(self.now);
            }
            Coordinated::Fenced | Coordinated::Fails => {
                transactions.must_abort(told == Coordinated::Fenced);
                // Also an abort: an end of the transaction before, late on its way, may have committed this one.
                if matches!(transactions.stage, Stage::Ending(_)) && transactions.fenced {
                    transactions.end(Outcome::Unknown);
                }
            }
        }
    }
}

/// The worst that was said of any partition.
fn worst_of(answer: &AddPartitionsToTxnResponse) -> Coordinated {
    let partitions = answer
        .results_by_topic_v3_and_below
        .iter()
        .flat_map(|topic| &topic.results_by_partition);
    let told = partitions.map(|partition| coordinated(partition.partition_error_code));
    let order = |told: &Coordinated| match told {
        Coordinated::Done => 0,
        Coordinated::Again => 1,
        Coordinated::Elsewhere => 2,
        Coordinated::Fails => 3,
        Coordinated::Fenced => 4,
    };
    told.max_by_key(order).unwrap_or(Coordinated::Done)
}
