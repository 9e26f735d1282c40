//! Requests of which a part is another's: a broker with an authorizer, and the proxy in front of one that lets it do
//! everything, tell the same of each item.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use sealwire::protocol::policy::Policy;

use super::super::{BROKERS_PASSWORD, Door, PASSWORD, RIG, TEAMS, prefix};
use super::keys;
use crate::support::broker_properties::Login;
use crate::support::operations::{From, Options};
use crate::support::raw_client::RawClient;
use crate::support::records::Record;
use crate::support::skipped;

/// The same user's connections.
struct Sides {
    broker: RawClient,
    proxy: RawClient,
    /// Of all APIs and versions.
    compared: usize,
    wrong: Vec<String>,
}

impl Sides {
    /// In each of these versions that are known to all; `told` is what is said of each item, in whatever order.
    fn compare<R: Request>(
        &mut self,
        versions: RangeInclusive<i16>,
        request: &R,
        told: impl Fn(R::Response) -> Vec<String>,
    ) where
        R::Response: Debug,
    {
        let api = Policy::BY_NAME.api(R::KEY).expect("it is let through");
        let min = (*versions.start()).max(api.min).max(R::VERSIONS.min);
        let max = (*versions.end()).min(api.named_to).min(R::VERSIONS.max);
        assert!(min <= max, "{}", api.name);
        for version in min..=max {
            let [broker, proxy] = [&mut self.broker, &mut self.proxy].map(|side| {
                let mut told = told(side.ask(version, request));
                told.sort();
                told
            });
            assert!(broker.len() > 1, "{} {version}: {broker:?}", api.name);
            self.compared += 1;
            if broker != proxy {
                let what = format!("{} {version}\n broker {broker:#?}\n proxy {proxy:#?}", api.name);
                self.wrong.push(what);
            }
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// What is one's own, and what is not, there or not.
struct Names {
    own: String,
    others: [String; 2],
    group: String,
    others_group: String,
}

impl Names {
    fn topics<T>(&self, topic: impl Fn(TopicName) -> T) -> Vec<T> {
        let [there, nowhere] = &self.others;
        [there, &self.own, nowhere]
            .map(|name| topic(TopicName(text(name))))
            .into()
    }

    fn groups<G: std::convert::From<StrBytes>>(&self) -> Vec<G> {
        [&self.others_group, &self.group]
            .map(|name| text(name).into())
            .into()
    }
}

fn topics(sides: &mut Sides, names: &Names) {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let latest = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = |name| {
        ListOffsetsTopic::default()
            .with_name(name)
            .with_partitions(vec![latest.clone(), latest.clone().with_partition_index(7)])
    };
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(names.topics(topic));
    sides.compare(0..=99, &request, |answer| shown(answer.topics));
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let topic = |name| {
        OffsetForLeaderTopic::default()
            .with_topic(name)
            .with_partitions(vec![OffsetForLeaderPartition::default()])
    };
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(names.topics(topic));
    sides.compare(0..=99, &request, |answer| shown(answer.topics));
    let topic = |name| {
        describe_producers_request::TopicRequest::default()
            .with_name(name)
            .with_partition_indexes(vec![0, 7])
    };
    let request = DescribeProducersRequest::default().with_topics(names.topics(topic));
    sides.compare(0..=99, &request, |mut answer| {
        for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_message = None;
        }
        shown(answer.topics)
    });
    let topic = |name| describe_topic_partitions_request::TopicRequest::default().with_name(name);
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(names.topics(topic))
        .with_response_partition_limit(100);
    sides.compare(0..=99, &request, |mut answer| {
        for topic in &mut answer.topics {
            // What the proxy may do itself.
            topic.topic_authorized_operations = 0;
        }
        shown(answer.topics)
    });
    let resource = |name: TopicName| {
        describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name.0)
            .with_configuration_keys(Some(vec![text("retention.ms")]))
    };
    let request = DescribeConfigsRequest::default().with_resources(names.topics(resource));
    sides.compare(0..=99, &request, |mut answer| {
        for result in &mut answer.results {
            result.error_message = None;
        }
        shown(answer.results)
    });
}

fn groups(sides: &mut Sides, names: &Names) {
    let request = DescribeGroupsRequest::default().with_groups(names.groups());
    sides.compare(0..=99, &request, |mut answer| {
        for group in &mut answer.groups {
            group.error_message = None;
        }
        shown(answer.groups)
    });
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(names.groups());
    sides.compare(0..=99, &request, |mut answer| {
        for group in &mut answer.groups {
            group.error_message = None;
        }
        shown(answer.groups)
    });
    for kind in [0, 1] {
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(names.groups());
        sides.compare(4..=99, &request, |answer| {
            let coordinators = answer.coordinators.iter();
            let told = coordinators.map(|one| format!("{:?} {:?} {}", one.key, one.node_id, one.error_code));
            told.collect()
        });
    }
    use describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup as Group;
    let ids = names.groups().into_iter();
    let groups = ids.map(|id| Group::default().with_group_id(id).with_topics(None));
    let request = DescribeShareGroupOffsetsRequest::default().with_groups(groups.collect());
    sides.compare(0..=99, &request, |mut answer| {
        for group in &mut answer.groups {
            group.error_message = None;
        }
        shown(answer.groups)
    });
    let request = DescribeTransactionsRequest::default().with_transactional_ids(names.groups());
    sides.compare(0..=99, &request, |answer| shown(answer.transaction_states));
}

fn offsets(sides: &mut Sides, names: &Names) {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
    let group = || GroupId(text(&names.group));
    let topic = |name| {
        OffsetCommitRequestTopic::default()
            .with_name(name)
            .with_partitions(vec![
                OffsetCommitRequestPartition::default().with_committed_offset(5),
            ])
    };
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_topics(names.topics(topic));
    sides.compare(0..=99, &request, |answer| shown(answer.topics));
    let topic = |name| {
        OffsetFetchRequestTopic::default()
            .with_name(name)
            .with_partition_indexes(vec![0, 7])
    };
    let request = OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(names.topics(topic)));
    sides.compare(0..=7, &request, |answer| {
        assert_eq!(answer.error_code, 0);
        shown(answer.topics)
    });
    let topic = |name| {
        OffsetFetchRequestTopics::default()
            .with_name(name)
            .with_partition_indexes(vec![0, 7])
    };
    let of_group = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(names.topics(topic)));
    let request = OffsetFetchRequest::default().with_groups(vec![of_group.clone()]);
    sides.compare(8..=99, &request, |mut answer| {
        assert_eq!(answer.groups.len(), 1);
        let group = answer.groups.remove(0);
        assert_eq!(group.error_code, 0);
        shown(group.topics)
    });
    let own = of_group.with_topics(None);
    let other = own.clone().with_group_id(GroupId(text(&names.others_group)));
    let request = OffsetFetchRequest::default().with_groups(vec![own, other]);
    sides.compare(8..=99, &request, |answer| shown(answer.groups));
}

