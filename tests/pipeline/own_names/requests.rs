//! A request of each API about something that has a name.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, VersionRange};
use sealwire::protocol::policy::ApiPolicy;

use super::metadata;
use crate::wire::{SESSIONLESS, fetch_of, prefixed, request, text, topic_name};

/// A request about something called `name`; `None` where the other implementation does not know it.
pub(super) fn about(api: &ApiPolicy, version: i16, name: &str) -> Option<Vec<u8>> {
    let key = ApiKey::try_from(api.key).ok()?;
    about_topic(key, version, name)
        .or_else(|| about_group(key, version, name))
        .or_else(|| about_transaction(key, version, name))
}

fn of<R: Request>(version: i16, body: &R) -> Option<Vec<u8>> {
    let VersionRange { min, max } = R::VERSIONS;
    let key = ApiKey::try_from(R::KEY).expect("it is known");
    (min <= version).then(|| {
        // Those that it does not know yet ask in the same words.
        let mut asked = request(key, version.min(max), 1, body);
        asked[6..8].copy_from_slice(&version.to_be_bytes());
        asked
    })
}

fn about_topic(key: ApiKey, version: i16, name: &str) -> Option<Vec<u8>> {
    let topic_name = || topic_name(name);
    match key {
        ApiKey::Fetch => Some(fetch_of(version, 1, SESSIONLESS, &[name])),
        ApiKey::Metadata => Some(metadata(version, Some(&[name]))),
        ApiKey::ListOffsets => {
            let topic = list_offsets_request::ListOffsetsTopic::default().with_name(topic_name());
            of(version, &ListOffsetsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::OffsetForLeaderEpoch => {
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default();
            let topics = vec![topic.with_topic(topic_name())];
            of(
                version,
                &OffsetForLeaderEpochRequest::default().with_topics(topics),
            )
        }
        ApiKey::DescribeConfigs => {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configuration_keys(None);
            of(
                version,
                &DescribeConfigsRequest::default().with_resources(vec![resource]),
            )
        }
        ApiKey::DescribeProducers => {
            let topic = describe_producers_request::TopicRequest::default().with_name(topic_name());
            of(
                version,
                &DescribeProducersRequest::default().with_topics(vec![topic]),
            )
        }
        ApiKey::DescribeTopicPartitions => {
            let topic = describe_topic_partitions_request::TopicRequest::default();
            let topics = vec![topic.with_name(topic_name())];
            of(
                version,
                &DescribeTopicPartitionsRequest::default().with_topics(topics),
            )
        }
        _ => None,
    }
}

fn about_group(key: ApiKey, version: i16, name: &str) -> Option<Vec<u8>> {
    let group = || GroupId(text(name));
    let groups = || vec![group()];
    match key {
        ApiKey::OffsetCommit => of(version, &OffsetCommitRequest::default().with_group_id(group())),
        ApiKey::OffsetFetch if version >= 8 => {
            let of_group = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group());
            of(
                version,
                &OffsetFetchRequest::default().with_groups(vec![of_group]),
            )
        }
        ApiKey::OffsetFetch => {
            let body = OffsetFetchRequest::default().with_group_id(group());
            of(version, &body.with_topics(Some(Vec::new())))
        }
        ApiKey::JoinGroup => of(version, &JoinGroupRequest::default().with_group_id(group())),
        ApiKey::Heartbeat => of(version, &HeartbeatRequest::default().with_group_id(group())),
        ApiKey::LeaveGroup => of(version, &LeaveGroupRequest::default().with_group_id(group())),
        ApiKey::SyncGroup => of(version, &SyncGroupRequest::default().with_group_id(group())),
        ApiKey::DescribeGroups => of(version, &DescribeGroupsRequest::default().with_groups(groups())),
        ApiKey::ConsumerGroupHeartbeat => of(
            version,
            &ConsumerGroupHeartbeatRequest::default().with_group_id(group()),
        ),
        ApiKey::ConsumerGroupDescribe => of(
            version,
            &ConsumerGroupDescribeRequest::default().with_group_ids(groups()),
        ),
        ApiKey::DescribeShareGroupOffsets => {
            let of_group =
                describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup::default();
            let groups = vec![of_group.with_group_id(group()).with_topics(None)];
            of(
                version,
                &DescribeShareGroupOffsetsRequest::default().with_groups(groups),
            )
        }
        _ => None,
    }
}

fn about_transaction(key: ApiKey, version: i16, name: &str) -> Option<Vec<u8>> {
    let id = || TransactionalId(text(name));
    let group = || GroupId(text(name));
    match key {
        ApiKey::Produce => {
            let body = ProduceRequest::default().with_acks(1);
            of(version, &body.with_transactional_id(Some(id())))
        }
        ApiKey::FindCoordinator if version >= 4 => {
            let body = FindCoordinatorRequest::default().with_key_type(1);
            of(version, &body.with_coordinator_keys(vec![text(name)]))
        }
        ApiKey::FindCoordinator => of(version, &FindCoordinatorRequest::default().with_key(text(name))),
        ApiKey::InitProducerId => of(
            version,
            &InitProducerIdRequest::default().with_transactional_id(Some(id())),
        ),
        ApiKey::AddPartitionsToTxn if version >= 4 => {
            let transaction = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default();
            let transactions = vec![transaction.with_transactional_id(id())];
            of(
                version,
                &AddPartitionsToTxnRequest::default().with_transactions(transactions),
            )
        }
        ApiKey::AddPartitionsToTxn => {
            let body = AddPartitionsToTxnRequest::default();
            of(version, &body.with_v3_and_below_transactional_id(id()))
        }
        ApiKey::AddOffsetsToTxn => {
            let body = AddOffsetsToTxnRequest::default().with_transactional_id(id());
            of(version, &body.with_group_id(group()))
        }
        ApiKey::EndTxn => of(version, &EndTxnRequest::default().with_transactional_id(id())),
        ApiKey::TxnOffsetCommit => {
            let body = TxnOffsetCommitRequest::default().with_transactional_id(id());
            of(version, &body.with_group_id(group()))
        }
        ApiKey::DescribeTransactions => {
            let body = DescribeTransactionsRequest::default();
            of(version, &body.with_transactional_ids(vec![id()]))
        }
        _ => None,
    }
}

/// A request with nothing in it: what is not there is 0, or has a compact length of 1.
pub(super) fn empty(api: &ApiPolicy, version: i16) -> Vec<u8> {
    let head = [
        api.key.to_be_bytes(),
        version.to_be_bytes(),
        [0, 0],
        [0, 1],
        [0xff, 0xff],
    ]
    .concat();
    let tags = &[0][..usize::from(api.flexible(version))];
    let body = [u8::from(api.flexible(version)); 64];
    prefixed(&[&head[..], tags, &body].concat())
}

/// One for a group of the streams protocol, which the other implementation does not know.
pub(super) fn of_streams(api: &ApiPolicy, version: i16, name: &str) -> Vec<u8> {
    let mut frame = empty(api, version);
    frame.truncate(4 + 8 + 2 + 1);
    frame.push(2);
    frame.push(u8::try_from(name.len() + 1).expect("a short name"));
    frame.extend(name.as_bytes());
    frame.extend([0, 0, 0]);
    prefixed(&frame[4..])
}
