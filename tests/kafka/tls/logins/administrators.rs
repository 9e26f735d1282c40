//! Who may change the cluster, and what the others are told.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use kafka_protocol::messages::ApiVersionsRequest;
use serde_json::json;

use super::super::Side;
use super::super::every_way::RIG;
use super::{CANARY, Door, PASSWORD, USER, authenticate, handshake};
use crate::support::agent::Agent;
use crate::support::operations::{From, Options};
use crate::support::records::Record;
use crate::support::secret_files::write_users;
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// What a client that changes everything is told of each.
pub(crate) fn changes(
    agent: &Agent,
    options: &Options,
    topic: &str,
    other: &str,
) -> BTreeMap<String, String> {
    let body = json!({
        "options": options, "topic": topic, "other": other, "group": format!("{topic}-group"), "node": 1,
    });
    let answer = agent.call("change_cluster", body, Duration::from_secs(120));
    answer.unwrap_or_else(|error: String| panic!("{error}"))
}

pub(crate) fn assert_refused(told: &BTreeMap<String, String>, refused: &[(&str, &str)]) {
    for (change, expected) in refused {
        assert!(told[*change].starts_with(expected), "{change}: {told:#?}");
    }
}

/// ADMIN-FOR-1
#[test]
fn whom_admin_for_names_changes_the_cluster_and_nobody_else_does() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"SCRAM-SHA-256\", \"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(&door.users(), &[(USER, PASSWORD), ("admin", PASSWORD)]);
    let file = door.proxy.file("sealwire.toml");
    let text = fs::read_to_string(&file).expect("its configuration");
    let named = text.replacen(
        "[cluster.main]",
        "[cluster.main]\nadmin_for = [\"User:admin\"]",
        1,
    );
    assert_ne!(named, text);
    fs::write(&file, named).expect("written");
    door.restart(&[]);
    let options = |user: &str| door.options("SCRAM-SHA-256", user, PASSWORD);
    let topic = RIG.topic("sealed-changed", 1);
    let other = format!("{topic}-other");
    let told = changes(RIG.java, &options(USER), &topic, &other);
    assert_refused(&told, &REFUSED);
    assert!(told["createTopics"].contains("admin_for"), "{told:#?}");
    // Nothing has happened, and the one who may not still writes and reads.
    let sent = [Record::new(&topic, "1", CANARY).partition(0)];
    assert_eq!(RIG.java.produce(&options(USER), &sent)[0].error, None);
    let told = changes(shared::librdkafka(), &options(USER), &topic, &other);
    assert_refused(&told, &REFUSED_BY_LIBRDKAFKA);
    let refused = door.proxy.metric("sealwire_refused_requests_total", &[]);
    assert!(refused >= 15.0, "{refused}");
    for api in ["CreateTopics", "DeleteTopics", "CreateAcls", "OffsetDelete"] {
        wait::until(api, Duration::from_secs(10), || {
            let words = ["sealwire::audit", api, "User:alice"];
            let says = |line: &str| words.iter().all(|word| line.contains(word));
            door.proxy.output().lines().any(says).then_some(())
        });
    }
    // A broker without an authorizer has its own word on ACLs.
    let told = changes(RIG.java, &options("admin"), &topic, &other);
    for change in [
        "createTopics",
        "createPartitions",
        "incrementalAlterConfigs",
        "deleteRecords",
        "deleteTopics",
        "alterClientQuotas",
    ] {
        assert_eq!(told[change], "done", "{change}: {told:#?}");
    }
    for (change, outcome) in &told {
        assert!(!outcome.contains("Authorization"), "{change}: {outcome}");
    }
    door.proxy.terminate();
}

