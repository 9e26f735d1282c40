//! Of a list the items that are the client's go on, and the answer has all.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use sealwire::metrics::CloseReason;
use sealwire::pipeline::Wait;
use sealwire::protocol::policy::Policy;

use super::{FOREIGN, OWN};
use crate::rig::{Halt, Rig};
use crate::wire::{decode_response, only_frame, prefixed, request, response, text, topic_name};

/// Names and codes, as an answer has them.
type Told = Vec<(String, i16)>;

/// In each of these versions that are known to all: of a list of names a broker is asked for those that are the
/// client's, and what it answers stands behind what it was not asked for.
fn assert_parted<R: Request>(
    versions: RangeInclusive<i16>,
    code: i16,
    asked: impl Fn(&[&str]) -> R,
    answer: impl Fn(&[&str]) -> R::Response,
    told: impl Fn(&R::Response) -> Told,
) where
    R::Response: Encodable + Decodable + HeaderVersion + Debug,
{
    let api = Policy::BY_NAME.api(R::KEY).expect("it is let through");
    let key = ApiKey::try_from(R::KEY).expect("it is known");
    let min = (*versions.start()).max(api.min).max(R::VERSIONS.min);
    let max = (*versions.end()).min(api.named_to).min(R::VERSIONS.max);
    assert!(min <= max, "{}", api.name);
    for version in min..=max {
        for names in [
            &[FOREIGN, OWN][..],
            &[OWN, FOREIGN],
            &[FOREIGN, OWN, FOREIGN, FOREIGN, OWN],
            &[FOREIGN],
            &[FOREIGN, FOREIGN],
            // As many as are counted with a byte, and one more.
            &[&[OWN; 126][..], &[FOREIGN]].concat(),
        ] {
            let own: Vec<&str> = names.iter().copied().filter(|name| *name == OWN).collect();
            let mut rig = Rig::authorised(&[]);
            assert_eq!(
                rig.client_sends(&request(key, version, 1, &asked(names))),
                Ok(Halt::More)
            );
            let answered = if own.is_empty() {
                assert!(rig.at_broker().is_empty(), "{} {version}", api.name);
                Vec::new()
            } else {
                assert_eq!(rig.at_broker(), request(key, version, 1, &asked(&own)));
                response(version, 1, &answer(&own))
            };
            // It comes as it likes.
            for piece in answered.chunks(answered.len().div_ceil(3).max(1)) {
                let halted = rig.broker_sends(piece).expect("a piece");
                if let Halt::Blocked(Wait::Addresses(learned, _)) = halted {
                    rig.learn(learned);
                }
            }
            assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
            let response: R::Response = decode_response(&only_frame(&rig.at_client()), version);
            let refused = names.len() - own.len();
            let expected: Told = std::iter::repeat_n((FOREIGN.to_owned(), code), refused)
                .chain(own.iter().map(|name| ((*name).to_owned(), 0)))
                .collect();
            assert_eq!(told(&response), expected, "{} {version} {names:?}", api.name);
            assert_eq!(rig.audit().len(), 1, "{} {version}", api.name);
        }
    }
}

/// OWN-NAMES-3, REFUSED-PARTS-1, REFUSED-PARTS-2
#[test]
fn topics_are_told_of() {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                ListOffsetsTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![ListOffsetsPartition::default().with_partition_index(7)])
            };
            ListOffsetsRequest::default().with_topics(names.iter().map(topic).collect())
        },
        |names| {
            let partition = ListOffsetsPartitionResponse::default()
                .with_partition_index(7)
                .with_offset(5);
            let topic = |name: &&str| {
                ListOffsetsTopicResponse::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![partition.clone()])
            };
            ListOffsetsResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            let topics = answer.topics.iter();
            let told = topics.map(|topic| {
                let [partition] = &topic.partitions[..] else {
                    panic!("{topic:?}");
                };
                let offset = if partition.error_code == 0 { 5 } else { -1 };
                assert_eq!((partition.partition_index, partition.offset), (7, offset));
                (topic.name.to_string(), partition.error_code)
            });
            told.collect()
        },
    );
}

