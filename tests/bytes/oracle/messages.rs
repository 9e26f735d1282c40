//! Varied messages of every kind that the proxy rewrites.

use std::collections::BTreeSet;

use kafka_protocol::messages::fetch_response::{self, FetchableTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    self, BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, FetchResponse, FindCoordinatorResponse,
    MetadataResponse, ProduceRequest, ProduceResponse, ShareAcknowledgeResponse, ShareFetchResponse,
    TopicName, api_versions_response, describe_cluster_response, find_coordinator_response,
    share_acknowledge_response, share_fetch_response,
};
use kafka_protocol::protocol::StrBytes;

use super::draw::Draw;

/// Brokers as each of four messages has them, in a type of its own.
macro_rules! node_endpoints {
    ($draw:expr, $node:ty) => {
        $draw.list(4, |draw| {
            let mut node = <$node>::default();
            (node.node_id, node.host, node.port) = endpoint(draw);
            node.rack = draw.nullable_text();
            node.unknown_tagged_fields = draw.tags(true);
            node
        })
    };
}

pub(crate) fn produce_request(draw: &mut Draw, version: i16) -> ProduceRequest {
    let flexible = version >= 9;
    let mut request = ProduceRequest::default();
    request.transactional_id = draw.nullable_text().map(Into::into);
    request.acks = draw.of(&[-1, 0, 1]);
    request.timeout_ms = draw.i32();
    request.topic_data = draw.list(5, |draw| {
        let mut topic = TopicProduceData::default();
        if version >= 13 {
            topic.topic_id = draw.uuid().try_into().unwrap();
        } else {
            topic.name = TopicName(draw.name());
        }
        let mut index = draw.below(3) as i32 - 1;
        topic.partition_data = draw.list(5, |draw| {
            index += 1 + draw.below(3) as i32;
            let mut partition = PartitionProduceData::default();
            partition.index = index;
            partition.records = draw.records();
            partition.unknown_tagged_fields = draw.tags(flexible);
            partition
        });
        topic.partition_data.reverse();
        topic.unknown_tagged_fields = draw.tags(flexible);
        topic
    });
    let mut seen = BTreeSet::new();
    request
        .topic_data
        .retain(|topic| seen.insert((topic.name.to_string(), topic.topic_id)));
    request.unknown_tagged_fields = draw.tags(flexible);
    request
}

pub(crate) fn produce_response(draw: &mut Draw, version: i16) -> ProduceResponse {
    let flexible = version >= 9;
    let mut response = ProduceResponse::default();
    response.throttle_time_ms = draw.i32();
    response.responses = draw.list(4, |draw| {
        let mut topic = TopicProduceResponse::default();
        if version >= 13 {
            topic.topic_id = draw.uuid().try_into().unwrap();
        } else {
            topic.name = TopicName(draw.name());
        }
        let mut index = -1;
        topic.partition_responses = draw.list(4, |draw| {
            index += 1 + draw.below(3) as i32;
            produce_partition(draw, version, index)
        });
        topic.unknown_tagged_fields = draw.tags(flexible);
        topic
    });
    if version >= 10 && !draw.one_in(3) {
        response.node_endpoints = node_endpoints!(draw, produce_response::NodeEndpoint);
    }
    response.unknown_tagged_fields = draw.tags(flexible);
    response
}

fn produce_partition(draw: &mut Draw, version: i16, index: i32) -> PartitionProduceResponse {
    let flexible = version >= 9;
    let mut partition = PartitionProduceResponse::default();
    partition.index = index;
    partition.error_code = draw.of(&[0, 0, 6, 87]);
    partition.base_offset = draw.i64();
    partition.log_append_time_ms = draw.i64();
    if version >= 5 {
        partition.log_start_offset = draw.i64();
    }
    if version >= 8 {
        partition.record_errors = draw.list(3, |draw| {
            let mut error = BatchIndexAndErrorMessage::default();
            error.batch_index = draw.i32();
            error.batch_index_error_message = draw.nullable_text();
            error.unknown_tagged_fields = draw.tags(flexible);
            error
        });
        partition.error_message = draw.nullable_text();
    }
    if version >= 10 && draw.one_in(2) {
        partition.current_leader.leader_id = BrokerId(draw.i32());
        partition.current_leader.leader_epoch = draw.i32();
    }
    partition.unknown_tagged_fields = draw.tags(flexible);
    partition
}