/// What brokers know of users is not offered, and what Kafka keeps for itself is read by administrators.
#[test]
fn what_is_kafkas_own_is_for_administrators() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(&door.users(), &[(USER, PASSWORD), ("admin", PASSWORD)]);
    let topic = RIG.topic("sealed-groups", 1);
    let sent = [Record::new(&topic, "1", CANARY).partition(0)];
    let user = door.options("PLAIN", USER, PASSWORD);
    assert_eq!(RIG.java.produce(&user, &sent)[0].error, None);
    // The offsets of a group are there.
    RIG.java
        .consume(&user.clone().group(&topic, "classic"), &From::topic(&topic), 1);
    let log_in = |door: &Door| {
        let mut client = door.connect();
        let offered = client.ask(2, &ApiVersionsRequest::default()).api_keys;
        for hidden in [38, 39, 40, 41, 50, 51] {
            assert!(
                offered.iter().all(|api| api.api_key != hidden),
                "{hidden} is offered"
            );
        }
        assert_eq!(handshake(&mut client, "PLAIN"), 0);
        assert_eq!(authenticate(&mut client, PASSWORD).0, 0);
        client
    };
    let internal = "__consumer_offsets";
    let read = log_in(&door).fetch(&[internal, &topic]);
    let told: Vec<_> = read.iter().map(|one| one.error_code).collect();
    assert_eq!(told, [29, 0]);
    assert!(read[0].records.as_ref().is_none_or(|records| records.is_empty()));
    // Alone, where it could be streamed.
    assert_eq!(log_in(&door).fetch(&[internal])[0].error_code, 29);
    let file = door.proxy.file("sealwire.toml");
    let text = fs::read_to_string(&file).expect("its configuration");
    let admin_for = format!("[cluster.main]\nadmin_for = [{:?}]", format!("User:{USER}"));
    fs::write(&file, text.replacen("[cluster.main]", &admin_for, 1)).expect("written");
    door.restart(&[]);
    for topics in [&[internal][..], &[internal, &topic]] {
        let read = log_in(&door).fetch(topics);
        assert!(read.iter().all(|one| one.error_code == 0), "{read:?}");
    }
    door.proxy.terminate();
}

/// What Java shows of each change, to whoever may not.
pub(crate) const REFUSED: [(&str, &str); 16] = [
    ("createTopics", "TopicAuthorizationException"),
    ("createPartitions", "TopicAuthorizationException"),
    ("incrementalAlterConfigs", "TopicAuthorizationException"),
    ("deleteRecords", "TopicAuthorizationException"),
    ("electLeaders", "ClusterAuthorizationException"),
    ("alterPartitionReassignments", "ClusterAuthorizationException"),
    ("alterReplicaLogDirs", "ClusterAuthorizationException"),
    ("deleteTopics", "TopicAuthorizationException"),
    ("createAcls", "ClusterAuthorizationException"),
    ("describeAcls", "ClusterAuthorizationException"),
    ("deleteAcls", "ClusterAuthorizationException"),
    ("alterClientQuotas", "ClusterAuthorizationException"),
    ("deleteConsumerGroups", "GroupAuthorizationException"),
    ("deleteConsumerGroupOffsets", "GroupAuthorizationException"),
    ("unregisterBroker", "ClusterAuthorizationException"),
    ("describeUserScramCredentials", "UnsupportedVersionException"),
];

/// The same of librdkafka, which knows fewer of them, and does not show that describing ACLs was refused.
pub(crate) const REFUSED_BY_LIBRDKAFKA: [(&str, &str); 9] = [
    ("createTopics", "TOPIC_AUTHORIZATION_FAILED"),
    ("createPartitions", "TOPIC_AUTHORIZATION_FAILED"),
    ("incrementalAlterConfigs", "TOPIC_AUTHORIZATION_FAILED"),
    ("deleteRecords", "TOPIC_AUTHORIZATION_FAILED"),
    ("electLeaders", "CLUSTER_AUTHORIZATION_FAILED"),
    ("createAcls", "CLUSTER_AUTHORIZATION_FAILED"),
    ("deleteAcls", "CLUSTER_AUTHORIZATION_FAILED"),
    ("deleteConsumerGroups", "GROUP_AUTHORIZATION_FAILED"),
    ("deleteTopics", "TOPIC_AUTHORIZATION_FAILED"),
];