#[test]
fn epochs_and_producers_of_topics_are_told_of() {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    use offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                OffsetForLeaderTopic::default()
                    .with_topic(topic_name(name))
                    .with_partitions(vec![OffsetForLeaderPartition::default()])
            };
            OffsetForLeaderEpochRequest::default().with_topics(names.iter().map(topic).collect())
        },
        |names| {
            let topic = |name: &&str| {
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic_name(name))
                    .with_partitions(vec![EpochEndOffset::default()])
            };
            OffsetForLeaderEpochResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            let topics = answer.topics.iter();
            let told = topics.map(|topic| (topic.topic.to_string(), topic.partitions[0].error_code));
            told.collect()
        },
    );
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                describe_producers_request::TopicRequest::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(vec![0])
            };
            DescribeProducersRequest::default().with_topics(names.iter().map(topic).collect())
        },
        |names| {
            let partition = describe_producers_response::PartitionResponse::default();
            let topic = |name: &&str| {
                describe_producers_response::TopicResponse::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![partition.clone()])
            };
            DescribeProducersResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            let topics = answer.topics.iter();
            let told = topics.map(|topic| (topic.name.to_string(), topic.partitions[0].error_code));
            told.collect()
        },
    );
}

#[test]
fn what_is_described_is_told_of() {
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                describe_topic_partitions_request::TopicRequest::default().with_name(topic_name(name))
            };
            DescribeTopicPartitionsRequest::default().with_topics(names.iter().map(topic).collect())
        },
        |names| {
            use describe_topic_partitions_response::{Cursor, DescribeTopicPartitionsResponseTopic as Topic};
            let topic = |name: &&str| Topic::default().with_name(Some(topic_name(name)));
            DescribeTopicPartitionsResponse::default()
                .with_topics(names.iter().map(topic).collect())
                .with_next_cursor(Some(Cursor::default().with_topic_name(topic_name(OWN))))
        },
        |answer| {
            let topics = answer.topics.iter();
            let name = |name: &Option<TopicName>| name.as_ref().expect("a name").to_string();
            topics
                .map(|topic| (name(&topic.name), topic.error_code))
                .collect()
        },
    );
    for (kind, code) in [(2, 29), (32, 30)] {
        assert_parted(
            0..=99,
            code,
            |names| {
                let resource = |name: &&str| {
                    describe_configs_request::DescribeConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(text(name))
                };
                DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect())
            },
            |names| {
                let result = |name: &&str| {
                    describe_configs_response::DescribeConfigsResult::default()
                        .with_resource_type(kind)
                        .with_resource_name(text(name))
                };
                DescribeConfigsResponse::default().with_results(names.iter().map(result).collect())
            },
            |answer| {
                let results = answer.results.iter();
                let told = results.map(|result| {
                    assert_eq!(result.resource_type, kind);
                    (result.resource_name.to_string(), result.error_code)
                });
                told.collect()
            },
        );
    }
}

#[test]
fn transactions_are_told_of() {
    assert_parted(
        0..=99,
        53,
        |names| {
            let ids = names.iter().map(|name| TransactionalId(text(name)));
            DescribeTransactionsRequest::default().with_transactional_ids(ids.collect())
        },
        |names| {
            let state = |name: &&str| {
                describe_transactions_response::TransactionState::default()
                    .with_transactional_id(TransactionalId(text(name)))
            };
            DescribeTransactionsResponse::default().with_transaction_states(names.iter().map(state).collect())
        },
        |answer| {
            let states = answer.transaction_states.iter();
            let told = states.map(|state| (state.transactional_id.to_string(), state.error_code));
            told.collect()
        },
    );
}

#[test]
fn groups_are_told_of() {
    let ids = |names: &[&str]| names.iter().map(|name| GroupId(text(name))).collect::<Vec<_>>();
    assert_parted(
        0..=99,
        30,
        |names| DescribeGroupsRequest::default().with_groups(ids(names)),
        |names| {
            let group = |name: &&str| {
                describe_groups_response::DescribedGroup::default().with_group_id(GroupId(text(name)))
            };
            DescribeGroupsResponse::default().with_groups(names.iter().map(group).collect())
        },
        |answer| {
            let groups = answer.groups.iter();
            groups
                .map(|group| (group.group_id.to_string(), group.error_code))
                .collect()
        },
    );
    assert_parted(
        0..=99,
        30,
        |names| ConsumerGroupDescribeRequest::default().with_group_ids(ids(names)),
        |names| {
            let group = |name: &&str| {
                consumer_group_describe_response::DescribedGroup::default().with_group_id(GroupId(text(name)))
            };
            ConsumerGroupDescribeResponse::default().with_groups(names.iter().map(group).collect())
        },
        |answer| {
            let groups = answer.groups.iter();
            groups
                .map(|group| (group.group_id.to_string(), group.error_code))
                .collect()
        },
    );
}

