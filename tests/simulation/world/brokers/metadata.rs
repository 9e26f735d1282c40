//! What a node says of its cluster: which versions it speaks, who is where, who leads what, who coordinates whom.

use std::ops::RangeInclusive;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{Cluster, Node, Topic};
use super::partition::Partition;
use super::requests::{Outcome, Request};
use crate::wire::{response, text};

/// What a broker of version 4.1 offers of what is modelled: key, and the lowest and highest versions. Produce begins
/// with 0 although nothing below 3 is served (KAFKA-18659).
const OFFERED: [(ApiKey, i16, i16); 10] = [
    (ApiKey::Produce, 0, 13),
    (ApiKey::Fetch, 4, 18),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::AddPartitionsToTxn, 0, 5),
    (ApiKey::EndTxn, 0, 5),
];

/// The versions that are served, which are those that know topics by name; any other ends the connection.
pub(super) fn served_versions(key: i16) -> Option<RangeInclusive<i16>> {
    let (api, min, max) = OFFERED.iter().find(|(api, ..)| *api as i16 == key)?;
    Some(match api {
        ApiKey::Produce => 3..=12,
        ApiKey::Fetch => 4..=12,
        _ => *min..=*max,
    })
}

/// The answer to an ApiVersions request of an unknown version: always in version 0, and with nothing but itself.
pub(super) fn highest_api_versions(request: &Request) -> Outcome {
    let body = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(vec![
            ApiVersion::default()
                .with_api_key(ApiKey::ApiVersions as i16)
                .with_max_version(4),
        ]);
    Outcome::Answer(response(0, request.correlation_id, &body).into())
}

/// From here on nobody is.
const RESTLESS_PORTS: u16 = 10_000;

/// Of a node that is none.
const NOBODY: BrokerId = BrokerId(-1);

impl Cluster {
    pub(super) fn api_versions(&self, request: &Request, body: &ApiVersionsRequest) -> Outcome {
        let named = !body.client_software_name.is_empty() && !body.client_software_version.is_empty();
        if request.version >= 3 && !named {
            let refused =
                ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
            return request.answer(&refused);
        }
        let api_keys = OFFERED
            .iter()
            .map(|(api, min, max)| {
                ApiVersion::default()
                    .with_api_key(*api as i16)
                    .with_min_version(*min)
                    .with_max_version(*max)
            })
            .collect();
        let mut answer = ApiVersionsResponse::default().with_api_keys(api_keys);
        if request.version >= 3 {
            let name = text("transaction.version");
            answer = answer
                .with_supported_features(vec![
                    SupportedFeatureKey::default()
                        .with_name(name.clone())
                        .with_max_version(2),
                ])
                .with_finalized_features_epoch(1)
                .with_finalized_features(vec![
                    FinalizedFeatureKey::default()
                        .with_name(name)
                        .with_min_version_level(2)
                        .with_max_version_level(2),
                ]);
        }
        request.answer(&answer)
    }

