//! Every request that a broker answers within a login, and the proxy in the same bytes.

mod administration;

use std::thread;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use sealwire::protocol::policy::{Policy, api_name};

use super::super::super::every_way::RIG;
use super::{More, Sides, handshake};
use crate::support::broker_properties::Login;
use crate::support::frames;
use crate::support::raw_client::{RawClient, batch, produce_request};
use crate::support::skipped;

/// One request in one version.
struct Asked {
    what: String,
    frame: Vec<u8>,
}

/// Requests in each version that the proxy, the broker and the other implementation know.
struct All {
    /// What the broker offers.
    offered: ApiVersionsResponse,
    asked: Vec<Asked>,
}

impl All {
    fn add<R: Request>(&mut self, request: impl Fn(i16) -> R) {
        let api = Policy::BY_NAME.api(R::KEY).expect("it is let through");
        let mut offered = self.offered.api_keys.iter();
        // Some are for controllers alone, or offered where there is a plugin for them; and answered all the same.
        let offered = offered.find(|offered| offered.api_key == R::KEY);
        let offered = offered.map_or(R::VERSIONS.min..=R::VERSIONS.max, |offered| {
            offered.min_version..=offered.max_version
        });
        let min = api.min.max(R::VERSIONS.min).max(*offered.start());
        let max = api.max.min(R::VERSIONS.max).min(*offered.end());
        assert!(min <= max, "{}", api.name);
        for version in min..=max {
            self.add_frame(frames::request(version, 2, "raw", &request(version)));
        }
    }

    fn add_frame(&mut self, frame: Vec<u8>) {
        let (key, version, _) = frames::head(&frame);
        let what = format!("{} {version}", api_name(key).expect("it is let through"));
        self.asked.push(Asked { what, frame });
    }
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn names<N: From<StrBytes>>() -> Vec<N> {
    vec![text("a").into(), text("b").into()]
}

fn topics(all: &mut All) {
    all.add(|_| produce_request("a", batch(None, "value"), 1));
    all.add(|version| {
        let partition = |number| FetchPartition::default().with_partition(number);
        let topic = FetchTopic::default()
            .with_topic(text("a").into())
            .with_partitions(vec![partition(0), partition(7)]);
        let request = FetchRequest::default().with_max_bytes(1).with_topics(vec![topic]);
        if version >= 7 {
            request.with_session_id(9)
        } else {
            request
        }
    });
    all.add(|_| {
        use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        let partition = |number| ListOffsetsPartition::default().with_partition_index(number);
        let topic = ListOffsetsTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![partition(0), partition(7)]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    });
    all.add(|_| {
        use metadata_request::MetadataRequestTopic;
        let topics = names()
            .into_iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(name)));
        MetadataRequest::default().with_topics(Some(topics.collect()))
    });
    all.add(|version| {
        let topics = (version == 0).then(Vec::new);
        MetadataRequest::default().with_topics(topics)
    });
    all.add(|_| {
        use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
        let partition = |number| OffsetForLeaderPartition::default().with_partition(number);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(text("a").into())
            .with_partitions(vec![partition(0), partition(7)]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    });
    all.add(|_| {
        use describe_topic_partitions_request::TopicRequest;
        let topics = names()
            .into_iter()
            .map(|name| TopicRequest::default().with_name(name));
        DescribeTopicPartitionsRequest::default().with_topics(topics.collect())
    });
    all.add(|_| {
        use describe_producers_request::TopicRequest;
        let topic = TopicRequest::default()
            .with_name(text("a").into())
            .with_partition_indexes(vec![0, 7]);
        DescribeProducersRequest::default().with_topics(vec![topic])
    });
    all.add(|_| DescribeLogDirsRequest::default().with_topics(None));
    all.add(|_| ListPartitionReassignmentsRequest::default().with_topics(None));
    all.add(|_| {
        use describe_quorum_request::{PartitionData, TopicData};
        let topic = TopicData::default()
            .with_topic_name(text("a").into())
            .with_partitions(vec![PartitionData::default()]);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    });
}

fn groups(all: &mut All) {
    all.add(|_| {
        use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let partition = |number| OffsetCommitRequestPartition::default().with_partition_index(number);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![partition(0), partition(7)]);
        OffsetCommitRequest::default().with_topics(vec![topic])
    });
    all.add(|version| {
        use offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        };
        if version >= 8 {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(text("a").into())
                .with_partition_indexes(vec![0, 7]);
            let group = |topics| {
                OffsetFetchRequestGroup::default()
                    .with_group_id(text("g").into())
                    .with_topics(topics)
            };
            return OffsetFetchRequest::default().with_groups(vec![group(None), group(Some(vec![topic]))]);
        }
        let topic = OffsetFetchRequestTopic::default()
            .with_name(text("a").into())
            .with_partition_indexes(vec![0, 7]);
        OffsetFetchRequest::default().with_topics(Some(vec![topic]))
    });
    all.add(|version| match version {
        4.. => FindCoordinatorRequest::default().with_coordinator_keys(names()),
        _ => FindCoordinatorRequest::default().with_key(text("a")),
    });
    all.add(|_| JoinGroupRequest::default());
    all.add(|_| HeartbeatRequest::default());
    all.add(|version| match version {
        3.. => LeaveGroupRequest::default().with_members(vec![Default::default()]),
        _ => LeaveGroupRequest::default(),
    });
    all.add(|_| SyncGroupRequest::default());
    all.add(|_| DescribeGroupsRequest::default().with_groups(names()));
    all.add(|_| ListGroupsRequest::default());
    all.add(|_| ConsumerGroupHeartbeatRequest::default());
    all.add(|_| ConsumerGroupDescribeRequest::default().with_group_ids(names()));
    all.add(|_| {
        use describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup as Group;
        let groups = names()
            .into_iter()
            .map(|name| Group::default().with_group_id(name));
        DescribeShareGroupOffsetsRequest::default().with_groups(groups.collect())
    });
}

