//! Two real clusters of two versions of Kafka behind one process, under load at the same time: their topics, groups and
//! nodes have the same names, their keys differ, and nothing of one is the other's.

use std::sync::Barrier;
use std::thread;

use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::configuration::{Cluster, Configuration};
use crate::support::operations::{From, Options};
use crate::support::ports::ReservedPort;
use crate::support::raw_client::{RawClient, batch};
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::{Rig, Topic, unique};
use crate::support::{shared, skipped};

const RECORDS: i32 = 500;
const PARTITIONS: i32 = 2;

#[test]
fn topics_groups_and_keys_of_two_clusters_never_mix() {
    let older = Rig::assemble(shared::older_broker(), Login::Plaintext);
    let (port, node_port) = (ReservedPort::take(), ReservedPort::take());
    let rules = Configuration::with(&rules("main", "key-of-main")).cluster(&Cluster {
        name: "other",
        brokers: vec![older.cluster.bootstrap()],
        port: port.number(),
        nodes: vec![(older.cluster.nodes()[0], node_port.number())],
        rules: &rules("other", "key-of-other"),
        ..Cluster::default()
    });
    let keks = ["key-of-main", "key-of-other"];
    let main = Rig::assemble_with(shared::one_broker(), Login::Plaintext, &keks, &rules.text());
    let Some(proxy) = main.proxy() else {
        return skipped::there_is_no_proxy();
    };
    assert_eq!(main.cluster.nodes(), older.cluster.nodes(), "the same nodes");
    let (topic, group) = (unique("crossing"), unique("crossing-group"));
    let sides = [
        Side {
            name: "main",
            rig: &main,
            agent: main.java,
            bootstrap: proxy.bootstrap(),
        },
        Side {
            name: "other",
            rig: &older,
            agent: shared::librdkafka(),
            bootstrap: port.address(),
        },
    ];
    sides.iter().for_each(|side| side.create(&topic, PARTITIONS));
    let together = Barrier::new(sides.len());
    thread::scope(|scope| {
        for side in &sides {
            scope.spawn(|| {
                together.wait();
                side.says_and_hears(&topic, &group);
            });
        }
    });
    for Side { name, rig, .. } in &sides {
        rig.assert_read_by(&group, &topic, PARTITIONS);
        let readable = rig.cluster.canary_in_data_dir(b"told in");
        assert!(readable.is_empty(), "{name}: {readable:?}");
        let labels = [format!("cluster=\"{name}\""), format!("topic=\"{topic}\"")];
        let sealed = proxy.metric(
            "sealwire_sealed_records_total",
            &labels.each_ref().map(String::as_str),
        );
        assert_eq!(sealed, f64::from(RECORDS), "{name}");
    }
    a_record_that_is_carried_over_does_not_open(&sides);
}

/// Somebody who has both clusters' disks copies a record from one to the other.
fn a_record_that_is_carried_over_does_not_open([main, other]: &[Side<'_>; 2]) {
    let topic = unique("crossing-carried");
    for side in [main, other] {
        side.create(&topic, 1);
    }
    let sent = main.through_proxy().produce(&topic, batch(None, "told in main"));
    assert_eq!(sent.error_code, 0);
    let opened = main.through_proxy().fetch(&[&topic]).remove(0);
    let records = opened.records.expect("its own record");
    assert!(
        records.windows(12).any(|window| window == b"told in main"),
        "it opens where it was sealed"
    );
    let stored = main.at_the_broker().fetch(&[&topic]).remove(0).records;
    let stored = stored.expect("a sealed record");
    let carried = other.at_the_broker().produce(&topic, stored.to_vec());
    assert_eq!(carried.error_code, 0, "a broker takes it");
    let refused = other.through_proxy().fetch(&[&topic]).remove(0);
    assert_ne!(refused.error_code, 0);
    assert!(refused.records.is_none_or(|records| records.is_empty()));
}

fn rules(cluster: &str, kek: &str) -> String {
    format!("[[cluster.{cluster}.topics]]\nmatch = \"crossing*\"\nkms = \"local\"\nkek = \"{kek}\"\n")
}

/// A cluster, and a client of it.
struct Side<'a> {
    name: &'static str,
    /// That of its brokers.
    rig: &'a Rig,
    agent: &'static Agent,
    /// Of the proxy.
    bootstrap: String,
}

impl Side<'_> {
    fn create(&self, name: &str, partitions: i32) {
        self.rig.create(&Topic {
            name,
            partitions,
            replicas: 1,
            configs: &[],
        });
    }

    /// Produces, and consumes in a group: all that was told here, and nothing else.
    fn says_and_hears(&self, topic: &str, group: &str) {
        let told = |number: i32| format!("told in {}: {number}", self.name);
        let sent: Vec<Record> = (0..RECORDS)
            .map(|number| Record::new(topic, number.to_string(), told(number)).partition(number % PARTITIONS))
            .collect();
        let options = Options::at(&self.bootstrap);
        let deliveries = self.agent.produce(&options, &sent);
        assert_delivered(&deliveries);
        let options = options.group(group, "classic");
        let read = self.agent.consume(&options, &From::topic(topic), sent.len());
        assert_same(&sent, &deliveries, &read);
    }

    fn through_proxy(&self) -> RawClient {
        RawClient::connect(&self.bootstrap)
    }

    fn at_the_broker(&self) -> RawClient {
        RawClient::connect(&self.rig.cluster.bootstrap())
    }
}