#[test]
fn coordinators_are_told_of() {
    for (kind, code) in [(0, 30), (1, 53)] {
        assert_parted(
            4..=99,
            code,
            |names| {
                let keys = names.iter().map(|name| text(name)).collect();
                FindCoordinatorRequest::default()
                    .with_key_type(kind)
                    .with_coordinator_keys(keys)
            },
            |names| {
                let coordinator = |name: &&str| {
                    find_coordinator_response::Coordinator::default()
                        .with_key(text(name))
                        .with_node_id(BrokerId(1))
                        .with_host(text("kafka"))
                        .with_port(9)
                };
                FindCoordinatorResponse::default().with_coordinators(names.iter().map(coordinator).collect())
            },
            |answer| {
                let told = answer.coordinators.iter().map(|one| {
                    // Where it is hidden the broker's code is the proxy's, and so are the brokers' names.
                    assert_ne!(&*one.host, "kafka");
                    let code = if &*one.key == OWN { 0 } else { one.error_code };
                    (one.key.to_string(), code)
                });
                told.collect()
            },
        );
    }
}

#[test]
fn offsets_of_share_groups_are_told_of() {
    let ids = |names: &[&str]| names.iter().map(|name| GroupId(text(name))).collect::<Vec<_>>();
    use describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup as Asked;
    use describe_share_group_offsets_response::DescribeShareGroupOffsetsResponseGroup as Told;
    assert_parted(
        0..=99,
        30,
        |names| {
            let group = |id: GroupId| Asked::default().with_group_id(id).with_topics(None);
            DescribeShareGroupOffsetsRequest::default()
                .with_groups(ids(names).into_iter().map(group).collect())
        },
        |names| {
            let group = |id: GroupId| Told::default().with_group_id(id);
            DescribeShareGroupOffsetsResponse::default()
                .with_groups(ids(names).into_iter().map(group).collect())
        },
        |answer| {
            let groups = answer.groups.iter();
            groups
                .map(|group| (group.group_id.to_string(), group.error_code))
                .collect()
        },
    );
}

/// Of a group of one's own, with topics that are another's.
#[test]
fn offsets_that_are_committed_are_told_of() {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![OffsetCommitRequestPartition::default()])
            };
            OffsetCommitRequest::default()
                .with_group_id(GroupId(text(OWN)))
                .with_topics(names.iter().map(topic).collect())
        },
        |names| {
            let topic = |name: &&str| {
                OffsetCommitResponseTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![OffsetCommitResponsePartition::default()])
            };
            OffsetCommitResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            let topics = answer.topics.iter();
            let told = topics.map(|topic| (topic.name.to_string(), topic.partitions[0].error_code));
            told.collect()
        },
    );
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    use txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
    assert_parted(
        0..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                TxnOffsetCommitRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![TxnOffsetCommitRequestPartition::default()])
            };
            TxnOffsetCommitRequest::default()
                .with_transactional_id(TransactionalId(text(OWN)))
                .with_group_id(GroupId(text(OWN)))
                .with_topics(names.iter().map(topic).collect())
        },
        |names| {
            let topic = |name: &&str| {
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![TxnOffsetCommitResponsePartition::default()])
            };
            TxnOffsetCommitResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            let topics = answer.topics.iter();
            let told = topics.map(|topic| (topic.name.to_string(), topic.partitions[0].error_code));
            told.collect()
        },
    );
}