fn transactions(sides: &mut Sides, names: &Names) {
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let group = || GroupId(text(&names.group));
    let topic = |name| {
        TxnOffsetCommitRequestTopic::default()
            .with_name(name)
            .with_partitions(vec![TxnOffsetCommitRequestPartition::default()])
    };
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text(&names.group)))
        .with_group_id(group())
        .with_topics(names.topics(topic));
    sides.compare(0..=99, &request, |answer| shown(answer.topics));
    let topic = |name| {
        add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name)
            .with_partitions(vec![0, 1])
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(&names.group)))
        .with_v3_and_below_topics(names.topics(topic));
    sides.compare(0..=3, &request, |mut answer| {
        for topic in &mut answer.results_by_topic_v3_and_below {
            topic
                .results_by_partition
                .sort_by_key(|partition| partition.partition_index);
        }
        shown(answer.results_by_topic_v3_and_below)
    });
}

fn shown<T: Debug>(items: Vec<T>) -> Vec<String> {
    items.iter().map(|item| format!("{item:?}")).collect()
}

/// OWN-NAMES-3
#[test]
fn a_part_is_refused_as_by_a_broker() {
    let [one, other] = TEAMS;
    let Some(mut door) = Door::open_with(Login::Plaintext, "none", "", "", |_| keys()) else {
        return skipped::there_is_no_proxy();
    };
    let own = RIG.topic(&format!("{}parts", prefix(one)), 2);
    let foreign = RIG.topic(&format!("{}parts", prefix(other)), 2);
    let names = Names {
        group: format!("{own}-group"),
        others_group: format!("{foreign}-group"),
        others: [foreign, format!("{}nowhere", prefix(other))],
        own,
    };
    // There is such a group, and it has an offset.
    let record = Record::new(&names.own, "1", "value").partition(0);
    let options: Options = door.options("app-1");
    RIG.java.produce(&options, std::slice::from_ref(&record));
    let member = options.group(&names.group, "classic");
    RIG.java.consume(&member, &From::topic(&names.own), 1);
    let mut sides = Sides {
        broker: RawClient::connect(&RIG.cluster.bootstrap_of(Login::Sasl)),
        proxy: RawClient::connect(&door.proxy.bootstrap()),
        compared: 0,
        wrong: Vec::new(),
    };
    sides.broker.log_in(one, BROKERS_PASSWORD);
    sides.proxy.log_in("app-1", PASSWORD);
    for compare in [topics, groups, offsets, transactions] {
        compare(&mut sides, &names);
    }
    assert!(sides.compared > 50, "{}", sides.compared);
    assert!(
        sides.wrong.is_empty(),
        "{} of {}:\n{}",
        sides.wrong.len(),
        sides.compared,
        sides.wrong.join("\n")
    );
    let refused = door.proxy.metric("sealwire_refused_requests_total", &[]);
    assert!(refused >= 50.0, "{refused}");
    door.proxy.terminate();
}
