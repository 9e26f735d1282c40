//! What is found in requests that another implementation has written, in each version that both know, and in requests
//! that are none.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::protocol::policy::Policy;

/// Topics with their partitions, and other names.
#[derive(Clone, Debug)]
struct Named {
    topics: Vec<(String, Vec<i32>)>,
    others: Vec<String>,
    one: String,
    text: Option<String>,
}

prop_compose! {
    fn named()(
        topics in prop::collection::vec((name(), prop::collection::vec(any::<i32>(), 0..4)), 0..5),
        others in prop::collection::vec(name(), 0..5),
        one in name(),
        text in prop::option::of("[a-z]{0,200}"),
    ) -> Named {
        Named { topics, others, one, text }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9._-]{1,20}", "\\PC{0,40}", "[a-z]{120,140}"]
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A name as a test compares it.
fn shown(name: Name<'_>) -> String {
    match name {
        Name::Topic(name) => format!("topic {name}"),
        Name::StoredTopic(name) => format!("stored {name}"),
        Name::Group(name) => format!("group {name}"),
        Name::TransactionalId(name) => format!("id {name}"),
        Name::Producer => "producer".to_owned(),
        Name::Cluster => "cluster".to_owned(),
    }
}

fn found(api: &ApiPolicy, version: i16, frame: &[u8], missing: usize) -> Result<Vec<String>, ProtocolError> {
    let mut names = Vec::new();
    visit(api, version, frame, missing, &mut |name, _| {
        names.push(shown(name));
        true
    })?;
    Ok(names)
}

/// The request in every version of `versions` that both know: its names are those that are `expected`; none is shown
/// behind the one that is enough; of a request that is cut off nothing is passed over.
fn names<R: Request>(versions: std::ops::RangeInclusive<i16>, request: &R, expected: &[String]) {
    let api = Policy::BY_NAME.api(R::KEY).expect("it is let through");
    let min = api.min.max(R::VERSIONS.min).max(*versions.start());
    let max = api.named_to.min(R::VERSIONS.max).min(*versions.end());
    assert!(min <= max, "{}", api.name);
    for version in min..=max {
        let mut frame = Vec::new();
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(text("me")))
            .encode(&mut frame, R::header_version(version))
            .expect("a header");
        request.encode(&mut frame, version).expect("a request");
        let names = found(api, version, &frame, 0);
        assert_eq!(names.as_deref(), Ok(expected), "{} {version}", api.name);
        let mut count = 0;
        let first = visit(api, version, &frame, 0, &mut |_, _| {
            count += 1;
            false
        });
        assert!(first.is_ok() && count == expected.len().min(1));
        for end in 0..frame.len() {
            if let Ok(names) = found(api, version, &frame[..end], 0) {
                assert_eq!(names, expected, "{} {version} cut at {end}", api.name);
            }
            // What comes first is found although the rest has not come.
            match found(api, version, &frame[..end], frame.len() - end) {
                Ok(names) => assert_eq!(names, expected, "{} {version} up to {end}", api.name),
                Err(error) => {
                    let is_first = api.about == About::FirstNames;
                    assert!(!is_first || error == ProtocolError::NotYet, "{error:?}");
                }
            }
        }
    }
}

fn topics_of(named: &Named) -> Vec<String> {
    let topics = named.topics.iter();
    topics.map(|(name, _)| format!("topic {name}")).collect()
}

fn each(kind: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{kind} {name}")).collect()
}

