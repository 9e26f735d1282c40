//! Requests of a client, and what its network makes of the answers to those that are its own.

use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion};

use super::link::Asked;
use super::{Event, Network, Peer};
use crate::dice::Dice;
use crate::wire::{api_versions_request, decode_response, request, text};
use crate::world::clients::{Action, Family, LinkId};

impl Network {
    /// The highest version up to `own_max` that the peer has announced.
    pub(crate) fn version(&self, id: LinkId, key: ApiKey, own_max: i16) -> i16 {
        let announced = self
            .links
            .get(&id)
            .and_then(|link| link.versions.get(&(key as i16)));
        let &(min, max) = announced.unwrap_or_else(|| panic!("{key:?} is not announced"));
        assert!(min <= own_max, "{key:?} is announced from {min} on");
        own_max.min(max)
    }

    /// Sends a request and returns its correlation id.
    pub(crate) fn ask<M: Encodable + HeaderVersion>(
        &mut self,
        id: LinkId,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> i32 {
        self.send(id, (key, version), body, Asked::Other)
    }

    /// Sends a request that is not answered.
    pub(crate) fn tell<M: Encodable + HeaderVersion>(
        &mut self,
        id: LinkId,
        key: ApiKey,
        version: i16,
        body: &M,
    ) {
        let bytes = request(key, version, self.correlation_id(), body);
        self.actions.push(Action::Send { id, bytes });
    }

    pub(super) fn ask_metadata(&mut self, dice: &mut Dice) {
        let ready: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.may_send())
            .map(|(&id, _)| id)
            .collect();
        if ready.is_empty() {
            // Any node will do; where none can be had, the addresses that the client was started with.
            let nodes: Vec<i32> = self.cluster.nodes.keys().copied().collect();
            if !nodes.is_empty() {
                self.connect(Peer::Node(nodes[dice.below(nodes.len() as u64) as usize]));
            }
            if self.links.is_empty() {
                self.connect(Peer::Bootstrap(
                    dice.below(self.settings.bootstrap.len() as u64) as usize
                ));
            }
            return;
        }
        let id = ready[dice.below(ready.len() as u64) as usize];
        let topics = self
            .topics
            .iter()
            .map(|topic| MetadataRequestTopic::default().with_name(Some(TopicName(text(topic)))));
        let body = MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false);
        let own_max = match self.settings.family {
            Family::Java => 13,
            Family::Librdkafka => 12,
        };
        let version = self.version(id, ApiKey::Metadata, own_max);
        self.send(id, (ApiKey::Metadata, version), &body, Asked::Metadata);
        self.metadata_asked = true;
        self.metadata_due = self.now + METADATA_AGE_MAX;
    }

    pub(super) fn ask_versions(&mut self, id: LinkId, version: i16, now: Duration) {
        self.now = self.now.max(now);
        let correlation_id = self.correlation_id();
        let bytes = api_versions_request(version, correlation_id);
        self.actions.push(Action::Send { id, bytes });
        let link = self.links.get_mut(&id).expect("the connection is there");
        link.sent(correlation_id, Asked::Versions, version, self.now);
    }

    pub(super) fn send<M: Encodable + HeaderVersion>(
        &mut self,
        id: LinkId,
        (key, version): (ApiKey, i16),
        body: &M,
        asked: Asked,
    ) -> i32 {
        let correlation_id = self.correlation_id();
        let bytes = request(key, version, correlation_id, body);
        self.actions.push(Action::Send { id, bytes });
        let link = self.links.get_mut(&id).expect("the connection is there");
        link.sent(correlation_id, asked, version, self.now);
        correlation_id
    }

    fn correlation_id(&mut self) -> i32 {
        self.next_correlation_id += 1;
        self.next_correlation_id
    }

    /// The peer has said what it can do, and may want to know who the client is.
    pub(super) fn has_said_what_it_can(&mut self, id: LinkId) {
        let is_known = self.is_known(id);
        let link = self.links.get_mut(&id).expect("the connection is there");
        link.is_ready = is_known;
        if is_known {
            self.back_offs.remove(&link.peer);
        }
    }

    pub(super) fn answered(&mut self, id: LinkId, frame: Vec<u8>, now: Duration) {
        let link = self.links.get_mut(&id).expect("the connection is there");
        let sent = link.unanswered.pop_front().expect("an answer to nothing");
        let correlation_id = i32::from_be_bytes(*frame.first_chunk().expect("a correlation id"));
        assert_eq!(correlation_id, sent.correlation_id, "answers are out of order");
        match sent.asked {
            Asked::Versions => match link.learn_versions(&frame, sent.version) {
                Ok(()) => self.has_said_what_it_can(id),
                Err(version) => self.ask_versions(id, version, now),
            },
            Asked::Metadata => {
                self.metadata_asked = false;
                let is_complete = self.cluster.learn(&decode_response(&frame, sent.version));
                self.adopt_bootstrap();
                if !is_complete {
                    self.refresh(now);
                }
            }
            Asked::Mechanism => self.mechanism_answered(id, &frame, now),
            Asked::Token => self.token_answered(id, &frame, now),
            Asked::Other => self.events.push_back(Event::Answered {
                correlation_id,
                frame,
            }),
        }
    }
}

const METADATA_AGE_MAX: Duration = Duration::from_secs(60);