fn transactions(all: &mut All) {
    all.add(|_| InitProducerIdRequest::default());
    all.add(|version| {
        use add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
        let topics = vec![
            AddPartitionsToTxnTopic::default()
                .with_name(text("a").into())
                .with_partitions(vec![0, 7]),
        ];
        if version >= 4 {
            let transaction = AddPartitionsToTxnTransaction::default()
                .with_transactional_id(text("t").into())
                .with_topics(topics);
            return AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
        }
        AddPartitionsToTxnRequest::default().with_v3_and_below_topics(topics)
    });
    all.add(|_| AddOffsetsToTxnRequest::default());
    all.add(|_| EndTxnRequest::default());
    all.add(|_| {
        use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
        let partition = |number| TxnOffsetCommitRequestPartition::default().with_partition_index(number);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(text("a").into())
            .with_partitions(vec![partition(0), partition(7)]);
        TxnOffsetCommitRequest::default().with_topics(vec![topic])
    });
    all.add(|_| DescribeTransactionsRequest::default().with_transactional_ids(names()));
    all.add(|_| ListTransactionsRequest::default());
    all.add(|_| {
        use write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
        let topic = WritableTxnMarkerTopic::default()
            .with_name(text("a").into())
            .with_partition_indexes(vec![0, 7]);
        let marker = WritableTxnMarker::default().with_topics(vec![topic]);
        WriteTxnMarkersRequest::default().with_markers(vec![marker])
    });
}

fn others(all: &mut All) {
    all.add(|_| {
        use describe_configs_request::DescribeConfigsResource;
        let resource = |kind| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text("a"))
        };
        DescribeConfigsRequest::default().with_resources(vec![resource(2), resource(4)])
    });
    all.add(|_| DescribeClientQuotasRequest::default());
    all.add(|_| DescribeClusterRequest::default());
    all.add(|_| GetTelemetrySubscriptionsRequest::default());
    all.add(|_| PushTelemetryRequest::default());
    all.add(|_| ListConfigResourcesRequest::default());
}

/// What the other implementation does not know, made of what it does.
fn newer(all: &mut All) {
    let mut streams_groups = ConsumerGroupDescribeRequest::default().with_group_ids(names());
    streams_groups.include_authorized_operations = true;
    let mut frame = frames::request(0, 2, "raw", &streams_groups);
    frame[..2].copy_from_slice(&89_i16.to_be_bytes());
    all.add_frame(frame);
    // From version 10 on an id stands in place of a name: as long as one of fifteen letters with its length.
    let mut commit = OffsetCommitRequest::default();
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(text("fifteen-letters").into())
        .with_partitions(vec![Default::default()]);
    commit.topics.push(topic);
    let mut fetch = OffsetFetchRequest::default();
    let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
        .with_name(text("fifteen-letters").into())
        .with_partition_indexes(vec![7]);
    let group = offset_fetch_request::OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
    fetch.groups.push(group);
    for mut frame in [
        frames::request(9, 2, "raw", &commit),
        frames::request(9, 2, "raw", &fetch),
    ] {
        frame[2..4].copy_from_slice(&10_i16.to_be_bytes());
        all.add_frame(frame);
    }
}

/// Those that neither answers.
fn unanswered(all: &mut All) {
    all.add(|_| produce_request("a", batch(None, "value"), 0));
    let mut cut = frames::request(12, 2, "raw", &MetadataRequest::default());
    cut.truncate(cut.len() - 4);
    all.add_frame(cut);
}

/// LOGIN-5
#[test]
fn requests_within_a_login() {
    let Some(mut sides) = Sides::open() else {
        return skipped::there_is_no_proxy();
    };
    let mut client = RawClient::connect(&RIG.cluster.bootstrap_of(Login::Plaintext));
    let mut all = All {
        offered: client.ask(0, &ApiVersionsRequest::default()),
        asked: Vec::new(),
    };
    for add in [
        topics,
        groups,
        transactions,
        others,
        administration::topics_and_rights,
        administration::others,
        newer,
        unanswered,
    ] {
        add(&mut all);
    }
    let heard = |mut client: RawClient, asked: &Asked| {
        assert_eq!(handshake(&mut client, "PLAIN"), More(0));
        client.send_frame(&asked.frame);
        let answer = client.receive_frame_if_any();
        if answer.is_some() {
            assert_eq!(
                client.receive_frame_if_any(),
                None,
                "{}: it is the last word",
                asked.what
            );
        }
        answer.map(Bytes::from)
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        // Each answer is held back.
        let parts = all.asked.chunks(all.asked.len().div_ceil(12)).map(|part| {
            let (sides, heard) = (&sides, &heard);
            scope.spawn(move || {
                let compared = part.iter().filter_map(|asked| {
                    let broker = heard(sides.connect_to_broker(), asked);
                    let proxy = heard(sides.door.connect(), asked);
                    let is_wrong = broker != proxy;
                    is_wrong.then(|| format!("{}: broker {broker:?}, proxy {proxy:?}", asked.what))
                });
                compared.collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("it is compared"))
            .collect()
    });
    assert!(all.asked.len() > 240, "{}", all.asked.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.asked.len(),
        wrong.join("\n")
    );
    sides.door.proxy.terminate();
}