pub(crate) fn fetch_response(draw: &mut Draw, version: i16) -> FetchResponse {
    let flexible = version >= 12;
    let mut response = FetchResponse::default();
    response.throttle_time_ms = draw.i32();
    if version >= 7 {
        response.error_code = draw.of(&[0, 0, 70]);
        response.session_id = draw.i32();
    }
    response.responses = draw.list(4, |draw| {
        let mut topic = FetchableTopicResponse::default();
        if version >= 13 {
            topic.topic_id = draw.uuid().try_into().unwrap();
        } else {
            topic.topic = TopicName(draw.name());
        }
        topic.partitions = draw.list(5, |draw| fetch_partition(draw, version));
        topic.unknown_tagged_fields = draw.tags(flexible);
        topic
    });
    if version >= 16 && !draw.one_in(3) {
        response.node_endpoints = node_endpoints!(draw, fetch_response::NodeEndpoint);
    }
    response.unknown_tagged_fields = draw.tags(flexible);
    response
}

fn fetch_partition(draw: &mut Draw, version: i16) -> fetch_response::PartitionData {
    let flexible = version >= 12;
    let mut partition = fetch_response::PartitionData::default();
    partition.partition_index = draw.i32();
    partition.error_code = draw.of(&[0, 0, 3]);
    partition.high_watermark = draw.i64();
    partition.last_stable_offset = draw.i64();
    if version >= 5 {
        partition.log_start_offset = draw.i64();
    }
    partition.aborted_transactions = (!draw.one_in(3)).then(|| {
        draw.list(4, |draw| {
            let mut aborted = fetch_response::AbortedTransaction::default();
            aborted.producer_id = draw.i64().into();
            aborted.first_offset = draw.i64();
            aborted.unknown_tagged_fields = draw.tags(flexible);
            aborted
        })
    });
    if version >= 11 {
        partition.preferred_read_replica = BrokerId(draw.of(&[-1, 2]));
    }
    partition.records = draw.records();
    if flexible && draw.one_in(3) {
        partition.diverging_epoch.epoch = draw.i32();
        partition.current_leader.leader_id = BrokerId(draw.i32());
        partition.snapshot_id.end_offset = draw.i64();
    }
    partition.unknown_tagged_fields = draw.tags(flexible);
    partition
}

pub(crate) fn metadata_response(draw: &mut Draw, version: i16) -> MetadataResponse {
    let flexible = version >= 9;
    let mut response = MetadataResponse::default();
    response.throttle_time_ms = if version >= 3 { draw.i32() } else { 0 };
    response.brokers = draw.list(6, |draw| {
        let mut broker = MetadataResponseBroker::default();
        (broker.node_id, broker.host, broker.port) = endpoint(draw);
        broker.rack = if version >= 1 { draw.nullable_text() } else { None };
        broker.unknown_tagged_fields = draw.tags(flexible);
        broker
    });
    response.cluster_id = if version >= 2 { draw.nullable_text() } else { None };
    response.controller_id = if version >= 1 {
        BrokerId(draw.i32())
    } else {
        BrokerId(-1)
    };
    response.topics = draw.list(4, |draw| {
        let mut topic = MetadataResponseTopic::default();
        topic.error_code = draw.i16();
        topic.name = if version >= 12 && draw.one_in(3) {
            None
        } else {
            Some(TopicName(draw.name()))
        };
        if version >= 10 {
            topic.topic_id = draw.uuid().try_into().unwrap();
        }
        topic.is_internal = version >= 1 && draw.one_in(2);
        topic.partitions = draw.list(4, |draw| metadata_partition(draw, version));
        if version >= 8 {
            topic.topic_authorized_operations = draw.i32();
        }
        topic.unknown_tagged_fields = draw.tags(flexible);
        topic
    });
    if (8..=10).contains(&version) {
        response.cluster_authorized_operations = draw.i32();
    }
    if version >= 13 {
        response.error_code = draw.of(&[0, 129]);
    }
    response.unknown_tagged_fields = draw.tags(flexible);
    response
}