#[test]
fn offsets_that_are_fetched_are_told_of() {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
    use offset_fetch_response::*;
    assert_parted(
        0..=7,
        29,
        |names| {
            let topic = |name: &&str| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(vec![7])
            };
            OffsetFetchRequest::default()
                .with_group_id(GroupId(text(OWN)))
                .with_topics(Some(names.iter().map(topic).collect()))
        },
        |names| {
            let topic = |name: &&str| {
                OffsetFetchResponseTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![OffsetFetchResponsePartition::default()])
            };
            OffsetFetchResponse::default().with_topics(names.iter().map(topic).collect())
        },
        |answer| {
            assert_eq!(answer.error_code, 0);
            let topics = answer.topics.iter();
            let told = topics.map(|topic| (topic.name.to_string(), topic.partitions[0].error_code));
            told.collect()
        },
    );
    assert_parted(
        8..=99,
        29,
        |names| {
            let topic = |name: &&str| {
                OffsetFetchRequestTopics::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(vec![7])
            };
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text(OWN)))
                .with_topics(Some(names.iter().map(topic).collect()));
            OffsetFetchRequest::default()
                .with_groups(vec![group])
                .with_require_stable(true)
        },
        |names| {
            let topic = |name: &&str| {
                OffsetFetchResponseTopics::default()
                    .with_name(topic_name(name))
                    .with_partitions(vec![OffsetFetchResponsePartitions::default()])
            };
            let group = OffsetFetchResponseGroup::default()
                .with_group_id(GroupId(text(OWN)))
                .with_topics(names.iter().map(topic).collect());
            OffsetFetchResponse::default().with_groups(vec![group])
        },
        |answer| {
            let [group] = &answer.groups[..] else {
                panic!("{answer:?}");
            };
            assert_eq!((&*group.group_id.0, group.error_code), (OWN, 0));
            let topics = group.topics.iter();
            let told = topics.map(|topic| {
                let partition = &topic.partitions[0];
                (topic.name.to_string(), partition.error_code)
            });
            told.collect()
        },
    );
}

/// Of several groups each is answered whole.
#[test]
fn offsets_of_groups_are_told_of() {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    use offset_fetch_response::OffsetFetchResponseGroup;
    let group = |name: &str, topics: Option<&[&str]>| {
        let topic = |name: &&str| OffsetFetchRequestTopics::default().with_name(topic_name(name));
        OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(name)))
            .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
    };
    let asked =
        |groups: &[OffsetFetchRequestGroup]| OffsetFetchRequest::default().with_groups(groups.to_vec());
    for version in 8..=9 {
        let groups = [
            group(FOREIGN, None),
            group("raw-1", Some(&[OWN, FOREIGN])),
            group(OWN, Some(&[OWN])),
        ];
        let mut rig = Rig::authorised(&[]);
        let sent = rig.client_sends(&request(ApiKey::OffsetFetch, version, 1, &asked(&groups)));
        assert_eq!(sent, Ok(Halt::More));
        let rest = request(ApiKey::OffsetFetch, version, 1, &asked(&groups[2..]));
        assert_eq!(rig.at_broker(), rest);
        let own = OffsetFetchResponseGroup::default().with_group_id(GroupId(text(OWN)));
        let answer = OffsetFetchResponse::default().with_groups(vec![own]);
        assert_eq!(rig.broker_sends(&response(version, 1, &answer)), Ok(Halt::More));
        let answer: OffsetFetchResponse = decode_response(&only_frame(&rig.at_client()), version);
        let told = answer
            .groups
            .iter()
            .map(|group| (&*group.group_id.0, group.error_code));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(FOREIGN, 30), ("raw-1", 29), (OWN, 0)]);
    }
}

/// A broker adds all or nothing, and says of the rest that it was not tried.
#[test]
fn partitions_are_added_all_or_none() {
    use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    for version in 0..=3 {
        let topic = |name: &str| {
            AddPartitionsToTxnTopic::default()
                .with_name(topic_name(name))
                .with_partitions(vec![0, 1])
        };
        let asked = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(OWN)))
            .with_v3_and_below_topics(vec![topic("pass-a"), topic(FOREIGN)]);
        let mut rig = Rig::authorised(&[]);
        let sent = rig.client_sends(&request(ApiKey::AddPartitionsToTxn, version, 1, &asked));
        assert_eq!(sent, Ok(Halt::More));
        assert!(rig.at_broker().is_empty());
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        let answer: AddPartitionsToTxnResponse = decode_response(&only_frame(&rig.at_client()), version);
        let told: Vec<_> = answer
            .results_by_topic_v3_and_below
            .iter()
            .flat_map(|topic| topic.results_by_partition.iter())
            .map(|partition| (partition.partition_index, partition.partition_error_code))
            .collect();
        assert_eq!(told, [(0, 55), (1, 55), (0, 29), (1, 29)]);
    }
}