fn joined(lists: &[&[String]]) -> Vec<String> {
    lists.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn topics(named in named()) {
        use describe_producers_request::TopicRequest as Described;
        use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
        let expected = topics_of(&named);
        let topics = named.topics.iter();
        let listed = topics.clone().map(|(name, partitions)| {
            let partition = |index: &i32| ListOffsetsPartition::default().with_partition_index(*index);
            ListOffsetsTopic::default()
                .with_name(text(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        });
        names(0..=99, &ListOffsetsRequest::default().with_topics(listed.collect()), &expected);
        let epochs = topics.clone().map(|(name, partitions)| {
            let partition = |index: &i32| OffsetForLeaderPartition::default().with_partition(*index);
            OffsetForLeaderTopic::default()
                .with_topic(text(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        });
        names(0..=99, &OffsetForLeaderEpochRequest::default().with_topics(epochs.collect()), &expected);
        let described = topics.clone().map(|(name, partitions)| {
            Described::default().with_name(text(name).into()).with_partition_indexes(partitions.clone())
        });
        names(0..=99, &DescribeProducersRequest::default().with_topics(described.collect()), &expected);
        let wanted = topics.map(|(name, _)| {
            describe_topic_partitions_request::TopicRequest::default().with_name(text(name).into())
        });
        let request = DescribeTopicPartitionsRequest::default().with_topics(wanted.collect());
        let all = match expected.is_empty() {
            true => vec!["cluster".to_owned()],
            false => expected.clone(),
        };
        names(0..=99, &request, &all);
        let cursor = describe_topic_partitions_request::Cursor::default().with_topic_name(text(&named.one).into());
        let last = [format!("topic {}", named.one)];
        names(0..=99, &request.with_cursor(Some(cursor)), &joined(&[&all, &last]));
    }

    #[test]
    fn configurations(named in named()) {
        use describe_configs_request::DescribeConfigsResource;
        let keys = named.text.clone().map(|key| vec![text(&key)]);
        let resource = |kind: i8, name: &String| DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.clone());
        for (kind, word) in [(2, Some("topic")), (32, Some("group")), (4, None), (8, None), (16, None), (0, None)] {
            let resources = named.others.iter().map(|name| resource(kind, name)).collect();
            let expected: Vec<_> = named.others.iter().map(|name| match word {
                Some(word) => format!("{word} {name}"),
                None => "cluster".to_owned(),
            }).collect();
            names(0..=99, &DescribeConfigsRequest::default().with_resources(resources), &expected);
        }
    }

    #[test]
    fn groups(named in named()) {
        let group = [format!("group {}", named.one)];
        let id = || GroupId(text(&named.one));
        let listed: Vec<GroupId> = named.others.iter().map(|name| text(name).into()).collect();
        let groups = each("group", &named.others);
        names(0..=99, &JoinGroupRequest::default().with_group_id(id()).with_session_timeout_ms(5), &group);
        names(0..=99, &SyncGroupRequest::default().with_group_id(id()).with_generation_id(5), &group);
        names(0..=99, &HeartbeatRequest::default().with_group_id(id()), &group);
        names(0..=2, &LeaveGroupRequest::default().with_group_id(id()).with_member_id(text("m")), &group);
        names(3..=99, &LeaveGroupRequest::default().with_group_id(id()), &group);
        names(0..=99, &DescribeGroupsRequest::default().with_groups(listed.clone()), &groups);
        names(0..=99, &ConsumerGroupDescribeRequest::default().with_group_ids(listed), &groups);
        let subscribed = named.topics.iter().map(|(name, _)| text(name).into()).collect();
        let heartbeat = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(id())
            .with_member_id(text("m"))
            .with_rack_id(named.text.as_deref().map(text))
            .with_subscribed_topic_names(Some(subscribed));
        let expected = joined(&[&group, &topics_of(&named)]);
        names(0..=99, &heartbeat, &expected);
        names(0..=99, &heartbeat.clone().with_subscribed_topic_names(None), &group);
        let expression = heartbeat.with_subscribed_topic_regex(Some(text("a.*")));
        names(1..=99, &expression, &joined(&[&expected, &["cluster".to_owned()]]));
    }

    #[test]
    fn coordinators(named in named()) {
        let keys: Vec<StrBytes> = named.others.iter().map(|name| text(name)).collect();
        let one = FindCoordinatorRequest::default().with_key(text(&named.one));
        names(0..=0, &one, &[format!("group {}", named.one)]);
        for (kind, word) in [(0, Some("group")), (1, Some("id")), (2, None), (7, None), (-1, None)] {
            let word_of = |name: &String| match word {
                Some(word) => format!("{word} {name}"),
                None => "cluster".to_owned(),
            };
            names(1..=3, &one.clone().with_key_type(kind), &[word_of(&named.one)]);
            let several = FindCoordinatorRequest::default().with_key_type(kind).with_coordinator_keys(keys.clone());
            names(4..=99, &several, &named.others.iter().map(word_of).collect::<Vec<_>>());
        }
    }

    #[test]
    fn offsets(named in named()) {
        use describe_share_group_offsets_request as share;
        use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
        let group = [format!("group {}", named.one)];
        let id = || GroupId(text(&named.one));
        let told = topics_of(&named);
        let committed = named.topics.iter().map(|(name, partitions)| {
            let partition = |index: &i32| OffsetCommitRequestPartition::default()
                .with_partition_index(*index)
                .with_committed_metadata(named.text.as_deref().map(text));
            OffsetCommitRequestTopic::default()
                .with_name(text(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        });
        let commit = OffsetCommitRequest::default().with_group_id(id()).with_topics(committed.collect());
        names(0..=99, &commit, &joined(&[&group, &told]));
        let wanted = named.topics.iter().map(|(name, partitions)| {
            OffsetFetchRequestTopic::default().with_name(text(name).into()).with_partition_indexes(partitions.clone())
        });
        let fetch = OffsetFetchRequest::default().with_group_id(id()).with_topics(Some(wanted.collect()));
        names(0..=7, &fetch, &joined(&[&group, &told]));
        names(2..=7, &fetch.with_topics(None), &group);
        let wanted = named.topics.iter().map(|(name, partitions)| {
            OffsetFetchRequestTopics::default().with_name(text(name).into()).with_partition_indexes(partitions.clone())
        });
        let of_group = OffsetFetchRequestGroup::default().with_group_id(id()).with_topics(Some(wanted.collect()));
        let all = of_group.clone().with_topics(None);
        let fetch = OffsetFetchRequest::default().with_groups(vec![all, of_group]);
        names(8..=99, &fetch, &joined(&[&group, &group, &told]));
        let wanted = named.topics.iter().map(|(name, partitions)| {
            share::DescribeShareGroupOffsetsRequestTopic::default()
                .with_topic_name(text(name).into())
                .with_partitions(partitions.clone())
        });
        let of_group = share::DescribeShareGroupOffsetsRequestGroup::default()
            .with_group_id(id())
            .with_topics(Some(wanted.collect()));
        let request = DescribeShareGroupOffsetsRequest::default().with_groups(vec![of_group.clone(), of_group]);
        names(0..=99, &request, &joined(&[&group, &told, &group, &told]));
    }

    #[test]
    fn transactions(named in named()) {
        use add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
        use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
        let shown_id = [format!("id {}", named.one)];
        let id = || TransactionalId(text(&named.one));
        let group = [format!("group {}", named.text.clone().unwrap_or_default())];
        let group_id = || GroupId(text(named.text.as_deref().unwrap_or_default()));
        let listed: Vec<TransactionalId> = named.others.iter().map(|name| text(name).into()).collect();
        names(0..=99, &InitProducerIdRequest::default().with_transactional_id(Some(id())), &shown_id);
        names(0..=99, &InitProducerIdRequest::default().with_transactional_id(None), &["producer".to_owned()]);
        names(0..=99, &EndTxnRequest::default().with_transactional_id(id()), &shown_id);
        let described = DescribeTransactionsRequest::default().with_transactional_ids(listed);
        names(0..=99, &described, &each("id", &named.others));
        let offsets = AddOffsetsToTxnRequest::default().with_transactional_id(id()).with_group_id(group_id());
        names(0..=99, &offsets, &joined(&[&shown_id, &group]));
        names(0..=99, &ProduceRequest::default().with_transactional_id(Some(id())), &shown_id);
        names(0..=99, &ProduceRequest::default().with_transactional_id(None), &[]);
        let cluster = || vec!["cluster".to_owned()];
        for (replica, expected) in [(-1, vec![]), (-2, vec![]), (0, cluster()), (7, cluster())] {
            names(0..=99, &FetchRequest::default().with_replica_id(BrokerId(replica)), &expected);
        }
        let stored: Vec<_> = named.topics.iter().map(|(name, _)| format!("stored {name}")).collect();
        let added: Vec<_> = named.topics.iter().map(|(name, partitions)| {
            AddPartitionsToTxnTopic::default().with_name(text(name).into()).with_partitions(partitions.clone())
        }).collect();
        let one = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_topics(added.clone());
        names(0..=3, &one, &joined(&[&shown_id, &stored]));
        let transaction = AddPartitionsToTxnTransaction::default().with_transactional_id(id()).with_topics(added);
        let several = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction.clone(), transaction]);
        names(4..=99, &several, &joined(&[&shown_id, &stored, &shown_id, &stored]));
        let committed = named.topics.iter().map(|(name, partitions)| {
            let partition = |index: &i32| TxnOffsetCommitRequestPartition::default()
                .with_partition_index(*index)
                .with_committed_metadata(named.text.as_deref().map(text));
            TxnOffsetCommitRequestTopic::default()
                .with_name(text(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        });
        let commit = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(group_id())
            .with_topics(committed.collect());
        names(0..=99, &commit, &joined(&[&shown_id, &group, &topics_of(&named)]));
    }

    /// ASKED-NAMES-1
    #[test]
    fn whatever_is_said_is_walked_or_not(
        api in 0..Policy::BY_NAME.apis().len(),
        version in 0_i16..14,
        body in prop::collection::vec(any::<u8>(), 0..300),
        missing in 0_usize..2000,
    ) {
        let api = &Policy::BY_NAME.apis()[api];
        let version = version.clamp(api.min, api.max);
        let tags = &[0][..usize::from(api.flexible(version))];
        let frame = [&[0; 8][..], &[0xff, 0xff], tags, &body].concat();
        let mut bytes = 0;
        let _ = visit(api, version, &frame, missing, &mut |name, _| {
            bytes += shown(name).len();
            true
        });
        prop_assert!(bytes <= 40 * frame.len(), "nothing is told twice");
    }
}

/// Whatever is said to name something has names that are found.
#[test]
fn what_names_something_is_known_and_nothing_else() {
    for api in Policy::BY_NAME.apis() {
        for version in api.min..=api.named_to {
            let tags = &[0][..usize::from(api.flexible(version))];
            let frame = [&[0; 8][..], &[0xff, 0xff], tags, &[1; 64]].concat();
            let walked = visit(api, version, &frame, 0, &mut |_, _| true);
            let is_unknown = matches!(walked, Err(ProtocolError::UnsupportedVersion { .. }));
            let names = matches!(api.about, About::Names | About::FirstNames);
            assert_eq!(is_unknown, !names, "{} {version}", api.name);
        }
    }
}
