//! Clients choose partitions by their own keys: where keys are sealed, each record goes to where it went before.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::RIG;
use crate::support::agent::Agent;
use crate::support::operations::Options;
use crate::support::records::{Record, assert_delivered};
use crate::support::{artifacts, cache, shared};

#[test]
fn each_librarys_own_partitioner_puts_every_key_where_it_did() {
    let agents = [
        RIG.java,
        shared::librdkafka(),
        shared::aiokafka(),
        shared::franz_go(),
        shared::kafkajs(),
    ];
    for agent in agents {
        assert_same_places(agent, |options| options);
    }
}

/// The other partitioners that librdkafka has, which hash in other ways.
#[test]
fn other_partitioners_do_as_well() {
    for name in ["consistent_random", "murmur2", "fnv1a", "consistent"] {
        assert_same_places(shared::librdkafka(), |options| options.extra("partitioner", name));
    }
}

/// Whatever an application does with its keys.
#[test]
fn partitioners_of_an_applications_own_do_as_well() {
    assert_same_places(RIG.java, |options| options.extra("partitioner.class", "LastByte"));
}

/// By its usual partitioner, and by one with another hash.
#[test]
fn sarama_puts_every_key_where_it_did() {
    for partitioner in ["usual", "crc32"] {
        let [sealed, plain] = ["stable-placed", "plain-placed"].map(|prefix| RIG.topic(prefix, PARTITIONS));
        let places = |bootstrap: &str, topic: &str| {
            let mut producer = Command::new(artifacts::go_reader());
            producer.args(["sarama-producer", bootstrap, topic, partitioner]);
            cache::run(&mut producer)
        };
        let through = places(&RIG.bootstrap(), &sealed);
        assert_eq!(through, places(&RIG.cluster.bootstrap(), &plain), "{partitioner}");
        let used: BTreeSet<_> = through.lines().collect();
        assert!(used.len() > 4, "keys are spread: {used:?}");
    }
}

fn assert_same_places(agent: &Agent, with: impl Fn(Options) -> Options) {
    let [sealed, plain] = ["stable-placed", "plain-placed"].map(|prefix| RIG.topic(prefix, PARTITIONS));
    let places = |options: Options, topic: &str| -> BTreeMap<String, i32> {
        let keys = || (0..KEYS).map(|number| format!("key {number}"));
        let records: Vec<_> = keys().map(|key| Record::new(topic, key, "value")).collect();
        let deliveries = agent.produce(&with(options), &records);
        assert_delivered(&deliveries);
        keys()
            .zip(deliveries.into_iter().map(|delivery| delivery.partition))
            .collect()
    };
    let [through, straight] = [places(RIG.options(), &sealed), places(RIG.direct(), &plain)];
    assert_eq!(through, straight, "{:?}", agent.library());
    let used: BTreeSet<_> = through.values().collect();
    assert!(used.len() > 4, "keys are spread: {used:?}");
}

const PARTITIONS: i32 = 7;
const KEYS: u32 = 60;