/// REFUSED-PARTS-1
#[test]
fn an_answer_to_something_else_goes_nowhere() {
    let own = offset_fetch_request::OffsetFetchRequestTopics::default().with_name(topic_name(OWN));
    let foreign = own.clone().with_name(topic_name(FOREIGN));
    let group = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(OWN)))
        .with_topics(Some(vec![own, foreign]));
    let asked = OffsetFetchRequest::default().with_groups(vec![group]);
    let answers = |group: &str| {
        let group =
            offset_fetch_response::OffsetFetchResponseGroup::default().with_group_id(GroupId(text(group)));
        response(8, 1, &OffsetFetchResponse::default().with_groups(vec![group]))
    };
    let lies = [
        answers("raw-owm"),
        response(8, 1, &OffsetFetchResponse::default()),
        prefixed(&[0, 0, 0, 1]),
        prefixed(&[0, 0, 0, 1, 0, 0, 0, 0, 0]),
        prefixed(&[0, 0, 0, 1, 17]),
    ];
    for (answer, fits) in lies.iter().map(|lie| (lie, false)).chain([(&answers(OWN), true)]) {
        let mut rig = Rig::authorised(&[]);
        assert_eq!(
            rig.client_sends(&request(ApiKey::OffsetFetch, 8, 1, &asked)),
            Ok(Halt::More)
        );
        let sent = rig.broker_sends(answer);
        match fits {
            true => assert_eq!(sent, Ok(Halt::More)),
            false => assert_eq!(sent, Err(CloseReason::MalformedFrame), "{answer:?}"),
        }
        assert_eq!(rig.at_client().is_empty(), !fits);
    }
}

/// One at a time, however many are sent; what is of no part goes on meanwhile.
#[test]
fn one_such_request_is_under_way() {
    let groups = |names: &[&str]| {
        let ids = names.iter().map(|name| GroupId(text(name)));
        request(
            ApiKey::DescribeGroups,
            5,
            1,
            &DescribeGroupsRequest::default().with_groups(ids.collect()),
        )
    };
    let own = groups(&[OWN]);
    let mixed = groups(&[FOREIGN, OWN]);
    let mut rig = Rig::authorised(&[]);
    let halted = rig.client_sends(&[&mixed[..], &own, &mixed].concat());
    assert_eq!(halted, Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), [&own[..], &own].concat());
    let group = describe_groups_response::DescribedGroup::default().with_group_id(GroupId(text(OWN)));
    let answer = response(5, 1, &DescribeGroupsResponse::default().with_groups(vec![group]));
    assert_eq!(rig.broker_sends(&[&answer[..], &answer].concat()), Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), own);
    assert_eq!(rig.broker_sends(&answer), Ok(Halt::More));
    let counts: Vec<_> = crate::wire::frames(&rig.at_client())
        .iter()
        .map(|frame| decode_response::<DescribeGroupsResponse>(frame, 5).groups.len())
        .collect();
    assert_eq!(counts, [2, 1, 2]);
}

/// So many are told of by name; beyond it nothing is asked for.
#[test]
fn what_is_kept_of_others_names_has_a_bound() {
    for (count, goes_on) in [(1000, true), (1001, false)] {
        let names = std::iter::repeat_n(FOREIGN, count).chain([OWN]);
        let ids = names.map(|name| GroupId(text(name))).collect();
        let asked = DescribeGroupsRequest::default().with_groups(ids);
        let mut rig = Rig::authorised(&[]);
        assert_eq!(
            rig.client_sends(&request(ApiKey::DescribeGroups, 5, 1, &asked)),
            Ok(Halt::More)
        );
        assert_eq!(!rig.at_broker().is_empty(), goes_on);
    }
}