fn metadata_partition(draw: &mut Draw, version: i16) -> MetadataResponsePartition {
    let nodes = |draw: &mut Draw| draw.list(4, |draw| BrokerId(draw.i32()));
    let mut partition = MetadataResponsePartition::default();
    partition.error_code = draw.i16();
    partition.partition_index = draw.i32();
    partition.leader_id = BrokerId(draw.i32());
    if version >= 7 {
        partition.leader_epoch = draw.i32();
    }
    partition.replica_nodes = nodes(draw);
    partition.isr_nodes = nodes(draw);
    if version >= 5 {
        partition.offline_replicas = nodes(draw);
    }
    partition.unknown_tagged_fields = draw.tags(version >= 9);
    partition
}

pub(crate) fn find_coordinator_response(draw: &mut Draw, version: i16) -> FindCoordinatorResponse {
    let mut response = FindCoordinatorResponse::default();
    if version >= 1 {
        response.throttle_time_ms = draw.i32();
    }
    if version >= 4 {
        response.coordinators = draw.list(4, |draw| {
            let mut coordinator = find_coordinator_response::Coordinator::default();
            coordinator.key = draw.text();
            (coordinator.node_id, coordinator.host, coordinator.port) = endpoint(draw);
            coordinator.error_code = draw.of(&[0, 0, 16]);
            coordinator.error_message = draw.nullable_text();
            coordinator.unknown_tagged_fields = draw.tags(true);
            coordinator
        });
    } else {
        response.error_code = draw.of(&[0, 0, 16]);
        if version >= 1 {
            response.error_message = draw.nullable_text();
        }
        (response.node_id, response.host, response.port) = endpoint(draw);
    }
    response.unknown_tagged_fields = draw.tags(version >= 3);
    response
}

pub(crate) fn describe_cluster_response(draw: &mut Draw, version: i16) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse::default();
    response.throttle_time_ms = draw.i32();
    response.error_code = draw.of(&[0, 0, 31]);
    response.error_message = draw.nullable_text();
    response.endpoint_type = if version >= 1 { draw.of(&[1, 1, 1, 2]) } else { 1 };
    response.cluster_id = draw.text();
    response.controller_id = BrokerId(draw.i32());
    response.brokers = draw.list(5, |draw| {
        let mut broker = describe_cluster_response::DescribeClusterBroker::default();
        (broker.broker_id, broker.host, broker.port) = endpoint(draw);
        broker.rack = draw.nullable_text();
        broker.is_fenced = version >= 2 && draw.one_in(2);
        broker.unknown_tagged_fields = draw.tags(true);
        broker
    });
    response.cluster_authorized_operations = draw.i32();
    response.unknown_tagged_fields = draw.tags(true);
    response
}

