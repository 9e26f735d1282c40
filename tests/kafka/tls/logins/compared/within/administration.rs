//! Requests that change the cluster.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::*;

use super::{All, names, text};

pub(super) fn topics_and_rights(all: &mut All) {
    all.add(|_| {
        let topics = names()
            .into_iter()
            .map(|name| CreatableTopic::default().with_name(name));
        CreateTopicsRequest::default().with_topics(topics.collect())
    });
    all.add(|version| match version {
        6.. => {
            let state = |name| DeleteTopicState::default().with_name(name);
            let states = vec![state(Some(text("a").into())), state(None)];
            DeleteTopicsRequest::default().with_topics(states)
        }
        _ => DeleteTopicsRequest::default().with_topic_names(names()),
    });
    all.add(|_| {
        let topic = DeleteRecordsTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![DeleteRecordsPartition::default(); 2]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    });
    all.add(|_| {
        let topics = names()
            .into_iter()
            .map(|name| CreatePartitionsTopic::default().with_name(name));
        CreatePartitionsRequest::default().with_topics(topics.collect())
    });
    all.add(|_| {
        DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_operation(1)
            .with_permission_type(1)
    });
    all.add(|_| {
        let acl = AclCreation::default()
            .with_resource_type(2)
            .with_resource_name(text("a"))
            .with_principal(text("User:a"))
            .with_host(text("*"))
            .with_operation(3)
            .with_permission_type(3);
        CreateAclsRequest::default().with_creations(vec![acl.clone(), acl])
    });
    all.add(|_| {
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(2)
            .with_operation(3)
            .with_permission_type(3);
        DeleteAclsRequest::default().with_filters(vec![filter.clone(), filter])
    });
    all.add(|_| {
        let config = AlterableConfig::default().with_name(text("cleanup.policy"));
        let resource = |kind| {
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text("a"))
                .with_configs(vec![config.clone()])
        };
        AlterConfigsRequest::default().with_resources(vec![resource(2), resource(4)])
    });
    all.add(|_| {
        let config = incremental::AlterableConfig::default().with_name(text("cleanup.policy"));
        let resource = |kind| {
            incremental::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text("a"))
                .with_configs(vec![config.clone()])
        };
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource(2), resource(4)])
    });
}

pub(super) fn others(all: &mut All) {
    all.add(|_| {
        use alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
        let topic = AlterReplicaLogDirTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![0, 7]);
        let folder = AlterReplicaLogDir::default()
            .with_path(text("/a"))
            .with_topics(vec![topic]);
        AlterReplicaLogDirsRequest::default().with_dirs(vec![folder])
    });
    all.add(|_| DeleteGroupsRequest::default().with_groups_names(names()));
    all.add(|_| {
        use elect_leaders_request::TopicPartitions;
        let topic = TopicPartitions::default()
            .with_topic(text("a").into())
            .with_partitions(vec![0, 7]);
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]))
    });
    all.add(|_| {
        let partition = ReassignablePartition::default().with_replicas(Some(vec![0.into()]));
        let topic = ReassignableTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![partition]);
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
    });
    all.add(|_| {
        use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
        OffsetDeleteRequest::default().with_topics(vec![topic])
    });
    all.add(|_| {
        use alter_client_quotas_request::{EntityData, EntryData};
        let entity = EntityData::default()
            .with_entity_type(text("user"))
            .with_entity_name(Some(text("a")));
        let entry = EntryData::default().with_entity(vec![entity]);
        AlterClientQuotasRequest::default().with_entries(vec![entry])
    });
    all.add(|_| {
        use update_features_request::FeatureUpdateKey;
        let update = FeatureUpdateKey::default().with_feature(text("a"));
        UpdateFeaturesRequest::default().with_feature_updates(vec![update])
    });
    all.add(|_| UnregisterBrokerRequest::default());
    all.add(|_| AddRaftVoterRequest::default());
    all.add(|_| RemoveRaftVoterRequest::default());
    all.add(|_| AlterShareGroupOffsetsRequest::default());
    all.add(|_| DeleteShareGroupOffsetsRequest::default());
}