    pub(super) fn metadata(&self, request: &Request, body: &MetadataRequest) -> Outcome {
        let all = match &body.topics {
            None => true,
            Some(topics) => request.version == 0 && topics.is_empty(),
        };
        let topics = if all {
            self.topics
                .iter()
                .map(|(name, topic)| self.topic_metadata(name, topic, request.version))
                .collect()
        } else {
            let wanted = body.topics.iter().flatten();
            wanted
                .map(|topic| self.wanted_topic(topic, request.version))
                .collect()
        };
        let brokers = self.registered().map(|(id, node)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(text(&node.host))
                .with_port(i32::from(self.told_port(id, node)))
                .with_rack((request.version >= 1).then(|| rack_of(id)))
        });
        let mut answer = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_topics(topics);
        if request.version >= 1 {
            let controller = self.registered().next().map_or(NOBODY, |(id, _)| BrokerId(id));
            answer = answer.with_controller_id(controller);
        }
        if request.version >= 2 {
            answer = answer.with_cluster_id(Some(text("simulated")));
        }
        request.answer(&answer)
    }

    fn told_port(&self, id: i32, node: &Node) -> u16 {
        match &self.restless {
            Some((restless, port)) if *restless == id => {
                port.set(RESTLESS_PORTS + (port.get() + 1) % RESTLESS_PORTS);
                port.get()
            }
            _ => node.port,
        }
    }

    fn wanted_topic(&self, wanted: &MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
        let found = match &wanted.name {
            Some(name) => self.topics.get_key_value(name.0.as_str()),
            None => self
                .topics
                .iter()
                .find(|(name, _)| *wanted.topic_id.as_bytes() == topic_id(name)),
        };
        if let Some((name, topic)) = found {
            return self.topic_metadata(name, topic, version);
        }
        let error = match wanted.name {
            Some(_) => ResponseError::UnknownTopicOrPartition,
            None => ResponseError::UnknownTopicId,
        };
        let unknown = MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(wanted.name.clone());
        if version >= 10 {
            unknown.with_topic_id(wanted.topic_id)
        } else {
            unknown
        }
    }

    fn topic_metadata(&self, name: &str, topic: &Topic, version: i16) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().zip(0..);
        let partitions =
            partitions.map(|(partition, index)| self.partition_metadata(partition, index, version));
        let metadata = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text(name))))
            .with_partitions(partitions.collect());
        if version >= 10 {
            let id: String = topic_id(name).iter().map(|byte| format!("{byte:02x}")).collect();
            metadata.with_topic_id(id.parse().unwrap())
        } else {
            metadata
        }
    }

    fn partition_metadata(
        &self,
        partition: &Partition,
        index: i32,
        version: i16,
    ) -> MetadataResponsePartition {
        let ids = |ids: &mut dyn Iterator<Item = &i32>| ids.map(|id| BrokerId(*id)).collect();
        let is_away = |id: &&i32| !self.nodes[*id].registered;
        let mut metadata = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_replica_nodes(ids(&mut partition.replicas.keys()))
            .with_isr_nodes(ids(&mut partition.in_sync.iter()));
        if version >= 5 {
            metadata = metadata.with_offline_replicas(ids(&mut partition.replicas.keys().filter(is_away)));
        }
        if version >= 7 {
            metadata = metadata.with_leader_epoch(partition.epoch);
        }
        if is_away(&&partition.leader) {
            metadata
                .with_error_code(ResponseError::LeaderNotAvailable.code())
                .with_leader_id(NOBODY)
        } else {
            metadata.with_leader_id(BrokerId(partition.leader))
        }
    }

    pub(super) fn find_coordinator(&self, request: &Request, body: &FindCoordinatorRequest) -> Outcome {
        let place = |key: &str| match self.coordinator(key) {
            Some((id, node)) => (BrokerId(id), text(&node.host), i32::from(node.port), 0),
            None => (
                NOBODY,
                StrBytes::default(),
                -1,
                ResponseError::CoordinatorNotAvailable.code(),
            ),
        };
        if request.version < 4 {
            let (node_id, host, port, error_code) = place(&body.key);
            let answer = FindCoordinatorResponse::default()
                .with_error_code(error_code)
                .with_node_id(node_id)
                .with_host(host)
                .with_port(port);
            return request.answer(&answer);
        }
        let coordinators = body.coordinator_keys.iter().map(|key| {
            let (node_id, host, port, error_code) = place(key);
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(error_code)
                .with_node_id(node_id)
                .with_host(host)
                .with_port(port)
        });
        let answer = FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
        request.answer(&answer)
    }

    /// Groups are not kept: whoever asks the right node is a member.
    pub(super) fn heartbeat(&self, request: &Request, body: &HeartbeatRequest) -> Outcome {
        let error = self.check_coordinator(request.node, &body.group_id.0).err();
        let code = error.map_or(0, |error| error.code());
        request.answer(&HeartbeatResponse::default().with_error_code(code))
    }

    /// The node that coordinates a group or transactional id: one of those that are there.
    fn coordinator(&self, key: &str) -> Option<(i32, &Node)> {
        let count = self.registered().count().max(1);
        let sum: usize = key.bytes().map(usize::from).sum();
        self.registered().nth(sum % count)
    }

    pub(super) fn check_coordinator(&self, node: i32, key: &str) -> Result<(), ResponseError> {
        match self.coordinator(key) {
            Some((coordinator, _)) if coordinator == node => Ok(()),
            _ => Err(ResponseError::NotCoordinator),
        }
    }
}

pub(super) fn rack_of(node: i32) -> StrBytes {
    text(&format!("rack-{node}"))
}

/// Made of the name, so that it is the same in every run.
fn topic_id(name: &str) -> [u8; 16] {
    let mut id = [0x5e; 16];
    for (at, byte) in name.bytes().enumerate() {
        id[at % 16] ^= byte.rotate_left((at / 16) as u32);
    }
    id
}