pub(crate) fn share_fetch_response(draw: &mut Draw) -> ShareFetchResponse {
    use share_fetch_response::{AcquiredRecords, NodeEndpoint, PartitionData, ShareFetchableTopicResponse};
    let mut response = ShareFetchResponse::default();
    response.throttle_time_ms = draw.i32();
    response.error_message = draw.nullable_text();
    response.acquisition_lock_timeout_ms = draw.i32();
    response.responses = draw.list(3, |draw| {
        let mut topic = ShareFetchableTopicResponse::default();
        topic.topic_id = draw.uuid().try_into().unwrap();
        topic.partitions = draw.list(4, |draw| {
            let mut partition = PartitionData::default();
            partition.partition_index = draw.i32();
            partition.error_message = draw.nullable_text();
            partition.acknowledge_error_message = draw.nullable_text();
            partition.current_leader.unknown_tagged_fields = draw.tags(true);
            partition.records = draw.records();
            partition.acquired_records = draw.list(3, |draw| {
                let mut acquired = AcquiredRecords::default();
                acquired.first_offset = draw.i64();
                acquired.unknown_tagged_fields = draw.tags(true);
                acquired
            });
            partition.unknown_tagged_fields = draw.tags(true);
            partition
        });
        topic.unknown_tagged_fields = draw.tags(true);
        topic
    });
    response.node_endpoints = node_endpoints!(draw, NodeEndpoint);
    response.unknown_tagged_fields = draw.tags(true);
    response
}

pub(crate) fn share_acknowledge_response(draw: &mut Draw) -> ShareAcknowledgeResponse {
    use share_acknowledge_response::{NodeEndpoint, PartitionData, ShareAcknowledgeTopicResponse};
    let mut response = ShareAcknowledgeResponse::default();
    response.throttle_time_ms = draw.i32();
    response.error_message = draw.nullable_text();
    response.responses = draw.list(3, |draw| {
        let mut topic = ShareAcknowledgeTopicResponse::default();
        topic.topic_id = draw.uuid().try_into().unwrap();
        topic.partitions = draw.list(4, |draw| {
            let mut partition = PartitionData::default();
            partition.partition_index = draw.i32();
            partition.error_message = draw.nullable_text();
            partition.current_leader.leader_id = draw.i32();
            partition.unknown_tagged_fields = draw.tags(true);
            partition
        });
        topic.unknown_tagged_fields = draw.tags(true);
        topic
    });
    response.node_endpoints = node_endpoints!(draw, NodeEndpoint);
    response.unknown_tagged_fields = draw.tags(true);
    response
}

pub(crate) fn api_versions_response(draw: &mut Draw, version: i16) -> ApiVersionsResponse {
    use api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
    let flexible = version >= 3;
    let mut response = ApiVersionsResponse::default();
    response.api_keys = draw.list(100, |draw| {
        let mut api = ApiVersion::default();
        api.api_key = draw.below(100) as i16;
        api.min_version = draw.below(6) as i16;
        api.max_version = api.min_version + draw.below(15) as i16;
        api.unknown_tagged_fields = draw.tags(flexible);
        api
    });
    if version >= 1 {
        response.throttle_time_ms = draw.i32();
    }
    if flexible && draw.one_in(2) {
        response.supported_features = draw.list(3, |draw| {
            let mut feature = SupportedFeatureKey::default();
            feature.name = draw.text();
            feature
        });
        response.finalized_features_epoch = draw.i64();
        response.finalized_features = draw.list(3, |draw| {
            let mut feature = FinalizedFeatureKey::default();
            feature.name = draw.text();
            feature.max_version_level = draw.i16();
            feature
        });
        response.zk_migration_ready = draw.one_in(2);
    }
    response.unknown_tagged_fields = draw.tags(flexible);
    response
}

/// A broker; sometimes one that is not there.
fn endpoint(draw: &mut Draw) -> (BrokerId, StrBytes, i32) {
    match draw.below(6) {
        0 => (BrokerId(-1), StrBytes::from_static_str(""), -1),
        1 => (BrokerId(-1), StrBytes::from_static_str("stray.example.com"), 9092),
        _ => {
            let node_id = draw.below(8) as i32;
            let host = format!("broker-{node_id}{}.example.com", "x".repeat(draw.below(2) * 110));
            (
                BrokerId(node_id),
                StrBytes::from_string(host),
                9092 + draw.below(100) as i32,
            )
        }
    }
}
